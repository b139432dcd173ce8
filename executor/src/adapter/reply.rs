//! A reply in JSON, up to a limit.

use flotilla_common::depth::{DEPTH_MAX, is_within};
use serde_json::{Value, json};

use super::{capture::Captured, redact::Secrets};

/// JSON as it is, where it is within the limit and not nested too deep to be read on the journal; what is no JSON is a text. What is
/// longer is its beginning: `{"text", "truncated": true}`.
pub(super) fn value(bytes: &[u8], limit: usize, secrets: &Secrets) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    if bytes.len() <= limit
        && let Ok(value) = serde_json::from_slice::<Value>(bytes)
        && is_journalled(&value, limit)
    {
        return value;
    }
    match text(bytes, limit, secrets) {
        (text, false) => text.into(),
        (text, true) => json!({"text": text, "truncated": true}),
    }
}

/// Whether a value may stand on the journal: neither too deep nor, as some numbers do, grown in the parser beyond its measure.
pub(super) fn is_journalled(value: &Value, limit: usize) -> bool {
    is_within(value, DEPTH_MAX) && value.to_string().len() <= limit.saturating_mul(2)
}

/// The beginning of a text, and whether something is missing.
pub(super) fn text(bytes: &[u8], limit: usize, secrets: &Secrets) -> (String, bool) {
    let mut captured = Captured::new(limit);
    captured.push(bytes);
    captured.text(secrets)
}
