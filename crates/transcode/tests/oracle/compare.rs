//! When two JSON texts, or two messages, say the same.

use prost_reflect::{DynamicMessage, ReflectMessage as _, Value as Field};
use serde_json::Value;

/// Equal but for the order of keys and the spelling of numbers.
pub(crate) fn same(ours: &Value, oracle: &Value) -> bool {
    match (ours, oracle) {
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => close(a, b),
            _ => a == b,
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => ours == oracle,
    }
}

/// serde_json reads a number's last bit by its spelling (`1e16` and `10000000000000000.0` can differ by one).
fn close(a: f64, b: f64) -> bool {
    a.is_sign_negative() == b.is_sign_negative() && a.to_bits().abs_diff(b.to_bits()) <= 1
}

/// Where two messages differ, if they do. NaN equals NaN; of an `Any` the message is compared, not its bytes.
pub(crate) fn difference(a: &DynamicMessage, b: &DynamicMessage) -> Option<String> {
    if let (Some(a), Some(b)) = (unpack(a), unpack(b)) {
        return difference(&a, &b);
    }
    if a.fields().count() != b.fields().count() {
        return Some(": other fields are set".to_owned());
    }
    a.fields().zip(b.fields()).find_map(|((field_a, a), (field_b, b))| {
        let difference = if field_a == field_b { field_difference(a, b) } else { Some(String::new()) };
        difference.map(|rest| format!(".{}{rest}", field_a.name()))
    })
}

fn field_difference(a: &Field, b: &Field) -> Option<String> {
    let same = match (a, b) {
        (Field::F32(a), Field::F32(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
        (Field::F64(a), Field::F64(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
        (Field::Message(a), Field::Message(b)) => return difference(a, b),
        (Field::List(a), Field::List(b)) if a.len() == b.len() => {
            return a.iter().zip(b).find_map(|(a, b)| field_difference(a, b));
        }
        (Field::Map(a), Field::Map(b)) if a.len() == b.len() => {
            return a.iter().find_map(|(key, a)| match b.get(key) {
                Some(b) => field_difference(a, b),
                None => Some(format!("[{key:?}]")),
            });
        }
        _ => a == b,
    };
    (!same).then(|| match a {
        Field::Message(_) | Field::List(_) | Field::Map(_) => ": another shape".to_owned(),
        _ => format!(": {a:?}, {b:?}"),
    })
}

/// The message inside an `Any`.
fn unpack(any: &DynamicMessage) -> Option<DynamicMessage> {
    let descriptor = any.descriptor();
    if descriptor.full_name() != "google.protobuf.Any" {
        return None;
    }
    let url = any.get_field_by_name("type_url")?;
    let name = url.as_str()?.rsplit('/').next()?.to_owned();
    let value = any.get_field_by_name("value")?;
    DynamicMessage::decode(descriptor.parent_pool().get_message_by_name(&name)?, value.as_bytes()?.clone()).ok()
}
