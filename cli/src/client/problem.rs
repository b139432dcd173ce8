//! What a gateway did not do, and why.

use std::fmt;

use reqwest::StatusCode;
use serde_json::Value;

use crate::exit::Exit;

/// A request that was not answered.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot reach a gateway at {url}: {cause}. Start one (`flotilla up`), or say where it is (--url, FLOTILLA_URL)"
)]
pub(crate) struct Unreachable {
    pub(super) url: String,
    pub(super) cause: String,
    /// Whether there was a connection, which broke off.
    pub(crate) was_there: bool,
}

/// A request that was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(super) status: StatusCode,
    /// What the gateway says (RFC 9457); null where it is not the gateway that answered.
    pub(crate) problem: Value,
}

impl Refused {
    /// Whether the same may be taken in a moment: the gateway, or what it needs, is away or busy.
    pub(crate) fn is_for_now(&self) -> bool {
        let busy = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        self.status.is_server_error() || busy.contains(&self.status)
    }

    /// Whether the token is one that the gateway knows, and may not do this.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status == StatusCode::FORBIDDEN
    }

    /// Whether the gateway, or what stands before it, cannot answer.
    pub(crate) fn is_failure(&self) -> bool {
        self.status.is_server_error()
    }

    /// What the program ends with, where that is another number than that of any failure.
    pub(crate) fn exit(&self) -> Option<Exit> {
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(Exit::Refused),
            StatusCode::NOT_FOUND => Some(Exit::NotFound),
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Some(Exit::Unreachable),
            _ => None,
        }
    }

    #[cfg(test)]
    pub(crate) fn answered(status: StatusCode) -> Self {
        let problem = Value::Null;
        Self { status, problem }
    }
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem["detail"].as_str() {
            Some(detail) => write!(f, "{detail} ({})", self.status)?,
            None => write!(f, "the gateway answered {}", self.status)?,
        }
        if self.status == StatusCode::UNAUTHORIZED {
            f.write_str(". Give one: --token-file, FLOTILLA_TOKEN, FLOTILLA_TOKEN_FILE")?;
        }
        Ok(())
    }
}
