//! What a change of schemas breaks for clients that speak JSON: pure comparison of two messages, field by field.
//!
//! A field is its name to such a client, and its number to those that speak protobuf: each is looked at. What only widens
//! (a new field, a new value, a new member of a new oneof) breaks nobody.

use hashbrown::HashSet;

use super::{Enum, EnumId, Field, Kind, Message, MessageId, Presence, Problem, Schema, Shape, WellKnown};

/// Names of a oneof's members that are told; the rest are "others".
const SHOWN: usize = 4;

/// Compares messages of two schemas. Each pair is looked at once, so that types which contain themselves end.
#[derive(Debug)]
pub struct Changes<'a> {
    before: &'a Schema,
    after: &'a Schema,
    seen: HashSet<(u32, u32), foldhash::fast::FixedState>,
    found: Vec<Problem>,
}

impl<'a> Changes<'a> {
    /// Nothing is compared yet.
    pub fn new(before: &'a Schema, after: &'a Schema) -> Self {
        Self { before, after, seen: HashSet::default(), found: Vec::new() }
    }

    /// What breaks, each once and with the file that declares it now or declared it.
    pub fn found(self) -> Vec<Problem> {
        let mut told = HashSet::<_, foldhash::fast::FixedState>::default();
        let mut found = self.found;
        found.retain(|problem| told.insert((problem.symbol.clone(), problem.message.clone())));
        found
    }

    /// Notes a break that is none of a message's.
    pub fn push(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    /// Compares everything that is reachable from a message.
    pub fn message(&mut self, before: MessageId, after: MessageId) {
        let mut left = vec![(before, after)];
        while let Some((before, after)) = left.pop() {
            if self.seen.insert((before.0, after.0)) {
                self.fields(self.before.message(before), self.after.message(after), &mut left);
            }
        }
    }

    /// Compares one field, by its slot, and everything that is reachable from it.
    pub fn field(&mut self, (message, slot): (MessageId, u16), (new_message, new_slot): (MessageId, u16)) {
        let (old, new) = (self.before.message(message), self.after.message(new_message));
        let mut left = Vec::new();
        if let (Some(before), Some(after)) = (old.fields.get(usize::from(slot)), new.fields.get(usize::from(new_slot)))
        {
            self.compare((old, before), (new, after), &mut left);
        }
        for (before, after) in left {
            self.message(before, after);
        }
    }

    fn fields(&mut self, before: &'a Message, after: &'a Message, left: &mut Vec<(MessageId, MessageId)>) {
        // The well-known ones are the same everywhere.
        if before.well_known != WellKnown::No && before.well_known == after.well_known {
            return;
        }
        if before.well_known != after.well_known {
            let message = format!("its JSON is that of {} and was that of {}", after.name, before.name);
            return self.tell(before, None, &message);
        }
        for field in &before.fields {
            let renamed = || after.slot(field.number).map(|slot| &after.fields[slot]);
            match after.slot_declared(&field.name).map(|slot| &after.fields[slot]) {
                Some(same) => self.compare((before, field), (after, same), left),
                None => match renamed() {
                    Some(other) if before.slot_declared(&other.name).is_none() => {
                        let message = format!("is called `{}` now", other.name);
                        self.tell(before, Some(field), &message);
                    }
                    _ => self.tell(before, Some(field), "was removed"),
                },
            }
        }
        for new in after.fields.iter().filter(|new| new.presence == Presence::Required) {
            if before.slot_declared(&new.name).is_none() && before.slot(new.number).is_none() {
                self.tell(after, Some(new), "is new and required");
            }
        }
    }

    fn compare(
        &mut self,
        (old, before): (&'a Message, &'a Field),
        (new, after): (&'a Message, &'a Field),
        left: &mut Vec<(MessageId, MessageId)>,
    ) {
        let mut tell = |message: String| self.tell(old, Some(before), &message);
        if before.number != after.number {
            tell(format!("has the number {} and had {}", after.number, before.number));
        }
        if before.json_name != after.json_name {
            tell(format!("is `{}` in JSON and was `{}`", after.json_name, before.json_name));
        }
        if cardinality(before) != cardinality(after) {
            tell(format!("is {} and was {}", cardinality(after), cardinality(before)));
        }
        if after.presence == Presence::Required && before.presence != Presence::Required {
            tell("is required now".to_owned());
        }
        if cardinality(before) == cardinality(after)
            && before.presence != Presence::Implicit
            && after.presence == Presence::Implicit
        {
            tell("no longer tells its default from its absence".to_owned());
        }
        if let Some((oneof, others)) = newly_excluding((old, before), (new, after)) {
            tell(format!("is in the oneof `{oneof}`, where it excludes {others}, and was not"));
        }
        match (before.kind, after.kind) {
            (Kind::Message(before) | Kind::Group(before), Kind::Message(after) | Kind::Group(after)) => {
                left.push((before, after));
            }
            (Kind::Enum(before), Kind::Enum(after)) => self.values(before, after),
            (kind, other) if kind == other => {}
            (kind, other) => {
                let message = format!("is {} and was {}", name(self.after, other), name(self.before, kind));
                self.tell(old, Some(before), &message);
            }
        }
    }

    fn values(&mut self, before: EnumId, after: EnumId) {
        // Beside the messages' pairs: enums' have their high bit set.
        const ENUM: u32 = 1 << 31;
        if !self.seen.insert((before.0 | ENUM, after.0 | ENUM)) {
            return;
        }
        let (before, after): (&Enum, &Enum) = (self.before.enumeration(before), self.after.enumeration(after));
        let file = self.file(self.after.file_of(&after.name), self.before.file_of(&before.name));
        for (value, number) in &before.values {
            let message = match after.number_of(value) {
                None => "was removed".to_owned(),
                Some(now) if now != *number => format!("has the number {now} and had {number}"),
                // Of a number's names the first is printed.
                Some(_) if before.name_of(*number) == Some(value) => match after.name_of(*number) {
                    Some(printed) if printed != &**value => format!("is printed as `{printed}` now"),
                    _ => continue,
                },
                Some(_) => continue,
            };
            self.found.push(Problem::new(file, format!("{}.{value}", before.name), message));
        }
    }

    fn tell(&mut self, message: &Message, field: Option<&Field>, what: &str) {
        let file = self.file(self.after.file_of(&message.name), self.before.file_of(&message.name));
        let symbol = field.map_or_else(|| message.name.to_string(), |field| format!("{}.{}", message.name, field.name));
        self.found.push(Problem::new(file, symbol, what));
    }

    fn file(&self, now: Option<&'a str>, then: Option<&'a str>) -> &'a str {
        now.or(then).unwrap_or_default()
    }
}

/// The oneof that a field has come into, and what of it was there before and was not in one with it. Who has been there all
/// the while has not come; of fields that come together into a new one, that is the first. How a oneof is called is nobody's
/// business.
fn newly_excluding<'m>(
    (old, before): (&Message, &Field),
    (new, after): (&'m Message, &Field),
) -> Option<(&'m str, String)> {
    let at = after.oneof?;
    let members = new.fields.iter().filter(|member| member.oneof == Some(at));
    let known = members.filter_map(|member| Some((&*member.name, &old.fields[old.slot_declared(&member.name)?])));
    let known: Vec<(&str, &Field)> = known.collect();
    let there = match known.iter().find_map(|(_, earlier)| earlier.oneof) {
        Some(oneof) => before.oneof == Some(oneof),
        None => known.len() > 1 && known[0].0 == &*after.name,
    };
    if there {
        return None;
    }
    let apart = known
        .iter()
        .filter(|(name, earlier)| *name != &*after.name && (earlier.oneof.is_none() || earlier.oneof != before.oneof));
    let mut names: Vec<String> = apart.map(|(name, _)| format!("`{name}`")).collect();
    if names.len() > SHOWN {
        names.truncate(SHOWN);
        names.push("others".to_owned());
    }
    let others = if names.is_empty() { "others".to_owned() } else { names.join(", ") };
    Some((&*new.oneofs[usize::from(at)], others))
}

/// In words, as both sides see it: how repeated scalars lie on the wire is nobody's business.
fn cardinality(field: &Field) -> &'static str {
    match field.shape {
        Shape::Singular | Shape::Item => "singular",
        Shape::Repeated | Shape::Packed => "repeated",
        Shape::Map => "a map",
    }
}

fn name(schema: &Schema, kind: Kind) -> String {
    match kind {
        Kind::Message(id) | Kind::Group(id) => schema.message(id).name.to_string(),
        Kind::Enum(id) => schema.enumeration(id).name.to_string(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}
