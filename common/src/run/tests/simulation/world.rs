//! The world of the simulation: a journal, a Redis and two queues that behave as the real ones do, on a clock of their own, and
//! how a process reaches them.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::{super::*, ledger::Ledger, queue::Queue, redis::Redis};
use crate::run::tests::script::Choices;

/// `SplitMix64`: small, and the same everywhere.
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Choices for Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % count as u64).expect("below a usize")
    }
}

/// A rule of the protocol that is broken on purpose, to see that the checks notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Nothing,
    /// Appends to the chain are taken whatever they expect.
    ExpectedSequence,
    /// A second result of an action is folded like a first.
    FoldOnce,
    /// A reply is not saved before its decision is appended.
    SaveBeforeAppend,
    /// A state is saved whatever is there.
    CompareAndSet,
    /// A state is saved wherever there is none, also by those who loaded theirs before Redis was emptied.
    KeepPlace,
    /// An effect runs without a claim.
    ClaimEffect,
    /// The outcome of a lost executor counts as not done.
    UnknownStaysUnknown,
    /// A run that was parked by a planner that died gets no timer.
    WakeAfterCrash,
    /// Of several links, only the first ones are appended.
    AtomicBatch,
    /// A state from Redis is believed about which of several results is the last.
    DoubtFanIn,
}

/// Everything there is.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) clock: u64,
    pub(super) broken: Broken,
    pub(super) workflow: Arc<Workflow>,
    pub(super) id: RunId,
    pub(super) journal: Vec<Entry>,
    pub(super) redis: Redis,
    pub(super) planners: Queue,
    pub(super) executors: Queue,
    pub(super) timer: Option<u64>,
    /// When a parked run is woken.
    pub(super) wake: Option<u64>,
    /// Processes in the middle of a message.
    pub(super) busy: BTreeSet<usize>,
    pub(super) ledger: Ledger,
    pub(super) trace: Vec<String>,
    pub(super) wrong: Option<String>,
}

impl World {
    pub(super) fn now(&self) -> Timestamp {
        let start: Timestamp = "2026-11-21T10:00:00Z".parse().expect("a time");
        start + SignedDuration::from_millis(i64::try_from(self.clock).expect("not that long"))
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        let line = format!("{:>7} {}", self.clock, text());
        self.trace.push(line);
    }

    /// A promise was broken; the first one counts.
    pub(super) fn violated(&mut self, text: String) {
        self.note(|| format!("VIOLATED: {text}"));
        self.wrong.get_or_insert(text);
    }

    pub(super) fn chain(&self) -> u64 {
        let decided = self
            .journal
            .iter()
            .rev()
            .find(|entry| entry.address.kind == Kind::Decided);
        decided.map_or(0, |entry| entry.seq)
    }

    /// Appends to the chain if it still ends where the planner thinks.
    pub(super) fn append_links(&mut self, links: &[Link], expected: u64) -> Option<Vec<Entry>> {
        if self.chain() != expected && self.broken != Broken::ExpectedSequence {
            return None;
        }
        let taken = match self.broken {
            Broken::AtomicBatch => links.len().div_ceil(2),
            Broken::Nothing
            | Broken::ExpectedSequence
            | Broken::FoldOnce
            | Broken::SaveBeforeAppend
            | Broken::CompareAndSet
            | Broken::KeepPlace
            | Broken::ClaimEffect
            | Broken::UnknownStaysUnknown
            | Broken::WakeAfterCrash
            | Broken::DoubtFanIn => links.len(),
        };
        let links = links
            .iter()
            .take(taken)
            .map(|link| self.append(link.address.clone(), &link.payload));
        Some(links.collect())
    }

    pub(super) fn append(&mut self, address: Address, payload: &[u8]) -> Entry {
        let seq = self.journal.last().map_or(1, |last| last.seq + 1) + self.random.below(2) as u64;
        self.note(|| {
            format!(
                "#{seq} {} {}",
                address.subject(),
                String::from_utf8_lossy(&payload[..payload.len().min(220)])
            )
        });
        let entry = Entry::decode(seq, address, payload).expect("an entry");
        self.journal.push(entry.clone());
        let queue = match &entry.body {
            Body::Decided(decided) if matches!(decided.decision, Decision::Act { .. }) => {
                &mut self.executors
            }
            Body::Decided(_) => return entry,
            Body::Started(_) | Body::Resulted(_) | Body::Signalled(_) | Body::Fired(_) => {
                &mut self.planners
            }
        };
        queue.take(entry.clone());
        entry
    }

    pub(super) fn write(&mut self, kind: Kind, name: &str, body: &Body) {
        let address = Address {
            run: self.id.clone(),
            kind,
            name: name.parse().expect("a name"),
        };
        let payload = body.encode(self.now()).expect("JSON");
        self.append(address, &payload);
    }

    /// Whether the last thing that was decided is to wait for a person.
    pub(super) fn waits_for_a_person(&self) -> bool {
        let last = self
            .journal
            .iter()
            .rev()
            .find_map(|entry| match &entry.body {
                Body::Decided(decided) => Some(&decided.decision),
                Body::Started(_) | Body::Resulted(_) | Body::Signalled(_) | Body::Fired(_) => None,
            });
        matches!(last, Some(Decision::Park { until: None, .. }))
    }

    pub(super) fn has_ended(&self) -> bool {
        let ends = |entry: &Entry| matches!(&entry.body, Body::Decided(d) if matches!(d.decision, Decision::End { .. }));
        self.journal.iter().any(ends)
    }
}

/// One process's view of the world: whatever it does takes time, before it happens and after.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) world: Rc<RefCell<World>>,
    pub(super) id: usize,
}

impl Process {
    /// Does something over the network. It may crash before that arrives, and before the answer is back.
    pub(super) async fn does<T>(&self, what: impl FnOnce(&mut World) -> T) -> T {
        Pause::default().await;
        let answer = what(&mut self.world.borrow_mut());
        Pause::default().await;
        answer
    }

    /// The same for what is tried again when no answer comes, though it may have happened: now and then it happens twice.
    pub(super) async fn retries<T>(&self, what: impl Fn(&mut World) -> T) -> T {
        if self.world.borrow_mut().random.once_in(12) {
            self.does(&what).await;
        }
        self.does(&what).await
    }

    pub(super) fn at_once<T>(&self, what: impl FnOnce(&mut World) -> T) -> T {
        what(&mut self.world.borrow_mut())
    }

    pub(super) fn notes(&self, kind: &'static str) {
        self.at_once(|world| world.ledger.seen.note(kind));
    }

    pub(super) async fn waits(&self, turns: usize) {
        for _ in 0..turns {
            Pause::default().await;
        }
    }
}

/// One turn of the others.
#[derive(Default)]
struct Pause(bool);

impl Future for Pause {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
