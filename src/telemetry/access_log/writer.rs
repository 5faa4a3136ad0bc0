//! The thread that writes the log, and the bounded queue in front of it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::line::Clock;
use super::{FULL, Format, LogBuffer, Page};

/// A buffer that is not full waits at most this long.
const TICK: Duration = Duration::from_millis(500);
/// Bytes that wait for the writer at most.
const LONGEST_QUEUE: usize = 1024 * 1024;
/// Bytes for which the writer is woken before its tick. To switch to it and back costs as much as two calls.
const WORTH_WAKING: usize = LONGEST_QUEUE / 8;
/// Buffers that are kept for the next lines: as many as the writer is woken for.
const SPARE: usize = WORTH_WAKING / FULL;
/// A flush gives up on a writer that is stuck.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The log of the process, with one thread that writes. Dropping it writes what is left, for two seconds at most: who should
/// read may have stopped, and that must not keep the process.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    queue: Arc<Queue>,
}

impl AccessLog {
    /// To stderr: text on a terminal, else JSON. `lost` counts lines that were dropped.
    pub fn stderr(lost: Arc<AtomicU64>) -> io::Result<Self> {
        let format = if io::stderr().is_terminal() { Format::Text } else { Format::Json };
        Self::to(io::stderr(), format, lost)
    }

    /// To anything that takes bytes.
    pub fn to(out: impl Write + Send + 'static, format: Format, lost: Arc<AtomicU64>) -> io::Result<Self> {
        let queue = Arc::new(Queue { state: Mutex::default(), wake: Condvar::new(), idle: Condvar::new(), lost });
        let of_writer = queue.clone();
        std::thread::Builder::new().name("transom-log".to_owned()).spawn(move || of_writer.write_to(out))?;
        Ok(Self { format, queue })
    }

    /// A worker's part of it.
    pub fn buffer(&self) -> LogBuffer {
        let page = Arc::new(Mutex::new(Page { clock: Clock::new(), batch: Batch::default() }));
        self.queue.state.lock().pages.push(Arc::downgrade(&page));
        LogBuffer { format: self.format, page, queue: self.queue.clone() }
    }

    /// Takes lines from elsewhere, the process's own.
    pub fn lines(&self) -> Lines {
        Lines(self.queue.clone())
    }

    /// How a call's line looks.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Waits until all lines up to here are written, two seconds at most.
    pub fn flush(&self) {
        let mut state = self.queue.state.lock();
        let flush = state.flushes_wanted + 1;
        state.flushes_wanted = flush;
        self.queue.wake.notify_one();
        self.queue.idle.wait_while_for(&mut state, |state| state.flushes_done < flush, FLUSH_TIMEOUT);
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
        self.queue.state.lock().closed = true;
        self.queue.wake.notify_one();
    }
}

/// A way into the log for lines that are formatted elsewhere: each write is one. It never waits and never fails; what
/// finds the queue full is dropped and counted.
#[derive(Debug, Clone)]
pub struct Lines(Arc<Queue>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(Batch { bytes: line.to_vec(), lines: 1 });
        self.0.hurry();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines that travel together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: u64,
}

/// What workers and the writer share.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    idle: Condvar,
    lost: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    full: VecDeque<Batch>,
    /// Their bytes.
    waiting: usize,
    pages: Vec<Weak<Mutex<Page>>>,
    /// Written and emptied: what takes their place is in no cache, and the kernel may have to find it first.
    spare: Vec<Vec<u8>>,
    /// What waits is not to wait for more.
    hurry: bool,
    flushes_wanted: u64,
    flushes_done: u64,
    closed: bool,
}

impl State {
    /// The writer has nothing to do before its tick.
    fn rests(&self) -> bool {
        self.waiting < WORTH_WAKING && !self.hurry && !self.closed && self.flushes_wanted == self.flushes_done
    }
}

impl Queue {
    /// Wakes the writer for what there is.
    fn hurry(&self) {
        self.state.lock().hurry = true;
        self.wake.notify_one();
    }

    /// Takes a full buffer, or counts its lines as lost.
    pub(super) fn push(&self, batch: Batch) {
        let mut state = self.state.lock();
        if state.waiting + batch.bytes.len() <= LONGEST_QUEUE {
            state.waiting += batch.bytes.len();
            state.full.push_back(batch);
            if !state.rests() {
                // The writer would wait for the lock if it were still held.
                drop(state);
                self.wake.notify_one();
            }
        } else {
            self.lost.fetch_add(batch.lines, Ordering::Relaxed);
        }
    }

    /// Room for lines.
    pub(super) fn spare(&self) -> Vec<u8> {
        self.state.lock().spare.pop().unwrap_or_else(|| Vec::with_capacity(FULL + FULL / 4))
    }

    fn write_to(&self, mut out: impl Write) {
        let mut fetched = Instant::now();
        loop {
            let mut state = self.state.lock();
            if state.rests() {
                self.wake.wait_for(&mut state, TICK);
            }
            let closed = state.closed;
            let flush = state.flushes_wanted;
            let mut batches = std::mem::take(&mut state.full);
            state.waiting = 0;
            state.hurry = false;
            // Workers lock their buffer first and the queue second; so the queue is let go of before a buffer is locked.
            let fetch = closed || flush != state.flushes_done || fetched.elapsed() >= TICK;
            let pages = if fetch { state.pages.clone() } else { Vec::new() };
            state.pages.retain(|page| page.strong_count() > 0);
            if fetch {
                fetched = Instant::now();
            }
            drop(state);

            let pages = pages.iter().filter_map(Weak::upgrade);
            batches.extend(pages.map(|page| std::mem::take(&mut page.lock().batch)));
            let left = batches.len() - write(&mut out, &batches);
            let lost = batches.iter().rev().take(left).map(|batch| batch.lines).sum();
            self.lost.fetch_add(lost, Ordering::Relaxed);
            let _ = out.flush();

            let mut state = self.state.lock();
            for mut batch in
                batches.into_iter().take(SPARE - state.spare.len()).filter(|batch| batch.bytes.capacity() > FULL)
            {
                batch.bytes.clear();
                state.spare.push(batch.bytes);
            }
            state.flushes_done = flush;
            drop(state);
            self.idle.notify_all();
            if closed {
                return;
            }
        }
    }
}

/// Writes all of them, in one call where it takes so much: a file grows in larger pieces then, which cost it less. How many could
/// be written.
fn write(out: &mut impl Write, batches: &VecDeque<Batch>) -> usize {
    let mut slices: Vec<_> = batches.iter().map(|batch| IoSlice::new(&batch.bytes)).collect();
    let mut rest = slices.as_mut_slice();
    // Those that are empty are written.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match out.write_vectored(rest) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
        }
    }
    batches.len() - rest.len()
}
