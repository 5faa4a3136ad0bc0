//! Source: where a request carries a token.

use std::borrow::Cow;

use http::Uri;
use http::header::{self, HeaderMap};

use crate::config::TokenSource;
use crate::envelope::cookies;

/// What a source has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found<'h> {
    /// No token.
    Nothing,
    /// One token.
    Token(Cow<'h, str>),
    /// What should be a token and is none, or two of them.
    Flawed(&'static str),
}

/// Looks for a token in one place. Two different tokens in one place are refused: which one a service would take is not
/// known here.
pub(super) fn find<'h>(source: &TokenSource, headers: &'h HeaderMap, uri: &'h Uri, websocket: bool) -> Found<'h> {
    match source {
        TokenSource::Bearer => bearer(headers),
        TokenSource::Cookie(name) => cookie(headers, name),
        TokenSource::Query(name) if websocket => query(uri, name),
        TokenSource::Query(_) => Found::Nothing,
    }
}

/// `authorization: Bearer …` (RFC 6750 §2.1); another scheme is no token.
fn bearer(headers: &HeaderMap) -> Found<'_> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Found::Nothing };
    if values.next().is_some() {
        return Found::Flawed("more than one authorization header");
    }
    let Ok(value) = value.to_str() else { return Found::Flawed("the authorization header is no text") };
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Found::Nothing;
    }
    plain(token.trim_matches(' '))
}

/// A cookie. What is no ASCII is no token, and hides no other.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Found<'h> {
    let texts = cookies::named(headers, name).filter(|value| value.is_ascii());
    one(texts.filter_map(|value| str::from_utf8(value).ok()))
}

/// A query parameter. JWTs have no characters that URLs escape, other tokens may.
fn query<'h>(uri: &'h Uri, name: &str) -> Found<'h> {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    match one(pairs.filter(|(found, _)| *found == name).map(|(_, value)| value)) {
        Found::Token(token) if token.contains('%') => {
            match percent_encoding::percent_decode_str(&token).decode_utf8() {
                Ok(decoded) => into_owned(plain(&decoded)),
                Err(_) => Found::Flawed("the token is no text"),
            }
        }
        found => found,
    }
}

fn into_owned<'h>(found: Found<'_>) -> Found<'h> {
    match found {
        Found::Nothing => Found::Nothing,
        Found::Token(token) => Found::Token(Cow::Owned(token.into_owned())),
        Found::Flawed(why) => Found::Flawed(why),
    }
}

/// A query without the tokens in it, which are nobody's but the gateway's.
pub(super) fn without<'q>(sources: &[&TokenSource], query: &'q str) -> Cow<'q, str> {
    let holds = |pair: &str| {
        let found = pair.split_once('=').map_or(pair, |(name, _)| name);
        sources.iter().any(|source| matches!(source, TokenSource::Query(name) if name == found))
    };
    if !query.split('&').any(holds) {
        return Cow::Borrowed(query);
    }
    Cow::Owned(query.split('&').filter(|pair| !holds(pair)).collect::<Vec<_>>().join("&"))
}

fn one<'h>(mut tokens: impl Iterator<Item = &'h str>) -> Found<'h> {
    let Some(token) = tokens.next() else { return Found::Nothing };
    if tokens.any(|other| other != token) {
        return Found::Flawed("two different tokens in one place");
    }
    plain(token)
}

/// What can stand in `authorization` again.
fn plain(token: &str) -> Found<'_> {
    match token {
        "" => Found::Flawed("an empty token"),
        token if token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',') => {
            Found::Token(Cow::Borrowed(token))
        }
        _ => Found::Flawed("a token has no spaces, commas or control characters"),
    }
}

#[cfg(test)]
mod tests {
    use http::header::{self, HeaderMap, HeaderName, HeaderValue};

    use super::{Found, TokenSource, find, without};

    fn headers(sent: &[(&'static str, &'static str)]) -> HeaderMap {
        sent.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn bearer(values: &[&'static str]) -> Option<String> {
        let sent: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
        told(find(&TokenSource::Bearer, &headers(&sent), &"/".parse().unwrap(), false))
    }

    fn cookie(values: &[&str]) -> Option<String> {
        let value = |value: &&str| (header::COOKIE, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        let headers: HeaderMap = values.iter().map(value).collect();
        told(find(&TokenSource::Cookie("at".into()), &headers, &"/".parse().unwrap(), false))
    }

    /// The token, nothing, or `!` for what is flawed.
    fn told(found: Found<'_>) -> Option<String> {
        match found {
            Found::Nothing => None,
            Found::Token(token) => Some(token.into_owned()),
            Found::Flawed(_) => Some("!".to_owned()),
        }
    }

    #[test]
    fn one_bearer_token() {
        for (sent, found) in [
            (&["Bearer a.b.c"][..], Some("a.b.c")),
            (&["bEARER   a.b.c "], Some("a.b.c")),
            (&["Basic dTpw"], None),
            (&["a.b.c"], None),
            (&[""], None),
            (&[], None),
            (&["Bearer"], Some("!")),
            (&["Bearer "], Some("!")),
            (&["Bearer a b"], Some("!")),
            (&["Bearer a,b"], Some("!")),
            (&["Bearer\ta"], None),
            (&["Bearer a", "Bearer a"], Some("!")),
            (&["Basic dTpw", "Bearer a"], Some("!")),
        ] {
            assert_eq!(bearer(sent).as_deref(), found, "{sent:?}");
        }
    }

    #[test]
    fn one_cookie_of_the_name() {
        for (sent, found) in [
            (&["at=a"][..], Some("a")),
            (&["x=1; at=a;y=2", "z=3"], Some("a")),
            (&["at=\"a\""], Some("a")),
            (&["at=a; at=a"], Some("a")),
            (&["at=a", "at=b"], Some("!")),
            (&["at=; at=b"], Some("b")),
            (&["at="], None),
            (&["AT=a; xat=b; at"], None),
            (&["at=a b"], Some("!")),
            (&["name=Zo\u{eb}; at=a"], Some("a")),
            (&["at=a; theme=\u{2603}", "\u{e9}=1"], Some("a")),
            (&["at=\u{e9}; at=a"], Some("a")),
            (&["at=\u{e9}"], None),
        ] {
            assert_eq!(cookie(sent).as_deref(), found, "{sent:?}");
        }
    }

    #[test]
    fn a_query_counts_for_websockets_alone() {
        let (uri, none) = ("/ws?a=1&token=t".parse().unwrap(), HeaderMap::new());
        let source = TokenSource::Query("token".into());
        assert_eq!(find(&source, &none, &uri, true), Found::Token("t".into()));
        assert_eq!(find(&source, &none, &uri, false), Found::Nothing);
        let told = |uri: &str| told(find(&source, &none, &uri.parse().unwrap(), true));
        assert_eq!(told("/ws?token=a%2Bb%3D&x").as_deref(), Some("a+b="));
        for flawed in ["/ws?token=t&token=u", "/ws?token=", "/ws?token=a%20b", "/ws?token=%ff", "/ws?token=a%2Cb"] {
            assert_eq!(told(flawed).as_deref(), Some("!"), "{flawed}");
        }
    }

    #[test]
    fn a_query_is_passed_on_without_its_token() {
        let sources = [&TokenSource::Bearer, &TokenSource::Query("token".into())];
        for (query, left) in [
            ("a=1&token=t&b=2", "a=1&b=2"),
            ("token=t&token=u", ""),
            ("token&x", "x"),
            ("tokens=1&Token=2", "tokens=1&Token=2"),
            ("", ""),
        ] {
            assert_eq!(without(&sources, query), left);
        }
    }
}
