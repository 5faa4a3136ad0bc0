//! Expressions over a message of their own, what is refused of them, and what they may cost.

use super::*;
use crate::schema::Schema;
use crate::scratch::Span;

const PROTO: &str = r#"
syntax = "proto3";
package t;
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/timestamp.proto";
message M {
  int32 number = 1;
  string text = 2;
  repeated int32 list = 3;
  map<string, M> map = 4;
  M inner = 5;
  google.protobuf.Struct free = 6;
  google.protobuf.Int64Value wrapped = 7;
  google.protobuf.Timestamp at = 8;
  optional uint64 maybe = 9;
  enum E { ZERO = 0; ONE = 1; }
  E kind = 10;
}
"#;

fn schema() -> Schema {
    struct Files;
    impl protox::file::FileResolver for Files {
        fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
            match name {
                "t.proto" => protox::file::File::from_source(name, PROTO),
                _ => protox::file::GoogleFileResolver::new().open_file(name),
            }
        }
    }
    let mut compiler = protox::Compiler::with_file_resolver(Files);
    compiler.include_imports(true).open_file("t.proto").unwrap();
    let mut builder = Schema::builder();
    builder.add(&compiler.encode_file_descriptor_set(), "t.binpb").unwrap();
    builder.build().unwrap()
}

fn verdict(schema: &Schema, text: &str, wire: &[u8]) -> Result<Verdict, String> {
    let id = schema.message_named("t.M").unwrap();
    let expression = Expression::compile(schema, text, This::Message(id), None)?;
    let mut budget = steps(wire.len());
    let source = Source { schema, wire, depth: 100 };
    let this = source.message(id, &[Span::new(0, wire.len())], &mut Work::new(&mut budget)).unwrap();
    expression.evaluate(schema, this, 0, Work::new(&mut budget)).map_err(|fault| format!("{fault:?}"))
}

#[test]
fn expressions_mean_what_they_say() {
    let schema = schema();
    for text in [
        "true",
        "1 + 2 * 3 == 7 && 7 / 2 == 3 && -7 / 2 == -3 && -7 % 3 == -1",
        "1u + 2u == 3u && 1.5 * 2.0 == 3.0",
        "'a' + 'b' == \"ab\" && b'a' + b'b' == b'ab' && [1] + [2] == [1, 2]",
        "1 == 1.0 && 1u == 1 && !(1 == dyn('1')) && 2 > 1.5",
        "{'a': 1, 'b': 2}['b'] == 2 && 'a' in {'a': 1} && {'a': 1}.a == 1",
        "[1, 2, 3].exists_one(x, x > 2) && [1, 2].map(x, x > 1, x * 2) == [4]",
        "[[1, 2], [3]].all(row, row.all(cell, cell < 4 && size(row) < 3))",
        "this.number == 0 && !has(this.number) && !has(this.inner) && this.inner.inner.text == ''",
        "!has(this.maybe) && this.maybe == 0u && this.wrapped == null && this.list == [] && this.map == {}",
        "this.at == timestamp('1970-01-01T00:00:00Z') && this.at.getDayOfWeek() == 4",
        "this.kind == t.M.E.ZERO && t.M.E.ONE == 1",
        "type(1) == int && type('') == string && type(this) == t.M",
        "string(1) + string(2u) + string(true) == '12true' && int('7') == 7 && double('1.5') == 1.5",
        "duration('1h30m').getMinutes() == 90 && duration('-1.5s') < duration('0s')",
        "timestamp('2026-02-28T23:00:00Z') + duration('2h') == timestamp('2026-03-01T01:00:00Z')",
        "timestamp('2024-12-31T12:00:00Z').getDayOfYear() == 365",
        "'héllo'.size() == 5 && 'héllo'.substring(1, 3) == 'él' && 'a,b'.split(',') == ['a', 'b']",
        "'abc'.matches('^a.c$') && !matches('abc', '^b')",
        "'%s is %d'.format(['x', 7]) == 'x is 7' && [1, 2] == [1.0, 2.0]",
        // What decides needs no other side.
        "true || 1 / 0 == 1",
        "1 / 0 == 1 || true",
        "!(false && 1 / 0 == 1) && !(1 / 0 == 1 && false)",
        "[0, 2].exists(x, 4 / x == 2)",
        "!['a', 'b'].all(x, x == 'b' && 1 / 0 == 1)",
    ] {
        assert_eq!(verdict(&schema, text, &[]), Ok(Verdict::Kept), "{text}");
    }
    assert_eq!(
        verdict(&schema, "this.number > 0 ? '' : 'too small'", &[]),
        Ok(Verdict::Broken(Some("too small".into())))
    );
    assert_eq!(verdict(&schema, "this.number > 0", &[]), Ok(Verdict::Broken(None)));
}

#[test]
fn messages_are_read_as_they_lie() {
    let schema = schema();
    // number 3; text "a"; list 1, 2 and packed 3; map {"k": {number: 4}}; free {"x": [true]}; wrapped 5; number 6.
    let wire = [
        &b"\x08\x03\x12\x01a\x18\x01\x18\x02\x1a\x01\x03"[..],
        b"\x22\x07\x0a\x01k\x12\x02\x08\x04",
        b"\x32\x0d\x0a\x0b\x0a\x01x\x12\x06\x32\x04\x0a\x02\x20\x01",
        b"\x3a\x02\x08\x05\x08\x06",
    ]
    .concat();
    for text in [
        "this.number == 6 && this.text == 'a' && this.list == [1, 2, 3]",
        "this.map['k'].number == 4 && this.map.k.number == 4 && has(this.map.k)",
        "this.free.x[0] == true && this.wrapped == 5 && has(this.wrapped)",
        "this.map.all(key, this.map[key] == this.map.k) && this != this.inner",
    ] {
        assert_eq!(verdict(&schema, text, &wire), Ok(Verdict::Kept), "{text}");
    }
    // A submessage in two parts is one.
    let parts = b"\x2a\x02\x08\x07\x2a\x03\x12\x01b";
    assert_eq!(verdict(&schema, "this.inner.number == 7 && this.inner.text == 'b'", parts), Ok(Verdict::Kept));
}

#[test]
fn what_cannot_be_evaluated_is_refused_before() {
    let schema = schema();
    for (text, why) in [
        ("this.", "cannot be parsed"),
        ("this.nothing", "t.M has no field `nothing`"),
        ("this.inner.map.k.nothing == 1", "t.M has no field `nothing`"),
        ("this.list.all(x, y)", "there is no `y`"),
        ("rule == 1", "there is no `rule`"),
        ("frobnicate(this)", "there is no function `frobnicate`"),
        ("this.text.frobnicate()", "there is no method `frobnicate`"),
        ("this.text.matches(this.text)", "a pattern that the expression or its rule says itself"),
        ("this.text.matches('(')", "cannot be used"),
        ("t.M{number: 1} == this", "that is not supported"),
        ("this.number.x", "is asked of what has no fields"),
        ("this.number", ""),
        ("this", "neither a bool nor a string"),
        ("this.number + 1 == 1 ? 1u : 2u", "neither a bool nor a string"),
    ] {
        let refused = verdict(&schema, text, &[]).unwrap_err();
        assert!(refused.contains(why), "{text}: {refused}");
    }
    let long = format!("'{}' == ''", "a".repeat(10_000));
    assert!(verdict(&schema, &long, &[]).unwrap_err().contains("longer than"));
    for deep in [
        format!("{}true{}", "(".repeat(2000), ")".repeat(2000)),
        "[".repeat(4000),
        "{0:".repeat(2000),
        "true ? true : ".repeat(580) + "true",
        "1+".repeat(4000) + "1 > 0",
        "this.inner".to_owned() + &".inner".repeat(1000) + ".text == ''",
    ] {
        let refused = verdict(&schema, &deep, &[]).unwrap_err();
        assert!(refused.contains("nested too deeply"), "{deep}: {refused}");
    }
    for odd in ["!".repeat(8000) + "true", "-".repeat(8000) + "1 > 0", "a.b(".to_owned() + &"c,".repeat(3000) + "c)"] {
        // Whatever becomes of it, something does.
        let _ = verdict(&schema, &odd, &[]);
    }
}

#[test]
fn unique_is_what_equals_nothing_before_it() {
    let schema = schema();
    for list in [
        "[]",
        "[1, 2u, 1.5, '1', b'1', true, null]",
        "[1e300, 1e301, 18446744073709551615u, -1]",
        "[0.0 / 0.0, 0.0 / 0.0]",
        "[[1], [2], {1: 2}, {1: 3}, [[1]]]",
        "[timestamp(1), duration('1s'), 1]",
        "[type(1), 'int']",
    ] {
        assert_eq!(verdict(&schema, &format!("{list}.map(x, dyn(x)).unique()"), &[]), Ok(Verdict::Kept), "{list}");
    }
    for list in [
        "[1, 2, 1u]",
        "[1, 1.0]",
        "[0.0, -0.0]",
        "[1e300, 1e300]",
        "['a', 'b', 'a']",
        "[b'a', b'a']",
        "[null, null]",
        "[true, true]",
        "[[1], 2, [1.0]]",
        "[{1: 2}, {1u: 2.0}]",
        "[timestamp(1), timestamp(1)]",
        "[duration('1s'), duration('1000ms')]",
        "[type(1), type(2)]",
        "[this, this]",
    ] {
        let told = verdict(&schema, &format!("{list}.map(x, dyn(x)).unique()"), &[]);
        assert_eq!(told, Ok(Verdict::Broken(None)), "{list}");
    }
    // Each of them is looked at once.
    let wire: Vec<u8> = (0..10_000_u32).flat_map(|at| [0x18, 0x80 | (at & 0x7f) as u8, (at >> 7) as u8]).collect();
    assert_eq!(verdict(&schema, "this.list.unique()", &wire), Ok(Verdict::Kept));
    let wire = [&wire[..], &[0x18, 7]].concat();
    assert_eq!(verdict(&schema, "this.list.unique()", &wire), Ok(Verdict::Broken(None)));
}

#[test]
fn errors_are_no_answer() {
    let schema = schema();
    for text in [
        "1 / this.number == 1",
        "[1][2] == 1",
        "{'a': 1}['b'] == 1",
        "9223372036854775807 + 1 > 0",
        "dyn(1) + 'a' == ''",
    ] {
        assert!(verdict(&schema, text, &[]).unwrap_err().starts_with("Error"), "{text}");
    }
}

#[test]
fn work_is_bounded() {
    let schema = schema();
    let begun = std::time::Instant::now();
    let ten = "[0,1,2,3,4,5,6,7,8,9]";
    let nested = (0..12).rfold("true".to_owned(), |inner, at| format!("{ten}.all(x{at}, {inner})"));
    assert!(verdict(&schema, &nested, &[]).unwrap_err().contains("too much work"));
    let doubled =
        (0..40).fold("'aaaaaaaaaaaaaaaa'".to_owned(), |text, at| format!("[{text}].map(x{at}, x{at} + x{at})[0]"));
    assert!(verdict(&schema, &format!("{doubled} == ''"), &[]).is_err());
    // A text that was made here, copied again and again.
    let copies = format!("[this.text + 'a'].all(s, {ten}.all(x, {ten}.all(y, {ten}.all(z, [s].size() == 1))))");
    let text = [&[0x12, 0x80, 0x80, 0x40][..], &[b'a'; 1 << 20]].concat();
    assert!(verdict(&schema, &copies, &text).unwrap_err().contains("too much work"));
    assert_eq!(verdict(&schema, &copies, &text[..0]), Ok(Verdict::Kept));
    // A large message has more, and the largest no more than that.
    assert_eq!((steps(0), steps(1000), steps(usize::MAX)), (100_000, 116_000, 5_000_000));
    // A long list, looked at by each of its items.
    let wire: Vec<u8> = (0..20_000).flat_map(|_| [0x18, 1]).collect();
    let refused = verdict(&schema, "this.list.all(x, this.list.all(y, x == y))", &wire).unwrap_err();
    assert!(refused.contains("too much work"), "{refused}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
}
