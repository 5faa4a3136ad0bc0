//! The codecs at work for a stream: a client's messages to the wire's and back, one at a time.

use std::sync::{Arc, OnceLock};

use http::HeaderValue;
use smallvec::SmallVec;
use transom_transcode::overlay::Values;
use transom_transcode::plan::{BindPlan, OutPlan};
use transom_transcode::to_wire::{Input, Media};

use super::call::Call;
use super::check::hold;
use super::route::{Binding, Rpc};
use super::translate::{bind_into, print_into, raw};
use super::worker::Worker;
use crate::envelope::stream::Translate;
use crate::envelope::{Codec, rest};
use crate::error::Error;

/// From a client's message to the upstream's.
pub(super) struct ToWire {
    worker: Arc<Worker>,
    rpc: Arc<Rpc>,
    bind: BindPlan,
    /// What the token sets.
    values: Option<Arc<Values>>,
    codec: Codec,
    beside: Beside,
    /// Messages so far.
    count: u64,
}

/// What a stream of messages has beside them: it goes with the first one.
#[derive(Debug, Default)]
pub(super) struct Beside {
    pub(super) captures: Box<[Box<str>]>,
    pub(super) query: Box<str>,
    /// The content type of a raw body.
    pub(super) raw: Option<Box<str>>,
}

impl Beside {
    fn is_empty(&self) -> bool {
        self.captures.is_empty() && self.query.is_empty() && self.raw.as_deref().is_none_or(str::is_empty)
    }
}

impl ToWire {
    pub(super) fn new(call: &Call, binding: &Binding, codec: Codec) -> Self {
        let (worker, rpc, bind) = (call.worker.clone(), binding.rpc.clone(), binding.bind.clone());
        Self { worker, rpc, bind, values: call.values.clone(), codec, beside: Beside::default(), count: 0 }
    }

    /// The same for JSON or raw messages with something beside them.
    pub(super) fn with(call: &Call, binding: &Binding, beside: Beside) -> Self {
        Self { beside, ..Self::new(call, binding, Codec::Json) }
    }

    /// The same for a socket, whose messages may be of either codec.
    pub(super) fn planned(call: &Call, binding: &Binding, bind: BindPlan, beside: Beside) -> Self {
        Self { bind, ..Self::with(call, binding, beside) }
    }

    /// Appends a message of this codec. What the path binds is held against every message, and a binary one is not read.
    pub(super) fn message_in(&mut self, codec: Codec, message: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        if codec == Codec::Proto && !self.beside.is_empty() {
            let message = "the path and the query bind to a JSON message: send a text, or take the RPC's own path";
            return Err(Error::bad_request(message));
        }
        self.codec = codec;
        self.message(message, out)
    }

    fn bind(&self, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let captures: SmallVec<[&str; 4]> = self.beside.captures.iter().map(|capture| &**capture).collect();
        let media = self.beside.raw.as_deref().map_or(Media::Json, Media::Raw);
        let query = &self.beside.query;
        let input = Input { body, media, captures: &captures, query, later: self.count > 1 };
        let start = out.len();
        bind_into(&self.worker, &self.rpc, &self.bind, &input, out)?;
        if let (Some(bound), Some(values)) = (&self.rpc.bound, &self.values) {
            bound.set(values, out, start)?;
        }
        hold(&self.worker, &self.rpc, out, start)
    }

    /// Appends one message.
    fn write(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        match (self.codec, &self.rpc.bound, &self.values) {
            (Codec::Json, ..) => return self.bind(message, out),
            (Codec::Proto, Some(bound), Some(values)) => bound.apply(values, message, out)?,
            (Codec::Proto, ..) => out.extend_from_slice(message),
        }
        hold(&self.worker, &self.rpc, out, start)
    }
}

impl Translate for ToWire {
    fn message(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.count += 1;
        // Of many messages, it is said which one is wrong; how a raw body is cut is nobody's business.
        let many = self.rpc.client_streaming && self.beside.raw.is_none();
        self.write(message, out).map_err(|error| if many { error.of_message(self.count) } else { error })
    }

    /// What path and query say is not lost where the client sends no message: they are one.
    fn end(&mut self, out: &mut Vec<u8>) -> Result<bool, Error> {
        if self.count > 0 || self.beside.is_empty() {
            return Ok(false);
        }
        self.bind(b"", out).map(|()| true)
    }
}

/// From an upstream's message to the client's.
pub(super) struct FromWire {
    worker: Arc<Worker>,
    rpc: Arc<Rpc>,
    out: OutPlan,
    codec: Codec,
    /// The content type of the first raw message.
    content_type: Arc<OnceLock<HeaderValue>>,
}

impl FromWire {
    pub(super) fn new(worker: &Arc<Worker>, rpc: &Arc<Rpc>, out: OutPlan, codec: Codec) -> Self {
        Self { worker: worker.clone(), rpc: rpc.clone(), out, codec, content_type: Arc::default() }
    }

    /// Where the content type of the first raw message will be.
    pub(super) fn content_type(&self) -> Arc<OnceLock<HeaderValue>> {
        self.content_type.clone()
    }

    /// Its messages are bytes of a `google.api.HttpBody`.
    pub(super) fn is_raw(&self) -> bool {
        self.out.raw && self.codec == Codec::Json
    }
}

impl Translate for FromWire {
    fn message(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        match self.codec {
            Codec::Proto => out.extend_from_slice(message),
            Codec::Json if self.out.raw => {
                let (content_type, data) = raw(&self.rpc, &self.out, message)?;
                if self.content_type.get().is_none() {
                    // Nobody else sets it.
                    let _ = self.content_type.set(rest::content_type(content_type)?);
                }
                out.extend_from_slice(data);
            }
            Codec::Json => print_into(&self.worker, &self.rpc, &self.out, message, out)?,
        }
        Ok(())
    }
}
