//! What came of asking whether an effect was done.

use serde::{Deserialize, Serialize};

use crate::ids::Name;

/// Nobody knew whether an effect was done, and the tool's `reconcile` was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciled {
    /// Who was asked.
    pub tool: Name,
    /// Its version.
    pub version: u32,
    /// What that found.
    pub found: Found,
    /// Why nobody knew.
    pub doubt: String,
    /// Where it could not say: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Whether an effect was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// It was: what was recorded of it is the result.
    Done,
    /// It was not, and will not be: the tool was run after that.
    NotDone,
    /// That is not known there either, or nobody answered.
    Unknown,
}
