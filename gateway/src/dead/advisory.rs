//! What JetStream itself gave up on, though no worker did: a message that was handed out as often as its consumer allows, or that
//! somebody else ended. It becomes a dead letter as any other. What our own loop ended is one already, and its advisory says so.

use flotilla_common::{
    dead::LetterKind,
    io::{
        journal::{Burial, JournalError},
        worker::{DELIVERIES_MAX, Disposition, HAND_BACK_PAUSE, Incoming},
    },
    names::{BURIED, consumer, stream, subject},
};
use serde::Deserialize;
use tracing::{debug, error, warn};

use super::Post;

/// The type of an advisory about a message that somebody ended.
const TERMINATED: &str = "io.nats.jetstream.advisory.v1.terminated";

/// What an advisory says, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Advisory {
    #[serde(rename = "type")]
    kind: String,
    stream: String,
    consumer: String,
    stream_seq: u64,
    #[serde(default)]
    deliveries: i64,
    #[serde(default)]
    reason: Option<String>,
}

impl Advisory {
    /// Who would have handled the message; `None`: nothing of ours, or a letter of ours already.
    fn role(&self) -> Option<&'static str> {
        let buried = |reason: &String| reason.starts_with(BURIED);
        if self.reason.as_ref().is_some_and(buried) {
            return None;
        }
        consumer::role(&self.consumer)
    }

    fn why(&self) -> String {
        let whom = format!("`{}` of {}", self.consumer, self.stream);
        if self.kind == TERMINATED {
            let why = self.reason.as_deref().map(|why| format!(": {why}"));
            let why = why.unwrap_or_default();
            return format!(
                "somebody ended it on the consumer {whom}, and nobody of Flotilla did{why}"
            );
        }
        format!(
            "JetStream hands it out no more: the consumer {whom} allows no more than {} deliveries, and nobody settled it",
            self.deliveries
        )
    }
}

/// One message of ADVISORIES. It never becomes a letter itself.
pub(crate) async fn handle(post: Post, message: Incoming) -> Disposition {
    let advisory: Advisory = match serde_json::from_slice(&message.payload) {
        Ok(advisory) => advisory,
        Err(problem) => {
            warn!(subject = message.subject, %problem, "not an advisory as it is known here; left alone");
            return Disposition::Ack;
        }
    };
    let Some(role) = advisory.role() else {
        return Disposition::Ack;
    };
    match bury(&post, role, &advisory).await {
        Ok(()) => Disposition::Ack,
        Err(problem) if message.delivered < DELIVERIES_MAX => Disposition::Retry {
            after: HAND_BACK_PAUSE,
            why: problem.to_string(),
        },
        Err(problem) => {
            error!(?advisory, %problem, "what JetStream gave up on cannot be kept as a dead letter");
            Disposition::Ack
        }
    }
}

async fn bury(post: &Post, role: &str, advisory: &Advisory) -> Result<(), JournalError> {
    let (name, seq) = (advisory.stream.as_str(), advisory.stream_seq);
    let reason = advisory.why();
    let found = post.letters.message(name, seq).await?;
    let Some(message) = found else {
        // A message that is ended is gone from a work queue: only that it was there is known.
        if advisory.kind != TERMINATED {
            debug!(seq, stream = name, "settled in the meantime");
            return Ok(());
        }
        let lost = subject::lost(name, seq);
        let reason = format!("{reason}; the message itself is gone");
        let burial = burial(role, &lost, seq, &reason, advisory.deliveries);
        return post.journal.bury(&burial).await.map(drop);
    };
    warn!(subject = message.raw.subject, seq, reason, "dead letter");
    let burial = Burial {
        payload: message.raw.payload,
        message_id: message.message_id.as_deref(),
        promise: message.promise.as_deref(),
        ..burial(
            role,
            &message.raw.subject,
            seq,
            &reason,
            advisory.deliveries,
        )
    };
    post.journal.bury(&burial).await?;
    // The letter stands for it now. On a work queue it would lie there for ever, or come back with another setting.
    if name != stream::RUNS {
        post.letters.remove_from(name, seq).await?;
    }
    Ok(())
}

fn burial<'a>(
    role: &'a str,
    subject: &'a str,
    seq: u64,
    reason: &'a str,
    deliveries: i64,
) -> Burial<'a> {
    Burial {
        role,
        subject,
        seq,
        payload: bytes::Bytes::new(),
        kind: LetterKind::Abandoned,
        reason,
        deliveries,
        message_id: None,
        promise: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn advisory(kind: &str, consumer: &str, reason: Option<&str>) -> Advisory {
        serde_json::from_value(json!({
            "type": format!("io.nats.jetstream.advisory.v1.{kind}"), "id": "x", "timestamp": "2026-11-21T10:00:00Z",
            "stream": "RUNS", "consumer": consumer, "stream_seq": 7, "deliveries": 3, "reason": reason,
        }))
        .unwrap()
    }

    #[test]
    fn what_our_own_loop_has_buried_is_no_second_letter() {
        let ours = advisory("terminated", "planner", Some("flotilla: dead letter 9"));
        assert_eq!(ours.role(), None);
        let others = advisory("terminated", "planner", Some("by hand"));
        assert_eq!(others.role(), Some("planner"));
        assert!(others.why().contains("by hand"));
        let spent = advisory("max_deliver", "tool-df", None);
        assert_eq!(spent.role(), Some("executor"));
        assert!(spent.why().contains("3 deliveries"), "{}", spent.why());
        assert_eq!(advisory("max_deliver", "somebodys", None).role(), None);
    }
}
