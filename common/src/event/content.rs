//! Data that is not JSON: texts as they are, bytes as `{"base64": "…"}`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::EventError;

/// The data of an event from its bytes, by the media type that its sender gave: JSON is read (also where there is no type), a text in
/// UTF-8 is a string, everything else is `{"base64": "…"}`. Nothing is `null`.
pub(super) fn of_bytes(kind: Option<&str>, bytes: &[u8]) -> Result<Value, EventError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let essence = kind
        .and_then(|kind| kind.split(';').next())
        .unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    if essence.is_empty() || essence.ends_with("/json") || essence.ends_with("+json") {
        return serde_json::from_slice(bytes).map_err(EventError::Json);
    }
    let is_text =
        essence.starts_with("text/") || essence.ends_with("/xml") || essence.ends_with("+xml");
    match std::str::from_utf8(bytes) {
        Ok(text) if is_text => Ok(text.into()),
        Ok(_) | Err(_) => Ok(json!({"base64": STANDARD.encode(bytes)})),
    }
}

/// The same where the bytes come as `data_base64`.
pub(super) fn of_base64(kind: Option<&str>, encoded: &str) -> Result<Value, EventError> {
    let bytes = STANDARD.decode(encoded).map_err(|error| {
        EventError::of("data_base64", format!("`data_base64` is none: {error}"))
    })?;
    of_bytes(kind, &bytes)
}
