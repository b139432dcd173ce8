//! Fields of a request that change nothing in the answer here, but are refused where the API would not know them.

use crate::error::ApiError;
use crate::wire::Object;
use serde_json::Value;

/// Fields with the values that they can have.
const CHOICES: &[(&str, &[&str], &str)] = &[
    (
        "service_tier",
        &["auto", "standard_only"],
        "'auto' or 'standard_only'",
    ),
    ("speed", &["standard", "fast"], "'standard' or 'fast'"),
];

/// Longest name of a place where a request may be worked on.
const MAX_GEO: usize = 64;

/// Checks them.
///
/// # Errors
/// 400, which names the first that is wrong.
pub(crate) fn check(body: &Object) -> Result<(), ApiError> {
    for (key, known, words) in CHOICES {
        let given = body.get(*key).filter(|value| !value.is_null());
        if given.is_some_and(|value| !known.iter().any(|known| value == known)) {
            return Err(ApiError::invalid(format!("{key}: Input should be {words}")));
        }
    }
    match body.get("inference_geo") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(geo)) if !geo.is_empty() && geo.len() <= MAX_GEO => Ok(()),
        Some(_) => Err(ApiError::invalid(
            "inference_geo: Input should be a valid string",
        )),
    }
}
