//! The access log: one line per call, formatted on the worker, written by one thread, as are the process's own lines.
//!
//! A worker never waits for the log. It formats into its own buffer; a full buffer goes to the writer's bounded queue,
//! and what finds the queue full is dropped and counted. A buffer that is not full is fetched after half a second.

mod line;
mod writer;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use transom_transcode::status::Code;

use super::dialect::DialectName;
use line::Clock;
use writer::{Batch, Queue};

pub use line::Logged;
pub use writer::{AccessLog, Lines};

/// A buffer of this size goes to the writer.
const FULL: usize = 16 * 1024;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object: for machines.
    Json,
    /// A short readable line: for a terminal.
    Text,
}

/// What a line says about one call.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The call's id, printable.
    pub request_id: &'a str,
    /// The client's address, as `trusted_proxies` lets it be known.
    pub client: IpAddr,
    /// The HTTP method.
    pub method: &'a str,
    /// The path, without its query, which may hold tokens.
    pub path: &'a str,
    /// The route that was found, or that there was none.
    pub route: &'a Logged,
    /// What the client speaks.
    pub dialect: DialectName,
    /// The HTTP status.
    pub status: u16,
    /// The gRPC code.
    pub code: Code,
    /// When it ended.
    pub ended: Instant,
    /// From the head to the last byte of the answer.
    pub elapsed: Duration,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// The upstream's endpoint that answered, or was tried last.
    pub endpoint: Option<&'a str>,
    /// The reason of an error of our own.
    pub reason: Option<&'a str>,
    /// What lies behind it: for this log alone, never for clients.
    pub cause: Option<&'a str>,
}

/// One worker's part of the log.
#[derive(Debug)]
pub struct LogBuffer {
    format: Format,
    page: Arc<Mutex<Page>>,
    queue: Arc<Queue>,
}

/// What a worker writes on. Only the writer takes its lock besides, twice a second.
#[derive(Debug)]
struct Page {
    clock: Clock,
    batch: Batch,
}

impl LogBuffer {
    /// Logs one call.
    pub fn write(&self, entry: &Entry<'_>) {
        let mut page = self.page.lock();
        let Page { clock, batch } = &mut *page;
        let time = clock.at(entry.ended, || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        match self.format {
            Format::Json => line::json(&mut batch.bytes, time, entry),
            Format::Text => line::text(&mut batch.bytes, time, entry),
        }
        batch.lines += 1;
        if batch.bytes.len() >= FULL {
            let bytes = self.queue.spare();
            self.queue.push(std::mem::replace(batch, Batch { bytes, lines: 0 }));
        }
    }
}

impl Drop for LogBuffer {
    fn drop(&mut self) {
        self.queue.push(std::mem::take(&mut self.page.lock().batch));
    }
}

#[cfg(test)]
mod tests;
