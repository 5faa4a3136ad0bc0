//! Random files of editions 2023 and 2024, held against buffa-descriptor: features on files, messages, enums and fields, and
//! what is inherited.
//!
//! Descriptors are written byte by byte, as protoc would write them: prost-types knows no features.

use std::sync::Arc;

use buffa_descriptor::DescriptorPool;
use buffa_descriptor::reflect::DynamicMessage;
use transom_transcode::schema::Schema;

use crate::draw::Draw;
use crate::records::{int, len};

/// The same file for both sides. Its first message is `t.M0`.
pub(crate) struct Edition {
    pub(crate) ours: Schema,
    oracle: Arc<DescriptorPool>,
}

impl Edition {
    pub(crate) fn draw(draw: &mut Draw<'_>) -> Self {
        let set = len(1, file(draw));
        let mut builder = Schema::builder();
        builder.add(&set, "random").unwrap();
        let ours = builder.build().unwrap_or_else(|problems| panic!("{problems:#?}"));
        Self { ours, oracle: Arc::new(DescriptorPool::decode(&set).unwrap()) }
    }

    /// The oracle's reading of a `t.M0`.
    pub(crate) fn decode(&self, wire: &[u8]) -> DynamicMessage {
        let top = self.oracle.message_index("t.M0").unwrap();
        DynamicMessage::decode(Arc::clone(&self.oracle), top, wire).unwrap()
    }
}

/// `FeatureSet` by field number; 0 is not set.
#[derive(Debug, Clone, Copy, Default)]
struct Features {
    presence: u64,
    enums: u64,
    repeated: u64,
    utf8: u64,
    messages: u64,
    json: u64,
}

const EXPLICIT: u64 = 1;
const REQUIRED: u64 = 3;
const OPEN: u64 = 1;
const CLOSED: u64 = 2;

impl Features {
    /// What a file or a message may set for all that is in it.
    fn of_scope(draw: &mut Draw<'_>) -> Self {
        Self {
            presence: draw.of(&[0, 0, EXPLICIT, 2]),
            enums: draw.of(&[0, 0, OPEN, CLOSED]),
            repeated: draw.of(&[0, 1, 2]),
            utf8: draw.of(&[0, 2, 3]),
            messages: draw.of(&[0, 1, 2]),
            json: draw.of(&[0, 1, 2]),
        }
    }

    /// The bytes of the field `features` of options, where it has this number; none if nothing is set.
    fn within(self, number: u32) -> Vec<u8> {
        let all = [self.presence, self.enums, self.repeated, self.utf8, self.messages, self.json];
        let set: Vec<u8> =
            all.iter().zip(1..).filter(|(value, _)| **value > 0).flat_map(|(value, at)| int(at, *value)).collect();
        if set.is_empty() { set } else { len(number, set) }
    }
}

/// Where a field may stand, and whether the enums that it may have are closed.
#[derive(Clone, Copy)]
struct Scope {
    messages: usize,
    /// `t.E` inherits from the file, `t.F` says it itself.
    closed: [bool; 2],
}

/// `FileDescriptorProto`.
fn file(draw: &mut Draw<'_>) -> Vec<u8> {
    let edition = draw.of(&[1001, 1000]);
    let features = Features::of_scope(draw);
    let own = draw.of(&[OPEN, CLOSED]);
    let scope = Scope { messages: 1 + draw.below(4), closed: [features.enums == CLOSED, own == CLOSED] };
    let mut out = [len(1, "t.proto"), len(2, "t"), len(12, "editions"), int(14, edition)].concat();
    out.extend(len(8, features.within(50)));
    for (name, features, closed) in [
        ("E", Features::default(), scope.closed[0]),
        ("F", Features { enums: own, ..Features::default() }, scope.closed[1]),
    ] {
        out.extend(len(5, enumeration(name, features, closed)));
    }
    for index in 0..scope.messages {
        out.extend(len(4, message(draw, index, scope)));
    }
    for index in 0..draw.below(4) as u64 {
        let extension = field(draw, &format!("extension{index}"), 1000 + index, scope, Place::Extension);
        out.extend(len(7, [extension, len(2, ".t.M0")].concat()));
    }
    out
}

/// `EnumDescriptorProto`: a closed one need not begin with 0.
fn enumeration(name: &str, features: Features, closed: bool) -> Vec<u8> {
    let zero = [("ZERO", 0), ("ONE", 1), ("LOW", i64::from(i32::MIN)), ("HIGH", i64::from(i32::MAX))];
    let mut out = [len(1, name), len(3, features.within(7))].concat();
    for at in 0..zero.len() {
        let (value, number) = zero[(at + usize::from(closed)) % zero.len()];
        out.extend(len(2, [len(1, format!("{name}_{value}")), int(2, number as u64)].concat()));
    }
    out
}

/// `DescriptorProto`.
fn message(draw: &mut Draw<'_>, index: usize, scope: Scope) -> Vec<u8> {
    let features = if draw.one_in(3) { Features::of_scope(draw) } else { Features::default() };
    // Fields without presence may not be of a closed enum: what a message says of enums is about those inside it.
    let mut out = [len(1, format!("M{index}")), len(7, features.within(12))].concat();
    let oneof = draw.one_in(2);
    let mut members = 0;
    for number in 1..=1 + draw.below(12) as u64 {
        let name = format!("some_field{number}");
        let place = match draw.below(6) {
            0 if oneof => Place::Oneof,
            1 => Place::Map,
            2 | 3 => Place::Repeated,
            _ => Place::Singular,
        };
        members += usize::from(matches!(place, Place::Oneof));
        if let Place::Map = place {
            let key = [len(1, "key"), int(3, 1), int(4, 1), int(5, draw.of(&[9, 5, 8, 4]))].concat();
            let value = field(draw, "value", 2, scope, Place::Value);
            let entry = format!("SomeField{number}Entry");
            out.extend(len(3, [len(1, &entry), len(2, key), len(2, value), len(7, int(7, 1))].concat()));
            let map = [len(1, &name), int(3, number), int(4, 3), int(5, 11), len(6, format!(".t.M{index}.{entry}"))];
            out.extend(len(2, map.concat()));
        } else {
            out.extend(len(2, field(draw, &name, number, scope, place)));
        }
    }
    if members > 0 {
        out.extend(len(8, len(1, "choice")));
    }
    if index == 0 {
        out.extend(len(5, [int(1, 1000), int(2, 2000)].concat()));
    }
    out
}

/// What a field is to its message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Singular,
    Repeated,
    Oneof,
    Map,
    /// Of a map's entry.
    Value,
    Extension,
}

/// `FieldDescriptorProto`.
fn field(draw: &mut Draw<'_>, name: &str, number: u64, scope: Scope, place: Place) -> Vec<u8> {
    const MESSAGE: u64 = 11;
    const ENUM: u64 = 14;
    let kind = draw.of(&[9, MESSAGE, ENUM, 5, 12, 1, 2, 3, 4, 6, 7, 8, 13, 15, 16, 17, 18, MESSAGE, ENUM]);
    let repeated = place == Place::Repeated || place == Place::Extension && draw.one_in(2);
    let mut out = [len(1, name), int(3, number), int(4, if repeated { 3 } else { 1 }), int(5, kind)].concat();
    let mut features = Features::default();
    if draw.one_in(3) && place != Place::Value {
        match kind {
            MESSAGE => features.messages = draw.of(&[2, 1]),
            9 => features.utf8 = draw.of(&[2, 3]),
            _ => {}
        }
        if place == Place::Singular && kind != MESSAGE {
            features.presence = draw.of(&[EXPLICIT, 2, REQUIRED]);
        }
        if repeated && !matches!(kind, MESSAGE | 9 | 12) {
            features.repeated = draw.of(&[1, 2]);
        }
    }
    if kind == MESSAGE {
        out.extend(len(6, format!(".t.M{}", draw.below(scope.messages))));
    }
    if kind == ENUM {
        let which = draw.below(2);
        out.extend(len(6, [".t.E", ".t.F"][which]));
        if scope.closed[which] && place == Place::Singular && features.presence != REQUIRED {
            features.presence = EXPLICIT; // protoc demands it
        }
    }
    if place == Place::Oneof {
        out.extend(int(9, 0));
    }
    if place == Place::Extension && !repeated {
        features.presence = EXPLICIT; // as all have; the oracle believes the file
    }
    let features = features.within(21);
    if !features.is_empty() {
        out.extend(len(8, features));
    }
    out
}
