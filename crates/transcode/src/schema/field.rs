//! One field: its kind, shape, presence, tag, keys and default.

use super::descriptor::{FieldOptions, FieldType, LABEL_REPEATED, LABEL_REQUIRED, MessageType, OneofOptions, decode};
use super::features::Features;
use super::names::{Names, is_identifier, json_key, json_name};
use super::{Field, Kind, MessageId, Presence, Shape, Symbol, Tag, WellKnown, default};

const MAX_NUMBER: u32 = 536_870_911;

/// Extensions of a MessageSet are not numbered in tags.
const MAX_ITEM: u32 = i32::MAX as u32 - 1;

/// Where the oneofs of a message's descriptor went: an index into [`super::Message::oneofs`], or none for those that only
/// spell proto3 `optional`; and the features that hold inside.
pub(super) struct Place {
    index: Option<u16>,
    options: OneofOptions,
}

impl Place {
    /// Its index in [`super::Message::oneofs`]; none for one that only spells `optional`.
    pub(super) fn index(&self) -> Option<u16> {
        self.index
    }
}

/// The oneofs of a message, and where each index of its descriptor went.
pub(super) fn oneofs(proto: &MessageType) -> Result<(Vec<Box<str>>, Vec<Place>), String> {
    let mut names: Vec<Box<str>> = Vec::new();
    let mut places = Vec::with_capacity(proto.oneofs.len());
    let mut synthetic = vec![false; proto.oneofs.len()];
    for field in proto.fields.iter().filter(|field| field.proto3_optional) {
        if let Some(flag) = oneof_index(field).and_then(|at| synthetic.get_mut(at)) {
            *flag = true;
        }
    }
    for (oneof, synthetic) in proto.oneofs.iter().zip(synthetic) {
        let options = decode(&oneof.options)?;
        let index = if synthetic {
            None
        } else {
            if !is_identifier(&oneof.name) {
                return Err(format!("{:?} is not the name of a oneof", oneof.name));
            }
            let index =
                u16::try_from(names.len()).map_err(|_| "a message may have at most 65,535 oneofs".to_owned())?;
            names.push(oneof.name.as_str().into());
            Some(index)
        };
        places.push(Place { index, options });
    }
    Ok((names, places))
}

fn oneof_index(field: &FieldType) -> Option<usize> {
    field.oneof_index.map(|at| usize::try_from(at).unwrap_or(usize::MAX))
}

/// An ordinary field of a message; `features` are those of the message.
pub(super) fn compile(
    names: &Names<'_>,
    in_entry: bool,
    oneofs: &[Place],
    proto: &FieldType,
    mut features: Features,
) -> Result<Field, String> {
    let mut oneof = None;
    if let Some(at) = oneof_index(proto) {
        let place =
            oneofs.get(at).ok_or_else(|| format!("it belongs to oneof {at}, which the message does not have"))?;
        features = features.with(place.options.features);
        oneof = place.index;
        if oneof.is_some() && proto.label == LABEL_REPEATED {
            return Err("a member of a oneof cannot be repeated".to_owned());
        }
    }
    if !is_identifier(&proto.name) {
        return Err(format!("{:?} is not a name", proto.name));
    }
    let json = proto.json_name.clone().unwrap_or_else(|| json_name(&proto.name));
    let explicit = oneof.is_some() || proto.proto3_optional;
    build(names, proto, &Traits { name: &proto.name, json: &json, oneof, explicit, in_entry, item: false }, features)
}

/// An extension as a field of its extendee, named `[pkg.ext]` both ways; `name` is its full name.
pub(super) fn compile_extension(
    names: &Names<'_>,
    name: &str,
    proto: &FieldType,
    features: Features,
) -> Result<(MessageId, Field), String> {
    if !is_identifier(&proto.name) {
        return Err(format!("{:?} is not a name", proto.name));
    }
    let extendee = match names.resolve(&proto.extendee)? {
        Symbol::Message(id) => id,
        Symbol::Enum(_) | Symbol::Service(_) => return Err(format!("{} is not a message", proto.extendee)),
    };
    let key = format!("[{name}]");
    let item = names.schema.message(extendee).well_known == WellKnown::MessageSet;
    let traits = Traits { name: &key, json: &key, oneof: None, explicit: true, in_entry: false, item };
    Ok((extendee, build(names, proto, &traits, features)?))
}

/// What is known of a field from where it stands.
struct Traits<'a> {
    name: &'a str,
    json: &'a str,
    oneof: Option<u16>,
    explicit: bool,
    in_entry: bool,
    /// It extends a MessageSet.
    item: bool,
}

fn build(names: &Names<'_>, proto: &FieldType, traits: &Traits<'_>, features: Features) -> Result<Field, String> {
    let last = if traits.item { MAX_ITEM } else { MAX_NUMBER };
    let number = u32::try_from(proto.number).ok().filter(|number| (1..=last).contains(number));
    let number = number.ok_or_else(|| format!("{} is not a field number: use 1 to {last}", proto.number))?;
    if (19_000..=19_999).contains(&number) {
        return Err(format!("field number {number} is reserved by protobuf: use one outside 19000 to 19999"));
    }
    let options: FieldOptions = decode(&proto.options)?;
    let features = features.with(options.features);
    let mut kind = kind(names, proto)?;
    let repeated = proto.label == LABEL_REPEATED;
    let map = match kind {
        Kind::Message(id) | Kind::Group(id) => names.schema.message(id).map_entry,
        _ => false,
    };
    if map && !repeated {
        return Err("the entry type of a map is used outside its map".to_owned());
    }
    if let Kind::Message(id) = kind
        && features.delimited
        && !map
        && !traits.in_entry
        && !traits.item
    {
        kind = Kind::Group(id);
    }
    if traits.item && (repeated || !matches!(kind, Kind::Message(_))) {
        return Err("an extension of a message with message_set_wire_format must be one message".to_owned());
    }
    let shape = match repeated {
        _ if map => Shape::Map,
        _ if traits.item => Shape::Item,
        false => Shape::Singular,
        true if is_packable(kind) && options.packed.unwrap_or(features.packed) => Shape::Packed,
        true => Shape::Repeated,
    };
    let message = matches!(kind, Kind::Message(_) | Kind::Group(_));
    let presence = if repeated {
        Presence::Implicit
    } else if proto.label == LABEL_REQUIRED || (features.presence == Presence::Required && traits.oneof.is_none()) {
        Presence::Required
    } else if traits.explicit || message {
        Presence::Explicit
    } else {
        features.presence
    };
    let presence = match presence {
        Presence::Required if traits.oneof.is_some() => {
            return Err("a member of a oneof cannot be required".to_owned());
        }
        presence => presence,
    };
    let default = match proto.default_value.as_deref() {
        Some(text) if shape == Shape::Singular => default::encode(names.schema, kind, text)
            .ok_or_else(|| format!("{text:?} is not a default value for a field of its type"))?,
        _ => Box::default(),
    };
    let tag = match shape {
        Shape::Item => Tag::new(1, 3),
        Shape::Packed => Tag::new(number, 2),
        Shape::Singular | Shape::Repeated | Shape::Map => Tag::new(number, kind.wire_type()),
    };
    Ok(Field {
        number,
        name: traits.name.into(),
        json_name: traits.json.into(),
        kind,
        shape,
        presence,
        oneof: traits.oneof,
        utf8: features.utf8,
        tag,
        json_key: json_key(traits.json),
        proto_key: json_key(traits.name),
        default,
    })
}

/// The kind by `type` and `type_name`; a missing `type` is decided by what the name stands for.
fn kind(names: &Names<'_>, proto: &FieldType) -> Result<Kind, String> {
    Ok(match proto.kind {
        1 => Kind::Double,
        2 => Kind::Float,
        3 => Kind::Int64,
        4 => Kind::Uint64,
        5 => Kind::Int32,
        6 => Kind::Fixed64,
        7 => Kind::Fixed32,
        8 => Kind::Bool,
        9 => Kind::String,
        12 => Kind::Bytes,
        13 => Kind::Uint32,
        15 => Kind::Sfixed32,
        16 => Kind::Sfixed64,
        17 => Kind::Sint32,
        18 => Kind::Sint64,
        number @ (0 | 10 | 11 | 14) => match (names.resolve(&proto.type_name)?, number) {
            (Symbol::Message(id), 10) => Kind::Group(id),
            (Symbol::Message(id), 0 | 11) => Kind::Message(id),
            (Symbol::Enum(id), 0 | 14) => Kind::Enum(id),
            (Symbol::Message(_), _) => return Err(format!("{} is a message, not an enum", proto.type_name)),
            (Symbol::Enum(_) | Symbol::Service(_), _) => {
                return Err(format!("{} is not a message", proto.type_name));
            }
        },
        number => return Err(format!("{number} is not a field type of protobuf")),
    })
}

fn is_packable(kind: Kind) -> bool {
    !matches!(kind, Kind::String | Kind::Bytes | Kind::Message(_) | Kind::Group(_))
}

impl Tag {
    /// The tag of a field number and wire type, as a varint.
    pub(crate) fn new(number: u32, wire_type: u8) -> Self {
        let mut value = number << 3 | u32::from(wire_type);
        let mut tag = Self { bytes: [0; 5], len: 0 };
        loop {
            let more = value >= 0x80;
            tag.bytes[usize::from(tag.len)] = (value & 0x7f) as u8 | u8::from(more) << 7;
            tag.len += 1;
            value >>= 7;
            if !more {
                return tag;
            }
        }
    }
}
