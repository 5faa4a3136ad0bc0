//! The loaded schemas as flat tables: messages, enums and services by index, features resolved.
//!
//! Compiled once from raw descriptor bytes; the hot path follows indices and never looks a name up twice.

mod builder;
mod canonical;
mod changes;
mod compile;
mod default;
mod descriptor;
mod features;
mod field;
mod file;
mod index;
mod names;
mod policy;
mod problem;
mod rules;
mod service;
mod well_known;

use hashbrown::HashMap;

pub use builder::Builder;
pub use changes::Changes;
pub use file::{DescriptorFile, Outline, descriptor_set};
pub use names::json_name;
pub use policy::{
    Access, CachePolicy, Invalidation, MethodPolicy, Priority, RetryPolicy, ServicePolicy, UnknownFields,
};
pub use problem::Problem;
pub(crate) use rules::Written;
pub use service::unreached;

/// Everything that the loaded descriptor sets declare.
#[derive(Debug, Default)]
pub struct Schema {
    /// Every message of every file, map entries included.
    pub messages: Vec<Message>,
    /// Every enum of every file.
    pub enums: Vec<Enum>,
    /// Every service of every file.
    pub services: Vec<Service>,
    /// Every file as it came.
    pub files: Vec<DescriptorFile>,
    pub(crate) names: HashMap<Box<str>, Symbol, foldhash::fast::FixedState>,
    /// Which file declares each message and each enum: its index in [`Schema::files`].
    pub(crate) message_files: Vec<u32>,
    pub(crate) enum_files: Vec<u32>,
    /// What `buf.validate` options say, as they came.
    pub(crate) rules: rules::Rules,
}

/// What a full name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbol {
    /// A message.
    Message(MessageId),
    /// An enum.
    Enum(EnumId),
    /// A service: its index in [`Schema::services`].
    Service(u32),
}

/// A message's index in [`Schema::messages`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId(pub u32);

/// An enum's index in [`Schema::enums`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnumId(pub u32);

/// A message type.
#[derive(Debug)]
pub struct Message {
    /// Full name without a leading dot: `booking.Booking`.
    pub name: Box<str>,
    /// The fields in order of declaration; a field's index here is its *slot*.
    pub fields: Box<[Field]>,
    /// The names of the oneofs; those that only spell proto3 `optional` are left out.
    pub oneofs: Box<[Box<str>]>,
    /// Which special JSON form the message has, if any.
    pub well_known: WellKnown,
    /// It is the entry type of a map field: slot 0 is the key, slot 1 the value.
    pub map_entry: bool,
    /// Some field is `required` (proto2, or `features.field_presence = LEGACY_REQUIRED`).
    pub has_required: bool,
    /// Field number → slot: `dense[number]` for small numbers (`u16::MAX` is none), `sparse` sorted by number for the rest.
    pub(crate) dense: Box<[u16]>,
    pub(crate) sparse: Box<[(u32, u16)]>,
    /// Proto name and JSON name → slot.
    pub(crate) by_name: HashMap<Box<str>, u16, foldhash::fast::FixedState>,
}

/// One field of a message.
#[derive(Debug)]
pub struct Field {
    /// Its number on the wire.
    pub number: u32,
    /// Its name in the .proto.
    pub name: Box<str>,
    /// Its JSON name: `json_name`, or lowerCamelCase of `name`.
    pub json_name: Box<str>,
    /// What one element is.
    pub kind: Kind,
    /// How many elements it holds, and how they lie on the wire.
    pub shape: Shape,
    /// Whether a default value is told apart from an absent one.
    pub presence: Presence,
    /// The oneof it belongs to: its index in [`Message::oneofs`].
    pub oneof: Option<u16>,
    /// Strings are checked to be UTF-8 (proto3, and editions unless `utf8_validation = NONE`).
    pub utf8: bool,
    /// The tag as it is written: for packed fields that of the LEN record, for items of a MessageSet that of the item.
    pub tag: Tag,
    /// `"jsonName":`, ready to print.
    pub json_key: Box<[u8]>,
    /// `"proto_name":`, ready to print.
    pub proto_key: Box<[u8]>,
    /// The declared default of a proto2 or editions field as its canonical wire value: without the tag, strings and
    /// bytes with their length; empty for none.
    pub default: Box<[u8]>,
}

/// The encoded tag of a field: at most five bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    pub(crate) bytes: [u8; 5],
    pub(crate) len: u8,
}

impl Tag {
    /// The tag's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// What one element of a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are protobuf's own")]
pub enum Kind {
    Double,
    Float,
    Int64,
    Uint64,
    Int32,
    Fixed64,
    Fixed32,
    Bool,
    String,
    Bytes,
    Uint32,
    Enum(EnumId),
    Sfixed32,
    Sfixed64,
    Sint32,
    Sint64,
    Message(MessageId),
    /// A message in delimited encoding: proto2 groups, editions' `message_encoding = DELIMITED`.
    Group(MessageId),
}

/// How many elements a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One.
    Singular,
    /// Any number, one record each. (Both forms of repeated scalars are always read.)
    Repeated,
    /// Any number of scalars, in one LEN record.
    Packed,
    /// A map; the field's kind is the entry message.
    Map,
    /// One message, in an item of a [`WellKnown::MessageSet`].
    Item,
}

/// Whether a singular field's default value is told apart from its absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is not: the default is not written.
    Implicit,
    /// It is: proto2, proto3 `optional`, messages, members of oneofs.
    Explicit,
    /// It is, and it must be there.
    Required,
}

/// The messages with a form of their own, in JSON or on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are protobuf's own")]
pub enum WellKnown {
    /// An ordinary message.
    No,
    Any,
    Timestamp,
    Duration,
    FieldMask,
    Struct,
    Value,
    ListValue,
    Empty,
    /// A wrapper (`google.protobuf.Int32Value` …): JSON is that of its one field, slot 0.
    Wrapper,
    /// `google.api.HttpBody`: special as a request or response body only.
    HttpBody,
    /// A message with `message_set_wire_format`: its JSON is ordinary, on the wire its extensions are items of a group.
    MessageSet,
}

/// An enum type.
#[derive(Debug)]
pub struct Enum {
    /// Full name without a leading dot.
    pub name: Box<str>,
    /// Names and numbers in order of declaration, aliases included.
    pub values: Box<[(Box<str>, i32)]>,
    /// Closed enums (proto2) treat an unknown number as an unknown field.
    pub closed: bool,
    /// It is `google.protobuf.NullValue`, whose JSON is `null`.
    pub null_value: bool,
    /// Number → index in `values` of the first name declared for it, sorted by number.
    pub(crate) by_number: Box<[(i32, u32)]>,
    pub(crate) by_name: HashMap<Box<str>, i32, foldhash::fast::FixedState>,
}

/// A service.
#[derive(Debug)]
pub struct Service {
    /// Full name without a leading dot: `booking.BookingService`.
    pub name: Box<str>,
    /// The file that declares it.
    pub file: Box<str>,
    /// Its methods in order of declaration.
    pub methods: Vec<Method>,
    /// What it says of itself by `(transom.service)`.
    pub policy: ServicePolicy,
    /// It came by server reflection: from whoever answers at the upstream's address, not from a file here.
    pub reflected: bool,
}

/// An RPC.
#[derive(Debug)]
pub struct Method {
    /// Its own name: `CreateBooking`.
    pub name: Box<str>,
    /// What it takes.
    pub input: MessageId,
    /// What it answers.
    pub output: MessageId,
    /// The client sends a stream.
    pub client_streaming: bool,
    /// The server sends a stream.
    pub server_streaming: bool,
    /// What a repetition does.
    pub idempotency: Idempotency,
    /// Its `google.api.http` bindings, `additional_bindings` flattened behind the first.
    pub http: Vec<HttpRule>,
    /// What it says of itself by `(transom.method)`.
    pub policy: MethodPolicy,
    /// The raw bytes of its `MethodOptions`, unknown options included.
    pub options: Box<[u8]>,
}

/// `google.protobuf.MethodOptions.IdempotencyLevel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Idempotency {
    /// Nothing is known.
    #[default]
    Unknown,
    /// No side effects: a GET.
    NoSideEffects,
    /// A repetition does no more than the first.
    Idempotent,
}

/// One `google.api.HttpRule`, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRule {
    /// `GET`, `POST` …, or the kind of a `custom` pattern (`*` is every method).
    pub method: Box<str>,
    /// The path template.
    pub template: Box<str>,
    /// `""`, `"*"` or a field's name.
    pub body: Box<str>,
    /// `""` or a field's name.
    pub response_body: Box<str>,
}

impl Schema {
    /// An empty builder; the well-known types of google/protobuf need not be added.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The message of an index.
    #[inline]
    pub fn message(&self, id: MessageId) -> &Message {
        &self.messages[id.0 as usize]
    }

    /// The enum of an index.
    #[inline]
    pub fn enumeration(&self, id: EnumId) -> &Enum {
        &self.enums[id.0 as usize]
    }

    /// What a full name (no leading dot) stands for.
    pub fn symbol(&self, name: &str) -> Option<Symbol> {
        self.names.get(name).copied()
    }

    /// The file that declares a full name.
    pub fn file_of(&self, name: &str) -> Option<&str> {
        let file = |files: &[u32], at: u32| self.files.get(*files.get(at as usize)? as usize);
        match self.symbol(name)? {
            Symbol::Message(id) => file(&self.message_files, id.0).map(DescriptorFile::name),
            Symbol::Enum(id) => file(&self.enum_files, id.0).map(DescriptorFile::name),
            Symbol::Service(at) => self.services.get(at as usize).map(|service| &*service.file),
        }
    }

    /// The message of a full name.
    pub fn message_named(&self, name: &str) -> Option<MessageId> {
        match self.symbol(name) {
            Some(Symbol::Message(id)) => Some(id),
            _ => None,
        }
    }
}

impl Message {
    /// The slot of a field number.
    #[inline]
    pub fn slot(&self, number: u32) -> Option<usize> {
        let slot = match self.dense.get(number as usize) {
            Some(&slot) => slot,
            None => {
                let at = self.sparse.binary_search_by_key(&number, |entry| entry.0).ok()?;
                self.sparse[at].1
            }
        };
        (slot != u16::MAX).then_some(usize::from(slot))
    }

    /// The slot of the name that the .proto gives, and no other: what templates, `body` and field masks name.
    pub fn slot_declared(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| *field.name == *name)
    }

    /// The slot of a proto name or JSON name; where one field has the JSON name that is another's proto name, the first.
    #[inline]
    pub fn slot_named(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).map(|&slot| usize::from(slot))
    }
}

impl Field {
    /// Another declaration than the message's own adds it: its names are `[pkg.ext]`.
    pub fn is_extension(&self) -> bool {
        self.name.starts_with('[')
    }
}

impl Enum {
    /// The first name declared for a number.
    pub fn name_of(&self, number: i32) -> Option<&str> {
        let at = self.by_number.binary_search_by_key(&number, |entry| entry.0).ok()?;
        Some(&self.values[self.by_number[at].1 as usize].0)
    }

    /// The number of a name that is not known to be UTF-8. Few names are compared faster than one is hashed.
    #[inline]
    pub(crate) fn number_of_bytes(&self, name: &[u8]) -> Option<i32> {
        if self.values.len() <= 8 {
            return self.values.iter().find(|(value, _)| value.as_bytes() == name).map(|&(_, number)| number);
        }
        self.number_of(std::str::from_utf8(name).ok()?)
    }

    /// The number of a name.
    pub fn number_of(&self, name: &str) -> Option<i32> {
        self.by_name.get(name).copied()
    }
}

impl Kind {
    /// Its wire type: 0 varint, 1 eight bytes, 2 length-delimited, 3 group, 5 four bytes.
    pub fn wire_type(self) -> u8 {
        match self {
            Self::Int64
            | Self::Uint64
            | Self::Int32
            | Self::Bool
            | Self::Uint32
            | Self::Enum(_)
            | Self::Sint32
            | Self::Sint64 => 0,
            Self::Double | Self::Fixed64 | Self::Sfixed64 => 1,
            Self::String | Self::Bytes | Self::Message(_) => 2,
            Self::Group(_) => 3,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => 5,
        }
    }
}

#[cfg(test)]
mod tests;
