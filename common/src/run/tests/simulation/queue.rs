//! A durable consumer of the simulation: at least once, in any order, with late acks taken.

use super::{super::*, world::Random};
use crate::run::tests::script::Choices;

/// How long a message may be held without a sign of life, in milliseconds.
pub(super) const ACK_WAIT: u64 = 1_000;

/// Where a message of a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready { from: u64 },
    Held { by: usize, until: u64 },
}

/// A message, as it is handed out.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) entry: Entry,
    /// When nats-server stored it.
    pub(super) stored: u64,
    /// How often it was handed out.
    pub(super) delivered: u32,
    place: Place,
}

/// The messages of one consumer that are not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Queue {
    messages: Vec<Message>,
    /// What was acknowledged of each run.
    acked: BTreeMap<RunId, BTreeSet<u64>>,
}

impl Queue {
    pub(super) fn take(&mut self, entry: Entry, stored: u64) {
        self.messages.push(Message {
            entry,
            stored,
            delivered: 0,
            place: Place::Ready { from: 0 },
        });
    }

    pub(super) fn is_available(&self, now: u64) -> bool {
        self.messages
            .iter()
            .any(|message| message.place.is_ready(now))
    }

    /// When something can be handed out, at the latest.
    pub(super) fn next(&self) -> Option<u64> {
        let each = self.messages.iter().map(|message| match message.place {
            Place::Ready { from } => from,
            Place::Held { until, .. } => until + 1,
        });
        each.min()
    }

    /// Any message that is due.
    pub(super) fn pull(&mut self, by: usize, now: u64, choices: &mut Random) -> Option<Message> {
        let ready = |n: &usize| self.messages[*n].place.is_ready(now);
        let available: Vec<usize> = (0..self.messages.len()).filter(ready).collect();
        let message = &mut self.messages[*available.get(choices.below(available.len().max(1)))?];
        message.place = Place::Held {
            by,
            until: now + ACK_WAIT,
        };
        message.delivered += 1;
        Some(message.clone())
    }

    /// A sign of life for all that a task holds.
    pub(super) fn in_progress(&mut self, by: usize, now: u64) {
        for message in &mut self.messages {
            if let Place::Held { by: holder, until } = &mut message.place
                && *holder == by
                && *until >= now
            {
                *until = now + ACK_WAIT;
            }
        }
    }

    /// A late ack is taken too, as JetStream does.
    pub(super) fn ack(&mut self, entry: &Entry) {
        let of_run = self.acked.entry(entry.address.run.clone()).or_default();
        of_run.insert(entry.seq);
        self.messages
            .retain(|message| message.entry.seq != entry.seq);
    }

    pub(super) fn hand_back(&mut self, seq: u64, from: u64) {
        for message in &mut self.messages {
            if message.entry.seq == seq {
                message.place = Place::Ready { from };
            }
        }
    }

    /// Any message that is held is handed out again although its holder lives.
    pub(super) fn redeliver(&mut self, choices: &mut Random) {
        let held = self
            .messages
            .iter()
            .filter(|m| matches!(m.place, Place::Held { .. }));
        let held: Vec<u64> = held.map(|message| message.entry.seq).collect();
        if !held.is_empty() {
            self.hand_back(*choices.pick(&held), 0);
        }
    }

    /// What was acknowledged of a run.
    pub(super) fn acked(&self, run: &RunId) -> BTreeSet<u64> {
        self.acked.get(run).cloned().unwrap_or_default()
    }
}

impl Place {
    fn is_ready(self, now: u64) -> bool {
        match self {
            Self::Ready { from } => from <= now,
            Self::Held { until, .. } => until < now,
        }
    }
}
