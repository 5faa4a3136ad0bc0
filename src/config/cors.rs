//! `cors`: which pages of other origins may call.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Uri};

use super::HOUR;
use super::kind::{self, Kind as _, checked, duration, flag, list};
use super::problem::quote;
use super::read::section;

section! {
    /// Which pages of other origins may call, by the CORS protocol of the Fetch standard. Without `origins` the gateway says nothing of it; clients that are no browsers never ask.
    pub struct Cors {
        /// Origins that may: `https://app.example.com`, `https://*.example.com` for every subdomain, an application's own such as `capacitor://localhost`, or `*`; `[]`: none.
        origins: Option<Vec<AllowedOrigin>> = list(checked("an origin such as `https://app.example.com`", origin)).optional(),
        /// HTTP methods that they may use; by default GET, HEAD, POST, PUT, PATCH and DELETE.
        methods: Option<Vec<Method>> = list(checked("an HTTP method", method)).optional(),
        /// Request headers that they may send beside `authorization`, `content-type` and those of gRPC-Web and Connect, or `*`.
        headers: Option<Vec<AllowedHeader>> = list(header()).optional(),
        /// Headers of answers that they may read beside those of the gateway, gRPC-Web and Connect, or `*`.
        expose: Option<Vec<AllowedHeader>> = list(header()).optional(),
        /// Browsers send cookies and let the page read the answer; by default they do not: beside `sessions` such a page gets no cookies and none of its visitor's are read, so it holds the answers' tokens itself, and cannot log in where `in_body: remove` takes them out (403). Not with `*` in `origins` or `expose`.
        credentials: Option<bool> = flag().optional(),
        /// How long a browser may remember what it was told; by default 10 minutes.
        max_age: Option<Duration> = duration(Duration::ZERO..=24 * HOUR).optional(),
    }
}

impl Cors {
    /// Nothing is said.
    pub const SILENT: Self =
        Self { origins: None, methods: None, headers: None, expose: None, credentials: None, max_age: None };

    /// This where it says something, `other` where it does not.
    pub fn over(&self, other: &Self) -> Self {
        Self {
            origins: self.origins.clone().or_else(|| other.origins.clone()),
            methods: self.methods.clone().or_else(|| other.methods.clone()),
            headers: self.headers.clone().or_else(|| other.headers.clone()),
            expose: self.expose.clone().or_else(|| other.expose.clone()),
            credentials: self.credentials.or(other.credentials),
            max_age: self.max_age.or(other.max_age),
        }
    }

    /// The key whose `*` browsers would not honour, since cookies come with the calls.
    pub fn conflict(&self) -> Option<&'static str> {
        let any = |origin: &AllowedOrigin| *origin == AllowedOrigin::Any;
        let all = |header: &AllowedHeader| *header == AllowedHeader::Any;
        match self.credentials {
            Some(true) if self.origins.iter().flatten().any(any) => Some("origins"),
            Some(true) if self.expose.iter().flatten().any(all) => Some("expose"),
            _ => None,
        }
    }
}

/// Origins that may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// Any.
    Any,
    /// This one.
    Exact(HeaderValue),
    /// Every subdomain, however deep: an origin that begins and ends so.
    Subdomains {
        /// `https://`
        scheme: Box<str>,
        /// `.example.com`, with a port if there is one.
        suffix: Box<str>,
    },
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(origin) => f.write_str(origin.to_str().unwrap_or_default()),
            Self::Subdomains { scheme, suffix } => write!(f, "{scheme}*{suffix}"),
        }
    }
}

/// Headers that may be sent, or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedHeader {
    /// Any.
    Any,
    /// This one.
    Name(HeaderName),
}

impl fmt::Display for AllowedHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Name(name) => f.write_str(name.as_str()),
        }
    }
}

/// An origin as browsers write it: lower case, no path, no port where the scheme says it.
fn origin(text: &str) -> Result<AllowedOrigin, String> {
    if text == "*" {
        return Ok(AllowedOrigin::Any);
    }
    if text == "null" {
        return Err("`null` is the origin of every sandboxed page; write the page's own".to_owned());
    }
    let wrong =
        || format!("{} is no origin; write `https://app.example.com`, `https://*.example.com` or `*`", quote(text));
    let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
    let (subdomains, host) = host.strip_prefix("*.").map_or((false, host), |host| (true, host));
    let uri: Uri = format!("{scheme}://{host}").parse().map_err(|_| wrong())?;
    let authority = uri.authority().filter(|authority| authority.as_str() == host && !host.contains(['@', '*']));
    let authority = authority.ok_or_else(wrong)?;
    let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
    let usual = match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        // A page of an application: `capacitor://localhost`, `chrome-extension://…`. It has no subdomains.
        other if subdomains || !other.starts_with(|first: char| first.is_ascii_alphabetic()) => return Err(wrong()),
        _ => None,
    };
    if let Some(usual) = usual.filter(|usual| authority.port_u16() == Some(*usual)) {
        return Err(format!("{}: browsers leave out the port {usual} of {scheme}; leave it out", quote(text)));
    }
    if subdomains {
        return Ok(AllowedOrigin::Subdomains {
            scheme: format!("{scheme}://").into(),
            suffix: format!(".{host}").into(),
        });
    }
    HeaderValue::try_from(format!("{scheme}://{host}")).map(AllowedOrigin::Exact).map_err(|_| wrong())
}

fn method(text: &str) -> Result<Method, String> {
    let upper = text.chars().all(|character| character.is_ascii_uppercase());
    Method::from_bytes(text.as_bytes())
        .ok()
        .filter(|_| upper)
        .ok_or_else(|| format!("{} is no HTTP method; write it in capitals, such as `GET`", quote(text)))
}

fn header() -> kind::Single<AllowedHeader> {
    checked("a header's name, or `*`", |text| match text {
        "*" => Ok(AllowedHeader::Any),
        name => HeaderName::from_bytes(name.as_bytes())
            .map(AllowedHeader::Name)
            .map_err(|_| format!("{} is not a header's name", quote(text))),
    })
}
