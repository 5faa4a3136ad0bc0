//! Site: whether a page that may has sent a request to which its browser added cookies, or whose answer sets some. Nobody
//! else's page is to call in the name of who happens to be logged in (CSRF), nor to open sockets so, nor to log its visitors
//! in as somebody else.
//!
//! `Sec-Fetch-Site` is what browsers say of it (W3C Fetch Metadata), `Origin` what those say that are older; clients that
//! are no browsers say neither, and nobody else makes them call. Methods that are safe (RFC 9110 §9.2.1) change nothing, and
//! CORS keeps their answers from other pages; a WebSocket is not held to CORS, and its handshake is a GET.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};

use super::Head;
use super::refusal::Refusal;

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses what a page of another origin has sent, unless `cors` lets it call with cookies.
pub(super) fn check(head: &Head<'_>) -> Result<(), Refusal> {
    let safe = matches!(*head.method, Method::GET | Method::HEAD | Method::OPTIONS) && !head.websocket;
    if safe {
        return Ok(());
    }
    let origin = head.headers.get(header::ORIGIN);
    let own = match (head.headers.get(&SEC_FETCH_SITE).map(HeaderValue::as_bytes), origin) {
        (Some(b"same-origin" | b"none"), _) | (None, None) => true,
        (Some(_), _) => false,
        (None, Some(origin)) => is_host(origin, head.headers, head.uri),
    };
    let trusted = || head.cors.zip(origin).is_some_and(|(cors, origin)| cors.trusts(origin));
    if own || trusted() { Ok(()) } else { Err(Refusal::cross_origin()) }
}

/// The origin is the host that was asked. Its scheme may be another: TLS may end before the gateway.
fn is_host(origin: &HeaderValue, headers: &HeaderMap, uri: &Uri) -> bool {
    let host = uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = host.or_else(|| headers.get(header::HOST).map(HeaderValue::as_bytes));
    let origin = origin.as_bytes();
    let origin = origin.strip_prefix(b"https://").or_else(|| origin.strip_prefix(b"http://"));
    origin.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderMap, HeaderName, HeaderValue};
    use http::{Method, Uri};

    use super::{Head, check};

    fn passes(method: &Method, websocket: bool, sent: &[(&'static str, &'static str)]) -> bool {
        let mut headers: HeaderMap =
            sent.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        headers.insert("host", HeaderValue::from_static("api.example.com:8080"));
        let uri = Uri::from_static("/");
        check(&Head { headers: &headers, uri: &uri, method, websocket, cors: None }).is_ok()
    }

    #[test]
    fn only_the_own_pages_call_with_cookies() {
        for (sent, may) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://api.example.com:8080")], false),
            (&[("origin", "https://api.example.com:8080")], true),
            (&[("origin", "http://API.example.com:8080")], true),
            (&[("origin", "https://api.example.com")], false),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "https://api.example.com:8080.evil.example")], false),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
        ] {
            assert_eq!(passes(&Method::POST, false, sent), may, "{sent:?}");
            assert_eq!(passes(&Method::GET, true, sent), may, "a socket: {sent:?}");
            assert!(passes(&Method::GET, false, sent), "a safe method: {sent:?}");
        }
    }
}
