//! Names that protoc lets stand in one message and the linker does not; they are others while a file is linked.
//!
//! The linker still holds proto3 to a rule that protoc gave up (no `userid` beside `user_id`), and does not know what protoc
//! lets be where two fields have one JSON name: all in proto2, and what says `deprecated_legacy_json_field_conflicts`.

use std::collections::{HashMap, HashSet};

use prost::Message;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};
use transom_transcode::schema::json_name;

/// The names that a field has, and where it stands.
pub(super) struct Alias {
    /// The messages that it is in, from the outermost in, each by its place in the one before.
    messages: Vec<usize>,
    field: usize,
    name: String,
    json_name: String,
}

/// Gives other names to fields whose own the linker would refuse and protoc would not.
pub(super) fn part(file: &mut FileDescriptorProto) -> Vec<Alias> {
    let proto3 = file.syntax.as_deref() == Some("proto3");
    let mut aliases = Vec::new();
    for (at, message) in file.message_type.iter_mut().enumerate() {
        part_message(message, proto3, &mut vec![at], &mut aliases);
    }
    aliases
}

fn part_message(message: &mut DescriptorProto, proto3: bool, messages: &mut Vec<usize>, aliases: &mut Vec<Alias>) {
    name_synthetic(message);
    let legacy = says_legacy(message);
    let (mut names, mut letters) = (HashSet::new(), HashSet::new());
    // By JSON name: whether protoc made it.
    let (mut by_default, mut json_names) = (HashSet::new(), HashMap::new());
    for (at, field) in message.field.iter_mut().enumerate() {
        let default = json_name(field.name());
        let json = field.json_name.clone().unwrap_or_else(|| default.clone());
        let made = field.json_name.is_none();
        let alike = !letters.insert(field.name().replace('_', "").to_ascii_lowercase()) && proto3;
        let earlier = json_names.get(&json).copied();
        json_names.entry(json.clone()).or_insert(made);
        let conflict = !by_default.insert(default) || earlier.is_some();
        let leave = legacy || !conflict || !proto3 && (made || earlier != Some(false));
        if names.insert(field.name().to_owned()) && leave && (alike || earlier.is_some()) {
            let (messages, name) = (messages.clone(), field.name().to_owned());
            // No name has a space: these are nobody's.
            if alike {
                field.name = Some(format!("{name} {at}"));
            }
            field.json_name = Some(format!("{json} {at}"));
            aliases.push(Alias { messages, field: at, name, json_name: json });
        }
    }
    for (at, nested) in message.nested_type.iter_mut().enumerate() {
        messages.push(at);
        part_message(nested, proto3, messages, aliases);
        messages.pop();
    }
}

/// The oneofs that spell `optional` get names that are free, as protoc finds them: `_b`, `X_b`, `XX_b`.
fn name_synthetic(message: &mut DescriptorProto) {
    let synthetic: HashSet<usize> = message.field.iter().filter_map(synthetic).collect();
    let real = message.oneof_decl.iter().enumerate().filter(|(at, _)| !synthetic.contains(at));
    let mut taken: HashSet<String> = real.map(|(_, oneof)| oneof.name().to_owned()).collect();
    taken.extend(message.field.iter().map(|field| field.name().to_owned()));
    for (_, oneof) in message.oneof_decl.iter_mut().enumerate().filter(|(at, _)| synthetic.contains(at)) {
        let mut name = oneof.name().to_owned();
        while !taken.insert(name.clone()) {
            name.insert(0, 'X');
        }
        oneof.name = Some(name);
    }
}

fn synthetic(field: &FieldDescriptorProto) -> Option<usize> {
    usize::try_from(field.oneof_index.filter(|_| field.proto3_optional())?).ok()
}

fn says_legacy(message: &DescriptorProto) -> bool {
    let said = message.options.iter().flat_map(|options| &options.uninterpreted_option);
    let mut said = said.filter(|option| match &*option.name {
        [part] => !part.is_extension && part.name_part == "deprecated_legacy_json_field_conflicts",
        _ => false,
    });
    said.any(|option| option.identifier_value() == "true")
}

/// The encoded file with the fields' own names. Custom options are unknown fields here, and stay.
pub(super) fn restored(file: &[u8], aliases: &[Alias]) -> Vec<u8> {
    let descriptor = FileDescriptorProto::default().descriptor();
    let Ok(mut file) = DynamicMessage::decode(descriptor, file) else { return file.to_vec() };
    for alias in aliases {
        if let Some(field) = field(&mut file, alias) {
            field.set_field_by_name("name", Value::String(alias.name.clone()));
            field.set_field_by_name("json_name", Value::String(alias.json_name.clone()));
        }
    }
    file.encode_to_vec()
}

fn field<'f>(file: &'f mut DynamicMessage, alias: &Alias) -> Option<&'f mut DynamicMessage> {
    let mut messages = alias.messages.iter();
    let mut within = part_of(file, "message_type", *messages.next()?)?;
    for at in messages {
        within = part_of(within, "nested_type", *at)?;
    }
    part_of(within, "field", alias.field)
}

fn part_of<'m>(message: &'m mut DynamicMessage, list: &str, at: usize) -> Option<&'m mut DynamicMessage> {
    message.get_field_by_name_mut(list)?.as_list_mut()?.get_mut(at)?.as_message_mut()
}
