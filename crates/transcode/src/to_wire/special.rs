//! Messages with a JSON form of their own.

use crate::invalid::{Fail, Invalid, Kind as Refusal};
use crate::json::number;
use crate::json::scan::{self, Quoted, echo};
use crate::schema::{Kind, Message, MessageId, Schema, Shape, WellKnown};
use crate::scratch::Key;
use crate::to_wire::Translation;
use crate::to_wire::bound::UNBOUND;
use crate::to_wire::field::located;
use crate::to_wire::object::TypeKey;
use crate::to_wire::wire::{Wire, varint_length};

/// The tags of the well-known types' own fields.
mod tag {
    pub(super) const SECONDS: u8 = 0x08;
    pub(super) const NANOS: u8 = 0x10;
    pub(super) const PATHS: u8 = 0x0a;
    pub(super) const STRUCT_FIELDS: u8 = 0x0a;
    pub(super) const ENTRY_KEY: u8 = 0x0a;
    pub(super) const ENTRY_VALUE: u8 = 0x12;
    pub(super) const LIST_VALUES: u8 = 0x0a;
    pub(super) const NULL: u8 = 0x08;
    pub(super) const NUMBER: u8 = 0x11;
    pub(super) const STRING: u8 = 0x1a;
    pub(super) const BOOL: u8 = 0x20;
    pub(super) const STRUCT: u8 = 0x2a;
    pub(super) const LIST: u8 = 0x32;
    pub(super) const TYPE_URL: u8 = 0x0a;
    pub(super) const ANY_VALUE: u8 = 0x12;
}

/// Writes the content of a well-known message from its string.
pub(super) fn write_text(wire: &mut Wire<'_>, well_known: WellKnown, text: &[u8]) -> Result<(), Fail> {
    let written = match well_known {
        WellKnown::Timestamp => crate::well_known::parse::timestamp(text).map(|moment| write_moment(wire, moment)),
        WellKnown::Duration => crate::well_known::parse::duration(text).map(|moment| write_moment(wire, moment)),
        _ => write_mask(wire, text),
    };
    written.map_err(|expected| unexpected(expected, text))
}

fn unexpected(expected: &str, text: &[u8]) -> Fail {
    Invalid::new(format!("expected {expected}, got \"{}\"", echo(text))).into()
}

/// Writes a mask that a query or a form gives. There, unlike in JSON, its paths may have the .proto's names: each with a `_` does. Of
/// the fields of the message that is `masked`, the JSON names are known: `line1` may be `line_1`.
pub(super) fn write_given_mask(
    wire: &mut Wire<'_>,
    schema: &Schema,
    masked: Option<&Message>,
    text: &[u8],
) -> Result<(), Fail> {
    for path in crate::well_known::parse::field_mask(text) {
        wire.byte(tag::PATHS);
        let record = wire.open();
        let declared = masked.and_then(|message| declared(schema, message, path));
        match declared {
            Some(declared) => wire.buffer().extend_from_slice(declared.as_bytes()),
            None if is_declared(path) => wire.buffer().extend_from_slice(path),
            None => crate::well_known::parse::snake_case(path, wire.buffer())
                .map_err(|expected| unexpected(expected, text))?,
        }
        wire.close(record);
    }
    Ok(())
}

/// A path has the .proto's names.
fn is_declared(path: &[u8]) -> bool {
    path.contains(&b'_') && path.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.*".contains(byte))
}

/// A path of JSON names, or of the .proto's, in the .proto's; none where a part is no field of messages that have some.
fn declared(schema: &Schema, message: &Message, path: &[u8]) -> Option<String> {
    let mut declared = String::with_capacity(path.len() + 8);
    let mut within = Some(message);
    for part in std::str::from_utf8(path).ok()?.split('.') {
        let message = within?;
        let field = &message.fields[message.slot_named(part)?];
        if !declared.is_empty() {
            declared.push('.');
        }
        declared.push_str(&field.name);
        within = match (field.shape, field.kind) {
            (Shape::Singular, Kind::Message(id) | Kind::Group(id)) => Some(schema.message(id)),
            _ => None,
        };
    }
    (!declared.contains('[')).then_some(declared)
}

fn write_moment(wire: &mut Wire<'_>, (seconds, nanos): (i64, i32)) {
    if seconds != 0 {
        wire.byte(tag::SECONDS);
        wire.varint(seconds as u64);
    }
    if nanos != 0 {
        wire.byte(tag::NANOS);
        wire.varint(i64::from(nanos) as u64);
    }
}

fn write_mask(wire: &mut Wire<'_>, text: &[u8]) -> Result<(), &'static str> {
    for path in crate::well_known::parse::field_mask(text) {
        wire.byte(tag::PATHS);
        let record = wire.open();
        crate::well_known::parse::snake_case(path, wire.buffer())?;
        wire.close(record);
    }
    Ok(())
}

impl<'a> Translation<'a> {
    /// Reads a message with a JSON form of its own and writes its content.
    pub(super) fn special(&mut self, message: &Message) -> Result<(), Fail> {
        match message.well_known {
            WellKnown::Wrapper => match message.fields.first() {
                Some(field) => self.element(field, false, UNBOUND),
                None => Err(self.scan.value()),
            },
            WellKnown::Struct => self.structure(),
            WellKnown::Value => self.value(),
            WellKnown::ListValue => self.list(),
            WellKnown::Any => self.any(),
            WellKnown::No | WellKnown::Empty | WellKnown::HttpBody | WellKnown::MessageSet => {
                self.object(message, UNBOUND)
            }
            well_known @ (WellKnown::Timestamp | WellKnown::Duration | WellKnown::FieldMask) => {
                if self.scan.peek() != b'"' {
                    return Err(self.scan.expected("a string"));
                }
                let at = self.scan.at();
                self.with_string(|this, text| write_text(&mut this.wire, well_known, text))
                    .map_err(|fail| located(fail, at))
            }
        }
    }

    /// `google.protobuf.Struct`.
    fn structure(&mut self) -> Result<(), Fail> {
        self.entries(|this, name| {
            this.wire.byte(tag::STRUCT_FIELDS);
            let entry = this.wire.open();
            this.wire.byte(tag::ENTRY_KEY);
            let key = this.wire.len();
            this.text(name)?;
            let prefix = if name.escaped { 1 } else { varint_length(name.raw.len() as u64) };
            this.keys.push(Key { start: key + prefix, end: this.wire.len(), at: name.at });
            this.wire.byte(tag::ENTRY_VALUE);
            let value = this.wire.open();
            this.value()?;
            this.wire.close(value);
            this.wire.close(entry);
            this.fits()
        })
    }

    /// `google.protobuf.ListValue`.
    fn list(&mut self) -> Result<(), Fail> {
        self.array(|this| {
            this.wire.byte(tag::LIST_VALUES);
            let value = this.wire.open();
            this.value()?;
            this.wire.close(value);
            this.fits()
        })
    }

    /// `google.protobuf.Value`: any JSON value.
    fn value(&mut self) -> Result<(), Fail> {
        match self.scan.peek() {
            b'n' => {
                self.scan.word(b"null")?;
                self.wire.raw(&[tag::NULL, 0]);
            }
            b't' => {
                self.scan.word(b"true")?;
                self.wire.raw(&[tag::BOOL, 1]);
            }
            b'f' => {
                self.scan.word(b"false")?;
                self.wire.raw(&[tag::BOOL, 0]);
            }
            b'"' => {
                let string = self.scan.string()?;
                self.wire.byte(tag::STRING);
                self.text(string)?;
            }
            b'-' | b'0'..=b'9' => {
                let at = self.scan.at();
                let number = self.scan.number()?;
                let Some(number) = number::double(number) else {
                    return Err(scan::fail(at, "this number is beyond the largest double"));
                };
                self.wire.byte(tag::NUMBER);
                self.wire.raw(&number.to_le_bytes());
            }
            b'{' => {
                self.wire.byte(tag::STRUCT);
                let record = self.wire.open();
                self.structure()?;
                self.wire.close(record);
            }
            b'[' => {
                self.wire.byte(tag::LIST);
                let record = self.wire.open();
                self.list()?;
                self.wire.close(record);
            }
            _ => return Err(self.scan.value()),
        }
        Ok(())
    }

    /// `google.protobuf.Any`: a message of the type that `@type` names, wherever among the members it stands.
    fn any(&mut self) -> Result<(), Fail> {
        self.room = self.scan.deeper(self.room)?;
        if self.scan.open(b'{', b'}', "an object with `@type`")? {
            let members = self.scan.at();
            let url = self.type_url()?;
            self.scan.rewind(members);
            let id = self.type_named(url)?;
            self.wire.byte(tag::TYPE_URL);
            self.text(url)?;
            self.wire.byte(tag::ANY_VALUE);
            let record = self.wire.open();
            let message = self.schema.message(id);
            match message.well_known {
                WellKnown::No | WellKnown::HttpBody | WellKnown::MessageSet => {
                    self.members(message, UNBOUND, TypeKey::Due)?;
                }
                _ => self.any_of_special(id, message)?,
            }
            self.wire.close(record);
        }
        self.room += 1;
        Ok(())
    }

    /// Looks for `@type` among the members that follow, and checks those before it.
    fn type_url(&mut self) -> Result<Quoted<'a>, Fail> {
        let start = self.scan.at();
        loop {
            let name = self.scan.name()?;
            if self.is_type_key(name)? {
                if self.scan.peek() != b'"' {
                    return Err(self.scan.expected("a type URL"));
                }
                return self.scan.string();
            }
            self.scan.skip(self.room)?;
            // Read over here, these members are read once more: nested, that is work beyond the input's length.
            self.charge(self.scan.at() - name.at)?;
            if !self.scan.more(b'}')? {
                return Err(scan::fail(start, "a google.protobuf.Any needs `@type`"));
            }
        }
    }

    /// The message of a type URL: what follows its last slash.
    fn type_named(&mut self, url: Quoted<'_>) -> Result<MessageId, Fail> {
        let url_text = if url.escaped {
            self.text.clear();
            scan::unescape(url, self.text)?;
            &**self.text
        } else {
            url.raw
        };
        let found = match std::str::from_utf8(url_text).ok().and_then(|url| url.rsplit_once('/')) {
            None => Err("expected a type URL such as \"type.googleapis.com/pkg.Message\""),
            Some((_, name)) => self.schema.message_named(name).ok_or("no loaded schema has the type"),
        };
        found.map_err(|why| {
            let refusal = Invalid::new(format!("{why}, got \"{}\"", echo(url_text)));
            refusal.at(url.at - 1).within("@type").into()
        })
    }

    /// `{"@type": …, "value": …}`: an `Any` of a message with a JSON form of its own.
    fn any_of_special(&mut self, id: MessageId, message: &Message) -> Result<(), Fail> {
        let start = self.scan.at();
        let mut type_key = TypeKey::Due;
        let mut valued = false;
        loop {
            let name = self.scan.name()?;
            if name.raw != b"value" {
                self.unknown_member(message, name, &mut type_key)?;
            } else if valued {
                return Err(scan::fail(name.at - 1, "`value` is there twice"));
            } else {
                valued = true;
                self.message(id, UNBOUND).map_err(|fail| Box::new(fail.within("value")))?;
            }
            if !self.scan.more(b'}')? {
                break;
            }
        }
        if valued || message.well_known == WellKnown::Empty {
            return Ok(());
        }
        Err(scan::fail(start, "an Any of a well-known type needs its JSON form in `value`"))
    }

    /// Takes work from the budget.
    fn charge(&mut self, work: usize) -> Result<(), Fail> {
        match self.work.checked_sub(work) {
            Some(left) => {
                self.work = left;
                Ok(())
            }
            None => Err(too_much_work(self.scan.at())),
        }
    }
}

#[cold]
fn too_much_work(at: usize) -> Fail {
    Invalid::new("put `@type` first in each object: looking for it takes too much work")
        .of(Refusal::TooMuchWork)
        .at(at)
        .into()
}
