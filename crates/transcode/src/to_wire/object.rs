//! Objects: which member is which field, each at most once, one of a oneof, and what is bound beside them.

use crate::invalid::{Fail, Invalid};
use crate::json::scan::{self, Quoted, echo};
use crate::plan::Unknown;
use crate::schema::{Field, Kind, Message, Presence, Shape, WellKnown};
use crate::scratch::Seen;
use crate::to_wire::bound::UNBOUND;
use crate::to_wire::{Translation, field};

/// What a `@type` among the members is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TypeKey {
    /// An unknown field: the object stands for no `Any`.
    Foreign,
    /// The `Any`'s type, read before; it will pass once.
    Due,
    /// The `Any`'s type, passed.
    Past,
}

impl Translation<'_> {
    /// Reads an object into a message's fields; `node` is what is bound in it.
    pub(super) fn object(&mut self, message: &Message, node: u32) -> Result<(), Fail> {
        self.room = self.scan.deeper(self.room)?;
        if self.scan.open(b'{', b'}', "an object")? {
            self.members(message, node, TypeKey::Foreign)?;
        } else if node != UNBOUND || message.has_required {
            let seen = self.open_seen(message);
            self.complete(message, &seen, node)?;
        }
        self.room += 1;
        Ok(())
    }

    /// Reads the members of an object that has some, up to its `}`.
    pub(super) fn members(&mut self, message: &Message, node: u32, mut type_key: TypeKey) -> Result<(), Fail> {
        let mut seen = self.open_seen(message);
        self.note_bound_oneofs(message, &mut seen, node);
        // Members come in the order of the fields, most often: the next one is compared before any is looked up.
        let mut next = 0;
        loop {
            self.scan.peek();
            let mut written = None;
            let slot = match message.fields.get(next) {
                Some(field) if self.scan.eat(&field.json_key) => Some(next),
                _ => {
                    let name = self.scan.name()?;
                    written = Some(name);
                    self.slot(message, name)?
                }
            };
            match (slot, written) {
                (Some(slot), _) => {
                    if let Err(fail) = self.member(message, slot, &mut seen, node) {
                        return Err(within_member(fail, message, slot, written));
                    }
                    next = slot + 1;
                    self.fits()?;
                }
                (None, Some(name)) => self.unknown_member(message, name, &mut type_key)?,
                (None, None) => {}
            }
            if !self.scan.more(b'}')? {
                break;
            }
        }
        self.complete(message, &seen, node)
    }

    /// The field of a member's name, in either spelling.
    pub(super) fn slot(&mut self, message: &Message, name: Quoted<'_>) -> Result<Option<usize>, Fail> {
        if !name.escaped {
            return Ok(std::str::from_utf8(name.raw).ok().and_then(|name| message.slot_named(name)));
        }
        self.text.clear();
        scan::unescape(name, self.text)?;
        Ok(std::str::from_utf8(self.text).ok().and_then(|name| message.slot_named(name)))
    }

    /// Reads one member's value.
    #[inline(always)]
    pub(super) fn member(&mut self, message: &Message, slot: usize, seen: &mut Seen, node: u32) -> Result<(), Fail> {
        let field = &message.fields[slot];
        if seen.mark(self.seen, slot) {
            return Err(scan::fail(self.scan.at(), "this field is there twice"));
        }
        let bound = if node == UNBOUND { UNBOUND } else { self.bound.child(node, slot) };
        if self.scan.peek() == b'n' && !self.takes_null(field) {
            self.scan.null()?;
            if field.presence == Presence::Required && bound == UNBOUND {
                return Err(field::located(required(), self.scan.at()));
            }
            return Ok(());
        }
        if let Some(oneof) = field.oneof
            && seen.mark(self.seen, message.fields.len() + usize::from(oneof))
            && bound == UNBOUND
        {
            return Err(self.oneof_twice(message, oneof));
        }
        if bound == UNBOUND { self.field(field, UNBOUND) } else { self.bound_field(field, bound) }
    }

    /// `null` is a value of the field, not its absence.
    #[cold]
    fn takes_null(&self, field: &Field) -> bool {
        field.shape == Shape::Singular
            && match field.kind {
                Kind::Enum(id) => self.schema.enumeration(id).null_value,
                Kind::Message(id) => self.schema.message(id).well_known == WellKnown::Value,
                _ => false,
            }
    }

    /// Reads a member that no field has. (One that is read over may be there twice: nothing of it is kept.)
    #[cold]
    #[inline(never)]
    pub(super) fn unknown_member(
        &mut self,
        message: &Message,
        name: Quoted<'_>,
        type_key: &mut TypeKey,
    ) -> Result<(), Fail> {
        if *type_key != TypeKey::Foreign && self.is_type_key(name)? {
            if *type_key == TypeKey::Past {
                return Err(scan::fail(name.at - 1, "`@type` is there twice"));
            }
            *type_key = TypeKey::Past;
            return self.scan.skip(self.room);
        }
        match self.unknown {
            Unknown::Ignore => self.scan.skip(self.room),
            Unknown::Refuse => {
                let refusal = Invalid::new(format!("{} has no such field", message.name));
                Err(refusal.at(name.at - 1).within(&echo(name.raw)).into())
            }
        }
    }

    /// Ends an object: writes what is bound in it and was not there, checks that what is required is.
    pub(super) fn complete(&mut self, message: &Message, seen: &Seen, node: u32) -> Result<(), Fail> {
        let node = if self.later { UNBOUND } else { node };
        if node != UNBOUND {
            self.write_bound(message, node)?;
        }
        if message.has_required {
            let missing = message.fields.iter().enumerate().find(|(slot, field)| {
                field.presence == Presence::Required
                    && !seen.has(self.seen, *slot)
                    && (node == UNBOUND || self.bound.child(node, *slot) == UNBOUND)
            });
            if let Some((_, field)) = missing {
                return Err(within_field(field::located(required(), self.scan.at()), &field.json_name));
            }
        }
        seen.close(self.seen);
        Ok(())
    }

    /// Checks that what is required is bound, in a message that only bindings make.
    pub(super) fn check_required(&self, message: &Message, node: u32) -> Result<(), Fail> {
        let missing = message
            .fields
            .iter()
            .enumerate()
            .find(|(slot, field)| field.presence == Presence::Required && self.bound.child(node, *slot) == UNBOUND);
        match missing {
            Some((_, field)) if message.has_required => Err(within_field(required(), &field.json_name)),
            _ => Ok(()),
        }
    }

    /// No field of a message seen yet.
    #[inline]
    pub(super) fn open_seen(&mut self, message: &Message) -> Seen {
        Seen::open(message.fields.len() + message.oneofs.len(), self.seen)
    }

    /// The oneofs of bound fields are taken.
    pub(super) fn note_bound_oneofs(&mut self, message: &Message, seen: &mut Seen, node: u32) {
        let mut child = if node == UNBOUND { UNBOUND } else { self.bound.first_child(node) };
        while child != UNBOUND {
            if let Some(oneof) = message.fields[self.bound.slot(child)].oneof {
                seen.mark(self.seen, message.fields.len() + usize::from(oneof));
            }
            child = self.bound.next(child);
        }
    }

    #[cold]
    #[inline(never)]
    fn oneof_twice(&self, message: &Message, oneof: u16) -> Fail {
        let name = &message.oneofs[usize::from(oneof)];
        Invalid::new(format!("another field of the oneof `{name}` is set already")).at(self.scan.at()).into()
    }

    /// Whether a member's name is `@type`.
    pub(super) fn is_type_key(&mut self, name: Quoted<'_>) -> Result<bool, Fail> {
        if !name.escaped {
            return Ok(name.raw == b"@type");
        }
        self.text.clear();
        scan::unescape(name, self.text)?;
        Ok(*self.text == b"@type")
    }
}

#[cold]
fn required() -> Fail {
    Invalid::new("this field is required").into()
}

/// The refusal within a member, by the name that the client wrote; `None` is the JSON name.
#[cold]
#[inline(never)]
fn within_member(fail: Fail, message: &Message, slot: usize, written: Option<Quoted<'_>>) -> Fail {
    match written {
        Some(name) => within_field(fail, &echo(name.raw)),
        None => within_field(fail, &message.fields[slot].json_name),
    }
}

/// The refusal within a field, by the name that the client wrote.
#[cold]
#[inline(never)]
pub(super) fn within_field(mut fail: Fail, name: &str) -> Fail {
    *fail = fail.within(name);
    fail
}
