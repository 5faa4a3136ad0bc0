//! Which form a stream of messages takes, by `Accept`.

use http::{HeaderMap, HeaderValue, header};

use crate::envelope::head::liked;

/// A server stream over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `application/json`: one array, written as messages come.
    Array,
    /// `application/x-ndjson`: one message a line.
    Lines,
    /// `text/event-stream`: one event a message.
    Events,
}

impl Form {
    /// What the client likes best; the array where it does not say.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut best = (Self::Array, 0_u16);
        for value in headers.get_all(header::ACCEPT) {
            for range in value.to_str().unwrap_or_default().split(',') {
                let (name, quality) = liked(range);
                let form = match name.to_ascii_lowercase().as_str() {
                    "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Self::Lines,
                    "text/event-stream" => Self::Events,
                    "application/json" | "application/*" | "*/*" => Self::Array,
                    _ => continue,
                };
                if quality > best.1 {
                    best = (form, quality);
                }
            }
        }
        best.0
    }

    /// The content type of the answer.
    pub fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Array => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        })
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::Form;

    #[test]
    fn the_first_of_the_best_liked_wins() {
        for (accept, form) in [
            (None, Form::Array),
            (Some("*/*"), Form::Array),
            (Some("text/html"), Form::Array),
            (Some("application/x-ndjson"), Form::Lines),
            (Some("text/event-stream"), Form::Events),
            (Some("TEXT/Event-Stream, */*"), Form::Events),
            (Some("application/json;q=0.5, application/x-ndjson;q=0.9"), Form::Lines),
            (Some("text/event-stream;q=0, application/json;q=0.1"), Form::Array),
            (Some("text/html, application/x-ndjson;q=0.2"), Form::Lines),
            (Some("text/event-stream;Q=0.1, application/x-ndjson"), Form::Lines),
        ] {
            let headers: HeaderMap =
                accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept))).into_iter().collect();
            assert_eq!(Form::of(&headers), form, "{accept:?}");
        }
    }
}
