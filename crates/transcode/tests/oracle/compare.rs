//! When two JSON texts say the same.

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
