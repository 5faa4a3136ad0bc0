//! The codecs at work for a stream: a client's messages to the wire's and back, one at a time.

use std::sync::Arc;

use transom_transcode::plan::{BindPlan, OutPlan};
use transom_transcode::to_wire::Input;

use super::route::{Binding, Rpc};
use super::translate::{bind_into, print_into};
use super::worker::Worker;
use crate::envelope::Codec;
use crate::envelope::stream::Translate;
use crate::error::Error;

/// From a client's message to the upstream's.
pub(super) struct ToWire {
    worker: Arc<Worker>,
    rpc: Arc<Rpc>,
    bind: BindPlan,
    codec: Codec,
}

impl ToWire {
    pub(super) fn new(worker: &Arc<Worker>, binding: &Binding, codec: Codec) -> Self {
        Self { worker: worker.clone(), rpc: binding.rpc.clone(), bind: binding.bind.clone(), codec }
    }
}

impl Translate for ToWire {
    fn message(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        match self.codec {
            Codec::Proto => out.extend_from_slice(message),
            Codec::Json => {
                let input = Input { body: message, ..Input::default() };
                bind_into(&self.worker, &self.rpc, &self.bind, &input, out)?;
            }
        }
        Ok(())
    }
}

/// From an upstream's message to the client's.
pub(super) struct FromWire {
    worker: Arc<Worker>,
    rpc: Arc<Rpc>,
    out: OutPlan,
    codec: Codec,
}

impl FromWire {
    pub(super) fn new(worker: &Arc<Worker>, rpc: &Arc<Rpc>, out: OutPlan, codec: Codec) -> Self {
        Self { worker: worker.clone(), rpc: rpc.clone(), out, codec }
    }

    /// It changes nothing.
    pub(super) fn is_wire(&self) -> bool {
        self.codec == Codec::Proto
    }
}

impl Translate for FromWire {
    fn message(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        match self.codec {
            Codec::Proto => out.extend_from_slice(message),
            Codec::Json => print_into(&self.worker, &self.rpc, &self.out, message, out)?,
        }
        Ok(())
    }
}
