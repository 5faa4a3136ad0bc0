//! What a call is answered that went wrong before its answer's head was sent.

use http::Response;

use super::{Call, Outcome};
use crate::body::Body;
use crate::envelope::{Dialect, connect, grpc, grpc_web, metadata, rest, websocket};
use crate::error::Error;

impl Call {
    /// The answer to a call that went wrong before its head was sent, in its client's dialect.
    pub(super) fn refuse(&mut self, error: &Error) -> Response<Body> {
        self.end_session(error);
        if let (None, Some(cause)) = (&self.cause, error.cause()) {
            self.says(cause.to_owned().into());
        }
        self.blame(error);
        if let Some(response) = self.fall_back(error) {
            return response;
        }
        let beside = self.beside.take().unwrap_or_default();
        let (metadata, rpc) = ([&beside.0, &beside.1], self.rpc());
        let schema = rpc.map(|rpc| &*rpc.schema);
        let response = match self.dialect {
            Dialect::Grpc(codec) => grpc::error(error, codec, metadata),
            Dialect::GrpcWeb { codec, text } => grpc_web::error(error, codec, text, metadata),
            Dialect::Connect(_) | Dialect::ConnectGet(_) => connect::error(error, schema, metadata),
            Dialect::ConnectStream(_) => connect::stream_error(error, self.dialect, schema, metadata),
            Dialect::Rest | Dialect::WebSocket | Dialect::Http => {
                let mut response = match self.dialect {
                    Dialect::WebSocket => websocket::refusal(error, schema),
                    _ => rest::error(error, schema),
                };
                for metadata in metadata {
                    // An error has its status by the table, whatever the upstream wishes.
                    rpc.map(|rpc| metadata::to_rest(metadata, response.headers_mut(), &rpc.crossing));
                }
                response
            }
        };
        self.outcome = Some(Outcome {
            status: response.status().as_u16(),
            code: error.code_in(self.dialect.name()),
            reason: error.reason(),
            whole: false,
        });
        response
    }

    /// Counts the request's own fault, of which a call has one at most.
    pub(in crate::gateway) fn blame(&mut self, error: &Error) {
        if let Some(fault) = error.fault()
            && !std::mem::replace(&mut self.blamed, true)
        {
            self.worker.refused.count(fault);
        }
    }

    /// The method's answer to a call whose service cannot be asked. For the log and the counters it has failed all the same.
    fn fall_back(&mut self, error: &Error) -> Option<Response<Body>> {
        // Who may not call is told so, not what those would be told who may.
        if !self.let_in {
            return None;
        }
        let fallback = self.rpc()?.fallback.as_ref().filter(|_| error.is_of_absent_service())?;
        let mut response = fallback.answer(self.dialect)?;
        if !response.status().is_success() {
            rest::tell_retry_after(error, response.headers_mut());
        }
        let status = response.status().as_u16();
        self.outcome = Some(Outcome { status, code: error.code(), reason: error.reason(), whole: false });
        Some(response)
    }
}
