//! The translators, held against prost-reflect over random proto2 and proto3 schemas and values, and against buffa-descriptor
//! over random files of editions.
//!
//! Where prost-reflect deviates from ProtoJSON, the values avoid the case, and a unit test holds our side:
//!
//! - an empty `Any` is an error there, `{}` here;
//! - wrappers of NaN and infinities are `null` there, `"NaN"` … here;
//! - a Duration whose seconds and nanoseconds have different signs is normalised there, refused here;
//! - a closed enum's unknown values are kept there, unknown fields here;
//! - a field of another wire type is an error there, an unknown field here.
//!
//! `PROPTEST_CASES` sets how many cases each property gets.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod compare;
mod disorder;
mod draw;
mod editions;
mod records;
mod schema;
mod value;

use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use transom_transcode::canonical::canonical;
use transom_transcode::invalid::Invalid;
use transom_transcode::plan::{BindPlan, Limits, OutOptions, OutPlan};
use transom_transcode::scratch::Scratch;
use transom_transcode::to_json::to_json;
use transom_transcode::to_wire::{Input, to_wire};

use transom_transcode::schema::Schema;

use draw::{Draw, Supply};
use editions::Edition;
use schema::Both;

impl Both {
    fn top(&self) -> MessageDescriptor {
        self.oracle.get_message_by_name("t.M0").unwrap()
    }

    /// Wire → JSON, ours.
    fn print(&self, wire: &[u8], field: &str, options: OutOptions) -> Result<serde_json::Value, Invalid> {
        let text = print(&self.ours, wire, field, options)?;
        Ok(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    /// JSON → wire, ours, decoded by the oracle.
    fn read(&self, text: &str) -> Result<DynamicMessage, Invalid> {
        let wire = read(&self.ours, text)?;
        Ok(DynamicMessage::decode(self.top(), wire.as_slice()).unwrap_or_else(|error| panic!("{error}: {text}")))
    }
}

/// A `t.M0` from wire to JSON.
fn print(schema: &Schema, wire: &[u8], field: &str, options: OutOptions) -> Result<String, Invalid> {
    let plan = OutPlan::compile(schema, schema.message_named("t.M0").unwrap(), field, options).unwrap();
    let mut out = Vec::new();
    to_json(schema, &plan, wire, &Limits::default(), &mut Scratch::default(), &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

/// A `t.M0` from JSON to wire.
fn read(schema: &Schema, text: &str) -> Result<Vec<u8>, Invalid> {
    let plan = BindPlan::whole(schema.message_named("t.M0").unwrap());
    let input = Input { body: text.as_bytes(), ..Input::default() };
    let mut out = Vec::new();
    to_wire(schema, &plan, &input, &Limits::default(), &mut Scratch::default(), &mut out)?;
    Ok(out)
}

/// A `t.M0` in canonical form, which is that of the canonical form too.
fn rewrite(schema: &Schema, wire: &[u8]) -> Result<Vec<u8>, Invalid> {
    let rewrite = |wire: &[u8]| {
        let id = schema.message_named("t.M0").unwrap();
        let mut out = Vec::new();
        canonical(schema, id, wire, &Limits::default(), &mut Scratch::default(), &mut out).map(|()| out)
    };
    let once = rewrite(wire)?;
    assert_eq!(rewrite(&once).as_ref(), Ok(&once));
    Ok(once)
}

/// The oracle's JSON.
fn oracle(message: &DynamicMessage, options: OutOptions, pretty: bool) -> Option<String> {
    let options = SerializeOptions::new()
        .skip_default_fields(!options.emit_defaults)
        .use_enum_numbers(options.enums_as_numbers)
        .use_proto_field_name(options.proto_names)
        .stringify_64_bit_integers(!options.int64_as_numbers);
    let mut text = Vec::new();
    let done = if pretty {
        message.serialize_with_options(&mut serde_json::Serializer::pretty(&mut text), &options)
    } else {
        message.serialize_with_options(&mut serde_json::Serializer::new(&mut text), &options)
    };
    done.ok()?;
    Some(String::from_utf8(text).unwrap())
}

/// The message as it crosses the wire: there the oracle loses the sign of a map's `-0`.
fn again(message: &DynamicMessage) -> DynamicMessage {
    let wire = message.encode_to_vec();
    DynamicMessage::decode(prost_reflect::ReflectMessage::descriptor(message), wire.as_slice()).unwrap()
}

fn options(draw: &mut Draw<'_>) -> OutOptions {
    OutOptions {
        emit_defaults: draw.one_in(2),
        enums_as_numbers: draw.one_in(2),
        proto_names: draw.one_in(2),
        int64_as_numbers: draw.one_in(4),
        unknown_any: false,
    }
}

/// Both print the same; ours may refuse integers that are no JSON numbers.
fn check(both: &Both, wire: &[u8], options: OutOptions) -> Result<(), TestCaseError> {
    let expected = oracle(&DynamicMessage::decode(both.top(), wire).unwrap(), options, false);
    let printed = both.print(wire, "", options);
    // Merging can pair one message's type with another's bytes in an `Any`.
    let Some(expected) = expected else { return Ok(()) };
    let expected = serde_json::from_str(&expected).unwrap();
    match printed {
        Ok(printed) => prop_assert!(compare::same(&printed, &expected), "ours   {printed}\noracle {expected}"),
        Err(why) if why.message.contains("different signs") => {}
        // A `Value` of no kind has no JSON; the oracle prints `null`, and nothing but that.
        Err(why) if why.message.contains("has no value") => {
            prop_assert!(expected.to_string().contains("null"), "{why}\noracle {expected}\nwire {wire:02x?}");
        }
        Err(why) => prop_assert!(options.int64_as_numbers && why.message.contains("2^53"), "{why}"),
    }
    Ok(())
}

/// A hundred cases of each property, unless `PROPTEST_CASES` says otherwise.
fn config() -> ProptestConfig {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 100 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn wire_to_json(supply in Supply::any()) {
        let mut draw = supply.draw();
        let both = Both::draw(&mut draw);
        let message = value::message(&mut draw, &both.top(), 4);
        check(&both, &message.encode_to_vec(), OutOptions::default())?;
    }

    #[test]
    fn wire_in_disorder_to_json(supply in Supply::any()) {
        let mut draw = supply.draw();
        let both = Both::draw(&mut draw);
        let message = value::message(&mut draw, &both.top(), 4);
        let other = value::message(&mut draw, &both.top(), 4);
        let mut wire = Vec::new();
        disorder::stir(&mut draw, &both.top(), &message.encode_to_vec(), &mut wire);
        disorder::stir(&mut draw, &both.top(), &other.encode_to_vec(), &mut wire);
        check(&both, &wire, OutOptions::default())?;
    }

    #[test]
    fn wire_to_json_by_options(supply in Supply::any()) {
        let mut draw = supply.draw();
        let both = Both::draw(&mut draw);
        let options = options(&mut draw);
        let message = value::message(&mut draw, &both.top(), 4);
        let mut wire = message.encode_to_vec();
        if draw.one_in(2) {
            let ordered = std::mem::take(&mut wire);
            disorder::stir(&mut draw, &both.top(), &ordered, &mut wire);
        }
        check(&both, &wire, options)?;
    }

    #[test]
    fn json_to_wire(supply in Supply::any()) {
        let mut draw = supply.draw();
        let both = Both::draw(&mut draw);
        let options = OutOptions { emit_defaults: false, ..options(&mut draw) };
        let message = value::message(&mut draw, &both.top(), 4);
        let message = again(&message);
        let text = oracle(&message, options, draw.one_in(2)).unwrap();
        match both.read(&text) {
            Ok(read) => prop_assert_eq!(compare::difference(&read, &message), None, "{}", text),
            Err(why) => prop_assert!(false, "{why}: {text}"),
        }
    }

    #[test]
    fn wire_to_json_to_wire(supply in Supply::any()) {
        let mut draw = supply.draw();
        let both = Both::draw(&mut draw);
        let options = OutOptions { int64_as_numbers: false, emit_defaults: false, ..options(&mut draw) };
        let message = value::message(&mut draw, &both.top(), 4);
        let message = again(&message);
        let text = print(&both.ours, &message.encode_to_vec(), "", options).unwrap();
        match both.read(&text) {
            Ok(read) => prop_assert_eq!(compare::difference(&read, &message), None, "{}", text),
            Err(why) => prop_assert!(false, "{why}: {text}"),
        }
    }

    #[test]
    fn wire_in_disorder_to_canonical(supply in Supply::any()) {
        let mut draw = supply.draw();
        let both = Both::draw(&mut draw);
        let message = value::message(&mut draw, &both.top(), 4);
        let mut wire = Vec::new();
        disorder::stir(&mut draw, &both.top(), &message.encode_to_vec(), &mut wire);
        let message = DynamicMessage::decode(both.top(), wire.as_slice()).unwrap();
        let ours = rewrite(&both.ours, &wire).unwrap();
        let ours = DynamicMessage::decode(both.top(), ours.as_slice()).unwrap();
        prop_assert_eq!(compare::difference(&ours, &message), None);
    }

    #[test]
    fn editions(supply in Supply::any()) {
        let mut draw = supply.draw();
        let both = Edition::draw(&mut draw);
        let wire = records::message(&mut draw, &both.ours, both.ours.message_named("t.M0").unwrap(), 4);
        let oracle = both.decode(&wire);
        let expected = oracle.to_json().unwrap();
        let value = |text: &str| serde_json::from_str(text).unwrap();
        let printed = print(&both.ours, &wire, "", OutOptions::default()).unwrap();
        prop_assert!(compare::same(&value(&printed), &value(&expected)), "ours   {printed}\noracle {expected}");
        let read = read(&both.ours, &expected).map_err(|why| TestCaseError::fail(format!("{why}: {expected}")))?;
        let read = both.decode(&read).to_json().unwrap();
        prop_assert!(compare::same(&value(&read), &value(&expected)), "ours   {read}\noracle {expected}");
        // Of the same length: packed, delimited and left out alike.
        let written = rewrite(&both.ours, &wire).unwrap();
        prop_assert_eq!(written.len(), oracle.encode_to_vec().len(), "{}", expected);
        prop_assert_eq!(both.decode(&written).to_json().unwrap(), expected);
    }

    #[test]
    fn damaged_json_is_refused_or_read(supply in Supply::any(), damage in proptest::collection::vec(any::<(u16, u8)>(), 1..8)) {
        let mut draw = supply.draw();
        let both = Both::draw(&mut draw);
        let message = value::message(&mut draw, &both.top(), 4);
        let mut text = oracle(&message, OutOptions::default(), false).unwrap().into_bytes();
        let likely = b"{}[]\",:-.e0\\u\n ";
        for (at, byte) in damage {
            let place = usize::from(at) % text.len();
            text[place] = likely.get(usize::from(byte)).copied().unwrap_or(byte);
        }
        let _ = both.read(&String::from_utf8_lossy(&text));
    }

    #[test]
    fn damaged_wire_is_refused_or_printed(supply in Supply::any(), damage in proptest::collection::vec(any::<(u16, u8)>(), 1..8)) {
        let mut draw = supply.draw();
        let both = Both::draw(&mut draw);
        let mut wire = value::message(&mut draw, &both.top(), 4).encode_to_vec();
        for (at, byte) in damage {
            let len = wire.len();
            match wire.get_mut(usize::from(at) % len.max(1)) {
                Some(hit) => *hit = byte,
                None => wire.push(byte),
            }
        }
        let printed = both.print(&wire, "", options(&mut draw));
        if let (Ok(printed), Ok(message)) = (printed, DynamicMessage::decode(both.top(), wire.as_slice())) {
            prop_assert!(printed.is_object(), "{printed}");
            prop_assert_eq!(compare::difference(&message, &message), None);
        }
    }
}
