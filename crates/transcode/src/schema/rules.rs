//! What `buf.validate` options say of messages, fields and oneofs, as they came: bytes. [`crate::validate`] compiles them.

use hashbrown::HashMap;

use super::MessageId;
use super::descriptor::decode;

/// What each message that says anything says.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    of: HashMap<MessageId, Written, foldhash::fast::FixedState>,
    /// `(buf.validate.predefined)` of the extensions of a message of rules, by their numbers.
    predefined: HashMap<(MessageId, u32), Vec<u8>, foldhash::fast::FixedState>,
}

/// What one message says.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// `(buf.validate.message)`: a `MessageRules`; empty for none.
    pub(crate) message: Vec<u8>,
    /// `(buf.validate.field)`, a `FieldRules`, of the slots that have one, ascending.
    pub(crate) fields: Vec<(u16, Vec<u8>)>,
    /// `(buf.validate.oneof)`, an `OneofRules`, of the oneofs that have one, ascending.
    pub(crate) oneofs: Vec<(u16, Vec<u8>)>,
}

/// `MessageOptions`, `FieldOptions` and `OneofOptions` have the extension under one number.
#[derive(Clone, PartialEq, prost::Message)]
struct Options {
    /// As often as it was said: together they are merged.
    #[prost(bytes = "vec", repeated, tag = "1159")]
    rules: Vec<Vec<u8>>,
    /// What a rule of one's own stands for.
    #[prost(bytes = "vec", repeated, tag = "1160")]
    predefined: Vec<Vec<u8>>,
}

/// The rules among options; empty for none.
pub(super) fn of(options: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    match options.is_empty() {
        true => Ok(Vec::new()),
        false => decode::<Options>(options).map(|options| options.rules.concat()),
    }
}

/// What an extension of rules stands for; empty for nothing.
pub(super) fn predefined(options: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    match options.is_empty() {
        true => Ok(Vec::new()),
        false => decode::<Options>(options).map(|options| options.predefined.concat()),
    }
}

impl Rules {
    /// What the extension under a number of a message of rules stands for: a `PredefinedRules`.
    pub(crate) fn predefined(&self, id: MessageId, number: u32) -> Option<&[u8]> {
        self.predefined.get(&(id, number)).map(Vec::as_slice)
    }

    /// Keeps what an extension stands for.
    pub(super) fn define(&mut self, id: MessageId, number: u32, written: Vec<u8>) {
        if !written.is_empty() {
            self.predefined.insert((id, number), written);
        }
    }

    /// The messages that say something, and what.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (MessageId, &Written)> {
        self.of.iter().map(|(&id, written)| (id, written))
    }

    /// What a message says of itself.
    pub(super) fn message(&mut self, id: MessageId, said: Vec<u8>) {
        if !said.is_empty() {
            self.of.entry(id).or_default().message = said;
        }
    }

    /// What its fields and oneofs say.
    pub(super) fn extend(&mut self, id: MessageId, written: Written) {
        if !written.is_empty() {
            let entry = self.of.entry(id).or_default();
            entry.fields = written.fields;
            entry.oneofs = written.oneofs;
        }
    }

    /// What one more field of it says.
    pub(super) fn field(&mut self, id: MessageId, slot: usize, said: Vec<u8>) {
        if !said.is_empty() {
            self.of.entry(id).or_default().field(slot, said);
        }
    }
}

impl Written {
    pub(super) fn field(&mut self, slot: usize, said: Vec<u8>) {
        if let (Ok(slot), false) = (u16::try_from(slot), said.is_empty()) {
            self.fields.push((slot, said));
        }
    }

    pub(super) fn oneof(&mut self, index: Option<u16>, said: Vec<u8>) {
        if let (Some(index), false) = (index, said.is_empty()) {
            self.oneofs.push((index, said));
        }
    }

    fn is_empty(&self) -> bool {
        self.message.is_empty() && self.fields.is_empty() && self.oneofs.is_empty()
    }
}
