//! The answer as it goes out, with the call in its body.

use http::{Method, Response, header};
use transom_transcode::status::Code;

use super::{Call, Outcome};
use crate::body::Body;
use crate::envelope::{Dialect, coding, metadata, rest};
use crate::error::Error;
use crate::gateway::socket::Tunnel;
use crate::memory::SMALL;

impl Call {
    /// The answer, or the error's, as it goes out.
    pub(in crate::gateway) async fn finish(
        mut self: Box<Self>,
        answer: Result<Response<Body>, Error>,
    ) -> Response<Body> {
        match (answer, self.tunnel.take()) {
            (Ok(response), Some(tunnel)) => self.goes_on(response, *tunnel),
            (Ok(response), None) if self.packs() && coding::is_long(&response) => {
                let packed = Box::pin(coding::pack_in_turns(response, self.accepts.clone())).await;
                self.goes_out(packed)
            }
            (Ok(response), None) => {
                let packed = self.pack(response);
                self.goes_out(packed)
            }
            (Err(error), _) => {
                let packed = self.refuse(&error);
                let packed = self.pack(packed);
                self.goes_out(packed)
            }
        }
    }

    /// Named, without a body where the client wants none, and followed to its last byte.
    fn goes_out(mut self: Box<Self>, mut response: Response<Body>) -> Response<Body> {
        self.set_cookies(&mut response);
        let mut response = if self.method == Method::HEAD { rest::without_body(response) } else { response };
        let mut id = self.id.header().clone();
        // From the first answer of a connection HPACK learns the name, which is never sent again.
        id.set_sensitive(!self.first);
        response.headers_mut().insert(&metadata::X_REQUEST_ID, id);
        if let Some(cookie) = self.sticky.take() {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        if let Some(told) = self.gated().and_then(|gated| gated.rates().told(&self.rated)) {
            told.tell(response.headers_mut());
        }
        if let Some(cors) = &self.cors {
            cors.share(self.page.as_ref(), response.headers_mut());
        }
        if self.outcome.is_none() {
            let status = response.status().as_u16();
            self.outcome = Some(Outcome { status, code: Code::Ok, reason: None, whole: false });
        }
        response.map(|body| self.counted(body).guarded(self))
    }

    /// The answer after which the call goes on, to an end of its own.
    fn goes_on(mut self: Box<Self>, mut response: Response<Body>, tunnel: Tunnel) -> Response<Body> {
        self.set_cookies(&mut response);
        response.headers_mut().insert(&metadata::X_REQUEST_ID, self.id.header().clone());
        if let Some(cookie) = self.sticky.take() {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        let status = response.status().as_u16();
        self.outcome = Some(Outcome { status, code: Code::Ok, reason: None, whole: false });
        tokio::spawn(tunnel.run(self));
        response
    }

    fn pack(&self, response: Response<Body>) -> Response<Body> {
        if self.packs() { coding::pack(response, self.accepts.as_ref()) } else { response }
    }

    /// Whether its answer is compressed, which is plain HTTP's: single messages have a compression of their own.
    fn packs(&self) -> bool {
        let plain =
            matches!(self.dialect, Dialect::Rest | Dialect::Connect(_) | Dialect::ConnectGet(_) | Dialect::Http);
        plain && self.route.is_some() && self.rpc().is_none_or(|rpc| rpc.settings.compress.value)
    }

    /// The answer; what is large of it is counted for as long as anybody holds it.
    fn counted(&self, body: Body) -> Body {
        if http_body::Body::size_hint(&body).lower() <= SMALL as u64 {
            return body;
        }
        let memory = self.worker.pool.memory();
        body.map(|bytes| memory.hold(bytes), |streamed| streamed)
    }
}
