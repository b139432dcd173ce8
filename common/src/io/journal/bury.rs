//! Dead letters: how a message comes to be one.

use async_nats::{HeaderMap, header::NATS_MESSAGE_ID};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{Accepted, Journal, JournalError};
use crate::{
    dead::LetterKind,
    ids::hex,
    names::{header, subject},
};

/// What is kept of a message that is too large to be kept as it is.
const BURIED_BYTES_MAX: usize = 64 * 1024;
/// Characters kept of a reason.
const REASON_LENGTH_MAX: usize = 1_000;

/// A message that nobody can handle.
#[derive(Debug, Clone)]
pub struct Burial<'a> {
    /// Who gave up.
    pub role: &'a str,
    /// The message's subject.
    pub subject: &'a str,
    /// Its sequence in its stream.
    pub seq: u64,
    /// Its bytes.
    pub payload: Bytes,
    /// What is wrong.
    pub kind: LetterKind,
    /// Why, for people.
    pub reason: &'a str,
    /// How often it was handed out.
    pub deliveries: i64,
    /// Its `Nats-Msg-Id`.
    pub message_id: Option<&'a str>,
    /// Its `Flotilla-Promise`.
    pub promise: Option<&'a str>,
}

impl Burial<'_> {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::REASON, one_line(self.reason).as_str());
        headers.insert(header::SUBJECT, self.subject);
        headers.insert(header::SEQUENCE, self.seq.to_string());
        headers.insert(header::KIND, self.kind.to_string());
        headers.insert(header::DELIVERIES, self.deliveries.to_string());
        if let Some(id) = self.message_id {
            headers.insert(header::MESSAGE_ID, one_line(id).as_str());
        }
        if let Some(promise) = self.promise {
            headers.insert(header::PROMISE, promise);
        }
        let id = format!("{}.{}.{}", self.role, self.subject, self.seq);
        headers.insert(NATS_MESSAGE_ID, id);
        headers
    }
}

/// Without what could end a header.
fn one_line(text: &str) -> String {
    let text = text.chars().take(REASON_LENGTH_MAX);
    text.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl Journal {
    /// Puts aside what cannot be handled, with its reason. The same message of the same role again is the same letter, as far as
    /// the deduplication window of DEAD knows.
    ///
    /// # Errors
    /// [`JournalError`]: then the original must not be acknowledged.
    pub async fn bury(&self, burial: &Burial<'_>) -> Result<Accepted, JournalError> {
        self.bury_as(burial, None).await
    }

    /// The same with what is kept of the form in which it was written.
    pub(in crate::io) async fn bury_as(
        &self,
        burial: &Burial<'_>,
        form: Option<&'static str>,
    ) -> Result<Accepted, JournalError> {
        let mut headers = burial.headers();
        if let Some(form) = form {
            headers.insert(header::FORM, form);
        }
        let subject = subject::dead(burial.role, burial.subject);
        let whole = self.publish(subject.clone(), headers.clone(), burial.payload.clone());
        match whole.await {
            // With our headers it is over the server's limit: its beginning is kept, and what it was.
            Err(JournalError::Refused { .. }) if burial.payload.len() > BURIED_BYTES_MAX => {
                let digest = hex(&Sha256::digest(&burial.payload));
                headers.insert(
                    header::CUT,
                    format!("{} bytes, sha256 {digest}", burial.payload.len()),
                );
                let beginning = burial.payload.slice(..BURIED_BYTES_MAX);
                self.publish(subject, headers, beginning).await
            }
            other => other,
        }
    }
}
