//! The `FieldMask` of a PATCH whose client sent none: the fields that its body names.
//!
//! Paths are relative to the body's field and have the .proto's names. A message with fields of its own is descended into;
//! lists, maps, scalars and messages with a JSON form of their own are named as a whole, as is an empty object. `null` names
//! its field too: that is how a client clears one. What the path sets says which resource is meant and is no change to it.

use crate::invalid::{Fail, Invalid};
use crate::json::scan::echo;
use crate::plan::Unknown;
use crate::schema::{Field, Kind, Message, Shape, WellKnown};
use crate::scratch::Seen;
use crate::to_wire::bound::UNBOUND;
use crate::to_wire::{Translation, field};

/// The tag of `google.protobuf.FieldMask.paths`.
const PATHS: u8 = 0x0a;

impl<'a> Translation<'a> {
    /// Writes the mask's field, unless it is bound: the client sent one. The body has been read, and is what it should be.
    #[cold]
    pub(super) fn implied_mask(
        &mut self,
        request: &'a Message,
        body: usize,
        mask: usize,
        seen: &mut Seen,
        root: u32,
    ) -> Result<(), Fail> {
        if root != UNBOUND && self.bound.child(root, mask) != UNBOUND {
            return Ok(());
        }
        seen.mark(self.seen, mask);
        let (Kind::Message(id) | Kind::Group(id)) = request.fields[body].kind else { return Ok(()) };
        let message = self.schema.message(id);
        let node = if root == UNBOUND { UNBOUND } else { self.bound.child(root, body) };
        self.path.clear();
        self.wire.tag(request.fields[mask].tag);
        let record = self.wire.open();
        self.scan.rewind(0);
        if self.scan.peek() == b'{' {
            self.name_members(message, node)?;
        } else if !self.scan.null()? && node != UNBOUND {
            // A form: what it says is bound.
            self.name_bound(message, node)?;
        }
        self.wire.close(record);
        Ok(())
    }

    /// Names the fields of an object; whether it has members.
    fn name_members(&mut self, message: &Message, node: u32) -> Result<bool, Fail> {
        self.room = self.scan.deeper(self.room)?;
        let some = self.scan.open(b'{', b'}', "an object")?;
        let mut more = some;
        while more {
            let name = self.scan.name()?;
            match self.slot(message, name)? {
                Some(slot) if message.fields[slot].name.starts_with('[') => {
                    let refusal = Invalid::new("an extension has no path in a field mask: send the mask yourself");
                    return Err(refusal.at(name.at - 1).within(&echo(name.raw)).into());
                }
                Some(slot) => {
                    let child = if node == UNBOUND { UNBOUND } else { self.bound.child(node, slot) };
                    self.within(&message.fields[slot], |this| this.name_member(&message.fields[slot], child))?;
                }
                None => self.scan.skip(self.room)?,
            }
            more = self.scan.more(b'}')?;
        }
        self.room += 1;
        Ok(some)
    }

    /// Names a member, or the members inside it.
    fn name_member(&mut self, field: &Field, child: u32) -> Result<(), Fail> {
        if child != UNBOUND && self.bound.is_value(child) {
            return self.scan.skip(self.room);
        }
        if self.scan.peek() == b'{'
            && let Some(message) = self.descends(field)
        {
            return if self.name_members(message, child)? { Ok(()) } else { self.name_path() };
        }
        // A name that the enum lacks and that is read over sets nothing.
        if self.unknown == Unknown::Ignore
            && matches!(field.kind, Kind::Enum(_))
            && field.shape == Shape::Singular
            && self.scan.peek() == b'"'
        {
            return if self.bits(field.kind)?.is_some() { self.name_path() } else { Ok(()) };
        }
        self.name_path()?;
        self.scan.skip(self.room)
    }

    /// Names the fields that a form has bound.
    fn name_bound(&mut self, message: &Message, node: u32) -> Result<(), Fail> {
        let mut child = self.bound.first_child(node);
        while child != UNBOUND {
            let field = &message.fields[self.bound.slot(child)];
            if self.bound.is_value(child) {
                if !self.bound.is_by_path(child) {
                    self.within(field, Self::name_path)?;
                }
            } else if let Some(inner) = self.descends(field) {
                self.within(field, |this| this.name_bound(inner, child))?;
            } else {
                // A mask, by its paths.
                self.within(field, Self::name_path)?;
            }
            child = self.bound.next(child);
        }
        Ok(())
    }

    /// The message whose fields have paths of their own.
    fn descends(&self, field: &Field) -> Option<&'a Message> {
        match (field.shape, field.kind) {
            (Shape::Singular, Kind::Message(id) | Kind::Group(id)) => {
                Some(self.schema.message(id)).filter(|message| message.well_known == WellKnown::No)
            }
            _ => None,
        }
    }

    /// Does something one field further down.
    fn within(&mut self, field: &Field, name: impl FnOnce(&mut Self) -> Result<(), Fail>) -> Result<(), Fail> {
        let length = self.path.len();
        if length > 0 {
            self.path.push(b'.');
        }
        self.path.extend_from_slice(field.name.as_bytes());
        let named = name(self).map_err(|fail| Box::new(field::located(fail, self.scan.at()).within(&field.json_name)));
        self.path.truncate(length);
        named
    }

    /// Writes the path of where we are.
    fn name_path(&mut self) -> Result<(), Fail> {
        self.wire.byte(PATHS);
        self.wire.text(self.path);
        self.fits()
    }
}
