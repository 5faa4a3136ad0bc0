//! Metadata: what goes with a call to its service, made anew for each try.
//!
//! Its names are the same for most calls, and so are most values: they come as one clone of a map that has them, and the
//! call's own values are put in their places. Filled name by name, and cloned so that a second try finds it, the map took
//! 3,300 of a small GET's 63,300 instructions; so it takes 1,000.

use std::sync::LazyLock;

use http::Uri;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT};

use crate::envelope::coding::Coding;
use crate::envelope::metadata::{
    GRPC_ACCEPT_ENCODING, GRPC_ENCODING, X_FORWARDED_CLIENT_CERT, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO,
    X_REQUEST_ID,
};

const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
/// The call's own value stands here.
const OWN: HeaderValue = HeaderValue::from_static("");

/// A call's metadata. What gRPC itself needs (`te`, `content-type`, `grpc-timeout`) is added when it is sent.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// What crosses from the client, and what its token says.
    given: HeaderMap,
    about: Option<Box<About>>,
}

/// What the gateway itself says of a call.
#[derive(Debug, Clone)]
pub struct About {
    /// `x-request-id`
    pub request_id: HeaderValue,
    /// `x-forwarded-for`
    pub forwarded_for: HeaderValue,
    /// `x-forwarded-host`
    pub forwarded_host: HeaderValue,
    /// `x-forwarded-proto`: its client came over TLS.
    pub tls: bool,
    /// `x-forwarded-client-cert`
    pub certificate: Option<HeaderValue>,
    /// `user-agent`, where the client's crosses: most of gRPC's send nothing else.
    pub agent: Option<HeaderValue>,
    /// Its replies are read here and may come compressed.
    pub unpacks: bool,
}

/// Of a call of the gateway's own.
static BARE: LazyLock<HeaderMap> =
    LazyLock::new(|| HeaderMap::from_iter([(TIMEOUT, OWN), (TE, TRAILERS), (CONTENT_TYPE, GRPC)]));

/// Of a client's call whose messages cross unread.
static OPAQUE: LazyLock<HeaderMap> = LazyLock::new(|| of_client(None));

/// Of one that says what sends it, as gRPC's do: a copy has no room for a name more, and would move to make some.
static OF_AGENT: LazyLock<HeaderMap> = LazyLock::new(|| of_client(Some(USER_AGENT)));

/// Of one whose messages are translated.
static TRANSLATED: LazyLock<HeaderMap> = LazyLock::new(|| {
    let mut map = OPAQUE.clone();
    map.insert(&GRPC_ACCEPT_ENCODING, Coding::Gzip.name());
    map
});

impl Metadata {
    /// What a client's call has of its own, and what is said of it. A name that both have is the former's.
    pub fn new(given: HeaderMap, about: About) -> Self {
        Self { given, about: Some(Box::new(about)) }
    }

    /// What crosses from the client, and what its token says.
    pub fn given_mut(&mut self) -> &mut HeaderMap {
        if let Some(agent) = self.about.as_mut().and_then(|about| about.agent.take()) {
            self.given.insert(USER_AGENT, agent);
        }
        &mut self.given
    }

    /// Whose metadata they are.
    pub(super) fn request_id(&self) -> Option<&HeaderValue> {
        self.about.as_ref().map(|about| &about.request_id).or_else(|| self.given.get(&X_REQUEST_ID))
    }

    /// How the request's messages are compressed that are.
    pub(super) fn coding(&self) -> Option<&HeaderValue> {
        self.given.get(&GRPC_ENCODING)
    }

    /// All of it in one map, for who has to look at it.
    pub fn whole(&mut self) -> &mut HeaderMap {
        self.given_mut();
        if let Some(about) = self.about.take() {
            let names = [&X_REQUEST_ID, &X_FORWARDED_FOR, &X_FORWARDED_HOST, &X_FORWARDED_PROTO];
            for (name, value) in names.into_iter().zip(about.values()) {
                self.given.entry(name).or_insert(value);
            }
            if about.unpacks {
                self.given.entry(&GRPC_ACCEPT_ENCODING).or_insert(Coding::Gzip.name());
            }
            if let Some(certificate) = about.certificate {
                self.given.entry(&X_FORWARDED_CLIENT_CERT).or_insert(certificate);
            }
        }
        &mut self.given
    }

    /// Its head with this URI may be larger than so many bytes, as HTTP/2 counts them; told by less than is in the head.
    #[inline]
    pub(super) fn may_exceed(&self, bytes: usize, uri: &Uri) -> bool {
        /// The names that are always the same, `x-forwarded-proto` and what gRPC needs, with 32 bytes for each.
        const FIXED: usize = 768;
        if bytes == usize::MAX {
            return false;
        }
        let value = |value: &Option<HeaderValue>| value.as_ref().map_or(0, HeaderValue::len);
        let about = self.about.as_ref().map_or(0, |about| {
            let always = about.request_id.len() + about.forwarded_for.len() + about.forwarded_host.len();
            always + value(&about.certificate) + value(&about.agent)
        });
        let given: usize = self.given.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        let uri = uri.path().len() + uri.authority().map_or(0, |authority| authority.as_str().len());
        FIXED + uri + about + given > bytes
    }

    /// The head of one try, which has so much time, if it has an end. With the first of a connection HPACK learns the name of ids, which it has no
    /// table for: it is never sent again, while they are never kept.
    pub(super) fn head(&self, timeout: Option<HeaderValue>, first: bool) -> HeaderMap {
        let endless = timeout.is_none();
        let timeout = timeout.unwrap_or(OWN);
        let mut head = match &self.about {
            None => filled(&BARE, [timeout]),
            Some(about) => {
                let [mut id, address, host, scheme] = about.values();
                id.set_sensitive(!first);
                match about.agent.clone() {
                    Some(agent) if !about.unpacks => filled(&OF_AGENT, [timeout, id, address, host, scheme, agent]),
                    None if !about.unpacks => filled(&OPAQUE, [timeout, id, address, host, scheme]),
                    agent => {
                        let mut head = filled(&TRANSLATED, [timeout, id, address, host, scheme]);
                        agent.map(|agent| head.insert(USER_AGENT, agent));
                        head
                    }
                }
            }
        };
        if let Some(certificate) = self.about.as_ref().and_then(|about| about.certificate.as_ref()) {
            head.insert(&X_FORWARDED_CLIENT_CERT, certificate.clone());
        }
        if endless {
            head.remove(&TIMEOUT);
        }
        let mut last = None;
        for (name, value) in &self.given {
            match last.replace(name) == Some(name) {
                true => drop(head.append(name, value.clone())),
                false => drop(head.insert(name, value.clone())),
            }
        }
        head
    }
}

impl About {
    /// Request id, address, host, scheme.
    fn values(&self) -> [HeaderValue; 4] {
        let scheme = HeaderValue::from_static(if self.tls { "https" } else { "http" });
        [self.request_id.clone(), self.forwarded_for.clone(), self.forwarded_host.clone(), scheme]
    }
}

/// Of a client's call. Its own values come first, in the order of [`About::values`].
fn of_client(given: Option<HeaderName>) -> HeaderMap {
    let names = [&X_REQUEST_ID, &X_FORWARDED_FOR, &X_FORWARDED_HOST, &X_FORWARDED_PROTO];
    let own = std::iter::once(TIMEOUT).chain(names.into_iter().cloned()).chain(given).map(|name| (name, OWN));
    own.chain([(TE, TRAILERS), (CONTENT_TYPE, GRPC)]).collect()
}

/// A copy of the map whose first values are these.
fn filled<const N: usize>(map: &HeaderMap, own: [HeaderValue; N]) -> HeaderMap {
    let mut map = map.clone();
    for (place, value) in map.values_mut().zip(own) {
        *place = value;
    }
    map
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{About, Metadata};

    fn about(unpacks: bool) -> About {
        let value = HeaderValue::from_static;
        let (request_id, forwarded_for, forwarded_host) = (value("id"), value("192.0.2.1"), value("api.example.com"));
        let certificate = Some(value("Hash=1"));
        About { request_id, forwarded_for, forwarded_host, tls: true, certificate, agent: None, unpacks }
    }

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        pairs.iter().map(pair).collect()
    }

    const TIME: Option<HeaderValue> = Some(HeaderValue::from_static("5S"));

    const ABOUT: [(&str, &str); 5] = [
        ("x-request-id", "id"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-host", "api.example.com"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-client-cert", "Hash=1"),
    ];

    const CALL: [(&str, &str); 3] = [("te", "trailers"), ("content-type", "application/grpc"), ("grpc-timeout", "5S")];

    #[test]
    fn every_value_stands_under_its_name() {
        assert_eq!(Metadata::default().head(TIME, false), map(&CALL));
        let opaque = Metadata::new(HeaderMap::new(), about(false));
        assert_eq!(opaque.head(TIME, false), map(&[&ABOUT[..], &CALL].concat()));
        let translated = Metadata::new(HeaderMap::new(), about(true));
        let encoding = [("grpc-accept-encoding", "gzip")];
        assert_eq!(translated.head(TIME, false), map(&[&ABOUT[..], &CALL, &encoding].concat()));
        assert_eq!(*translated.clone().whole(), map(&[&ABOUT[..], &encoding].concat()));
        for endless in [Metadata::default(), opaque, translated] {
            let mut head = endless.head(TIME, false);
            head.remove("grpc-timeout");
            assert_eq!(endless.head(None, false), head);
        }
    }

    #[test]
    fn what_sends_it_crosses_beside_what_is_said_and_as_what_is_given() {
        let agent = [("user-agent", "grpc-go/1.76")];
        for (unpacks, encoding) in [(false, None), (true, Some(("grpc-accept-encoding", "gzip")))] {
            let about = About { agent: Some(HeaderValue::from_static(agent[0].1)), ..about(unpacks) };
            let mut metadata = Metadata::new(HeaderMap::new(), about);
            let expected = map(&[&ABOUT[..], &CALL, &agent, encoding.as_slice()].concat());
            assert_eq!(metadata.head(TIME, false), expected);
            assert_eq!(*metadata.given_mut(), map(&agent));
            assert_eq!(metadata.head(TIME, false), expected, "given");
            metadata.given_mut().remove("user-agent");
            assert!(!metadata.head(TIME, false).contains_key("user-agent"));
        }
    }

    #[test]
    fn what_is_given_crosses_with_all_its_values() {
        let mut given = map(&[("authorization", "Bearer a"), ("baggage", "a=1"), ("x-forwarded-host", "given")]);
        given.append("baggage", HeaderValue::from_static("b=2"));
        let mut metadata = Metadata::new(given, about(false));
        let head = metadata.head(TIME, false);
        assert_eq!(head["authorization"], "Bearer a");
        assert_eq!(head.get_all("baggage").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!(head.get_all("x-forwarded-host").iter().collect::<Vec<_>>(), ["given"]);
        assert_eq!(metadata.whole()["x-forwarded-host"], "given");
        assert_eq!(metadata.head(TIME, false), head, "whole or not");
    }
}
