//! Shapes of `/v1/messages/batches`, from the official Python SDK 2.11: many messages at once, answered later for less.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::Reply;

/// A batch as the provider shows it. Fields that are not listed are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its id.
    pub id: String,
    /// How far it is.
    pub processing_status: BatchStatus,
    /// When it was created, by the provider's clock.
    pub created_at: Timestamp,
    /// When what is not done by then expires: a day after its creation.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// When its last item was done.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
}

impl Batch {
    /// Whether all its items are done, in whatever way: its results can be had.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.processing_status == BatchStatus::Ended
    }
}

/// How far a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchStatus {
    /// Its items are worked on.
    InProgress,
    /// Somebody cancelled it; what is begun is finished.
    Canceling,
    /// All items are done.
    Ended,
    /// One that this version does not know: it has not ended.
    #[serde(other)]
    Other,
}

/// A page of the list of batches, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchPage {
    /// The batches.
    pub data: Vec<Batch>,
    /// Whether older ones follow.
    #[serde(default)]
    pub has_more: bool,
}

/// One line of a batch's results; they come in any order.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct BatchLine {
    /// Which item.
    pub custom_id: String,
    /// What became of it.
    pub result: BatchResult,
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BatchResult {
    /// It was answered.
    Succeeded {
        /// The reply.
        message: Box<Reply>,
    },
    /// It was refused, or failed; it is not billed.
    Errored {
        /// Why, as the Messages API says it.
        error: BatchError,
    },
    /// Its batch was cancelled before its turn came; it is not billed.
    Canceled,
    /// Its turn did not come within a day; it is not billed.
    Expired,
}

/// Why an item failed: the body of an error of the Messages API.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BatchError {
    /// The error itself.
    pub error: BatchErrorDetail,
}

/// The inner part of an error.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BatchErrorDetail {
    /// `invalid_request_error`, `overloaded_error`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// For people.
    #[serde(default)]
    pub message: String,
}

/// The name of the item that a line of results is about, without reading the rest.
///
/// # Errors
/// The line is not what it should be.
pub fn batch_line_name(line: &[u8]) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    struct Named {
        custom_id: String,
        #[expect(dead_code, reason = "it must be there")]
        result: IgnoredAny,
    }
    serde_json::from_slice::<Named>(line).map(|line| line.custom_id)
}

/// The body that creates a batch, from items of a name and the bytes of a request. Names are letters, digits, `-` and `_`.
#[must_use]
pub fn batch_body<'a>(items: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut body = br#"{"requests":["#.to_vec();
    for (number, (name, params)) in items.into_iter().enumerate() {
        if number > 0 {
            body.push(b',');
        }
        body.extend_from_slice(br#"{"custom_id":""#);
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(br#"","params":"#);
        body.extend_from_slice(params);
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_result_is_read_and_lines_are_named_without_reading_them()
    -> Result<(), serde_json::Error> {
        let read = |result: &str| {
            let line = format!(r#"{{"custom_id":"a","later":1,"result":{result}}}"#);
            assert_eq!(batch_line_name(line.as_bytes())?, "a");
            serde_json::from_str::<BatchLine>(&line).map(|line| line.result)
        };
        let message = r#"{"type":"succeeded","message":{"id":"m","model":"x","content":[],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2,"service_tier":"batch"}}}"#;
        assert!(matches!(read(message)?, BatchResult::Succeeded { message } if message.id == "m"));
        let error = r#"{"type":"errored","error":{"type":"error","error":{"type":"overloaded_error","message":"busy"},"request_id":"r"}}"#;
        let BatchResult::Errored { error } = read(error)? else {
            panic!("it failed");
        };
        assert_eq!(error.error.kind, "overloaded_error");
        assert_eq!(read(r#"{"type":"expired"}"#)?, BatchResult::Expired);
        assert_eq!(read(r#"{"type":"canceled"}"#)?, BatchResult::Canceled);
        assert!(read(r#"{"type":"new"}"#).is_err());
        assert!(batch_line_name(br#"{"custom_id":"a"}"#).is_err());
        Ok(())
    }

    #[test]
    fn a_status_that_is_not_known_has_not_ended() -> Result<(), serde_json::Error> {
        let read = |status: &str| {
            let text = format!(
                r#"{{"id":"b","processing_status":"{status}","created_at":"2026-11-21T10:00:00Z","ended_at":null}}"#
            );
            serde_json::from_str::<Batch>(&text)
        };
        assert!(read("ended")?.has_ended());
        for going in ["in_progress", "canceling", "resting"] {
            assert!(!read(going)?.has_ended(), "{going}");
        }
        Ok(())
    }

    #[test]
    fn a_body_holds_each_request_byte_for_byte() {
        let body = batch_body([("a", &br#"{"x": 1}"#[..]), ("b", &b"{}"[..])]);
        let expected =
            r#"{"requests":[{"custom_id":"a","params":{"x": 1}},{"custom_id":"b","params":{}}]}"#;
        assert_eq!(body, expected.as_bytes());
    }
}
