//! Both translators, held against prost-reflect over random schemas and values.
//!
//! Where the oracle deviates from ProtoJSON, the values avoid the case, and a unit test holds our side:
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
mod schema;
mod value;

use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use transom_transcode::invalid::Invalid;
use transom_transcode::plan::{BindPlan, Limits, OutOptions, OutPlan};
use transom_transcode::scratch::Scratch;
use transom_transcode::to_json::to_json;
use transom_transcode::to_wire::{Input, to_wire};

use draw::{Draw, Supply};
use schema::Both;

impl Both {
    fn top(&self) -> MessageDescriptor {
        self.oracle.get_message_by_name("t.M0").unwrap()
    }

    /// Wire → JSON, ours.
    fn print(&self, wire: &[u8], field: &str, options: OutOptions) -> Result<serde_json::Value, Invalid> {
        let output = self.ours.message_named("t.M0").unwrap();
        let plan = OutPlan::compile(&self.ours, output, field, options).unwrap();
        let mut out = Vec::new();
        to_json(&self.ours, &plan, wire, &Limits::default(), &mut Scratch::default(), &mut out)?;
        Ok(serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out))))
    }

    /// Wire → JSON, ours, as text.
    fn text(&self, wire: &[u8], options: OutOptions) -> String {
        let plan = OutPlan::compile(&self.ours, self.ours.message_named("t.M0").unwrap(), "", options).unwrap();
        let mut out = Vec::new();
        to_json(&self.ours, &plan, wire, &Limits::default(), &mut Scratch::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// JSON → wire, ours, decoded by the oracle.
    fn read(&self, text: &str) -> Result<DynamicMessage, Invalid> {
        let plan = BindPlan::whole(self.ours.message_named("t.M0").unwrap());
        let input = Input { body: text.as_bytes(), ..Input::default() };
        let mut out = Vec::new();
        to_wire(&self.ours, &plan, &input, &Limits::default(), &mut Scratch::default(), &mut out)?;
        Ok(DynamicMessage::decode(self.top(), out.as_slice()).unwrap_or_else(|error| panic!("{error}: {text}")))
    }
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
        let text = both.text(&message.encode_to_vec(), options);
        match both.read(&text) {
            Ok(read) => prop_assert_eq!(compare::difference(&read, &message), None, "{}", text),
            Err(why) => prop_assert!(false, "{why}: {text}"),
        }
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
