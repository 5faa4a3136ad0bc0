//! `google.rpc.Status` as JSON: the body of every error in REST.

use prost::encoding::{WireType, encode_key, encode_varint};

use super::to_json;
use crate::json::print::{Refused, Text};
use crate::plan::{Limits, OutOptions, OutPlan};
use crate::schema::Schema;
use crate::scratch::Scratch;
use crate::status::{Detail, Status};

/// Appends a status as JSON: `{"code":5,"message":"…","details":[…]}`, the details only if there are any.
///
/// A detail of a type that no loaded schema knows, or that cannot be printed, is kept as it came:
/// `{"@type":"…","value":"<base64>"}`.
pub fn status_to_json(schema: &Schema, status: &Status, out: &mut Vec<u8>) {
    let mut details = Vec::new();
    for detail in &status.details {
        details.push(b',');
        if !known(schema, detail, &mut details) {
            object(&mut details, |text| {
                text.raw(b"\"@type\":")?;
                text.string(detail.type_url.as_bytes(), 0, detail.type_url.len(), b',')?;
                text.raw(b"\"value\":")?;
                text.base64(&detail.value)
            });
        }
    }
    object(out, |text| {
        text.raw(b"\"code\":")?;
        text.integer(status.code.number())?;
        text.raw(b"\"message\":")?;
        text.string(status.message.as_bytes(), 0, status.message.len(), b',')?;
        if let [_, details @ ..] = details.as_slice() {
            text.raw(b"\"details\":[")?;
            text.raw(details)?;
            text.close(b']')?;
        }
        Ok(())
    });
}

/// Appends an object. Its members are strings that are UTF-8 and have no limit, so that printing cannot fail.
fn object(out: &mut Vec<u8>, members: impl FnOnce(&mut Text) -> Result<(), Refused>) {
    let mut text = Text::new(std::mem::take(out), 256, usize::MAX / 2);
    let _ = text.open(b'{').and_then(|()| members(&mut text)).and_then(|()| text.close(b'}'));
    *out = text.finish(true).0;
}

/// Prints a detail by the loaded schemas, if they can.
fn known(schema: &Schema, detail: &Detail, out: &mut Vec<u8>) -> bool {
    let Some(output) = schema.message_named("google.protobuf.Any") else { return false };
    let mut any = Vec::with_capacity(detail.type_url.len() + detail.value.len() + 12);
    for (number, bytes) in [(1, detail.type_url.as_bytes()), (2, &*detail.value)] {
        encode_key(number, WireType::LengthDelimited, &mut any);
        encode_varint(bytes.len() as u64, &mut any);
        any.extend_from_slice(bytes);
    }
    let plan = OutPlan::whole(output, OutOptions::default());
    to_json(schema, &plan, &any, &Limits::default(), &mut Scratch::default(), out).is_ok()
}
