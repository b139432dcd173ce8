//! How deep JSON from outside may be nested. It comes to stand some levels deeper in the journal, whose readers stop at 128.

use serde_json::Value;

/// Most levels of JSON that comes from outside: of events, and of what tools return.
pub const DEPTH_MAX: usize = 64;

/// Whether a value has at most `levels` levels of arrays and objects. It recurses as deep as the value, so the value must come
/// from a reader with a limit of its own, as serde_json's has.
#[must_use]
pub fn is_within(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| is_within(item, levels - 1)),
        Value::Object(map) => levels > 0 && map.values().all(|item| is_within(item, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn levels_are_counted_in_arrays_and_objects_alike() {
        assert!(is_within(&json!("flat"), 0));
        assert!(!is_within(&json!([]), 0));
        let three = json!({"a": [1, {"b": 2}]});
        assert!(is_within(&three, 3) && !is_within(&three, 2));
    }
}
