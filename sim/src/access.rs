//! What every request has to bring in its headers.

use crate::error::ApiError;
use axum::http::{HeaderMap, HeaderValue, header};

/// Versions of the API: what the official SDK (2.11) sends, and what older clients do.
const VERSIONS: &[&str] = &["2026-10-21", "2023-06-01", "2023-01-01"];

/// Checks the key and the version.
///
/// # Errors
/// 401 without a key, 400 without a version that there is.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), ApiError> {
    api_key(headers)?;
    let version = headers
        .get("anthropic-version")
        .map(|version| version.to_str().unwrap_or_default());
    match version {
        None | Some("") => Err(ApiError::invalid("anthropic-version: header is required")),
        Some(version) if !VERSIONS.contains(&version) => Err(ApiError::invalid(format!(
            "anthropic-version: \"{version}\" is not a valid version"
        ))),
        Some(_) => Ok(()),
    }
}

/// The API key, from `x-api-key` or from `authorization: Bearer`: the documentation has the first, the official Python
/// SDK (2.11) sends the second. Any key will do.
///
/// # Errors
/// 401 without one.
pub(crate) fn api_key(headers: &HeaderMap) -> Result<&[u8], ApiError> {
    let bearer = || {
        headers
            .get(header::AUTHORIZATION)?
            .as_bytes()
            .strip_prefix(b"Bearer ")
    };
    match headers
        .get("x-api-key")
        .map(HeaderValue::as_bytes)
        .or_else(bearer)
    {
        None => Err(ApiError::new(401, "x-api-key header is required")),
        Some([]) => Err(ApiError::new(401, "invalid x-api-key")),
        Some(key) => Ok(key),
    }
}
