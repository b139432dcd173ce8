//! A durable consumer of the simulation: at least once, in any order, with late acks taken.

use super::{super::*, world::Random};
use crate::run::tests::script::Choices;

/// How long a message may be held without a sign of life, in milliseconds.
const ACK_WAIT: u64 = 1_000;

/// Where a message of a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready { from: u64 },
    Held { by: usize, until: u64 },
    Acked,
}

#[derive(Debug, Clone)]
struct Message {
    entry: Entry,
    delivered: u32,
    place: Place,
    acked_at: u64,
}

/// The messages of one consumer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    messages: Vec<Message>,
}

impl Queue {
    pub(super) fn take(&mut self, entry: Entry) {
        self.messages.push(Message {
            entry,
            delivered: 0,
            place: Place::Ready { from: 0 },
            acked_at: 0,
        });
    }

    fn available(&self, now: u64) -> Vec<usize> {
        let ready = |message: &Message| match message.place {
            Place::Ready { from } => from <= now,
            Place::Held { until, .. } => until < now,
            Place::Acked => false,
        };
        (0..self.messages.len())
            .filter(|n| ready(&self.messages[*n]))
            .collect()
    }

    /// Any message that is due, and how often it was delivered now.
    pub(super) fn pull(
        &mut self,
        by: usize,
        now: u64,
        choices: &mut Random,
    ) -> Option<(Entry, u32)> {
        let available = self.available(now);
        let message = &mut self.messages[*available.get(choices.below(available.len().max(1)))?];
        message.place = Place::Held {
            by,
            until: now + ACK_WAIT,
        };
        message.delivered += 1;
        Some((message.entry.clone(), message.delivered))
    }

    /// A sign of life for all that a process holds.
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
    pub(super) fn ack(&mut self, seq: u64, now: u64) {
        for message in self
            .messages
            .iter_mut()
            .filter(|message| message.entry.seq == seq)
        {
            message.place = Place::Acked;
            message.acked_at = now;
        }
    }

    pub(super) fn hand_back(&mut self, seq: u64, from: u64) {
        for message in self
            .messages
            .iter_mut()
            .filter(|message| message.entry.seq == seq)
        {
            if message.place != Place::Acked {
                message.place = Place::Ready { from };
            }
        }
    }

    /// Any message that is held is handed out again although its holder lives.
    pub(super) fn redeliver(&mut self, choices: &mut Random) {
        let held: Vec<u64> = self
            .messages
            .iter()
            .filter(|m| matches!(m.place, Place::Held { .. }))
            .map(|m| m.entry.seq)
            .collect();
        if !held.is_empty() {
            self.hand_back(*choices.pick(&held), 0);
        }
    }

    pub(super) fn is_drained(&self) -> bool {
        self.messages
            .iter()
            .all(|message| message.place == Place::Acked)
    }

    /// When the first cancel was acked.
    pub(super) fn cancel_acked(&self) -> Option<u64> {
        let acked = self
            .messages
            .iter()
            .filter(|m| m.place == Place::Acked && m.entry.address.kind == Kind::Signalled)
            .filter(|m| m.entry.address.name.as_str() == SIGNAL_CANCEL);
        acked.map(|message| message.acked_at).min()
    }
}
