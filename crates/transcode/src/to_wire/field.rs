//! Values of fields: one, many, packed, maps.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use crate::invalid::{Fail, Invalid};
use crate::json::scan::{self, Quoted, echo};
use crate::plan::has_text_form;
use crate::schema::{Field, Kind, Message, MessageId, Presence, Schema, Shape, WellKnown};
use crate::scratch::Key;
use crate::to_wire::bound::UNBOUND;
use crate::to_wire::wire::Wire;
use crate::to_wire::{Translation, scalar, special};

impl Translation<'_> {
    /// Reads a field's value, whatever its shape. `node` is what is bound inside it.
    #[inline(always)]
    pub(super) fn field(&mut self, field: &Field, node: u32) -> Result<(), Fail> {
        match field.shape {
            Shape::Singular => self.element(field, field.presence != Presence::Implicit, node),
            Shape::Repeated => self.repeated(field),
            Shape::Packed => self.packed(field),
            Shape::Map => self.map(field),
            Shape::Item => self.item(field),
        }
    }

    /// Reads one value and writes its record; a default value only if it is `always` written.
    #[inline(always)]
    pub(super) fn element(&mut self, field: &Field, always: bool, node: u32) -> Result<(), Fail> {
        match field.kind {
            Kind::String => self.string(field, always),
            Kind::Bytes => self.bytes(field, always),
            Kind::Message(id) => {
                self.wire.tag(field.tag);
                let record = self.wire.open();
                self.message(id, node)?;
                self.wire.close(record);
                Ok(())
            }
            Kind::Group(id) => self.group(field, id, node),
            _ => self.scalar(field, always),
        }
    }

    #[inline(never)]
    fn scalar(&mut self, field: &Field, always: bool) -> Result<(), Fail> {
        if let Some(bits) = self.bits(field.kind)?
            && (always || bits != 0)
        {
            scalar::put_tagged(&mut self.wire, field, bits);
        }
        Ok(())
    }

    #[inline(never)]
    fn group(&mut self, field: &Field, id: MessageId, node: u32) -> Result<(), Fail> {
        self.wire.tag(field.tag);
        self.message(id, node)?;
        self.wire.end_group(field.number);
        Ok(())
    }

    /// Reads an extension of a MessageSet.
    #[cold]
    #[inline(never)]
    fn item(&mut self, field: &Field) -> Result<(), Fail> {
        let (Kind::Message(id) | Kind::Group(id)) = field.kind else { return Err(self.scan.value()) };
        let item = self.wire.open_item(field.number);
        self.message(id, UNBOUND)?;
        self.wire.close_item(item);
        Ok(())
    }

    /// Reads a message's value, special JSON forms included, and writes its content.
    pub(super) fn message(&mut self, id: MessageId, node: u32) -> Result<(), Fail> {
        let message = self.schema.message(id);
        match message.well_known {
            WellKnown::No | WellKnown::Empty | WellKnown::HttpBody | WellKnown::MessageSet => {
                self.object(message, node)
            }
            _ => self.special(message),
        }
    }

    #[inline(always)]
    fn string(&mut self, field: &Field, always: bool) -> Result<(), Fail> {
        if self.scan.peek() != b'"' {
            return Err(self.scan.expected("a string"));
        }
        let string = self.scan.string()?;
        if !string.escaped {
            if always || !string.raw.is_empty() {
                self.wire.tagged_text(field.tag, self.scan.from(string.at), string.raw.len());
            }
            return Ok(());
        }
        self.escaped_string(field, string)
    }

    #[inline(never)]
    fn escaped_string(&mut self, field: &Field, string: Quoted<'_>) -> Result<(), Fail> {
        self.wire.tag(field.tag);
        self.text(string)
    }

    /// Writes a string token's length and text.
    #[inline]
    pub(super) fn text(&mut self, string: Quoted<'_>) -> Result<(), Fail> {
        if string.escaped {
            let record = self.wire.open();
            scan::unescape(string, self.wire.buffer())?;
            self.wire.close(record);
        } else {
            self.wire.text(string.raw);
        }
        Ok(())
    }

    #[inline(never)]
    fn bytes(&mut self, field: &Field, always: bool) -> Result<(), Fail> {
        if self.scan.peek() != b'"' {
            return Err(self.scan.expected("a base64 string"));
        }
        let at = self.scan.at();
        self.with_string(|this, text| write_base64(&mut this.wire, field, always, text))
            .map_err(|fail| located(fail, at))
    }

    #[inline(never)]
    fn repeated(&mut self, field: &Field) -> Result<(), Fail> {
        self.array(|this| {
            this.element(field, true, UNBOUND)?;
            this.fits()
        })
    }

    #[inline(never)]
    fn packed(&mut self, field: &Field) -> Result<(), Fail> {
        let mark = self.wire.mark();
        self.wire.tag(field.tag);
        let record = self.wire.open();
        let start = self.wire.len();
        let kind = field.kind;
        self.array(|this| {
            if let Some(bits) = this.bits(kind)? {
                scalar::put(&mut this.wire, kind, bits);
            }
            this.fits()
        })?;
        if self.wire.len() == start {
            self.wire.rewind(mark);
        } else {
            self.wire.close(record);
        }
        Ok(())
    }

    /// Reads an array, each element by `read`.
    #[inline]
    pub(super) fn array(&mut self, mut read: impl FnMut(&mut Self) -> Result<(), Fail>) -> Result<(), Fail> {
        self.room = self.scan.deeper(self.room)?;
        let mut more = self.scan.open(b'[', b']', "an array")?;
        let mut index = 0_usize;
        while more {
            read(self).map_err(|fail| within_index(fail, index))?;
            index += 1;
            more = self.scan.more(b']')?;
        }
        self.room += 1;
        Ok(())
    }

    #[inline(never)]
    fn map(&mut self, field: &Field) -> Result<(), Fail> {
        let (Kind::Message(id) | Kind::Group(id)) = field.kind else { return Err(self.scan.value()) };
        let [key, value] = &*self.schema.message(id).fields else { return Err(self.scan.value()) };
        self.entries(|this, name| {
            let mark = this.wire.mark();
            this.wire.tag(field.tag);
            let record = this.wire.open();
            let start = this.key(key, name)?;
            let end = this.wire.len();
            this.element(value, true, UNBOUND)?;
            if this.wire.len() == end {
                // An unknown enum value that is read over takes its key along.
                this.wire.rewind(mark);
            } else {
                this.wire.close(record);
                this.keys.push(Key { start, end, at: name.at });
            }
            this.fits()
        })
    }

    /// Reads an object as a map, each member's value by `read`, which notes the keys: no two may be equal.
    pub(super) fn entries(
        &mut self,
        mut read: impl FnMut(&mut Self, Quoted<'_>) -> Result<(), Fail>,
    ) -> Result<(), Fail> {
        self.room = self.scan.deeper(self.room)?;
        let base = self.keys.len();
        let mut more = self.scan.open(b'{', b'}', "an object")?;
        while more {
            let name = self.scan.name()?;
            read(self, name).map_err(|fail| within_key(fail, name))?;
            more = self.scan.more(b'}')?;
        }
        self.distinct(base)?;
        self.keys.truncate(base);
        self.room += 1;
        Ok(())
    }

    /// Refuses equal keys among those noted since `base`.
    fn distinct(&mut self, base: usize) -> Result<(), Fail> {
        let (keys, wire) = (&mut self.keys[base..], &self.wire);
        let bytes = |key: &Key| wire.slice(key.start, key.end);
        let twice = if keys.len() <= 8 {
            keys.iter()
                .enumerate()
                .find(|(at, key)| keys[..*at].iter().any(|other| bytes(other) == bytes(key)))
                .map(|(_, key)| *key)
        } else {
            // Sorting costs what it costs whatever the keys are; a hash table would have to be defended.
            keys.sort_unstable_by(|one, other| bytes(one).cmp(bytes(other)).then(one.at.cmp(&other.at)));
            keys.windows(2).find(|pair| bytes(&pair[0]) == bytes(&pair[1])).map(|pair| pair[1])
        };
        match twice {
            None => Ok(()),
            Some(key) => {
                self.scan.rewind(key.at - 1);
                let name = self.scan.string()?;
                Err(within_key(scan::fail(key.at - 1, "this key is there twice"), name))
            }
        }
    }

    /// Writes a map entry's key; where its content starts in the output.
    #[inline]
    pub(super) fn key(&mut self, field: &Field, name: Quoted<'_>) -> Result<usize, Fail> {
        self.wire.tag(field.tag);
        if field.kind == Kind::String {
            let record = self.wire.len();
            self.text(name)?;
            let prefix = if name.escaped { 1 } else { crate::to_wire::wire::varint_length(name.raw.len() as u64) };
            return Ok(record + prefix);
        }
        let start = self.wire.len();
        let bits = if name.escaped {
            self.text.clear();
            scan::unescape(name, self.text)?;
            scalar::text_bits(self.schema, field.kind, self.text)
        } else {
            scalar::text_bits(self.schema, field.kind, name.raw)
        };
        scalar::put(&mut self.wire, field.kind, bits.map_err(|fail| located(fail, name.at))?);
        Ok(start)
    }
}

/// Writes the record of a value that is given as text: a path variable, a query parameter.
pub(super) fn write_text(
    wire: &mut Wire<'_>,
    schema: &Schema,
    field: &Field,
    always: bool,
    text: &[u8],
    masked: Option<&Message>,
) -> Result<(), Fail> {
    match field.kind {
        Kind::String => {
            if always || !text.is_empty() {
                wire.tag(field.tag);
                wire.text(text);
            }
            Ok(())
        }
        Kind::Bytes => write_base64(wire, field, always, text),
        Kind::Message(id) | Kind::Group(id) => {
            let message = schema.message(id);
            if !has_text_form(message) {
                return Err(Invalid::new("a message has no text form: bind its fields, or send it in the body").into());
            }
            wire.tag(field.tag);
            let group = matches!(field.kind, Kind::Group(_));
            let record = (!group).then(|| wire.open());
            match message.well_known {
                WellKnown::Wrapper => write_text(wire, schema, &message.fields[0], false, text, None)?,
                WellKnown::FieldMask => special::write_given_mask(wire, schema, masked, text)?,
                well_known => special::write_text(wire, well_known, text)?,
            }
            match record {
                Some(record) => wire.close(record),
                None => wire.end_group(field.number),
            }
            Ok(())
        }
        kind => {
            let bits = scalar::text_bits(schema, kind, text)?;
            if always || bits != 0 {
                if field.shape != Shape::Packed {
                    wire.tag(field.tag);
                }
                scalar::put(wire, kind, bits);
            }
            Ok(())
        }
    }
}

/// Both alphabets are read, with padding or without; bits beyond the last byte are not looked at (ProtoJSON has `"-_"` mean one byte).
const READ: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, READ);
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, READ);

fn write_base64(wire: &mut Wire<'_>, field: &Field, always: bool, text: &[u8]) -> Result<(), Fail> {
    if text.is_empty() && !always {
        return Ok(());
    }
    wire.tag(field.tag);
    let record = wire.open();
    let start = wire.len();
    let buffer = wire.buffer();
    buffer.resize(start + base64::decoded_len_estimate(text.len()), 0);
    let engine = if memchr::memchr2(b'-', b'_', text).is_some() { &URL } else { &PLAIN };
    // The engine would take one `=` of two.
    let padded_in_part = text.ends_with(b"=") && !text.len().is_multiple_of(4);
    match engine.decode_slice(text, &mut buffer[start..]) {
        Ok(length) if !padded_in_part => {
            buffer.truncate(start + length);
            wire.close(record);
            Ok(())
        }
        _ => Err(Invalid::new(format!("expected a base64 string, got \"{}\"", echo(text))).into()),
    }
}

/// The refusal with its place in the text, if it has none.
#[cold]
pub(super) fn located(mut fail: Fail, at: usize) -> Fail {
    fail.offset.get_or_insert(at);
    fail
}

#[cold]
#[inline(never)]
fn within_index(mut fail: Fail, index: usize) -> Fail {
    *fail = fail.within(&format!("[{index}]"));
    fail
}

#[cold]
#[inline(never)]
fn within_key(mut fail: Fail, name: Quoted<'_>) -> Fail {
    *fail = fail.within(&format!("[\"{}\"]", echo(name.raw)));
    fail
}
