//! Which strings of a message are cleaned.

use super::*;
use crate::plan::{BindPlan, OutOptions, OutPlan};
use crate::scratch::Scratch;
use crate::to_json::tests::{schema, wire};
use crate::to_json::to_json;
use crate::to_wire::{Input, to_wire};

const PROTO: &str = r#"
    syntax = "proto3"; package p;
    message M {
        string a = 1; M inner = 2; repeated M many = 3; repeated string texts = 4; map<string, string> notes = 5;
        map<string, M> by_name = 6; bytes data = 7; int32 number = 8; oneof o { string left = 9; }
    }
"#;

fn clean(fields: &[(&str, &[Step])], json: &str) -> String {
    clean_within(Limits::default().depth, fields, json).unwrap()
}

/// The same; messages nest that deep at most where they are cleaned.
fn clean_within(depth: u16, fields: &[(&str, &[Step])], json: &str) -> Result<String, Invalid> {
    let schema = schema(PROTO);
    let id = schema.message_named("p.M").unwrap();
    let sanitizer = Sanitizer::compile(&schema, id, fields.iter().copied()).unwrap();
    let (limits, mut scratch) = (Limits { depth: Limits::DEEPEST, ..Limits::default() }, Scratch::default());
    let (mut wire, mut out, mut printed) = (Vec::new(), b"kept".to_vec(), Vec::new());
    let input = Input { body: json.as_bytes(), ..Input::default() };
    to_wire(&schema, &BindPlan::whole(id), &input, &limits, &mut scratch, &mut wire).unwrap();
    sanitizer.apply(&schema, &wire, &Limits { depth, ..limits }, &mut scratch, &mut out)?;
    let wire = out.strip_prefix(b"kept").unwrap();
    let plan = OutPlan::whole(id, OutOptions::default());
    to_json(&schema, &plan, wire, &limits, &mut scratch, &mut printed).unwrap();
    Ok(String::from_utf8(printed).unwrap())
}

#[test]
fn every_string_or_those_that_are_named() {
    let json = r#"{"a":" a ","inner":{"a":" b "},"many":[{"a":" c "}],"texts":[" d ","e"],"notes":{" k ":" f "},"byName":{" l ":{"a":" g "}},"data":"IGg=","number":8,"left":" i "}"#;
    let every = json.replace("\" a \"", "\"a\"").replace("\" b \"", "\"b\"").replace("\" c \"", "\"c\"");
    let every = every.replace("\" d \"", "\"d\"").replace("\" f \"", "\"f\"").replace("\" g \"", "\"g\"");
    let every = every.replace("\" i \"", "\"i\"");
    assert_eq!(clean(&[(EVERY, &[Step::Trim])], json), every);
    assert_eq!(
        clean(&[(EVERY, &[Step::Trim]), ("a", &[])], json),
        every.replacen("\"a\"", "\" a \"", 2).replacen("\" a \":", "\"a\":", 1)
    );
    assert_eq!(clean(&[("many.a", &[Step::Trim])], json), json.replace("\" c \"", "\"c\""));
    assert_eq!(clean(&[("notes", &[Step::Trim])], json), json.replace("\" f \"", "\"f\""));
    assert_eq!(clean(&[("by_name.a", &[Step::Trim])], json), json.replace("\" g \"", "\"g\""));
    assert_eq!(
        clean(&[("texts", &[Step::Trim]), ("inner.a", &[Step::Trim])], json),
        json.replace("\" d \"", "\"d\"").replace("\" b \"", "\"b\"")
    );
}

#[test]
fn long_strings_shrink_their_messages_lengths() {
    let long = "x".repeat(300);
    let json = format!(r#"{{"inner":{{"inner":{{"a":"{}{long}"}}}}}}"#, " ".repeat(20_000));
    assert_eq!(clean(&[(EVERY, &[Step::Trim])], &json), format!(r#"{{"inner":{{"inner":{{"a":"{long}"}}}}}}"#));
}

#[test]
fn maps_are_as_deep_as_their_values() {
    let json = |maps| (0..maps).fold(r#"{"a":"x"}"#.to_owned(), |inner, _| format!(r#"{{"byName":{{"k":{inner}}}}}"#));
    let clean = |maps| clean_within(10, &[(EVERY, &[Step::Trim])], &json(maps));
    assert_eq!(clean(9).unwrap(), json(9), "an entry is no level");
    assert_eq!(clean(10).unwrap_err().kind, Refusal::TooDeep);
}

#[test]
fn nested_groups_have_a_work_budget() {
    let message = (0..20)
        .fold("repeated string a = 2;".to_owned(), |inner, at| format!("optional group G{at} = 1 {{ {inner} }}"));
    let schema = schema(&format!("syntax = \"proto2\"; package p; message M {{ {message} }}"));
    let id = schema.message_named("p.M").unwrap();
    let fields: [(&str, &[Step]); 1] = [(EVERY, &[Step::Trim])];
    let (sanitizer, mut scratch) = (Sanitizer::compile(&schema, id, fields).unwrap(), Scratch::default());
    let nested = |deep: usize| (0..deep).fold(wire::len(2, " a ").repeat(50_000), |inner, _| wire::group(1, &inner));
    let mut clean = |message: &[u8]| {
        let mut out = Vec::new();
        sanitizer.apply(&schema, message, &Limits::default(), &mut scratch, &mut out).map(|()| out)
    };
    assert!(clean(&nested(3)).unwrap() == nested(3), "unknown, where it is");
    assert_eq!(clean(&nested(20)).unwrap_err().kind, Refusal::TooMuchWork);
}

#[test]
fn a_path_without_a_string_is_a_problem() {
    let schema = schema(PROTO);
    let id = schema.message_named("p.M").unwrap();
    let wrong = [
        ("b", "p.M has no field `b`"),
        ("inner", "`inner` is a message: name a string in it"),
        ("number", "`number` holds no strings"),
        ("a.b", "`a` holds no messages"),
        ("inner.b", "p.M has no field `b`"),
    ];
    let trim: &[Step] = &[Step::Trim];
    let fields = wrong.iter().map(|(path, _)| (*path, trim)).chain([("a", trim)]);
    let told = Sanitizer::compile(&schema, id, fields).unwrap_err();
    assert_eq!(told, wrong.map(|(path, why)| (path, why.to_owned())), "each of them");
}

#[test]
fn hostile_messages_are_refused() {
    let schema = schema(PROTO);
    let id = schema.message_named("p.M").unwrap();
    let fields: [(&str, &[Step]); 1] = [(EVERY, &[Step::Trim])];
    let sanitizer = Sanitizer::compile(&schema, id, fields).unwrap();
    let deep = (0..200).fold(Vec::new(), |inner: Vec<u8>, _| wire::len(2, inner));
    let (mut out, mut scratch) = (b"kept".to_vec(), Scratch::default());
    assert_eq!(
        sanitizer.apply(&schema, &deep, &Limits::default(), &mut scratch, &mut out).unwrap_err().kind,
        Refusal::TooDeep
    );
    assert!(sanitizer.apply(&schema, &[10, 9, b'a'], &Limits::default(), &mut scratch, &mut out).is_err());
    assert_eq!(out, b"kept");
    // What is not UTF-8 stays for others to refuse.
    sanitizer.apply(&schema, &[10, 2, 0xff, b' '], &Limits::default(), &mut scratch, &mut out).unwrap();
    assert_eq!(out, b"kept\x0a\x02\xff ");
}
