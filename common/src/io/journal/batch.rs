//! Appending several links at once: all or none.

use async_nats::{
    HeaderMap,
    header::{NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE},
};
use backon::Retryable as _;
use bytes::Bytes;
use serde::Deserialize;

use super::{Journal, JournalError, patience};
use crate::{io::telemetry::span, run::Link};

#[derive(Deserialize)]
struct BatchAck {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    error: Option<BatchFault>,
}

#[derive(Deserialize)]
struct BatchFault {
    #[serde(default)]
    code: u16,
    err_code: u64,
    description: String,
}

impl Journal {
    pub(super) async fn append_batch(
        &self,
        links: &[Link],
        expected: &HeaderMap,
    ) -> Result<u64, JournalError> {
        let attempt = || async {
            let id = format!("{:032x}", fastrand::u128(..));
            let mut last = None;
            let most = self.bus.client.server_info().max_payload;
            if let Some(long) = links.iter().find(|link| link.payload.len() > most) {
                return Err(JournalError::Refused {
                    subject: long.address.subject(),
                    problem: format!(
                        "it has {} bytes, and nats-server takes {most}",
                        long.payload.len()
                    ),
                });
            }
            for (index, link) in links.iter().enumerate() {
                let mut headers = if index == 0 {
                    expected.clone()
                } else {
                    HeaderMap::new()
                };
                headers.insert(NATS_BATCH_ID, id.as_str());
                headers.insert(NATS_BATCH_SEQUENCE, (index + 1).to_string());
                span::stamp(&mut headers);
                let subject = link.address.subject();
                let payload = Bytes::copy_from_slice(&link.payload);
                if index + 1 < links.len() {
                    let sent = self
                        .bus
                        .client
                        .publish_with_headers(subject, headers, payload)
                        .await;
                    sent.map_err(|e| JournalError::Unavailable(e.to_string()))?;
                } else {
                    headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
                    let reply = self
                        .bus
                        .client
                        .request_with_headers(subject, headers, payload)
                        .await;
                    last = Some(reply.map_err(|e| JournalError::Unavailable(e.to_string()))?);
                }
            }
            let payload = last.map(|message| message.payload).unwrap_or_default();
            batch_ack(&payload, links)
        };
        attempt
            .retry(patience())
            .when(|error| matches!(error, JournalError::Unavailable(_)))
            .await
    }
}

fn batch_ack(payload: &[u8], links: &[Link]) -> Result<u64, JournalError> {
    /// nats-server: "wrong last sequence".
    const WRONG_LAST_SEQUENCE: u64 = 10_071;
    /// nats-server: a part of the batch did not come to it, or it was started anew or had no room in between. Nothing is written.
    const BATCH_INCOMPLETE: u64 = 10_176;
    let ack: BatchAck = serde_json::from_slice(payload)
        .map_err(|e| JournalError::Unavailable(format!("no batch ack: {e}")))?;
    let subject = links
        .first()
        .map(|link| link.address.subject())
        .unwrap_or_default();
    match ack.error {
        None => Ok((ack.seq + 1).saturating_sub(links.len() as u64)),
        Some(fault) if fault.err_code == WRONG_LAST_SEQUENCE => {
            Err(JournalError::Conflict(subject))
        }
        Some(fault) if fault.err_code == BATCH_INCOMPLETE => {
            Err(JournalError::Unavailable(fault.description))
        }
        // A client's error, as HTTP says it: the same again would be refused again.
        Some(fault) if (400..500).contains(&fault.code) && fault.code != 408 => {
            Err(JournalError::Refused {
                subject,
                problem: format!("{} ({})", fault.description, fault.err_code),
            })
        }
        Some(fault) => Err(JournalError::Unavailable(format!(
            "{} ({})",
            fault.description, fault.err_code
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_came_in_part_is_sent_again_and_one_that_is_refused_is_not() {
        let of = |err_code: u64| {
            let error = serde_json::json!({"code": 400, "err_code": err_code, "description": "no"});
            let ack = serde_json::json!({ "error": error }).to_string();
            batch_ack(ack.as_bytes(), &[])
        };
        assert!(matches!(of(10_176), Err(JournalError::Unavailable(_))));
        assert!(matches!(of(10_071), Err(JournalError::Conflict(_))));
        assert!(matches!(of(10_175), Err(JournalError::Refused { .. })));
    }
}
