//! What the ledger says of one call.

use crate::reply::Usage;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// One call.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Entry {
    /// Place in the ledger, from 1; grows for as long as the server runs.
    pub(crate) n: u64,
    /// When the call came in, RFC 3339.
    pub(crate) at: String,
    pub(crate) request_id: String,
    pub(crate) model: Option<String>,
    /// Which policy answered; `None` for the default answer and for calls that no policy saw.
    pub(crate) policy: Option<Arc<str>>,
    /// Which of its rules, from 0.
    pub(crate) rule: Option<usize>,
    pub(crate) user_id: Option<String>,
    /// Whose call it is: hex digest of the API key.
    pub(crate) key: String,
    /// `metadata` as sent.
    pub(crate) metadata: Option<Value>,
    /// What was made to go wrong.
    pub(crate) fault: Option<&'static str>,
    /// In which way the answer is wrong on purpose.
    pub(crate) wrong: Option<&'static str>,
    /// The last 200 characters of the system prompt.
    pub(crate) system_tail: String,
    /// Assistant turns in the request.
    pub(crate) turns: usize,
    pub(crate) stream: bool,
    pub(crate) status: u16,
    /// `error.type`, where the answer is an error.
    pub(crate) error: Option<String>,
    pub(crate) stop_reason: Option<String>,
    pub(crate) tools_used: Vec<String>,
    pub(crate) usage: Option<Usage>,
    /// What it costs, in nano-USD; of one that was not delivered, for what was produced by then.
    pub(crate) usd_nano: u64,
    /// From a batch, at half the price.
    pub(crate) batch: bool,
    /// Its name in the batch.
    pub(crate) custom_id: Option<String>,
    /// Hex digest of the request body.
    pub(crate) body_sha256: String,
    /// Unix milliseconds.
    pub(crate) started_ms: i64,
    /// Unix milliseconds.
    pub(crate) finished_ms: i64,
    /// False where the client did not get the whole answer.
    pub(crate) delivered: bool,
}
