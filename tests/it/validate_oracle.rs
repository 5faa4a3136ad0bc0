//! Validation against protovalidate itself: npm `@bufbuild/protovalidate` is asked about generated messages, and every
//! violation must be the same: path, rule, key or value.
//!
//! `.ci/install test` brings it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use serde_json::{Value, json};
use transom::sources::compile_folder;
use transom_transcode::plan::Limits;
use transom_transcode::schema::{Field, Kind, Message, MessageId, Schema, Shape};
use transom_transcode::scratch::Scratch;
use transom_transcode::validate::{MOST, Rules};

/// Messages of each type.
const EACH: usize = 250;

#[test]
fn violations_are_those_of_protovalidate() {
    let tally = compare("checked", &[("checked.proto", include_str!("protos/checked.proto"))]);
    // Every rule is broken by some message.
    assert!(tally.len() > 100, "{} rules: {tally:?}", tally.len());
}

#[cfg(feature = "cel")]
#[test]
fn violations_of_rules_in_cel_are_those_of_protovalidate() {
    let files = [
        ("custom.proto", include_str!("protos/custom.proto")),
        ("custom_rules.proto", include_str!("protos/custom_rules.proto")),
    ];
    let tally = compare("custom", &files);
    assert!(tally.len() > 65, "{} rules: {tally:?}", tally.len());
}

/// Holds generated messages of every type of a package to its rules, here and there; how often each was broken.
fn compare(package: &str, files: &[(&str, &str)]) -> BTreeMap<String, usize> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let set = compile_folder(folder.path()).unwrap();
    let file = folder.path().join("checked.binpb");
    std::fs::write(&file, &set).unwrap();
    let mut builder = Schema::builder();
    builder.add(&set, "checked").unwrap();
    let schema = builder.build().unwrap();
    let rules = Rules::compile(&schema);
    let prefix = format!("{package}.");
    let of_interest = |message: &Message| message.name.starts_with(&prefix) && !message.map_entry;
    let types: Vec<_> = schema.messages.iter().zip(0_u32..).filter(|(message, _)| of_interest(message)).collect();
    let mut cases = Vec::new();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for (message, id) in &types {
        let id = MessageId(*id);
        assert_eq!(rules.problems(&schema, id), Vec::<&_>::new(), "{}", message.name);
        assert_eq!(rules.custom(&schema, id), Vec::<&str>::new(), "{}", message.name);
        cases.extend((0..EACH).map(|_| (id, random.message(&schema, id, 0))));
    }

    let said = oracle(&file, &schema, &cases);

    let mut scratch = Scratch::default();
    let mut tally = BTreeMap::<String, usize>::new();
    for ((id, bytes), said) in cases.iter().zip(&said) {
        let found = rules.violations(&schema, *id, bytes, &Limits::default(), SystemTime::now(), &mut scratch);
        let name = &schema.message(*id).name;
        let context = || format!("{name} {}", hex(bytes));
        if said.get("unreadable").is_some() || said.get("error").is_some() {
            assert!(found.is_err() || found.is_ok_and(|found| !found.is_empty()), "{} {said}", context());
            continue;
        }
        let found = found.unwrap_or_else(|invalid| panic!("{}: {invalid}, but {said}", context()));
        let mut ours: Vec<Value> = found.iter().map(|one| json!([one.field, &*one.rule, one.for_key])).collect();
        let mut theirs = said.as_array().cloned().unwrap();
        ours.sort_by_key(Value::to_string);
        theirs.sort_by_key(Value::to_string);
        if found.len() < MOST {
            assert_eq!(ours, theirs, "{}", context());
        } else {
            assert!(ours.iter().all(|one| theirs.contains(one)), "{}: {ours:?} {theirs:?}", context());
        }
        for violation in &found {
            *tally.entry(violation.rule.to_string()).or_default() += 1;
        }
        *tally.entry(if found.is_empty() { "none".to_owned() } else { "some".to_owned() }).or_default() += 1;
    }
    // Some messages break none.
    assert!(tally["none"] > types.len(), "{tally:?}");
    tally
}

/// What protovalidate says of each case.
fn oracle(set: &Path, schema: &Schema, cases: &[(MessageId, Vec<u8>)]) -> Vec<Value> {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    assert!(clients.join("node_modules/@bufbuild/protovalidate").is_dir(), "not installed: .ci/install test");
    let mut node = Command::new("node")
        .arg("protovalidate.mjs")
        .arg(set)
        .current_dir(&clients)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node");
    let lines: String =
        cases.iter().map(|(id, bytes)| format!("{} {}\n", schema.message(*id).name, hex(bytes))).collect();
    node.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    let said: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said.len(), cases.len());
    said
}

/// xorshift64: the same messages every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// A message's bytes: fields in any order, some twice, lists packed or not, unknown fields between.
    fn message(&mut self, schema: &Schema, id: MessageId, depth: usize) -> Vec<u8> {
        let message = schema.message(id);
        let special = match &*message.name {
            "google.protobuf.Timestamp" | "google.protobuf.Duration" => Some(self.time()),
            "google.protobuf.FieldMask" => Some(self.mask()),
            _ => None,
        };
        if let Some(special) = special {
            return special;
        }
        let mut records: Vec<Vec<u8>> = Vec::new();
        // Some messages break little, so that single rules decide.
        let absent = 2 + self.below(4);
        for field in &message.fields {
            if !self.one_in(absent) || depth == 0 && self.one_in(2) {
                self.field(schema, field, depth, &mut records);
            }
        }
        if self.one_in(8) {
            records.push([varint(500 << 3), varint(self.next())].concat());
        }
        if self.one_in(3) {
            for at in (1..records.len()).rev() {
                let other = self.below(at + 1);
                records.swap(at, other);
            }
        }
        records.concat()
    }

    fn field(&mut self, schema: &Schema, field: &Field, depth: usize, records: &mut Vec<Vec<u8>>) {
        let count = match field.shape {
            Shape::Singular | Shape::Item => 1 + usize::from(self.one_in(8)),
            Shape::Repeated | Shape::Packed | Shape::Map => self.below(5),
        };
        let (tag, wire_type) = (u64::from(field.number) << 3, u64::from(field.kind.wire_type()));
        if wire_type != 2 && field.shape != Shape::Singular && self.one_in(2) {
            let packed: Vec<u8> = (0..count).flat_map(|_| self.value(schema, field.kind, depth)).collect();
            records.push([varint(tag | 2), varint(packed.len() as u64), packed].concat());
            return;
        }
        for _ in 0..count {
            if matches!(field.kind, Kind::Message(_)) && depth > 3 {
                return;
            }
            let value = self.value(schema, field.kind, depth);
            records.push([varint(tag | wire_type), value].concat());
        }
    }

    fn value(&mut self, schema: &Schema, kind: Kind, depth: usize) -> Vec<u8> {
        const SMALL: [i64; 14] = [0, 0, 1, -1, 2, 3, 4, 5, 7, 10, -3, -5, -10, 11];
        const FLOATS: [f64; 14] =
            [0.0, -0.0, 1.0, 1.5, 2.0, 2.25, 2.5, -1.0, -2.5, 10.0, -10.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let number = match self.below(6) {
            0 => self.of(&[i64::MIN, i64::MAX, i32::MIN.into(), i32::MAX.into(), 4_294_967_295, 4_294_967_294]),
            1 => self.next() as i64,
            _ => self.of(&SMALL),
        };
        match kind {
            Kind::Double => self.of(&FLOATS).to_le_bytes().to_vec(),
            Kind::Float => (self.of(&FLOATS) as f32).to_le_bytes().to_vec(),
            Kind::Fixed64 | Kind::Sfixed64 => number.to_le_bytes().to_vec(),
            Kind::Fixed32 | Kind::Sfixed32 => (number as i32).to_le_bytes().to_vec(),
            Kind::Bool => varint(u64::from(self.one_in(2))),
            Kind::Enum(_) => varint(self.of(&[0, 1, 5, 2, u64::MAX])),
            Kind::Int32 => varint(i64::from(number as i32) as u64),
            Kind::Uint32 => varint((number as u32).into()),
            Kind::Sint32 => varint(u64::from(((number as i32) << 1 ^ (number as i32) >> 31) as u32)),
            Kind::Sint64 => varint((number << 1 ^ number >> 63) as u64),
            Kind::Int64 | Kind::Uint64 => varint(number as u64),
            Kind::String => delimited(&self.text()),
            Kind::Bytes => delimited(&match self.below(3) {
                0 => vec![0x80; self.of(&[0, 3, 4, 16])],
                _ => self.text(),
            }),
            Kind::Message(id) | Kind::Group(id) => delimited(&self.message(schema, id, depth + 1)),
        }
    }

    /// A text of some format, and now and then one that just fails it.
    fn text(&mut self) -> Vec<u8> {
        let mut text: Vec<char> = self.of(&TEXTS).chars().collect();
        if self.one_in(3) {
            let at = self.below(text.len() + 1);
            match self.below(3) {
                0 if at < text.len() => drop(text.remove(at)),
                1 if at < text.len() => text[at] = self.of(&CHARACTERS),
                _ => text.insert(at, self.of(&CHARACTERS)),
            }
        }
        text.into_iter().collect::<String>().into_bytes()
    }

    fn time(&mut self) -> Vec<u8> {
        let seconds = self.of(&[0, 1, 2, 3, 5, 1000, 1001, 4_000_000_000, 4_000_000_001, 9_000_000_000_u64]);
        let nanos = self.of(&[0, 0, 5, 500_000_000, 500_000_001_u64]);
        [varint(8), varint(seconds), varint(16), varint(nanos)].concat()
    }

    fn mask(&mut self) -> Vec<u8> {
        let paths = ["a", "b", "b.c", "b.c.d", "a.x", "ab", "b.cd"];
        (0..self.below(3)).flat_map(|_| [vec![10], delimited(self.of(&paths).as_bytes())].concat()).collect()
    }
}

const CHARACTERS: [char; 24] = [
    'a', 'Z', '0', '9', '-', '.', ':', '/', '%', '@', '[', ']', '?', '#', '_', '~', ' ', '\n', '\u{7f}', '\0', 'é',
    '𝄞', ',', '+',
];

const TEXTS: [&str; 93] = [
    "",
    "",
    "f",
    "foo",
    "foobar",
    "bar",
    "foo.bar",
    "a.b",
    "a-b.com",
    "añ𝄞z",
    "ññ",
    "𝄞𝄞𝄞𝄞",
    "a..b",
    "four",
    "fives",
    "type.googleapis.com/foo",
    "user@example.com",
    "u.ser+tag@sub.example.co",
    "user@localhost",
    "user@-a.com",
    "user@a_b.c",
    "@a.b",
    "user@",
    "a@b@c",
    "\"q\"@a.b",
    "user@exämple.com",
    "example.com",
    "example.com.",
    "EXAMPLE",
    "a-.b",
    "-a.b",
    "a..b.",
    "123",
    "a.123",
    "1a.b2",
    "127.0.0.1",
    "255.255.255.255",
    "256.0.0.1",
    "01.2.3.4",
    "1.2.3",
    "1.2.3.4.5",
    "::",
    "::1",
    "1::",
    "1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7::",
    "1::3:4:5:6:7:8",
    "1:2:3:4:5:6:7:8:9",
    "fe80::1%en0",
    "fe80::1%",
    "::ffff:1.2.3.4",
    "1:2:3:4:5:6:1.2.3.4",
    "1.2.3.4::",
    "12345::",
    "g::1",
    ":1",
    "1:",
    "127.0.0.1/32",
    "127.0.0.0/8",
    "127.0.0.1/8",
    "127.0.0.0/33",
    "127.0.0.0/08",
    "::1/128",
    "2001:db8::/32",
    "2001:db8::1/32",
    "::/129",
    "https://example.com/foo/bar?baz=quux#frag",
    "http://user:pw@[::1]:8080/%20?q",
    "http://[fe80::1%25en0]/",
    "http://[v1.x]/",
    "http://a%C3%B1o.com",
    "http://a%FFo.com",
    "http://a/%zz",
    "mailto:a@b.c",
    "urn:isbn:0",
    "a:b:c",
    "//host/path",
    "./foo/bar?query",
    "/a//b",
    "?q",
    "#f",
    "a/b:c",
    "1a:b",
    "http://a b",
    "localhost:80",
    "[::1]:65535",
    "127.0.0.1:65536",
    "host:080",
    "[::1]",
    "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "f47ac10b58cc4372a5670e02b2c3d479",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    ".foo.Bar_1",
];

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn delimited(bytes: &[u8]) -> Vec<u8> {
    [varint(bytes.len() as u64).as_slice(), bytes].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
