//! Claims: what a token says, or the service that judged it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

/// What a token says: a JSON object in which no name comes twice (RFC 7519 §4).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Claims(Map<String, Value>);

/// The name of a claim, resolved at load. `realm_access.roles` is the claim of that very name, or else `roles` within
/// `realm_access`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    name: Box<str>,
    path: Box<[Box<str>]>,
}

impl Claim {
    /// The claim of a name or path.
    pub fn compile(name: &str) -> Self {
        let path = if name.contains('.') { name.split('.').map(Box::from).collect() } else { Box::default() };
        Self { name: name.into(), path }
    }

    /// As it was written.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Claims {
    /// Those of a JSON text.
    pub fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// The value of a claim.
    pub fn get(&self, claim: &Claim) -> Option<&Value> {
        let named = self.0.get(&*claim.name);
        named.or_else(|| {
            let (first, rest) = claim.path.split_first()?;
            rest.iter().try_fold(self.0.get(&**first)?, |value, name| value.get(&**name))
        })
    }

    /// The value of a claim of this very name.
    pub fn named(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The claim as one text: a text, a number, `true` or `false`, or a list of such with commas between them. A list of which
    /// an item has a comma itself is none: nobody could tell it from two.
    pub fn text(&self, claim: &Claim) -> Option<Cow<'_, str>> {
        match self.get(claim)? {
            Value::Array(_) if self.has_commas(claim) => None,
            Value::Array(items) => {
                let items: Option<Vec<_>> = items.iter().map(scalar).collect();
                items.map(|items| Cow::Owned(items.join(",")))
            }
            value => scalar(value),
        }
    }

    /// The claim is a list of which an item has a comma.
    pub(super) fn has_commas(&self, claim: &Claim) -> bool {
        let comma = |item: &Value| item.as_str().is_some_and(|item| item.contains(','));
        self.get(claim).and_then(Value::as_array).is_some_and(|items| items.iter().any(comma))
    }

    /// Whether the claim is this word or lists it: in a text with spaces, or as an item of a list.
    pub fn lists(&self, claim: &Claim, word: &str) -> bool {
        match self.get(claim) {
            Some(Value::String(words)) => words.split(' ').any(|listed| listed == word),
            Some(Value::Array(items)) => items.iter().any(|item| item.as_str() == Some(word)),
            _ => false,
        }
    }

    /// Whether the claim has this value or, being a list, an item of it.
    pub fn has(&self, claim: &Claim, wanted: &str) -> bool {
        let is = |value: &Value| scalar(value).is_some_and(|text| text == wanted);
        match self.get(claim) {
            Some(Value::Array(items)) => items.iter().any(is),
            Some(value) => is(value),
            None => false,
        }
    }
}

/// Seconds since 1970 (RFC 7519 §2, NumericDate).
pub(super) fn seconds(value: &Value) -> Option<Duration> {
    let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0)?;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// A time as services say it: seconds since 1970, as a number or as ProtoJSON writes those of 64 bits, or RFC 3339.
pub(super) fn moment(value: &Value) -> Option<Duration> {
    let Some(text) = value.as_str() else { return seconds(value) };
    text.parse().map(Duration::from_secs).ok().or_else(|| {
        let time: Timestamp = text.parse().ok()?;
        time.duration_since(Timestamp::UNIX_EPOCH).try_into().ok()
    })
}

/// A value that is one text.
fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(_) | Value::Bool(_) => Some(Cow::Owned(value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Claims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Claims, A::Error> {
                let mut claims = Map::new();
                while let Some((name, value)) = members.next_entry::<String, Value>()? {
                    if claims.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("a name twice"));
                    }
                }
                Ok(Claims(claims))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::{Claim, Claims, moment};

    fn claims(json: &str) -> Claims {
        Claims::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_name_twice_is_no_object() {
        assert_eq!(Claims::parse(br#"{"sub":"a","sub":"b"}"#), None);
        for json in ["[]", "1", "null", "", "{} {}", "{\"a\":1"] {
            assert_eq!(Claims::parse(json.as_bytes()), None, "{json}");
        }
    }

    #[test]
    fn paths_lead_into_objects_unless_a_claim_has_the_whole_name() {
        let claims = claims(r#"{"realm_access":{"roles":["a","b"]},"https://x.y/r":"c","a.b":1,"a":{"b":2}}"#);
        let text = |name: &str| claims.text(&Claim::compile(name)).map(String::from);
        assert_eq!(text("realm_access.roles").as_deref(), Some("a,b"));
        assert_eq!(text("https://x.y/r").as_deref(), Some("c"));
        assert_eq!(text("a.b").as_deref(), Some("1"));
        let commas = Claims::parse(br#"{"roles":["user,admin"],"role":"user,admin","more":["a",1,"b"]}"#).unwrap();
        let said = |name: &str| commas.text(&Claim::compile(name)).map(String::from);
        assert_eq!(
            (said("roles"), said("role"), said("more")),
            (None, Some("user,admin".into()), Some("a,1,b".into()))
        );
        assert_eq!((text("a.c"), text("a"), text("a.b.c"), text(".")), (None, None, None, None));
    }

    #[test]
    fn a_moment_is_said_in_several_ways() {
        let at = Duration::from_secs(1_795_000_000);
        for said in [json!(1_795_000_000), json!("1795000000"), json!("2026-11-18T11:06:40Z")] {
            assert_eq!(moment(&said), Some(at), "{said}");
        }
        assert_eq!(moment(&json!("2026-11-18T12:06:40.5+01:00")), Some(at + Duration::from_millis(500)));
        assert_eq!(moment(&json!(1e300)), Some(Duration::MAX));
        for none in
            [json!("soon"), json!(""), json!("1e9"), json!(-1), json!("-1"), json!(true), json!([1]), json!(null)]
        {
            assert_eq!(moment(&none), None, "{none}");
        }
        assert_eq!(moment(&json!("1969-12-31T23:59:59Z")), None);
    }

    #[test]
    fn words_are_whole_words() {
        let claims = claims(r#"{"scope":"read write","roles":["admin","a b"],"n":3,"t":[true,null]}"#);
        let lists = |name: &str, word: &str| claims.lists(&Claim::compile(name), word);
        assert!(lists("scope", "read") && lists("scope", "write") && lists("roles", "a b"));
        assert!(!lists("scope", "rea") && !lists("scope", "read write") && !lists("roles", "a") && !lists("x", ""));
        let has = |name: &str, value: &str| claims.has(&Claim::compile(name), value);
        assert!(has("n", "3") && has("t", "true") && has("scope", "read write") && has("roles", "admin"));
        assert!(!has("scope", "read") && !has("t", "null") && !has("x", ""));
    }
}
