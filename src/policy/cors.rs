//! CORS: which pages of other origins may call, and read the answer, by the CORS protocol of the Fetch standard.
//!
//! tower-http decides and writes the headers. It is asked with bare heads, at once, and not as a layer around the gateway:
//! that would answer preflights before their route is known, and put a future of its own around every call.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{Method, Request, Response};
use tower::Service;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, ExposeHeaders};

use crate::config::{self, AllowedHeader, AllowedOrigin};
use crate::envelope::head::list;

/// How long browsers remember what they were told.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Methods of pages, where configuration does not say.
const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// Request headers that every dialect's clients may send: a page that may call may call well.
const SENT: [&str; 20] = [
    "authorization",
    "baggage",
    "cache-control",
    "connect-accept-encoding",
    "connect-content-encoding",
    "connect-protocol-version",
    "connect-timeout-ms",
    "content-encoding",
    "content-type",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "if-none-match",
    "last-event-id",
    "traceparent",
    "tracestate",
    "x-grpc-web",
    "x-request-id",
    "x-request-timeout",
    "x-user-agent",
];

/// Headers of answers that the gateway itself writes, and those by which gRPC-Web and Connect say how a call went.
const READ: [&str; 16] = [
    "accept-post",
    "age",
    "allow",
    "connect-content-encoding",
    "content-encoding",
    "etag",
    "grpc-encoding",
    "grpc-message",
    "grpc-status",
    "grpc-status-details-bin",
    "location",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "www-authenticate",
    "x-request-id",
];

/// Which pages may call.
#[derive(Debug)]
pub struct Cors {
    service: tower_http::cors::Cors<Bare>,
    /// Answers differ by who asks.
    varies: bool,
}

impl Cors {
    /// What is configured; `None`: nothing is.
    pub fn compile(written: &config::Cors) -> Option<Self> {
        let origins = written.origins.clone().filter(|_| written.conflict().is_none())?;
        let any = origins.contains(&AllowedOrigin::Any);
        let origin = match any {
            true => AllowOrigin::any(),
            false => AllowOrigin::predicate(move |origin, _| origins.iter().any(|allowed| allows(allowed, origin))),
        };
        let methods = written.methods.clone().unwrap_or_else(|| METHODS.to_vec());
        let (sent, read) = (names(&SENT, written.headers.as_deref()), names(&READ, written.expose.as_deref()));
        let credentials = written.credentials == Some(true);
        let layer = CorsLayer::new()
            .allow_origin(origin)
            .allow_methods(AllowMethods::list(methods))
            .allow_headers(sent.map_or_else(AllowHeaders::mirror_request, AllowHeaders::list))
            .expose_headers(read.map_or_else(ExposeHeaders::any, ExposeHeaders::list))
            .allow_credentials(credentials)
            .max_age(written.max_age.unwrap_or(MAX_AGE));
        Some(Self { service: tower::Layer::layer(&layer, Bare), varies: !any })
    }

    /// The headers by which a preflight is answered.
    pub fn preflight(&self, asked: &HeaderMap) -> HeaderMap {
        self.ask(Method::OPTIONS, asked)
    }

    /// Lets the page of this origin read an answer, if it may, in place of whatever the upstream says of it.
    pub fn share(&self, page: Option<&HeaderValue>, headers: &mut HeaderMap) {
        forget(headers);
        if self.varies {
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(page) = page else { return };
        let mut told = self.told(page);
        told.remove(VARY);
        headers.extend(told);
    }

    /// Whether pages of this origin may call with cookies.
    pub fn trusts(&self, origin: &HeaderValue) -> bool {
        self.told(origin).contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS)
    }

    /// Whether pages of this origin may call at all.
    pub fn lists(&self, origin: &HeaderValue) -> bool {
        self.told(origin).contains_key(ACCESS_CONTROL_ALLOW_ORIGIN)
    }

    fn told(&self, page: &HeaderValue) -> HeaderMap {
        let mut asked = HeaderMap::with_capacity(1);
        asked.insert(ORIGIN, page.clone());
        self.ask(Method::GET, &asked)
    }

    /// What tower-http says to a head; nothing to a page that may not.
    fn ask(&self, method: Method, headers: &HeaderMap) -> HeaderMap {
        let mut request = Request::new(());
        *request.method_mut() = method;
        for name in [ORIGIN, ACCESS_CONTROL_REQUEST_METHOD] {
            if let Some(value) = headers.get(&name) {
                request.headers_mut().insert(name, value.clone());
            }
        }
        if let Some(names) = list(headers, &ACCESS_CONTROL_REQUEST_HEADERS) {
            request.headers_mut().insert(ACCESS_CONTROL_REQUEST_HEADERS, names);
        }
        let mut service = self.service.clone();
        let answer = pin!(service.call(request));
        // It has nothing to wait for.
        let Poll::Ready(Ok(response)) = answer.poll(&mut Context::from_waker(Waker::noop())) else {
            return HeaderMap::new();
        };
        let mut told = response.into_parts().0.headers;
        if !told.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            let vary = told.remove(VARY);
            told.clear();
            told.extend(vary.map(|vary| (VARY, vary)));
        }
        told
    }
}

/// What a browser asks before a page's call: whose page, and by which method it would call.
pub fn asked_by_preflight(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    Method::from_bytes(headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

fn allows(allowed: &AllowedOrigin, origin: &HeaderValue) -> bool {
    match allowed {
        AllowedOrigin::Any => true,
        AllowedOrigin::Exact(allowed) => allowed == origin,
        AllowedOrigin::Subdomains { scheme, suffix } => {
            let labels = origin.as_bytes().strip_prefix(scheme.as_bytes());
            let labels = labels.and_then(|rest| rest.strip_suffix(suffix.as_bytes()));
            labels.is_some_and(|labels| {
                let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(byte);
                !labels.is_empty() && labels.iter().all(plain)
            })
        }
    }
}

/// The usual names and those that are written; none: any.
fn names(usual: &[&'static str], written: Option<&[AllowedHeader]>) -> Option<Vec<HeaderName>> {
    let mut names: Vec<_> = usual.iter().map(|name| HeaderName::from_static(name)).collect();
    for header in written.unwrap_or_default() {
        match header {
            AllowedHeader::Any => return None,
            AllowedHeader::Name(name) if names.contains(name) => {}
            AllowedHeader::Name(name) => names.push(name.clone()),
        }
    }
    Some(names)
}

/// Removes what an upstream says of CORS.
fn forget(headers: &mut HeaderMap) {
    let speaks = |name: &&HeaderName| name.as_str().starts_with("access-control-");
    let spoken: Vec<HeaderName> = headers.keys().filter(speaks).cloned().collect();
    for name in spoken {
        headers.remove(name);
    }
}

/// What tower-http stands before: an answer without anything.
#[derive(Debug, Clone, Copy)]
struct Bare;

impl Service<Request<()>> for Bare {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(())))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::allows;
    use crate::config::AllowedOrigin;

    #[test]
    fn a_wildcard_stands_for_subdomains_and_for_nothing_else() {
        let allowed = AllowedOrigin::Subdomains { scheme: "https://".into(), suffix: ".example.com".into() };
        for (origin, may) in [
            ("https://app.example.com", true),
            ("https://a.b.example.com", true),
            ("https://example.com", false),
            ("https://.example.com", false),
            ("http://app.example.com", false),
            ("https://app.example.com:8443", false),
            ("https://app.example.com.evil.org", false),
            ("https://evil.org/.example.com", false),
            ("https://evil.org:1@x.example.com", false),
            ("https://evilexample.com", false),
            ("null", false),
        ] {
            assert_eq!(allows(&allowed, &HeaderValue::from_static(origin)), may, "{origin}");
        }
    }
}
