//! What is looked up in a message: slots by number and by name; and what must hold of its maps.

use std::collections::{HashMap, HashSet};

use super::{Field, Kind, Message, Presence, Schema, Shape};

/// Builds a message's indices from its fields; `strict`: two fields of one JSON name are an error.
pub(super) fn build(message: &mut Message, strict: bool) -> Vec<String> {
    let mut problems = Vec::new();
    if !strict {
        part_json_names(&mut message.fields);
    }
    let fields = &message.fields;
    let mut names = HashSet::new();
    for field in fields {
        if !names.insert(&field.name) {
            problems.push(format!("the field {} is declared twice", field.name));
        }
    }
    // JSON names go first: they are what clients write.
    for (field, slot) in fields.iter().zip(0u16..) {
        let first = message.by_name.entry(field.json_name.clone()).or_insert(slot);
        if *first != slot && strict {
            problems.push(format!("two fields have the JSON name {:?}: give one another json_name", field.json_name));
        }
    }
    for (field, slot) in fields.iter().zip(0u16..) {
        message.by_name.entry(field.name.clone()).or_insert(slot);
    }
    let mut numbers: Vec<(u32, u16)> = fields.iter().map(|field| field.number).zip(0..).collect();
    numbers.sort_unstable();
    for pair in numbers.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        problems.push(format!("the field number {} is given twice", pair[0].0));
    }
    // Dense while at least about half of it is used; hostile numbers cost no memory.
    let limit = fields.len() as u32 * 2 + 32;
    let split = numbers.partition_point(|entry| entry.0 < limit);
    let (small, large) = numbers.split_at(split);
    let mut dense = vec![u16::MAX; small.last().map_or(0, |entry| entry.0 as usize + 1)];
    for &(number, slot) in small {
        dense[number as usize] = slot;
    }
    message.dense = dense.into();
    message.sparse = large.into();
    message.has_required = fields.iter().any(|field| field.presence == Presence::Required);
    problems
}

/// Of fields with one JSON name (`json_format = LEGACY_BEST_EFFORT` lets them be) only one keeps it: the one whose name it is,
/// else the first. The others are called as in the .proto, so that what is printed can be read.
fn part_json_names(fields: &mut [Field]) {
    let mut keepers: HashMap<Box<str>, usize> = HashMap::new();
    for (at, field) in fields.iter().enumerate() {
        let keeper = keepers.entry(field.json_name.clone()).or_insert(at);
        if field.name == field.json_name {
            *keeper = at;
        }
    }
    for (at, field) in fields.iter_mut().enumerate() {
        if keepers.get(&field.json_name) != Some(&at) {
            field.json_name = field.name.clone();
            field.json_key = field.proto_key.clone();
        }
    }
}

/// What is wrong with the maps of a message: each entry type must be a key and a value, of a kind that keys may have.
pub(super) fn check_maps(schema: &Schema, message: &Message) -> Vec<String> {
    let maps = message.fields.iter().filter(|field| field.shape == Shape::Map);
    maps.filter_map(|field| match field.kind {
        Kind::Message(entry) if is_entry(&schema.message(entry).fields) => None,
        _ => Some(format!("the entry type of the map {} is not a key 1 and a value 2", field.name)),
    })
    .collect()
}

fn is_entry(fields: &[Field]) -> bool {
    let [key, value] = fields else { return false };
    let key_kind = !matches!(
        key.kind,
        Kind::Double | Kind::Float | Kind::Bytes | Kind::Enum(_) | Kind::Message(_) | Kind::Group(_)
    );
    let singular = [key, value].iter().all(|field| field.shape == Shape::Singular && field.oneof.is_none());
    key_kind && singular && (key.number, value.number) == (1, 2)
}
