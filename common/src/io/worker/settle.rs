//! How a message ends.

use async_nats::jetstream::{self, AckKind};
use metrics::counter;
use tracing::{debug, error, warn};

use super::{DELIVERIES_MAX, Disposition, Form, HAND_BACK_PAUSE, Incoming, Shared};
use crate::{
    dead::LetterKind,
    io::{
        journal::{Burial, Journal},
        telemetry::metric,
    },
    names::BURIED,
};

/// Tells JetStream what became of a message; what nobody can handle is on DEAD before.
pub(super) async fn settle<H>(
    shared: &Shared<H>,
    message: &jetstream::Message,
    incoming: &Incoming,
    disposition: Disposition,
) {
    let name = shared.settings.name.clone();
    let (kind, label) = match disposition {
        Disposition::Ack => (AckKind::Ack, "done"),
        Disposition::Retry { after, why } => {
            let after = if shared.stop.is_cancelled() {
                after.max(HAND_BACK_PAUSE)
            } else {
                after
            };
            debug!(
                subject = incoming.subject,
                seq = incoming.seq,
                ?after,
                why,
                "handed back"
            );
            (AckKind::Nak(Some(after)), "retried")
        }
        Disposition::Dead { reason } => {
            warn!(
                subject = incoming.subject,
                seq = incoming.seq,
                reason,
                "dead letter"
            );
            match shared
                .journal
                .bury_as(
                    &burial(shared.settings.role, incoming, &reason),
                    incoming.form.kept(),
                )
                .await
            {
                Ok(letter) => {
                    counter!(metric::MESSAGES, "consumer" => name, "outcome" => "dead")
                        .increment(1);
                    terminate(&shared.journal, message, letter.seq).await;
                    return;
                }
                Err(problem) => {
                    error!(%problem, "a dead letter could not be kept; its message will be redelivered");
                    (AckKind::Nak(Some(shared.settings.ack_wait)), "retried")
                }
            }
        }
    };
    counter!(metric::MESSAGES, "consumer" => name, "outcome" => label).increment(1);
    if let Err(problem) = message.ack_with(kind).await {
        // It will be redelivered, and everything a handler does bears that.
        debug!(%problem, "an ack was not sent");
    }
}

fn burial<'a>(role: &'a str, incoming: &'a Incoming, reason: &'a str) -> Burial<'a> {
    let exhausted = incoming.delivered >= DELIVERIES_MAX;
    Burial {
        role,
        subject: &incoming.subject,
        seq: incoming.seq,
        payload: incoming.payload.clone(),
        kind: match incoming.form {
            Form::Wrong(_) => LetterKind::Unreadable,
            Form::Plain | Form::Structured | Form::Written => {
                LetterKind::of(&incoming.subject, &incoming.payload, exhausted)
            }
        },
        reason,
        deliveries: incoming.delivered,
        message_id: incoming.message_id.as_deref(),
        promise: incoming.promise.as_deref(),
    }
}

/// Ends a message that is on DEAD now. nats-server tells everybody of that with these words, and whoever makes dead letters of what
/// JetStream gave up on sees that there is one already.
async fn terminate(journal: &Journal, message: &jetstream::Message, letter: u64) {
    let Some(reply) = message.reply.clone() else {
        return;
    };
    let words = format!("+TERM {BURIED} {letter}");
    if let Err(problem) = journal.bus().client.publish(reply, words.into()).await {
        debug!(%problem, "an ack was not sent");
    }
}
