//! What a gateway promised for an event when it took it in. It goes with the event, so that the runs which were answered with 202
//! start whichever gateway takes the event from the stream: in a rolling deploy that one may have other definitions.

use flotilla_common::entry::Pin;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::triggers::Verdict;

/// Longest header, in bytes: some 300 workflows. With the largest event it stays below what NATS takes by default, 1 MiB.
const BYTES_MAX: usize = 64 * 1024;
/// Characters kept of a fault; they are the reason of a dead letter, which is not longer either.
const FAULT_LENGTH_MAX: usize = 1_000;
/// Bytes of a SHA-256 in hex.
const DIGEST_LENGTH: usize = 64;

/// What an event starts: a verdict without the definitions it was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Promise {
    /// What runs. The pin is all that a run's first entry needs.
    pub(crate) starts: Vec<Pin>,
    /// As [`Verdict::faults`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) faults: Vec<String>,
    /// As [`Verdict::version`]: a newer one may be applied before the event is taken from the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u32>,
}

impl From<&Verdict> for Promise {
    fn from(verdict: &Verdict) -> Self {
        let cut = |fault: &String| fault.chars().take(FAULT_LENGTH_MAX).collect();
        Self {
            starts: verdict
                .starts
                .iter()
                .map(|start| start.workflow.pin.clone())
                .collect(),
            faults: verdict.faults.iter().map(cut).collect(),
            version: verdict.version,
        }
    }
}

impl Promise {
    /// As a header; `None` when it is too long for one. Then whoever takes the event judges it.
    pub(crate) fn header(&self) -> Option<String> {
        // JSON writes line ends as `\n`: there is none in it that could end the header.
        let text = serde_json::to_string(self).ok()?;
        if text.len() > BYTES_MAX {
            warn!(
                bytes = text.len(),
                "too many workflows for one event: a gateway with other definitions may start others"
            );
            return None;
        }
        Some(text)
    }

    /// Reads a header. Its shape is checked, but not who wrote it: who may publish on `events.>` is for NATS permissions to say,
    /// for whoever may can start any workflow with it, whatever its trigger says.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        if text.len() > BYTES_MAX {
            return Err(format!(
                "it has {} bytes, at most {BYTES_MAX} are read",
                text.len()
            ));
        }
        let promise: Self = serde_json::from_str(text).map_err(|e| e.to_string())?;
        for (index, pin) in promise.starts.iter().enumerate() {
            if pin.version == 0 || !is_digest(&pin.digest) {
                return Err(format!("`{}` has no proper version or digest", pin.name));
            }
            // One event starts one run of a workflow.
            if promise.starts[..index].iter().any(|p| p.name == pin.name) {
                return Err(format!("`{}` is there twice", pin.name));
            }
        }
        Ok(promise)
    }
}

fn is_digest(text: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == DIGEST_LENGTH && text.bytes().all(hex)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::triggers::tests::{event, triggers};

    fn pin(name: &str) -> Value {
        json!({"name": name, "version": 3, "digest": "0a".repeat(32)})
    }

    #[test]
    fn a_promise_goes_through_the_header_whole() {
        let verdict = triggers().judge(&event("test.alert", json!({}))).unwrap();
        let promise = Promise::from(&verdict);
        assert_eq!((promise.starts.len(), promise.faults.len()), (1, 1));
        let header = promise.header().unwrap();
        assert!(!header.contains(['\r', '\n']));
        assert_eq!(Promise::read(&header), Ok(promise));
        let none = Promise::read(r#"{"starts": [], "of a newer gateway": 1}"#).unwrap();
        assert!(none.starts.is_empty() && none.faults.is_empty());
    }

    #[test]
    fn what_no_gateway_writes_is_not_read() {
        let read = |starts: Value| Promise::read(&json!({"starts": starts}).to_string());
        assert!(read(json!([pin("a"), pin("b")])).is_ok());
        assert!(
            read(json!([pin("a"), pin("a")]))
                .unwrap_err()
                .contains("twice")
        );
        for (field, bad) in [
            ("name", json!("a.b")),
            ("version", json!(0)),
            ("version", json!(-1)),
            ("digest", json!("0A".repeat(32))),
            ("digest", json!("")),
        ] {
            let mut wrong = pin("a");
            wrong[field] = bad;
            assert!(read(json!([wrong])).is_err(), "{wrong}");
        }
        assert!(Promise::read("[]").is_err());
        let many: Vec<_> = (0..1_000).map(|n| pin(&format!("w{n}"))).collect();
        assert!(read(json!(many)).unwrap_err().contains("at most"));
    }

    #[test]
    fn a_promise_too_long_for_a_header_is_left_out() {
        let starts = (0..1_000).map(|n| serde_json::from_value(pin(&format!("w{n}"))).unwrap());
        let promise = Promise {
            starts: starts.collect(),
            faults: Vec::new(),
            version: None,
        };
        assert_eq!(promise.header(), None);
    }
}
