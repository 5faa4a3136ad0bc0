//! Rules of the schema's own, where this build leaves CEL out: each is refused when it is loaded.

use std::ops::Range;

use super::said::Said;
use crate::schema::{Field, Kind, MessageId, Schema};
use crate::to_json::Halt;
use crate::to_json::records::Reading;
use crate::to_json::value::Scalar;

const WHY: &str = "it is written in CEL, which this build leaves out (feature `cel`)";

/// There is none.
#[derive(Debug)]
pub(super) enum Own {}

/// What it would be about.
#[derive(Debug, Clone)]
#[expect(dead_code, reason = "nothing looks at it")]
pub(super) enum Subject<'f> {
    Message(MessageId, Range<usize>),
    Scalar(Kind, bool, Scalar),
    Field(&'f Field, Range<usize>),
}

/// What `this` would be.
#[derive(Debug, Clone, Copy)]
#[expect(dead_code, reason = "nothing looks at it")]
pub(super) enum This<'s> {
    Message(MessageId),
    Field(&'s Field),
    Value(Kind),
}

/// The rules that it would be one of.
#[derive(Debug, Clone)]
#[expect(dead_code, reason = "nothing looks at it")]
pub(super) struct Rules {
    pub(super) bytes: Box<[u8]>,
    pub(super) id: MessageId,
    pub(super) slot: u16,
}

impl Own {
    pub(super) fn compile(_: &Schema, _: &Said<'_>, _: This<'_>, _: Option<Rules>) -> Result<Self, String> {
        Err(WHY.to_owned())
    }

    pub(super) fn bare(_: &Schema, _: &[u8], _: This<'_>) -> Result<Self, String> {
        Err(WHY.to_owned())
    }
}

/// Nothing is done.
pub(super) fn steps(_: usize) -> usize {
    0
}

/// No rule is broken.
pub(super) fn judge<'a>(
    _: &'a [Own],
    _: Subject<'_>,
    _: &mut Reading<'a, '_>,
    _: (i128, &mut usize),
    _: impl FnMut(&str, Box<str>),
) -> Result<(), Halt> {
    Ok(())
}
