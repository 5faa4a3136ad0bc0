//! The reference of all keys, as Markdown and as JSON Schema, from their declarations.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::Config;
use super::kind::Shape;
use super::read::{Key, Presence, Section};

const HEAD: &str = "\
# Configuration

One YAML file, `transom.yaml`; this reference is generated from the declarations in `src/config/`.

- `${VAR}` and `${VAR:-default}` stand anywhere in a value, also inside one (`0.0.0.0:${PORT:-3000}`, `${WINDOW}ms`); the
  default holds where the variable is unset or empty. A variable that is unset and has no default is a problem. `$${` stands
  for the characters `${`. What a variable holds is a value, never structure.
- A value that is empty after that counts as absent: the key's default holds.
- Durations: `500ms`, `5s`, `1m`, `1h`, `1m30s`. Sizes: bytes, or `64KiB`, `4MiB`, `4MB`.
- A list may also be one text with commas between its items (`${HOSTS:-a:1,b:1}`), and so may an item of a list.
- YAML anchors, aliases and `<<` work; a key twice is a problem; unknown keys are problems.
- `transom check --config FILE` tells every problem of a file at once; `transom check --schema` prints the JSON Schema.

## In `.proto` files

What a service's authors know best may stand beside its RPCs, as options of `transom/options.proto`: the upstream that serves it, and most keys of
`methods`, under the same names. This file wins over options, options over defaults; `transom routes` and `transom explain` say where a value is from.

```proto
import \"transom/options.proto\";  // built in

service Library {
  option (transom.service) = { upstream: \"library\" methods: { timeout: { seconds: 5 } } };  // of all its methods
  rpc Export(ExportRequest) returns (Export) {
    option (transom.method) = { timeout: { seconds: 30 } auth: { roles: \"staff\" } priority: LOW output: { emit_defaults: true } };
  }
}
```

Other compilers, such as `protoc` and `buf`, need the file itself among what they import: `mkdir -p proto/transom && transom descriptors --options > proto/transom/options.proto`.
Its comments say what else there is.
";

/// The reference of all keys, in Markdown: `docs/CONFIG.md`.
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    write_section(&mut out, "", Config::keys());
    out
}

fn write_section(out: &mut String, path: &str, keys: Vec<Key>) {
    let title = if path.is_empty() { "Top level".to_owned() } else { format!("`{path}`") };
    let _ = write!(out, "\n## {title}\n\n| key | value | default | meaning |\n|---|---|---|---|\n");
    for key in &keys {
        let default = match key.presence {
            Presence::Required => "required".to_owned(),
            Presence::Optional | Presence::Default("{}") => String::new(),
            Presence::Default("") => "empty".to_owned(),
            Presence::Default(default) => format!("`{default}`"),
        };
        let meaning = meaning(key);
        let _ = writeln!(out, "| `{}` | {} | {default} | {meaning} |", key.name, cell(&key.shape));
    }
    for key in keys {
        let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        write_below(out, &path, key.shape);
    }
}

/// The sections within a value.
fn write_below(out: &mut String, path: &str, shape: Shape) {
    match shape {
        Shape::Section(keys) => write_section(out, path, keys()),
        Shape::Map(_, value) => write_below(out, &format!("{path}.*"), *value),
        Shape::List(item) => write_below(out, &format!("{path}[]"), *item),
        Shape::Several(item) => write_below(out, path, *item),
        Shape::Either(first, second) => {
            write_below(out, path, *first);
            write_below(out, path, *second);
        }
        Shape::Text(_) | Shape::Any(_) | Shape::Flag | Shape::Integer(..) | Shape::Word(_) => {}
    }
}

fn cell(shape: &Shape) -> String {
    match shape {
        Shape::List(item) => format!("list: {}", cell(item)),
        Shape::Several(item) => format!("{}, or a list of such", cell(item)),
        Shape::Map(key, _) => format!("map: {key} → see below"),
        Shape::Section(_) => "map, see below".to_owned(),
        Shape::Either(first, second) => format!("{}, or {}", cell(first), cell(second)),
        Shape::Text(_) | Shape::Any(_) | Shape::Flag | Shape::Integer(..) | Shape::Word(_) => shape.noun(),
    }
}

fn meaning(key: &Key) -> String {
    let mut meaning = prose(key.doc);
    let mut words = &key.shape;
    while let Shape::List(item) = words {
        words = item;
    }
    if let Shape::Word(words) = words {
        for (word, doc) in words {
            let _ = write!(meaning, " `{word}`: {}", prose(doc));
        }
    }
    meaning
}

/// Doc comment lines as one text.
fn prose(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// The JSON Schema (2020-12) of a configuration, for editors.
pub fn json_schema() -> String {
    let mut schema = object(Config::keys());
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("transom.yaml");
    let mut text = format!("{schema:#}");
    text.push('\n');
    text
}

fn object(keys: Vec<Key>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in keys {
        if key.presence == Presence::Required {
            required.push(key.name);
        }
        let mut value = schema(key.shape);
        value["description"] = json!(prose(key.doc));
        match key.presence {
            Presence::Default("{}") | Presence::Required | Presence::Optional => {}
            Presence::Default(default) => value["default"] = json!(default),
        }
        properties.insert(key.name.to_owned(), value);
    }
    // One without a word in it is null to YAML.
    let mut object = json!({ "type": ["object", "null"], "additionalProperties": false, "properties": properties });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

fn schema(shape: Shape) -> Value {
    /// A text that variables make, whatever the key takes.
    fn or_variable(other: &Value) -> Value {
        json!({ "anyOf": [other, { "type": "string", "pattern": "\\$\\{" }] })
    }
    match shape {
        Shape::Text(_) => json!({ "type": ["string", "number"] }),
        Shape::Any(_) => json!({}),
        Shape::Flag => or_variable(&json!({ "type": "boolean" })),
        Shape::Integer(min, max) => or_variable(&json!({ "type": "integer", "minimum": min, "maximum": max })),
        Shape::Word(words) => {
            // `498` is a number to YAML.
            let plain = |word: &str| word.parse::<u64>().ok().map(Value::from);
            let words: Vec<_> =
                words.iter().flat_map(|(word, _)| std::iter::once(json!(word)).chain(plain(word))).collect();
            or_variable(&json!({ "enum": words }))
        }
        Shape::Either(first, second) => json!({ "anyOf": [schema(*first), schema(*second)] }),
        Shape::List(item) => {
            json!({ "anyOf": [{ "type": "array", "items": schema(*item) }, { "type": ["string", "null"] }] })
        }
        Shape::Several(item) => {
            let item = schema(*item);
            json!({ "anyOf": [item, { "type": "array", "items": item }] })
        }
        Shape::Map(_, value) => json!({ "type": ["object", "null"], "additionalProperties": schema(*value) }),
        Shape::Section(keys) => object(keys()),
    }
}
