//! `google.api.HttpBody`: the body's bytes as they are, under their content type.

use crate::invalid::{Fail, Invalid};
use crate::plan::{BindPlan, Body};
use crate::schema::{Kind, Message};
use crate::to_wire::Translation;
use crate::to_wire::bound::{Bound, Source, UNBOUND};

/// The slots of `google.api.HttpBody`; the schema holds its declaration to them.
const CONTENT_TYPE: u16 = 0;
const DATA: usize = 1;

/// Binds the content type, like any value from beside the body.
pub(super) fn bind_content_type(bound: &mut Bound<'_>, plan: &BindPlan, content_type: &str) -> Result<(), Fail> {
    let text = content_type.as_bytes();
    match plan.body {
        _ if text.is_empty() => Ok(()),
        Body::None => Ok(()),
        Body::Whole => bound.add_at(plan.input, &[CONTENT_TYPE], text, Source::Query),
        Body::Field(slot) => bound.add_at(plan.input, &[slot, CONTENT_TYPE], text, Source::Query),
    }
}

impl Translation<'_> {
    /// Writes the request message: the data where it belongs, and what is bound. A body field without data and content
    /// type is absent.
    pub(super) fn raw_request(&mut self, plan: &BindPlan, data: &[u8]) -> Result<(), Fail> {
        let mark = self.wire.mark();
        let root = self.bound.root();
        let message = self.schema.message(plan.input);
        let mut seen = self.open_seen(message);
        match plan.body {
            Body::None => {}
            Body::Whole => self.data(message, data, root)?,
            Body::Field(slot) => {
                let slot = usize::from(slot);
                let node = if root == UNBOUND { UNBOUND } else { self.bound.child(root, slot) };
                if let Kind::Message(id) = message.fields[slot].kind
                    && !(data.is_empty() && node == UNBOUND)
                {
                    seen.mark(self.seen, slot);
                    self.wire.tag(message.fields[slot].tag);
                    let record = self.wire.open();
                    let body = self.schema.message(id);
                    self.data(body, data, node)?;
                    let inner = self.open_seen(body);
                    self.complete(body, &inner, node)?;
                    self.wire.close(record);
                    self.bound.set_written(node);
                }
            }
        }
        self.complete(message, &seen, root)?;
        self.fits()?;
        self.wire.settle(mark);
        Ok(())
    }

    fn data(&mut self, message: &Message, data: &[u8], node: u32) -> Result<(), Fail> {
        let field = &message.fields[DATA];
        if node != UNBOUND && self.bound.child(node, DATA) != UNBOUND {
            return Err(Invalid::new("the path sets this field, which is the body").within(&field.json_name).into());
        }
        if !data.is_empty() {
            self.wire.tag(field.tag);
            self.wire.text(data);
        }
        self.fits()
    }
}
