//! Bindings, held against a model: whatever comes from the path, the query and the body, the message is that of one JSON
//! document in which it all stands, as prost-reflect reads it. What says two things of one field is refused.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "oracle/draw.rs"]
mod draw;

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::{Map, Value, json};
use transom_transcode::plan::{BindPlan, Limits, Unknown};
use transom_transcode::schema::{HttpRule, Schema};
use transom_transcode::scratch::Scratch;
use transom_transcode::template::Template;
use transom_transcode::to_wire::{Input, to_wire};

use draw::{Draw, Supply};

struct World {
    schema: Schema,
    message: MessageDescriptor,
    rules: Vec<Rule>,
}

/// A rule: what its path binds, and which field its body is; none, or all of the message.
struct Rule {
    captures: &'static [&'static str],
    body: &'static str,
    plan: BindPlan,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/proto");
    let mut compiler = protox::Compiler::new([protos]).unwrap();
    compiler.include_imports(true).open_files(["open.proto"]).unwrap();
    let mut builder = Schema::builder();
    builder.add(&compiler.encode_file_descriptor_set(), "open.proto").unwrap();
    let schema = builder.build().unwrap();
    let rules = [
        ("/{string}", &["string"][..], "*"),
        ("/{nested.int64}/{color}", &["nested.int64", "color"], "*"),
        ("/{string}/{nested.int32}", &["string", "nested.int32"], "nested"),
        ("/{nested.nested.bytes}/{nested.bool}", &["nested.nested.bytes", "nested.bool"], "nested"),
        ("/{timestamp}/{left}", &["timestamp", "left"], "nested"),
        ("/{nested.string=**}/{maybe}", &["nested.string", "maybe"], ""),
        ("/{uint64}/{nested.nested.duration}", &["uint64", "nested.nested.duration"], ""),
        ("/{nested.left}", &["nested.left"], "strings"),
    ];
    let rules = rules.into_iter().map(|(template, captures, body)| {
        let rule =
            HttpRule { method: "POST".into(), template: template.into(), body: body.into(), response_body: "".into() };
        let input = schema.message_named("fuzz.Open").unwrap();
        let template = Template::parse(template).unwrap();
        let plan = BindPlan::compile(&schema, input, &template, &rule, Unknown::Refuse);
        Rule { captures, body, plan: plan.unwrap_or_else(|wrong| panic!("{wrong:?}")) }
    });
    let rules = rules.collect();
    let message = compiler.descriptor_pool().get_message_by_name("fuzz.Open").unwrap();
    World { schema, message, rules }
});

/// The fields that are drawn, in every message that is nested no deeper than twice.
const FIELDS: [&str; 19] = [
    "string",
    "int32",
    "int64",
    "uint64",
    "sint64",
    "fixed32",
    "bool",
    "double",
    "bytes",
    "color",
    "maybe",
    "left",
    "timestamp",
    "duration",
    "int64_value",
    "numbers",
    "strings",
    "colors",
    "labels",
];

const PLACES: [&str; 3] = ["", "nested.", "nested.nested."];

/// A field's value as JSON, and as a path or a query has it: one text, or one for each element.
#[derive(Debug, Clone, PartialEq)]
struct Drawn {
    json: Value,
    texts: Vec<(String, String)>,
}

fn drawn(draw: &mut Draw<'_>, field: &str) -> Drawn {
    let one = |json: Value| {
        let text = json.as_str().map_or_else(|| json.to_string(), str::to_owned);
        Drawn { json, texts: vec![(String::new(), text)] }
    };
    let list = |items: Vec<Drawn>| Drawn {
        json: items.iter().map(|item| item.json.clone()).collect(),
        texts: items.into_iter().flat_map(|item| item.texts).collect(),
    };
    match field {
        "string" | "left" => one(draw.text().into()),
        "int32" | "maybe" => one((draw.number() as i32).into()),
        "int64" | "sint64" | "int64_value" => one((draw.number() as i64).to_string().into()),
        "uint64" => one(draw.number().to_string().into()),
        "fixed32" => one((draw.number() as u32).into()),
        "bool" => one(draw.one_in(2).into()),
        "double" => one(json!(f64::from(draw.number() as i32) / 8.0)),
        "bytes" => one(draw.of(&["", "AA==", "aGVsbG8=", "//79"]).into()),
        "color" => one(draw.of(&["COLOR_UNSPECIFIED", "COLOR_RED", "COLOR_BLUE"]).into()),
        "timestamp" => one(draw.of(&["1970-01-01T00:00:00Z", "2026-11-22T07:00:00.500Z"]).into()),
        "duration" => one(draw.of(&["0s", "1.500s", "-3s"]).into()),
        "numbers" => list((0..=draw.below(3)).map(|_| drawn(draw, "int32")).collect()),
        "strings" => list((0..=draw.below(3)).map(|_| drawn(draw, "string")).collect()),
        "colors" => list((0..=draw.below(3)).map(|_| drawn(draw, "color")).collect()),
        "labels" => {
            let keys = ["a", "b c", "k\u{e9}y"];
            let mut drawn = Drawn { json: Map::new().into(), texts: Vec::new() };
            for key in &keys[..=draw.below(keys.len())] {
                let value = draw.text();
                drawn.json[key] = value.clone().into();
                drawn.texts.push((format!("[{key}]"), value));
            }
            drawn
        }
        other => panic!("{other} is not drawn"),
    }
}

/// Sets what is at a dotted path.
fn set(document: &mut Value, path: &str, value: Value) {
    let mut place = document;
    for name in path.split('.') {
        if place.is_null() {
            *place = Map::new().into();
        }
        place = &mut place[name];
    }
    *place = value;
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A request of a rule, and the document in which all of it stands.
#[derive(Debug, Default)]
struct Case {
    rule: usize,
    captures: Vec<String>,
    query: Vec<String>,
    body: Value,
    merged: Value,
    /// It says two things of one field.
    disagrees: bool,
}

impl Case {
    fn drawn(draw: &mut Draw<'_>) -> Self {
        let rule = draw.below(WORLD.rules.len());
        let mut case = Self { rule, merged: json!({}), ..Self::default() };
        let Rule { captures, body, .. } = &WORLD.rules[rule];
        for path in *captures {
            let field = path.rsplit('.').next().unwrap();
            let mut value = drawn(draw, field);
            if field == "string" || field == "left" {
                // A segment is not empty, and many of them keep a slash as it was sent.
                let text = format!("x{}", value.json.as_str().unwrap().replace('/', ""));
                value = Drawn { json: text.clone().into(), texts: vec![(String::new(), text)] };
            }
            case.captures.push(escaped(&value.texts[0].1));
            set(&mut case.merged, path, value.json.clone());
            // Others may say the same again; or something else, which they may not.
            if draw.one_in(4) {
                let again = if draw.one_in(3) { drawn(draw, field) } else { value.clone() };
                case.disagrees |= again != value;
                case.say(body, path, again);
            }
        }
        for place in PLACES {
            for field in FIELDS {
                let path = format!("{place}{field}");
                if draw.one_in(5) && !captures.contains(&&*path) {
                    let value = drawn(draw, field);
                    set(&mut case.merged, &path, value.json.clone());
                    case.say(body, &path, value);
                }
            }
        }
        // A query's order means nothing.
        for at in 1..case.query.len() {
            if case.query[at].split('=').next() != case.query[at - 1].split('=').next() && draw.one_in(2) {
                case.query.swap(at - 1, at);
            }
        }
        case
    }

    /// Says a field's value where its rule wants it.
    fn say(&mut self, body: &str, path: &str, value: Drawn) {
        match path.strip_prefix(body).map(|rest| rest.strip_prefix('.').unwrap_or(rest)) {
            _ if body == "*" => set(&mut self.body, path, value.json),
            Some("") if !body.is_empty() => self.body = value.json,
            Some(rest) if !body.is_empty() => match path.as_bytes().get(body.len()) {
                Some(b'.') => set(&mut self.body, rest, value.json),
                _ => self.ask(path, &value),
            },
            _ => self.ask(path, &value),
        }
    }

    fn ask(&mut self, path: &str, value: &Drawn) {
        self.query.extend(
            value.texts.iter().map(|(key, text)| format!("{}={}", escaped(&format!("{path}{key}")), escaped(text))),
        );
    }

    fn message(&self) -> Result<Vec<u8>, String> {
        let captures: Vec<&str> = self.captures.iter().map(String::as_str).collect();
        let body = if self.body.is_null() { String::new() } else { self.body.to_string() };
        let query = self.query.join("&");
        let input = Input { captures: &captures, query: &query, body: body.as_bytes(), ..Input::default() };
        let mut out = Vec::new();
        let plan = &WORLD.rules[self.rule].plan;
        to_wire(&WORLD.schema, plan, &input, &Limits::default(), &mut Scratch::default(), &mut out)
            .map(|()| out)
            .map_err(|invalid| invalid.to_string())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_is_the_document_in_which_all_of_it_stands(supply in Supply::any()) {
        let case = Case::drawn(&mut supply.draw());
        match case.message() {
            Ok(wire) => {
                prop_assert!(!case.disagrees, "{case:?} was taken");
                let ours = DynamicMessage::decode(WORLD.message.clone(), &*wire).unwrap();
                let model = DynamicMessage::deserialize(WORLD.message.clone(), &case.merged).unwrap();
                // A default that it was given is none once it is written.
                let model = DynamicMessage::decode(WORLD.message.clone(), &*model.encode_to_vec()).unwrap();
                let text = serde_json::to_string(&ours).unwrap();
                prop_assert!(ours == model, "{case:?}\nbecame {text}");
            }
            Err(why) => prop_assert!(case.disagrees, "{why}: {case:?}"),
        }
    }
}
