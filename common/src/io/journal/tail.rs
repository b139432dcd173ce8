//! Following the journal as it grows, in its order and without a gap.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::{Journal, JournalError, Raw, unavailable};
use crate::names::{self, subject};

/// Messages on their way from the server at once: what bounds the memory that a burst takes.
const BATCH: usize = 512;
/// How often the server says that it is still there when nothing happens. Twice as long without a word is an error.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// How long one pull request holds; then there is another.
const EXPIRES: Duration = Duration::from_secs(30);
/// How long the server keeps a consumer that nobody pulls from.
const INACTIVE: Duration = Duration::from_secs(60);
/// How long NATS may take to begin.
const PATIENCE: Duration = Duration::from_secs(10);

/// The journal from a sequence on. It ends with an error when a message is missing or NATS is away; begin again after the last one
/// that came.
pub struct Tail {
    messages: pull::Stream,
    /// Of the message that came last, as its consumer counts.
    delivered: u64,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail")
            .field("delivered", &self.delivered)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// All messages from this sequence on, schedules among them, those that are there first. The server remembers nothing of it
    /// after a minute.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn tail(&self, from: u64) -> Result<Tail, JournalError> {
        let config = pull::Config {
            description: Some("Somebody watches".into()),
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: from.max(1),
            },
            ack_policy: AckPolicy::None,
            filter_subject: subject::ALL_RUNS.into(),
            inactive_threshold: INACTIVE,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let jetstream = &self.bus.jetstream;
        let begin = async {
            let consumer = jetstream
                .create_consumer_on_stream(config, names::stream::RUNS)
                .await
                .map_err(unavailable)?;
            let messages = consumer.stream().max_messages_per_batch(BATCH);
            let messages = messages.heartbeat(HEARTBEAT).expires(EXPIRES).messages();
            messages.await.map_err(unavailable)
        };
        let messages = timeout(PATIENCE, Box::pin(begin)).await;
        Ok(Tail {
            messages: messages.map_err(|_| unavailable("NATS does not answer in time"))??,
            delivered: 0,
        })
    }
}

impl Tail {
    /// The next message, however long that takes.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]: it cannot go on.
    pub async fn next(&mut self) -> Result<Raw, JournalError> {
        let message = match self.messages.next().await {
            Some(message) => message.map_err(unavailable)?,
            None => return Err(unavailable("NATS has ended it")),
        };
        let info = message.info().map_err(unavailable)?;
        let (seq, delivered) = (info.stream_sequence, info.consumer_sequence);
        if delivered != self.delivered + 1 {
            return Err(unavailable("a message is missing"));
        }
        self.delivered = delivered;
        Ok(Raw {
            seq,
            subject: message.subject.to_string(),
            payload: Bytes::clone(&message.payload),
        })
    }
}
