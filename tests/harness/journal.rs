//! The journal as it is: read from the stream RUNS, past every role.

use std::collections::BTreeMap;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::Stream;
use futures_util::StreamExt;
use serde_json::Value;

use crate::nats::Nats;
use crate::wait::{PATIENCE, within};

/// How many messages are asked for at once
const BATCH: usize = 512;

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its sequence in the stream
    pub seq: u64,
    /// Whose it is
    pub run: String,
    /// `started`, `decided`, `resulted`, `signalled`, `fired`
    pub kind: String,
    /// The subject's last token
    pub name: String,
    /// The payload
    pub payload: Value,
}

impl Entry {
    /// Something in the payload, by JSON pointer: `/decision/kind`; null when it is not there.
    pub fn at(&self, pointer: &str) -> &Value {
        self.payload.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The same as text; empty when it is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_default()
    }
}

/// Entries in the order of the stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Journal(pub Vec<Entry>);

impl Journal {
    /// Reads all that the stream RUNS has under a subject now: `runs.>`, `runs.<run>.>`, `runs.*.decided.end`.
    ///
    /// # Panics
    /// When NATS does not answer, or a payload is not JSON.
    pub async fn read(nats: &Nats, subject: &str) -> Self {
        let reading = Box::pin(Self::read_all(nats, subject));
        within("read the journal", PATIENCE, reading).await
    }

    async fn read_all(nats: &Nats, subject: &str) -> Self {
        let stream = nats
            .jetstream()
            .await
            .get_stream("RUNS")
            .await
            .expect("the stream RUNS");
        let mut consumer = consumer(&stream, subject).await;
        let mut left = usize::try_from(consumer.info().await.expect("its state").num_pending)
            .expect("it fits");
        let mut entries = Vec::with_capacity(left);
        while left > 0 {
            let mut batch = consumer
                .fetch()
                .max_messages(left.min(BATCH))
                .messages()
                .await
                .expect("a batch");
            while let Some(message) = batch.next().await {
                let message = message.expect("a message");
                let seq = message
                    .info()
                    .expect("it comes from a stream")
                    .stream_sequence;
                entries.extend(entry(seq, &message.subject, &message.payload));
                left = left.saturating_sub(1);
            }
        }
        Self(entries)
    }

    /// The entries of one kind, and of one name if there is one given.
    pub fn of<'a>(
        &'a self,
        kind: &'a str,
        name: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Entry> {
        self.0
            .iter()
            .filter(move |entry| entry.kind == kind && name.is_none_or(|name| entry.name == name))
    }

    /// How often each (run, step, branch) was decided. An end has no step of its own, and to wait
    /// decides nothing: they are not among them.
    pub fn decisions(&self) -> BTreeMap<(String, String, u64), usize> {
        let mut decisions = BTreeMap::new();
        let real = |entry: &&Entry| !matches!(entry.name.as_str(), "end" | "park");
        for entry in self.of("decided", None).filter(real) {
            let branch = entry.at("/branch").as_u64().unwrap_or_default();
            let slot = (entry.run.clone(), entry.text("/step").to_owned(), branch);
            *decisions.entry(slot).or_default() += 1;
        }
        decisions
    }

    /// How each run ended, by its id: (`completed`, reason).
    pub fn ends(&self) -> BTreeMap<String, (String, String)> {
        self.of("decided", Some("end"))
            .map(|entry| {
                let outcome = entry.text("/decision/outcome").to_owned();
                (
                    entry.run.clone(),
                    (outcome, entry.text("/decision/reason").to_owned()),
                )
            })
            .collect()
    }
}

/// Without acks, and gone soon after the connection is.
async fn consumer(
    stream: &Stream,
    subject: &str,
) -> async_nats::jetstream::consumer::Consumer<pull::Config> {
    let config = pull::Config {
        filter_subject: subject.to_owned(),
        ack_policy: AckPolicy::None,
        inactive_threshold: PATIENCE,
        memory_storage: true,
        ..pull::Config::default()
    };
    stream
        .create_consumer(config)
        .await
        .expect("a consumer of the test's own")
}

/// `None` for a schedule, which is on the stream but no entry.
fn entry(seq: u64, subject: &str, payload: &[u8]) -> Option<Entry> {
    let mut tokens = subject.split('.').skip(1).map(str::to_owned);
    let (run, kind, name) = (tokens.next()?, tokens.next()?, tokens.next()?);
    if kind == "timer" {
        return None;
    }
    let payload = serde_json::from_slice(payload).expect("entries are JSON");
    Some(Entry {
        seq,
        run,
        kind,
        name,
        payload,
    })
}
