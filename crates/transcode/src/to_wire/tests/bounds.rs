//! Hostile input: depth, output, work.

use super::*;
use crate::invalid::Kind;

fn nested(open: &str, middle: &str, close: &str, depth: usize) -> String {
    format!("{}{middle}{}", open.repeat(depth), close.repeat(depth))
}

fn kind(json: &str) -> Option<Kind> {
    Request::json("t.All", json.as_bytes()).bytes().err().map(|invalid| invalid.kind)
}

#[test]
fn nesting_over_the_limit_is_refused() {
    for (open, middle, close, levels) in [
        (r#"{"inner":"#, "{}", "}", 1),
        (r#"{"items":[ "#, "{}", "]}", 2),
        (r#"{"byNumber":{"1":"#, "{}", "}}", 2),
        (r#"{"any":{"@type":"x.y/t.All","inner":"#, "{}", "}}", 2),
    ] {
        let deepest = (100 - 1) / levels;
        assert_eq!(kind(&nested(open, middle, close, deepest)), None, "{open}");
        assert_eq!(kind(&nested(open, middle, close, deepest + 1)), Some(Kind::TooDeep), "{open}");
    }
    for (open, middle, close) in [("[", "1", "]"), (r#"{"a":"#, "1", "}"), (r#"[{"a":"#, "1", "}]")] {
        let levels = open.matches(['[', '{']).count();
        let deepest = 99 / levels;
        assert_eq!(kind(&format!("{{\"value\":{}}}", nested(open, middle, close, deepest))), None, "{open}");
        assert_eq!(
            kind(&format!("{{\"value\":{}}}", nested(open, middle, close, deepest + 1))),
            Some(Kind::TooDeep),
            "{open}"
        );
        let ignored = format!("{{\"nope\":{}}}", nested(open, middle, close, deepest + 1));
        assert_eq!(Request::json("t.All", ignored.as_bytes()).ignoring().bytes().unwrap_err().kind, Kind::TooDeep);
    }
}

#[test]
fn a_megabyte_of_brackets_is_refused_early_whatever_the_limit() {
    for text in [r#"{"value":"#, r#"{"nope":"#, r#"{"any":{"a":"#] {
        let json = format!("{text}{}", "[".repeat(1 << 20));
        let mut request = Request::json("t.All", json.as_bytes()).ignoring();
        request.limits.depth = u16::MAX;
        assert_eq!(request.bytes().unwrap_err().kind, Kind::TooDeep, "{text}");
    }
    // The longest ways through the readers: a thread's stack holds as many as are let in.
    for text in [
        r#"{"inner":"#,
        r#"{"items":["#,
        r#"{"byNumber":{"1":"#,
        r#"{"any":{"@type":"x/t.All","inner":"#,
        r#"{"any":{"@type":"x/google.protobuf.Any","value":"#,
    ] {
        let json = text.repeat(1000);
        let mut request = Request::json("t.All", json.as_bytes());
        request.limits.depth = u16::MAX;
        assert_eq!(request.bytes().unwrap_err().kind, Kind::TooDeep, "{text}");
    }
}

#[test]
fn output_over_the_limit_is_refused() {
    let json = format!("{{\"doubles\":[{}1]}}", "1,".repeat(1000));
    let mut request = Request::json("t.All", json.as_bytes());
    let whole = request.bytes().unwrap().len();
    request.limits.output = whole;
    assert!(request.bytes().is_ok());
    request.limits.output = whole - 1;
    assert_eq!(request.bytes().unwrap_err().kind, Kind::TooLarge);
}

#[test]
fn the_refusal_comes_before_the_memory_is_taken() {
    let json = format!("{{\"doubles\":[{}1]}}", "1,".repeat(100_000));
    let mut request = Request::json("t.All", json.as_bytes());
    request.limits.output = 1000;
    let mut out = Vec::new();
    let result =
        to_wire(&WORLD.schema, &request.plan, &request.input, &request.limits, &mut Scratch::default(), &mut out);
    assert_eq!(result.unwrap_err().kind, Kind::TooLarge);
    assert!(out.capacity() < 8192, "{}", out.capacity());
}

#[test]
fn looking_for_types_has_a_work_budget() {
    // Each level's `@type` stands last: each level reads all deeper ones twice.
    let mut json = "{\"@type\":\"x/t.All\"}".to_owned();
    for _ in 0..45 {
        json = format!("{{\"any\":{json},\"@type\":\"x/t.All\"}}");
    }
    assert_eq!(kind(&format!("{{\"any\":{json}}}")), None, "a small one may");
    let filler = "x".repeat(100_000);
    let mut json = format!("{{\"text\":\"{filler}\",\"@type\":\"x/t.All\"}}");
    for _ in 0..45 {
        json = format!("{{\"any\":{json},\"@type\":\"x/t.All\"}}");
    }
    assert_eq!(kind(&format!("{{\"any\":{json}}}")), Some(Kind::TooMuchWork));
}

#[test]
fn every_prefix_and_every_flipped_byte_is_answered() {
    let json = r#"{"i32":1,"text":"a\u00e9b","inner":{"labels":{"a":"b"}},"numbers":[1,2],"any":{"v":1,"@type":"x/google.protobuf.Int32Value","value":3},
        "value":{"a":[null,1.5,"x"]},"at":"2026-01-31T23:59:59.5Z","lasts":"-1.5s","mask":"a.b,cD","raw":"AQ==","doubleValue":1e300,"color":"RED"}"#;
    for end in 0..json.len() {
        let _ = Request::json("t.All", &json.as_bytes()[..end]).ignoring().bytes();
        for byte in [0, b'"', b'\\', b'{', b']', b'9', b'-', 0xff] {
            let mut changed = json.as_bytes().to_vec();
            changed[end] = byte;
            let _ = Request::json("t.All", &changed).ignoring().bytes();
        }
    }
}

#[test]
fn long_dotted_parameters_are_refused() {
    let query = format!("{}i32=1", "inner.".repeat(5000));
    let request = Request::rule("/v1/x", "", Input { query: &query, ..Input::default() });
    assert_eq!(request.bytes().unwrap_err().kind, Kind::TooDeep);
}
