//! `Sample`: paths of one length that a template takes, as their client sees them: which variables there are, and what
//! they are called, is left out. `/v1/{name=shelves/*}` is `/v1/shelves/*`.

use std::borrow::Cow;
use std::fmt::Write as _;

use transom_transcode::template::{Segment, Template};

/// What stands for a variable's value: nobody's literal.
const VALUE: &str = "~";

/// As many segments as `**` is tried with.
const REST: usize = 3;

/// Segments that are literals or any one, and a verb.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Sample {
    segments: Vec<Segment>,
    verb: Option<Box<[u8]>>,
}

impl Sample {
    /// Those of a template: `**` is up to three segments.
    pub(super) fn of(template: &str) -> Vec<Self> {
        // What runs has been parsed before.
        let Ok(template) = Template::parse(template) else { return Vec::new() };
        let verb = template.verb().map(Into::into);
        let rest = template.segments().iter().position(|segment| *segment == Segment::Rest);
        let lengths = if rest.is_some() { 0..=REST } else { 0..=0 };
        let sample = |length| {
            let mut segments = template.segments().to_vec();
            if let Some(at) = rest {
                segments.splice(at..=at, std::iter::repeat_n(Segment::One, length));
            }
            Self { segments, verb: verb.clone() }
        };
        lengths.map(sample).collect()
    }

    /// What both take, if there is such a path. A verb is the end of a value to a template that has none.
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        let verb = match (&self.verb, &other.verb) {
            (verb, same) if verb == same => verb,
            (None, verb) if self.segments.last() == Some(&Segment::One) => verb,
            (verb, None) if other.segments.last() == Some(&Segment::One) => verb,
            _ => return None,
        };
        if self.segments.len() != other.segments.len() {
            return None;
        }
        let segments = self.segments.iter().zip(&other.segments).map(|pair| match pair {
            (Segment::One, segment) | (segment, Segment::One) => Some(segment.clone()),
            (one, other) => (one == other).then(|| one.clone()),
        });
        Some(Self { segments: segments.collect::<Option<_>>()?, verb: verb.clone() })
    }

    /// One of its paths.
    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        for segment in &self.segments {
            path.push('/');
            match segment {
                Segment::Literal(text) => path.push_str(&encoded(text)),
                Segment::One | Segment::Rest => path.push_str(VALUE),
            }
        }
        if path.is_empty() {
            path.push('/');
        }
        if let Some(verb) = &self.verb {
            path.push(':');
            path.push_str(&encoded(verb));
        }
        path
    }
}

/// Text as it stands in a path; colons stay, since a verb may have some.
fn encoded(text: &[u8]) -> Cow<'_, str> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:!$&'()*+,;=@".contains(byte);
    match std::str::from_utf8(text) {
        Ok(text) if text.bytes().all(|byte| plain(&byte)) => Cow::Borrowed(text),
        _ => text
            .iter()
            .fold(String::new(), |mut out, byte| {
                if plain(byte) {
                    out.push(char::from(*byte));
                } else {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "%{byte:02X}");
                }
                out
            })
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::Sample;

    #[test]
    fn a_template_is_what_its_client_sees() {
        for (template, paths) in [
            ("/", &["/"][..]),
            ("/v1/shelves", &["/v1/shelves"]),
            ("/a%20b/%C3%A9/x", &["/a%20b/%C3%A9/x"]),
            ("/v1/{name=shelves/*}/books/{id}:move", &["/v1/shelves/~/books/~:move"]),
            ("/files/{path=**}", &["/files", "/files/~", "/files/~/~", "/files/~/~/~"]),
            ("/{a=**}/b/{c}", &["/b/~", "/~/b/~", "/~/~/b/~", "/~/~/~/b/~"]),
            ("/v1/{name=**}:move", &["/v1:move", "/v1/~:move", "/v1/~/~:move", "/v1/~/~/~:move"]),
        ] {
            let seen: Vec<_> = Sample::of(template).iter().map(Sample::path).collect();
            assert_eq!(seen, paths, "{template}");
        }
    }

    #[test]
    fn two_templates_share_paths_by_their_literals() {
        for (one, other, both) in [
            ("/v1/{a}", "/v1/top", &["/v1/top"][..]),
            ("/v1/{a}/b/{c}", "/v1/x/{b}/{c}", &["/v1/x/b/~"]),
            ("/v1/{a}", "/v1/{a}:cancel", &["/v1/~:cancel"]),
            ("/v1/{a}:x", "/v1/{a}:y", &[]),
            ("/v1/top", "/v1/{a}:cancel", &[]),
            ("/v1/{a=**}", "/v1/x/y", &["/v1/x/y"]),
            ("/v1/a", "/v1/b", &[]),
        ] {
            let (one, other) = (Sample::of(one), Sample::of(other));
            let shared = |one: &[Sample], other: &[Sample]| {
                let both = one.iter().flat_map(|one| other.iter().filter_map(|other| one.and(other)));
                both.map(|sample| sample.path()).collect::<Vec<_>>()
            };
            assert_eq!(shared(&one, &other), both);
            assert_eq!(shared(&other, &one), both);
        }
    }
}
