//! `methods.*.fallback`: what is answered in place of a service that cannot be asked.

use http::StatusCode;
use serde_json::Value as Json;

use super::kind::{Kind, Shape, checked};
use super::problem::quote;
use super::read::{Reader, section};
use super::tree::{Node, Value};

section! {
    /// The answer to a call that its upstream does not serve: its breaker is open, no endpoint is usable, there is no place or no time for the call, what comes is no gRPC, or the one that was asked says that it is unavailable or late, and no retry helps. What it answers otherwise, INTERNAL too, is its answer. For methods that stream nothing.
    pub struct Fallback {
        /// The HTTP status.
        status: StatusCode = checked("an HTTP status such as `503`", status).or("503"),
        /// The body. A text is JSON as it stands; a map or a list becomes JSON, where what reads as a number, `true` or `false` is that. With a status of 2xx and JSON that is the method's reply, gRPC, gRPC-Web and Connect answer it as that; otherwise they answer UNAVAILABLE.
        json: Json = Jsons.required(),
    }
}

fn status(text: &str) -> Result<StatusCode, String> {
    let status = text.parse().ok().filter(|status| (200..=599).contains(status) && !matches!(status, 204 | 205 | 304));
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    status.ok_or_else(|| format!("{} is not an HTTP status that has a body; write one from 200 to 599", quote(text)))
}

/// A JSON value, as its text or as YAML.
pub(super) struct Jsons;

impl Kind for Jsons {
    type Out = Json;

    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Json> {
        match &node.value {
            Value::Text(text) => match serde_json::from_str(text) {
                Ok(json) => Some(json),
                Err(error) => {
                    reader.tell(node.line, format!("{} is not JSON: {error}", quote(text)));
                    None
                }
            },
            _ => Some(json(node)),
        }
    }

    fn shape(&self) -> Shape {
        Shape::Any("JSON, as a text or as YAML")
    }
}

fn json(node: &Node) -> Json {
    match &node.value {
        Value::Absent | Value::Told => Json::Null,
        Value::Text(text) => match serde_json::from_str(text) {
            Ok(plain @ (Json::Number(_) | Json::Bool(_))) => plain,
            _ => Json::String(text.clone()),
        },
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), json(&entry.value))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::parse;

    fn read(fallback: &str) -> Result<serde_json::Value, String> {
        let text = format!(
            "schema: {{ descriptor_sets: [a] }}\nupstreams: {{ a: {{ endpoints: [\"a:1\"] }} }}\nmethods: {{ \"a.A/B\": {{ fallback: {fallback} }} }}\n"
        );
        let config =
            parse(&text, &|_| None).map_err(|problems| problems.iter().map(ToString::to_string).collect::<String>())?;
        Ok(config.methods["a.A/B"].fallback.as_ref().unwrap().json.clone())
    }

    #[test]
    fn json_as_text_or_as_yaml() {
        assert_eq!(read(r#"{ json: '{"a": "5", "b": [1, null]}' }"#), Ok(json!({ "a": "5", "b": [1, null] })));
        assert_eq!(read(r#"{ json: {"a": "b c", d: [1, true, e]} }"#), Ok(json!({ "a": "b c", "d": [1, true, "e"] })));
        assert!(read("{ json: oops }").unwrap_err().contains("is not JSON"));
        assert!(read("{ json: {}, status: 204 }").unwrap_err().contains("status"));
        assert!(read("{ status: 503 }").unwrap_err().contains("missing"));
    }
}
