//! A request on NATS, and the reply of whoever serves its subject.

use std::time::Duration;

use async_nats::{HeaderMap, HeaderValue, Request, client::RequestErrorKind};
use bytes::Bytes;

use super::bus::Bus;

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody serves the subject: the request reached nobody.
    #[error("nobody serves the subject `{0}`")]
    NobodyThere(String),
    /// There is no connection to NATS at this moment: nothing was sent.
    #[error("NATS is not connected")]
    NotConnected,
    /// The request cannot be sent as it is: nothing was sent.
    #[error("the request cannot be sent: {0}")]
    Unsendable(String),
    /// It was sent, and no reply came in time.
    #[error("no reply within {0:?}")]
    Timeout(Duration),
    /// It may have been sent, and then the connection broke.
    #[error("the connection to NATS broke: {0}")]
    Lost(String),
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// Its payload.
    pub payload: Bytes,
    headers: Option<HeaderMap>,
}

impl Answer {
    /// The first value of a header, if it has it.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.as_ref()?.get(name);
        value.map(HeaderValue::as_str)
    }
}

impl Bus {
    /// Asks whoever serves a subject, and waits at most `limit` for the first reply.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: Vec<u8>,
        limit: Duration,
    ) -> Result<Answer, AskError> {
        if !self.is_connected() {
            return Err(AskError::NotConnected);
        }
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        let request = Request::new()
            .headers(map)
            .payload(payload.into())
            .timeout(Some(limit));
        let asked = self.client.send_request(subject.to_owned(), request);
        match asked.await {
            Ok(message) => Ok(Answer {
                payload: message.payload,
                headers: message.headers,
            }),
            Err(error) => Err(match error.kind() {
                RequestErrorKind::NoResponders => AskError::NobodyThere(subject.to_owned()),
                RequestErrorKind::TimedOut => AskError::Timeout(limit),
                RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                    AskError::Unsendable(error.to_string())
                }
                RequestErrorKind::Other => AskError::Lost(error.to_string()),
            }),
        }
    }
}
