//! Outgoing: what goes to the upstream with every message of a call, a deadline above all. Its head alone decides it.

use std::time::Instant;

use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use super::call::Call;
use super::route::Rpc;
use super::worker::Peer;
use crate::envelope::head::Head;
use crate::envelope::{Codec, Dialect, metadata, origin};
use crate::error::Error;
use crate::upstream::{About, Aim, Metadata, Outgoing};

impl Rpc {
    /// What goes to its service with metadata, for so long and there; whether it is patient says whose the deadline is.
    pub(super) fn outgoing(&self, headers: Metadata, (deadline, patient): (Instant, bool), aim: Aim) -> Outgoing<'_> {
        Outgoing {
            uri: &self.uri,
            headers,
            deadline,
            max_age: self.max_age.as_ref(),
            patient,
            single: !self.streams(),
            priority: self.settings.priority.value,
            aim,
            retry: self.retry.as_ref(),
            takes: self.takes.as_ref(),
        }
    }
}

impl Call {
    /// Where it goes, until when, and what its service is told; `host` is whom the request is for.
    pub(super) fn outgoing<'r>(
        &mut self,
        peer: &Peer,
        rpc: &'r Rpc,
        head: &Head<'_>,
        host: HeaderValue,
    ) -> Result<Outgoing<'r>, Error> {
        let aim = self.aim(rpc, &head.headers);
        let (deadline, patient) = self.time(rpc, head)?;
        let (given, agent) = self.given(rpc, head)?;
        let mut headers = Metadata::new(given, self.about(peer, head, host, agent));
        self.speak_for_caller(rpc, head, &mut headers)?;
        self.let_in = true;
        Ok(rpc.outgoing(headers, (deadline, patient), aim))
    }

    /// When it is given up, and whether that is the method's doing and not its client's.
    pub(super) fn time(&mut self, rpc: &Rpc, head: &Head<'_>) -> Result<(Instant, bool), Error> {
        let (own, asked) = (rpc.settings.timeout.value, head.timeout()?);
        let patient = asked.is_none_or(|asked| own.is_some_and(|own| own <= asked));
        Ok((self.deadline(own, asked), patient))
    }

    /// What crosses from its client; apart from it, where that crosses, what the client says that it is.
    fn given(&self, rpc: &Rpc, head: &Head<'_>) -> Result<(HeaderMap, Option<HeaderValue>), Error> {
        match self.dialect {
            Dialect::Rest | Dialect::WebSocket | Dialect::Http => Ok((metadata::from_rest(head, &rpc.crossing)?, None)),
            dialect => {
                let frames = dialect == Dialect::Grpc(Codec::Proto) && !rpc.reads(dialect);
                Ok((metadata::from_rpc(head, &rpc.crossing, frames)?, head.user_agent().cloned()))
            }
        }
    }

    /// What the gateway itself says of it.
    fn about(&self, peer: &Peer, head: &Parts, host: HeaderValue, agent: Option<HeaderValue>) -> About {
        let forwarded_host = origin::forwarded_host(&head.headers).filter(|_| self.proxied).cloned();
        About {
            request_id: self.id.header().clone(),
            forwarded_for: origin::forwarded_for(&head.headers, &peer.forwarded, self.client != peer.ip()),
            forwarded_host: forwarded_host.unwrap_or(host),
            tls: self.tls,
            certificate: peer.certificate.clone(),
            agent,
            unpacks: !self.dialect.is_opaque(),
        }
    }
}
