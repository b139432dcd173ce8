//! Reading the request that creates a batch.

use crate::error::ApiError;
use crate::wire::Object;
use serde_json::Value;
use std::collections::HashSet;

/// Requests in one batch.
const MAX_REQUESTS: usize = 100_000;

/// Characters of a `custom_id`.
const MAX_ID: usize = 64;

/// One request of a batch. Whether its `params` are right shows only when it is processed.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) custom_id: String,
    pub(super) params: Object,
}

/// Reads the body.
///
/// # Errors
/// 400, which names the first fault.
pub(super) fn items(mut body: Object) -> Result<Vec<Item>, ApiError> {
    let requests = match body.remove("requests") {
        Some(Value::Array(requests)) => requests,
        Some(_) => return Err(ApiError::invalid("requests: Input should be a valid array")),
        None => return Err(ApiError::invalid("requests: Field required")),
    };
    if requests.is_empty() || requests.len() > MAX_REQUESTS {
        return Err(ApiError::invalid(format!(
            "requests: List should have at least 1 and at most {MAX_REQUESTS} items"
        )));
    }
    let mut names = HashSet::new();
    let mut items = Vec::with_capacity(requests.len());
    for (index, request) in requests.into_iter().enumerate() {
        let item = item(request, index)?;
        if !names.insert(item.custom_id.clone()) {
            return Err(ApiError::invalid(format!(
                "requests.{index}.custom_id: custom_id must be unique in a batch: {}",
                item.custom_id
            )));
        }
        items.push(item);
    }
    Ok(items)
}

fn item(request: Value, index: usize) -> Result<Item, ApiError> {
    let wrong = |what: &str| ApiError::invalid(format!("requests.{index}{what}"));
    let Value::Object(mut request) = request else {
        return Err(wrong(": Input should be an object"));
    };
    let custom_id = match request.remove("custom_id") {
        Some(Value::String(id)) => id,
        Some(_) => return Err(wrong(".custom_id: Input should be a valid string")),
        None => return Err(wrong(".custom_id: Field required")),
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if custom_id.is_empty() || custom_id.len() > MAX_ID || !custom_id.bytes().all(fits) {
        return Err(wrong(
            ".custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'",
        ));
    }
    match request.remove("params") {
        Some(Value::Object(params)) => Ok(Item { custom_id, params }),
        Some(_) => Err(wrong(".params: Input should be an object")),
        None => Err(wrong(".params: Field required")),
    }
}
