//! Ties: which replies of a method a call of another one makes forgotten: those to requests that say in some fields what
//! that call's request says in some of its own.

use aws_lc_rs::digest::{Context, SHA256};
use transom_transcode::schema::{MessageId, Schema};

use super::generation::{CELLS, Cell};
use crate::config;
use crate::policy::rate::FieldPath;

/// Some fields of a request whose values name a cell. Two ties name the same one for the same values if they have the same
/// name, whatever messages they look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tie {
    /// The fields of the cached method's request that it is about.
    name: Box<str>,
    paths: Box<[FieldPath]>,
}

impl Tie {
    /// Both sides of what configuration says, each looking into its own request: the method's that is kept, and that of the
    /// call that makes it forgotten. None: all replies are forgotten.
    ///
    /// # Errors
    /// A field that is not there, holds several values, or another kind of them than its counterpart.
    pub fn compile(
        schema: &Schema,
        written: &config::Invalidation,
        (own, other): (MessageId, MessageId),
    ) -> Result<Option<(Self, Self)>, String> {
        if written.fields.is_empty() {
            return Ok(None);
        }
        let (mut mine, mut theirs) = (Vec::new(), Vec::new());
        for (field, counterpart) in &written.fields {
            let (one, two) = (FieldPath::compile(schema, own, field)?, FieldPath::compile(schema, other, counterpart)?);
            if one.kind() != two.kind() {
                return Err(format!("`{field}` and `{counterpart}` are of different types: they never say the same"));
            }
            mine.push(one);
            theirs.push(two);
        }
        let name: Box<str> = written.fields.keys().map(String::as_str).collect::<Vec<_>>().join(",").into();
        Ok(Some((Self { name: name.clone(), paths: mine.into() }, Self { name, paths: theirs.into() })))
    }

    /// The cell of a request; none: it is broken, and could be any.
    pub fn cell(&self, message: &[u8]) -> Option<Cell> {
        let mut digest = Context::new(&SHA256);
        digest.update(self.name.as_bytes());
        for path in &self.paths {
            let value = path.value(message).ok()?;
            let value = value.as_deref().unwrap_or_default();
            // A default that is written and one that is not are the same value.
            let length = value.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            digest.update(&(length as u64).to_le_bytes());
            digest.update(&value[..length]);
        }
        let digest = digest.finish();
        Some(u16::from_le_bytes([digest.as_ref()[0], digest.as_ref()[1]]) % CELLS)
    }
}

#[cfg(test)]
mod tests {
    use transom_transcode::schema::Schema;

    use super::Tie;
    use crate::config::Invalidation;

    #[test]
    fn equal_values_are_one_cell_and_what_is_broken_is_of_none() {
        let mut builder = Schema::builder();
        builder.add(include_bytes!("../../../descriptors/booking.binpb"), "booking").unwrap();
        let schema = builder.build().unwrap();
        let id = |name: &str| schema.message_named(name).unwrap();
        // Fields 1 of the one, 2 of the other.
        let fields = [("email".to_owned(), "last_name".to_owned())].into();
        let written = Invalidation { rpc: "auth.AuthService/UpdateUserProfile".to_owned(), fields };
        let ends = (id("auth.LoginRequest"), id("auth.UpdateUserProfileRequest"));
        let (mine, theirs) = Tie::compile(&schema, &written, ends).unwrap().unwrap();
        let a = mine.cell(b"\x0a\x01a");
        assert!(a.is_some() && a != mine.cell(b"\x0a\x01b"));
        assert_eq!(theirs.cell(b"\x0a\x01x\x12\x01a"), a, "whichever message says it");
        assert_eq!(mine.cell(b""), mine.cell(b"\x0a\x00"), "a default is one, written or not");
        for broken in [&b"\x0a\x02a"[..], b"\x0a\x01a\x00", b"\x0a\x01a\x12"] {
            assert_eq!(mine.cell(broken), None, "{broken:?}");
        }
    }
}
