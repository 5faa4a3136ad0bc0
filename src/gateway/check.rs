//! Check: what a request's message must pass before it is sent. Its strings are cleaned, its schema's rules hold, and the limits
//! by its fields let it in. Every codec and dialect ends here, so that none goes around it.

use bytes::Bytes;
use http::HeaderMap;
use transom_transcode::frame::{PREFIX, seal};

use super::call::Call;
use super::route::Rpc;
use super::worker::Worker;
use crate::error::Error;
use crate::policy::rate::Stage;

/// Holds a request's message, which begins at `start`, to what its method asks of it.
#[inline]
pub(super) fn hold(worker: &Worker, rpc: &Rpc, out: &mut Vec<u8>, start: usize) -> Result<(), Error> {
    match &rpc.demands {
        None => Ok(()),
        Some(demands) => demands.hold(&rpc.schema, rpc.send.output, &mut worker.translator(), (out, start)),
    }
}

impl Call {
    /// Makes a message that was translated, behind room for its prefix, the frame that is sent.
    pub(super) async fn check(&mut self, rpc: &Rpc, headers: &HeaderMap, mut out: Vec<u8>) -> Result<Bytes, Error> {
        hold(&self.worker, rpc, &mut out, PREFIX)?;
        seal(&mut out);
        let frame = self.worker.pool.memory().hold(out.into());
        self.let_in(rpc, headers, &frame).await?;
        Ok(frame)
    }

    /// Asks the limits by a frame's fields, and notes what it says.
    pub(super) async fn let_in(&mut self, rpc: &Rpc, headers: &HeaderMap, frame: &Bytes) -> Result<(), Error> {
        if rpc.rates.need_message() {
            self.limit(&rpc.rates, Stage::Message, headers, &frame[PREFIX..]).await?;
        }
        self.note(rpc, frame);
        Ok(())
    }

    /// Its service is asked with this message, in its frame: which kept replies that makes forgotten may depend on what it says.
    fn note(&mut self, rpc: &Rpc, frame: &[u8]) {
        self.asks();
        if let Some(invalidates) = rpc.invalidates.get() {
            self.touched = invalidates.touched(frame.get(PREFIX..).unwrap_or_default());
        }
    }
}
