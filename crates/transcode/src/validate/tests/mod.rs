//! Rules on messages; `tests/it/validate_oracle.rs` holds every standard rule against protovalidate itself.

use std::time::Duration;

use super::*;
use crate::plan::BindPlan;
use crate::to_wire::{Input, to_wire};

const VALIDATE: &str = include_str!("../../../../../proto/buf/validate/validate.proto");

fn schema(body: &str) -> Schema {
    schema_by(VALIDATE, body)
}

fn schema_by(validate: &str, body: &str) -> Schema {
    struct Files([(&'static str, String); 2]);
    impl protox::file::FileResolver for Files {
        fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
            match self.0.iter().find(|(own, _)| *own == name) {
                Some((_, text)) => protox::file::File::from_source(name, text),
                None => protox::file::GoogleFileResolver::new().open_file(name),
            }
        }
    }
    let text = format!(
        "syntax = \"proto3\"; package p; import \"buf/validate/validate.proto\";
         import \"google/protobuf/timestamp.proto\"; {body}"
    );
    let files = Files([("a.proto", text), ("buf/validate/validate.proto", validate.to_owned())]);
    let mut compiler = protox::Compiler::with_file_resolver(files);
    compiler.include_imports(true).open_file("a.proto").unwrap_or_else(|error| panic!("{error:?}"));
    let mut builder = Schema::builder();
    builder.add(&compiler.encode_file_descriptor_set(), "a.binpb").unwrap();
    builder.build().unwrap()
}

fn check_wire(schema: &Schema, message: &[u8]) -> Result<Vec<Violation>, Invalid> {
    let id = schema.message_named("p.M").unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(1_000);
    let rules = Rules::compile(schema);
    rules.violations(schema, id, message, &Limits::default(), now, &mut Scratch::default())
}

/// Path and rule of each violation of a message that is given as JSON.
fn check(schema: &Schema, json: &str) -> Vec<(String, String)> {
    let plan = BindPlan::whole(schema.message_named("p.M").unwrap());
    let input = Input { body: json.as_bytes(), ..Input::default() };
    let mut wire = Vec::new();
    to_wire(schema, &plan, &input, &Limits::default(), &mut Scratch::default(), &mut wire).unwrap();
    let violations = check_wire(schema, &wire).unwrap();
    violations.into_iter().map(|one| (one.field, one.rule.into())).collect()
}

fn violations(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|&(field, rule)| (field.to_owned(), rule.to_owned())).collect()
}

#[test]
fn paths_are_those_of_the_json() {
    let schema = schema(
        "message M { repeated In seat_list = 1; map<string, In> by_name = 2; map<int32, string> notes = 3
             [(buf.validate.field).map.keys.int32.gt = 0]; In one = 4; }
         message In { string seat_id = 1 [(buf.validate.field).string.max_len = 2]; }",
    );
    let json = r#"{"seatList": [{}, {"seatId": "abc"}], "byName": {"a\"b": {"seatId": "abc"}}, "notes": {"-1": ""},
                   "one": {"seatId": "abc"}}"#;
    let expected = violations(&[
        ("seatList[1].seatId", "string.max_len"),
        (r#"byName["a\"b"].seatId"#, "string.max_len"),
        ("notes[-1]", "int32.gt"),
        ("one.seatId", "string.max_len"),
    ]);
    assert_eq!(check(&schema, json), expected);
}

#[test]
fn what_is_wanted_is_told_in_words() {
    let schema = schema(
        "message M { int32 a = 1 [(buf.validate.field).int32 = {gte: 1, lt: 10}];
                     string b = 2 [(buf.validate.field).string.email = true];
                     google.protobuf.Timestamp c = 3 [(buf.validate.field).timestamp.gt = {seconds: 5}]; }",
    );
    // c at five seconds
    let found = check_wire(&schema, &[8, 10, 26, 2, 8, 5]).unwrap();
    let messages: Vec<_> = found.iter().map(|one| &*one.message).collect();
    assert_eq!(
        messages,
        [
            "must be greater than or equal to 1 and less than 10",
            "must not be empty: an email address is wanted",
            "must be greater than 1970-01-01T00:00:05Z"
        ]
    );
}

#[test]
fn now_is_the_callers() {
    let schema = schema(
        "message M { google.protobuf.Timestamp a = 1 [(buf.validate.field).timestamp.lt_now = true];
                     google.protobuf.Timestamp b = 2 [(buf.validate.field).timestamp = {gt_now: true, within: {seconds: 10}}]; }",
    );
    let at = |a: i64, b: i64| {
        let text = |at: i64| format!("1970-01-01T00:{:02}:{:02}Z", at / 60, at % 60);
        check(&schema, &format!(r#"{{"a": "{}", "b": "{}"}}"#, text(a), text(b)))
    };
    assert_eq!(at(1_000, 1_000), violations(&[]));
    assert_eq!(at(1_001, 999), violations(&[("a", "timestamp.lt_now"), ("b", "timestamp.gt_now")]));
    assert_eq!(at(0, 1_011), violations(&[("b", "timestamp.within")]));
}

#[test]
fn records_count_as_a_decoder_counts_them() {
    let schema = schema(
        "message M { In one = 1; oneof o { string a = 2 [(buf.validate.field).string.min_len = 2]; int32 b = 3; } }
         message In { string x = 1 [(buf.validate.field).string.min_len = 2]; int32 y = 2 [(buf.validate.field).int32.gt = 0]; }",
    );
    let found = |wire: &[u8]| {
        let found = check_wire(&schema, wire).unwrap();
        found.into_iter().map(|one| (one.field, one.rule.into())).collect::<Vec<(String, String)>>()
    };
    // x in one part of the submessage, y in the other
    assert_eq!(found(&[10, 4, 10, 2, b'o', b'k', 10, 2, 16, 1]), violations(&[]));
    assert_eq!(found(&[10, 2, 16, 1]), violations(&[("one.x", "string.min_len")]));
    // the last value counts
    assert_eq!(found(&[10, 6, 10, 0, 10, 2, b'o', b'k', 10, 2, 16, 1]), violations(&[]));
    // the oneof's last member counts: a is not set
    assert_eq!(found(&[18, 0, 24, 1]), violations(&[]));
    assert_eq!(found(&[24, 1, 18, 0]), violations(&[("a", "string.min_len")]));
}

#[test]
fn only_what_rules_reach_has_tables() {
    let schema = schema(
        "message M { Plain plain = 1; }  message Plain { repeated Deep deep = 1; string free = 2; }
         message Deep { Deep deep = 1; string x = 2 [(buf.validate.field).string.len = 1]; }
         message Other { M ignored = 1 [(buf.validate.field).ignore = IGNORE_ALWAYS]; string free = 2; }",
    );
    let rules = Rules::compile(&schema);
    let holds = |name: &str| rules.hold_for(schema.message_named(name).unwrap());
    assert!(holds("p.M") && holds("p.Plain") && holds("p.Deep"));
    let other = schema.message_named("p.Other").unwrap();
    let message = [10, 6, 10, 4, 10, 2, 18, 0];
    let now = SystemTime::now();
    let found = rules.violations(&schema, other, &message, &Limits::default(), now, &mut Scratch::default());
    assert_eq!(found, Ok(vec![]));
    assert_eq!(check_wire(&schema, &message[2..]).unwrap()[0].field, "plain.deep[0].x");
}

#[test]
fn rules_that_cannot_be_held_are_problems() {
    for (field, wrong) in [
        ("string a = 1 [(buf.validate.field).int32.gt = 1]", "int32 rules do not fit its type: write string"),
        ("M a = 1 [(buf.validate.field).string.len = 1]", "string rules do not fit a message"),
        (
            "repeated string a = 1 [(buf.validate.field).string.len = 1]",
            "string rules do not fit its type: write repeated",
        ),
        (
            "string a = 1 [(buf.validate.field).string.pattern = \"(\"]",
            "its pattern `(` cannot be used: unclosed group",
        ),
        (
            "repeated M a = 1 [(buf.validate.field).repeated.unique = true]",
            "repeated.unique holds for scalars and enums",
        ),
        ("double a = 1 [(buf.validate.field).double = {gt: nan}]", "NaN bounds nothing"),
        ("string a = 1; option (buf.validate.message).oneof = {fields: [\"a\", \"b\"]}", "names `b`, which is none"),
        ("string a = 1; option (buf.validate.message).oneof = {fields: [\"a\", \"a\"]}", "names `a` twice"),
    ] {
        let schema = schema(&format!("message M {{ {field}; }}"));
        let rules = Rules::compile(&schema);
        let problems = rules.problems(&schema, schema.message_named("p.M").unwrap());
        assert_eq!(problems.len(), 1, "{field}");
        assert!(problems[0].to_string().contains(wrong), "{}", problems[0]);
        assert!(problems[0].to_string().starts_with("a.proto: p.M"), "{}", problems[0]);
    }
}

#[test]
fn a_rule_of_a_newer_protovalidate_is_a_problem() {
    let newer = VALIDATE.replace("message StringRules {", "message StringRules { optional bool newer = 99;");
    let body = "message M { string a = 1 [(buf.validate.field).string.newer = true]; } message Other { M m = 1; }";
    let schema = schema_by(&newer, body);
    let rules = Rules::compile(&schema);
    for name in ["p.M", "p.Other"] {
        let problems = rules.problems(&schema, schema.message_named(name).unwrap());
        assert!(
            problems[0].message.contains("a field 99 that this version of Transom does not support"),
            "{problems:?}"
        );
    }
}

#[test]
fn rules_in_cel_are_named() {
    let schema = schema(
        "import \"google/protobuf/descriptor.proto\";
         extend buf.validate.StringRules { bool shouting = 1234 [(buf.validate.predefined).cel = {expression: \"true\"}]; }
         message M { option (buf.validate.message).cel = {id: \"m.sum\", expression: \"this.a < this.b\"};
            int32 a = 1 [(buf.validate.field).cel = {id: \"a.odd\", expression: \"this % 2 == 1\"}, (buf.validate.field).int32.gt = 0];
            int32 b = 2; repeated string c = 3 [(buf.validate.field).repeated.items.string.(p.shouting) = true];
            string d = 4 [(buf.validate.field).cel_expression = \"this != ''\"]; }
         message Other { int32 a = 1; }",
    );
    let rules = Rules::standard(&schema);
    let id = schema.message_named("p.M").unwrap();
    let custom = rules.custom(&schema, id);
    assert_eq!(
        custom,
        [
            "a.proto: p.M: the rule `m.sum` (`this.a < this.b`): it is written in CEL",
            "a.proto: p.M.a: the rule `a.odd` (`this % 2 == 1`): it is written in CEL",
            "a.proto: p.M.c: the rule `true`: it is written in CEL",
            "a.proto: p.M.d: the rule `this != ''`: it is written in CEL",
        ]
    );
    assert!(rules.custom(&schema, schema.message_named("p.Other").unwrap()).is_empty());
    // The standard rule beside them holds.
    let found = rules.violations(&schema, id, b"", &Limits::default(), UNIX_EPOCH, &mut Scratch::default()).unwrap();
    assert_eq!(found.iter().map(|found| &*found.rule).collect::<Vec<_>>(), ["int32.gt"]);
}

#[test]
fn hostile_messages_are_refused_or_bounded() {
    let schema = schema(
        "message M { M m = 1; repeated string s = 2 [(buf.validate.field).repeated.items.string.min_len = 1]; }",
    );
    // Deeper than the limit.
    let deep = (0..200_usize).fold(Vec::new(), |inner: Vec<u8>, _| {
        let mut outer = vec![10];
        prost::encoding::encode_varint(inner.len() as u64, &mut outer);
        outer.extend(inner);
        outer
    });
    assert_eq!(check_wire(&schema, &deep).unwrap_err().kind, crate::invalid::Kind::TooDeep);
    // A violation each, but they end.
    let many: Vec<u8> = std::iter::repeat_n([18, 0], 100_000).flatten().collect();
    assert_eq!(check_wire(&schema, &many).unwrap().len(), MOST);
    // Cut off; not UTF-8, with its place.
    assert!(check_wire(&schema, &[18, 5, b'a']).is_err());
    let invalid = check_wire(&schema, &[10, 3, 18, 1, 0xff]).unwrap_err();
    assert_eq!((&*invalid.field, &*invalid.message), ("m.s[0]", "the string is not UTF-8"));
}
