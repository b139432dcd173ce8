//! Why a server gave no answer: what was certainly not sent is told apart from what was sent and unheard.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's enums grow with its minor versions"
)]

use std::io;

use rmcp::{
    ServiceError,
    model::{ErrorCode, ErrorData},
    service::ClientInitializeError,
    transport::{DynamicTransportError, streamable_http_client::StreamableHttpError},
};

use super::watched::Shared;

/// What is kept of what a library or a server says of a trouble, in bytes.
pub(super) const SAID_BYTES_MAX: usize = 300;

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// It did not reach the server.
    #[error("{0}")]
    NotSent(String),
    /// The server has forgotten our session; it did nothing.
    #[error("it has forgotten our session")]
    Expired,
    /// It was sent, and then the connection broke, or what came back was no answer.
    #[error("{0}")]
    Lost(String),
    /// The server refused it.
    #[error("error {}: {message}", code.0)]
    Refused { code: ErrorCode, message: String },
    /// By its HTTP status, the server refused it before it was read as a message.
    #[error("it answered with status {0}: {1}")]
    Status(u16, String),
    /// It answered, and with something else than what the protocol has for that.
    #[error("its answer is not what the protocol has for that")]
    Odd,
}

impl Trouble {
    /// What became of a request.
    pub(super) fn of(error: ServiceError, shared: &Shared) -> Self {
        match error {
            ServiceError::McpError(error) => error.into(),
            ServiceError::TransportSend(error) => Self::of_sending(&error),
            ServiceError::UnexpectedResponse => Self::Odd,
            // It was on its way to the transport, if not further.
            ServiceError::TransportClosed => Self::Lost(shared.end()),
            other => Self::Lost(short(&other.to_string())),
        }
    }

    /// What became of our introduction; nothing was asked of the server yet.
    pub(super) fn of_beginning(error: ClientInitializeError, shared: &Shared) -> Self {
        match error {
            ClientInitializeError::JsonRpcError(error) => error.into(),
            ClientInitializeError::TransportError { error, .. } => Self::of_sending(&error),
            ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::Cancelled => {
                Self::NotSent(shared.end())
            }
            other => Self::NotSent(short(&other.to_string())),
        }
    }

    fn of_sending(error: &DynamicTransportError) -> Self {
        match error.error.downcast_ref::<Self>() {
            Some(trouble) => trouble.clone(),
            None => Self::Lost(short(&error.error.to_string())),
        }
    }
}

impl From<ErrorData> for Trouble {
    fn from(error: ErrorData) -> Self {
        Self::Refused {
            code: error.code,
            message: error.message.into_owned(),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Lost(format!("it cannot be written to: {error}"))
    }
}

impl From<StreamableHttpError<Self>> for Trouble {
    fn from(error: StreamableHttpError<Self>) -> Self {
        match error {
            StreamableHttpError::Client(trouble) => trouble,
            StreamableHttpError::SessionExpired => Self::Expired,
            other => Self::Lost(short(&other.to_string())),
        }
    }
}

impl From<Trouble> for StreamableHttpError<Trouble> {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Expired => Self::SessionExpired,
            other => Self::Client(other),
        }
    }
}

/// The beginning of a text: what servers say may be as long as their messages.
pub(super) fn short(text: &str) -> String {
    text[..text.floor_char_boundary(SAID_BYTES_MAX)].to_owned()
}
