//! The JSON Schema that is published, held against documents: as much of 2020-12 as it says.

use serde_json::{Map, Value as Json};

use super::super::problem::Problems;
use super::super::tree::{self, Node, Value};

/// A document as an editor reads it: plain numbers and words are what they look like, and variables are not known.
pub(super) fn yaml(text: &str) -> Json {
    plain(&tree::parse(text, &|_| Some("${X}".to_owned()), &mut Problems::default()).expect("a document"))
}

fn plain(node: &Node) -> Json {
    match &node.value {
        Value::Absent | Value::Told => Json::Null,
        Value::Text(text) => match serde_json::from_str(text) {
            Ok(plain @ (Json::Number(_) | Json::Bool(_))) => plain,
            _ => Json::String(text.clone()),
        },
        Value::List(items) => items.iter().map(plain).collect(),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|entry| (entry.key.clone(), plain(&entry.value))).collect::<Map<_, _>>())
        }
    }
}

/// Where a value is not as a schema says, and what it is.
pub(super) fn wrong(schema: &Json, value: &Json) -> Option<String> {
    let is = |kind: &Json| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    };
    let one = |held: bool| if held { None } else { Some(format!(": {value}")) };
    for (key, said) in schema.as_object().unwrap() {
        let found = match key.as_str() {
            "type" => one(said.as_array().map_or_else(|| is(said), |kinds| kinds.iter().any(is))),
            "enum" => one(said.as_array().unwrap().contains(value)),
            "minimum" => one(value.as_u64() >= said.as_u64()),
            "maximum" => one(value.as_u64() <= said.as_u64()),
            "pattern" => one(value.as_str().is_some_and(|text| text.contains("${"))),
            "anyOf" => one(said.as_array().unwrap().iter().any(|schema| wrong(schema, value).is_none())),
            "items" => value.as_array().into_iter().flatten().find_map(|item| wrong(said, item)),
            "required" => {
                let has = |key: &Json| value.get(key.as_str().unwrap()).is_some();
                one(!value.is_object() || said.as_array().unwrap().iter().all(has))
            }
            "properties" | "additionalProperties" => {
                let own = &schema["properties"];
                value.as_object().into_iter().flatten().find_map(|(key, value)| {
                    let schema = match (own.get(key), said) {
                        (Some(own), _) => own,
                        (None, Json::Bool(false)) => return Some(format!(".{key}: is unknown")),
                        (None, _) => said,
                    };
                    wrong(schema, value).map(|why| format!(".{key}{why}"))
                })
            }
            "description" | "default" | "$schema" | "title" => None,
            other => panic!("{other}"),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}
