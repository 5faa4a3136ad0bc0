//! One message of `buf.validate` options, by field number.
//!
//! Options are read as records and not as declared structs: twelve types of rules differ in nothing but how a number is
//! encoded, and a rule that this version does not know must be found, not dropped.

use crate::to_json::Halt;
use crate::to_json::reader::{self, FIXED32, FIXED64, LEN, VARINT};

/// The first number of extensions: rules of one's own, which are written in CEL.
pub(super) const FIRST_OWN: u32 = 1000;

/// The records of a message, in the order they came.
pub(super) struct Said<'a>(Vec<(u32, Value<'a>)>);

/// A record's value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// The bits of a varint or of a fixed number.
    Bits(u64),
    /// What a length comes before.
    Bytes(&'a [u8]),
}

impl<'a> Said<'a> {
    /// Reads a message.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        Self::records(bytes).map(Self).map_err(|_| "its rules cannot be read".to_owned())
    }

    fn records(bytes: &'a [u8]) -> Result<Vec<(u32, Value<'a>)>, Halt> {
        let (mut at, mut records) = (0, Vec::new());
        while at < bytes.len() {
            let (tag, value) = reader::tag(bytes, at)?;
            let (record, end) = match tag.wire_type() {
                VARINT => number(reader::varint(bytes, value)?),
                FIXED64 => number(reader::fixed64(bytes, value)?),
                FIXED32 => number(reader::fixed32(bytes, value).map(|(bits, end)| (bits.into(), end))?),
                LEN => {
                    let (start, end) = reader::delimited(bytes, value)?;
                    (Value::Bytes(&bytes[start..end]), end)
                }
                _ => (Value::Bits(0), reader::skip(bytes, tag, value, 1)?),
            };
            records.push((tag.number(), record));
            at = end;
        }
        Ok(records)
    }

    /// Everything that a field says.
    pub(super) fn each(&self, number: u32) -> impl Iterator<Item = Value<'a>> {
        self.0.iter().filter(move |record| record.0 == number).map(|record| record.1)
    }

    /// What a singular field says: the last word.
    pub(super) fn last(&self, number: u32) -> Option<Value<'a>> {
        self.each(number).last()
    }

    /// A singular field's bits.
    pub(super) fn bits(&self, number: u32) -> Option<u64> {
        match self.last(number)? {
            Value::Bits(bits) => Some(bits),
            Value::Bytes(_) => None,
        }
    }

    /// A bool, false where nothing is said.
    pub(super) fn flag(&self, number: u32) -> bool {
        self.bits(number).is_some_and(|bits| bits != 0)
    }

    /// A singular string or bytes.
    pub(super) fn bytes(&self, number: u32) -> Option<&'a [u8]> {
        self.each_bytes(number).last()
    }

    /// Repeated strings or bytes.
    pub(super) fn each_bytes(&self, number: u32) -> impl Iterator<Item = &'a [u8]> {
        self.each(number).filter_map(|value| match value {
            Value::Bytes(bytes) => Some(bytes),
            Value::Bits(_) => None,
        })
    }

    /// A submessage, its parts merged.
    pub(super) fn message(&self, number: u32) -> Option<Vec<u8>> {
        let mut parts = self.each_bytes(number).peekable();
        parts.peek()?;
        Some(parts.flatten().copied().collect())
    }

    /// Which of these fields has the last word: the member of a oneof that is set.
    pub(super) fn last_among(&self, numbers: impl Fn(u32) -> bool) -> Option<u32> {
        self.0.iter().rev().map(|record| record.0).find(|&number| numbers(number))
    }

    /// The numbers of all fields, each once, ascending.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        let mut numbers: Vec<u32> = self.0.iter().map(|record| record.0).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter()
    }

    /// The first field that is none of these.
    pub(super) fn beyond(&self, known: impl Fn(u32) -> bool) -> Option<u32> {
        self.0.iter().map(|record| record.0).find(|&number| !known(number))
    }
}

/// Refuses rules that this version does not know. Those of one's own are for [`super::compile`] to see.
pub(super) fn known(said: &Said<'_>, name: &str, numbers: &[u32]) -> Result<(), String> {
    match said.beyond(|number| numbers.contains(&number) || number >= FIRST_OWN) {
        None => Ok(()),
        Some(number) => Err(format!(
            "its {name} rules have a field {number} that this version of Transom does not support: remove it"
        )),
    }
}

fn number<'a>((bits, end): (u64, usize)) -> (Value<'a>, usize) {
    (Value::Bits(bits), end)
}
