//! When two descriptors of one name say the same.
//!
//! Compilers and servers differ in what means nothing: whether `json_name` is written where it is the default, in which
//! order options are encoded, whether `syntax` says proto2. Servers that reflect may also have lost options that their
//! runtime does not know.

use super::descriptor::{EnumType, FieldType, File, MessageType, ServiceType};
use super::names::{join, json_name};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_varint, skip_field};

/// Options nest no deeper than this; below, bytes are compared as they are.
const MAX_DEPTH: usize = 16;
/// The first number that protobuf leaves to extensions.
const FIRST_CUSTOM: u32 = 1000;

/// A file in the form in which equal ones are equal.
pub(super) fn canonical(mut file: File) -> File {
    if file.syntax.is_empty() && file.edition == 0 {
        file.syntax = "proto2".to_owned();
    }
    file.messages.iter_mut().for_each(message);
    file.enums.iter_mut().for_each(enumeration);
    file.extensions.iter_mut().for_each(field);
    file.services.iter_mut().for_each(service);
    options(&mut file.options);
    file
}

fn message(message_type: &mut MessageType) {
    message_type.fields.iter_mut().chain(&mut message_type.extensions).for_each(field);
    message_type.messages.iter_mut().for_each(message);
    message_type.enums.iter_mut().for_each(enumeration);
    message_type.oneofs.iter_mut().for_each(|oneof| options(&mut oneof.options));
    options(&mut message_type.options);
}

fn field(field: &mut FieldType) {
    if field.json_name.as_ref().is_some_and(|name| *name == json_name(&field.name)) {
        field.json_name = None;
    }
    options(&mut field.options);
}

fn enumeration(declared: &mut EnumType) {
    options(&mut declared.options);
}

fn service(service: &mut ServiceType) {
    service.methods.iter_mut().for_each(|method| options(&mut method.options));
    options(&mut service.options);
}

/// All occurrences as one, in order of their numbers; none where nothing is said.
fn options(options: &mut Vec<Vec<u8>>) {
    let sorted = sorted(&options.concat(), 0).unwrap_or_else(|| options.concat());
    *options = if sorted.is_empty() { Vec::new() } else { vec![sorted] };
}

/// A message's fields in order of their numbers, those of messages in it too. What only looks like a message is sorted as
/// well: it is the same on both sides of a comparison.
fn sorted(mut message: &[u8], depth: usize) -> Option<Vec<u8>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let start = message;
        let (number, wire_type) = decode_key(&mut message).ok()?;
        let mut content = message;
        skip_field(wire_type, number, &mut message, DecodeContext::default()).ok()?;
        let mut record = start[..start.len() - message.len()].to_vec();
        if wire_type == WireType::LengthDelimited && depth < MAX_DEPTH {
            let key = start.len() - content.len();
            decode_varint(&mut content).ok()?;
            if let Some(inner) = sorted(&content[..content.len() - message.len()], depth + 1) {
                record.truncate(key);
                encode_varint(inner.len() as u64, &mut record);
                record.extend_from_slice(&inner);
            }
        }
        fields.push((number, record));
    }
    fields.sort_by_key(|(number, _)| *number);
    Some(fields.into_iter().flat_map(|(_, record)| record).collect())
}

/// The full name of a symbol that both files declare, differently; both are canonical. With `reflected`, options of its
/// own may be missing in `later`, and what it does not declare is no matter.
pub(super) fn disagreement(earlier: &File, later: &File, reflected: bool) -> Option<String> {
    let rules = |file: &File| (file.syntax.clone(), file.edition, standard(&file.options));
    let alike = rules(earlier) == rules(later);
    let full = |name: &str| Some(join(&later.package, name));
    if earlier.package != later.package {
        return None;
    }
    for new in &later.messages {
        let old = earlier.messages.iter().find(|old| old.name == new.name);
        let mut known = old.cloned();
        if let Some(known) = known.as_mut().filter(|_| reflected) {
            forget_message(known, new);
        }
        if known.is_some_and(|known| !alike || known != *new) {
            return full(&new.name);
        }
    }
    for new in &later.enums {
        let old = earlier.enums.iter().find(|old| old.name == new.name);
        let mut known = old.cloned();
        if let Some(known) = known.as_mut().filter(|_| reflected) {
            forget(&mut known.options, &new.options);
        }
        if known.is_some_and(|known| !alike || known != *new) {
            return full(&new.name);
        }
    }
    for new in &later.services {
        let old = earlier.services.iter().find(|old| old.name == new.name);
        let mut known = old.cloned();
        if let Some(known) = known.as_mut().filter(|_| reflected) {
            forget(&mut known.options, &new.options);
            for (known, new) in known.methods.iter_mut().zip(&new.methods) {
                forget(&mut known.options, &new.options);
            }
        }
        if known.is_some_and(|known| known != *new) {
            return full(&new.name);
        }
    }
    let extension = later.extensions.iter().find(|new| {
        let old = earlier.extensions.iter().find(|old| old.name == new.name);
        let mut known = old.cloned();
        if let Some(known) = known.as_mut().filter(|_| reflected) {
            forget(&mut known.options, &new.options);
        }
        known.is_some_and(|known| !alike || known != **new)
    });
    extension.and_then(|new| full(&new.name))
}

/// Leaves out of a known message the options that a server has lost.
fn forget_message(known: &mut MessageType, new: &MessageType) {
    forget(&mut known.options, &new.options);
    for (known, new) in known.fields.iter_mut().zip(&new.fields).chain(known.extensions.iter_mut().zip(&new.extensions))
    {
        forget(&mut known.options, &new.options);
    }
    for (known, new) in known.oneofs.iter_mut().zip(&new.oneofs) {
        forget(&mut known.options, &new.options);
    }
    for (known, new) in known.enums.iter_mut().zip(&new.enums) {
        forget(&mut known.options, &new.options);
    }
    for (known, new) in known.messages.iter_mut().zip(&new.messages) {
        forget_message(known, new);
    }
}

/// Leaves out the extensions that `new` does not have at all.
fn forget(known: &mut Vec<Vec<u8>>, new: &[Vec<u8>]) {
    let has: Vec<u32> = records(new).into_iter().map(|(number, _)| number).collect();
    keep(known, |number| number < FIRST_CUSTOM || has.contains(&number));
}

/// Options that protobuf itself declares, `features` among them; `java_package` and its like decide nothing.
fn standard(options: &[Vec<u8>]) -> Vec<Vec<u8>> {
    const FEATURES: u32 = 50;
    let mut standard = options.to_vec();
    keep(&mut standard, |number| number == FEATURES);
    standard
}

fn keep(options: &mut Vec<Vec<u8>>, keep: impl Fn(u32) -> bool) {
    let kept: Vec<u8> =
        records(options).into_iter().filter(|(number, _)| keep(*number)).flat_map(|(_, record)| record).collect();
    *options = if kept.is_empty() { Vec::new() } else { vec![kept] };
}

/// Each field of canonical options: its number and its bytes.
fn records(options: &[Vec<u8>]) -> Vec<(u32, Vec<u8>)> {
    let bytes = options.concat();
    let mut rest = bytes.as_slice();
    let mut records = Vec::new();
    while !rest.is_empty() {
        let start = rest;
        let Ok((number, wire_type)) = decode_key(&mut rest) else { break };
        if skip_field(wire_type, number, &mut rest, DecodeContext::default()).is_err() {
            break;
        }
        records.push((number, start[..start.len() - rest.len()].to_vec()));
    }
    records
}
