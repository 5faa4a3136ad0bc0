//! Sent: what a call has sent, for the case that its service answers INTERNAL, or takes the stream back.
//!
//! That is what a service says which is broken, and what most say to a message that they cannot read (grpc-java's cancel the stream
//! of one that they cannot unpack). Frames that cross unread are the client's own, and a few of them must not speak against an
//! endpoint: so once that has come it is looked whether the request was what the method takes. Of one that does not stay at hand
//! the beginning is kept for that, and nothing of one that is longer: neither says anything then.

use std::sync::Arc;

use http::HeaderValue;
use parking_lot::Mutex;
use transom_transcode::frame::PREFIX;
use transom_transcode::schema::{MessageId, Schema};
use transom_transcode::sound::is_sound;
use transom_transcode::status::Code;

use super::Outgoing;
use super::failure::{Failure, FailureKind};
use crate::envelope::coding::Coding;

/// Bytes that are kept.
const KEPT: usize = 8 * 1024;

/// Bytes of a message that was compressed; who sends little must not have much unpacked.
const UNPACKED: usize = 64 * 1024;

/// What a method takes.
#[derive(Debug)]
pub struct Takes {
    /// Where its type stands.
    pub schema: Arc<Schema>,
    /// The type of its messages.
    pub input: MessageId,
    /// A stream of them.
    pub many: bool,
}

impl Takes {
    /// These frames are that. The coding is of those that are compressed.
    fn are(&self, frames: &[u8], coding: Option<&HeaderValue>) -> bool {
        if !coding.is_none_or(is_everywhere) {
            return false;
        }
        let (mut rest, mut messages) = (frames, 0);
        while let Some(([flag, length @ ..], behind)) = rest.split_first_chunk::<PREFIX>() {
            let length = u32::from_be_bytes(*length) as usize;
            // What is still to come nobody has read.
            let Some((message, behind)) = behind.split_at_checked(length) else { break };
            if !self.is_one(message, *flag != 0, coding) {
                return false;
            }
            (rest, messages) = (behind, messages + 1);
        }
        self.many || messages == 1 && rest.is_empty()
    }

    fn is_one(&self, message: &[u8], compressed: bool, coding: Option<&HeaderValue>) -> bool {
        if !compressed {
            return is_sound(&self.schema, self.input, message);
        }
        match Coding::of_messages(coding) {
            Ok(Coding::Identity) | Err(_) => false,
            Ok(coding) => {
                coding.decode(message, UNPACKED).is_ok_and(|message| is_sound(&self.schema, self.input, &message))
            }
        }
    }
}

/// Whether every service has heard of a coding. A request that names another is refused by some before they read it.
fn is_everywhere(coding: &HeaderValue) -> bool {
    matches!(coding.as_bytes(), b"identity" | b"gzip" | b"deflate")
}

/// The frames that a call has sent so far.
#[derive(Debug)]
pub(super) struct Sent {
    takes: Arc<Takes>,
    coding: Option<HeaderValue>,
    /// None: more than are kept.
    frames: Mutex<Option<Vec<u8>>>,
}

impl Sent {
    /// Nothing yet, of a call whose failures speak against somebody.
    pub(super) fn of(outgoing: &Outgoing<'_>) -> Option<Arc<Self>> {
        let takes = Arc::clone(outgoing.takes?);
        let coding = outgoing.headers.coding().cloned();
        Some(Arc::new(Self { takes, coding, frames: Mutex::new(Some(Vec::new())) }))
    }

    /// So much more.
    pub(super) fn came(&self, chunk: &[u8]) {
        let mut frames = self.frames.lock();
        match &mut *frames {
            Some(kept) if kept.len() + chunk.len() <= KEPT => kept.extend_from_slice(chunk),
            _ => *frames = None,
        }
    }

    /// It is what the method takes, as far as that is known.
    pub(super) fn is_well(&self) -> bool {
        self.frames.lock().as_ref().is_some_and(|frames| self.takes.are(frames, self.coding.as_ref()))
    }

    /// Who answers with a message has read the request, if that is one too.
    pub(super) fn is_read(&self) -> bool {
        !self.takes.many
    }
}

impl Outgoing<'_> {
    /// The failure; one that this request has brought about says so.
    pub(super) fn weigh(&self, failure: Failure, frame: &[u8]) -> Failure {
        failure.weigh(|| self.takes.is_none_or(|takes| takes.are(frame, self.headers.coding())))
    }
}

impl Failure {
    /// The same; one that a request has brought about which was not well says so.
    pub(super) fn weigh(mut self, is_well: impl FnOnce() -> bool) -> Self {
        match &mut self.kind {
            FailureKind::Status(answer) if answer.status.code == Code::Internal && answer.http.is_none() => {
                answer.provoked = !is_well();
            }
            FailureKind::Cancelled { provoked } => *provoked = !is_well(),
            _ => {}
        }
        self
    }
}
