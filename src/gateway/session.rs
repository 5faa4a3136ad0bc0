//! Sessions at work for a call: cookies in, cookies out.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderValue, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, Response};

use super::call::Call;
use super::route::Rpc;
use crate::body::Body;
use crate::envelope::Dialect;
use crate::error::Error;
use crate::policy::auth::Head;

/// What a call has to do with its client's session.
#[derive(Default)]
pub(super) struct Cookies {
    /// The refresh token of its cookie, as a record for its message.
    taken: Option<Vec<u8>>,
    /// What its answer sets, or clears.
    set: Vec<HeaderValue>,
}

impl Call {
    /// Takes what the request's cookies have for its message.
    pub(super) fn take_cookies(&mut self, rpc: &Rpc, head: &Parts) -> Result<(), Error> {
        let Some(session) = rpc.session.as_ref().filter(|_| keeps_cookies(self.dialect)) else { return Ok(()) };
        let (headers, uri, method, cors) = (&head.headers, &head.uri, &head.method, rpc.cors.as_deref());
        let taken = session.take(&Head { headers, uri, method, websocket: false, cors });
        self.cookies.taken = taken.map_err(|refusal| self.turned_away(&rpc.gate, refusal))?;
        Ok(())
    }

    /// Puts it where the service expects it, in the message behind `start`.
    pub(super) fn put_cookies(&self, rpc: &Rpc, message: &mut Vec<u8>, start: usize) {
        if let (Some(session), Some(taken)) = (&rpc.session, &self.cookies.taken) {
            session.put(taken, message, start);
        }
    }

    /// The reply as its client gets it: tokens are in cookies, where that is configured.
    pub(super) fn shape(&mut self, rpc: &Rpc, message: Bytes) -> Result<Bytes, Error> {
        let Some(session) = rpc.session.as_ref().filter(|_| keeps_cookies(self.dialect)) else { return Ok(message) };
        match session.shape(message) {
            Ok(shaped) => {
                self.cookies.set = shaped.cookies;
                Ok(shaped.message)
            }
            Err(why) => {
                self.says(why);
                Err(Error::UpstreamProtocol)
            }
        }
    }

    /// A service that takes a cookie's token no more has ended the session.
    pub(super) fn end_session(&mut self, error: &Error) {
        let ended = match (error, &self.cookies.taken, self.rpc().and_then(|rpc| rpc.session.as_ref())) {
            (Error::Upstream(status), Some(_), Some(session)) if session.ends(status.code) => session.cleared(),
            _ => return,
        };
        self.cookies.set = ended.to_vec();
    }

    /// Tells the browser; an answer with tokens is for nobody's cache.
    pub(super) fn set_cookies(&mut self, response: &mut Response<Body>) {
        if self.cookies.set.is_empty() {
            return;
        }
        let headers: &mut HeaderMap = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for cookie in std::mem::take(&mut self.cookies.set) {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

/// A dialect in which one message answers one, so that cookies can be set by it; browsers' pages speak it.
fn keeps_cookies(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::Rest | Dialect::Connect(_))
}
