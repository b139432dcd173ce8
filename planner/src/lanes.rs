//! One handling of a run at a time within this process, so that conflicts on its chain are rare. Between processes the chain
//! itself decides. What comes for a run while its handling waits for Claude is handed over to it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use flotilla_common::{entry::Entry, ids::RunId};
use tokio::sync::{Notify, OwnedMutexGuard, oneshot};

use crate::stop::Stop;

/// What became of an entry that was handed over.
pub(crate) type Done = Result<(), Stop>;

/// An entry for a handling that is at work already.
#[derive(Debug)]
pub(crate) struct Handed {
    /// The entry.
    pub(crate) entry: Entry,
    /// Whether somebody may have worked on it before.
    pub(crate) redelivered: bool,
    /// Who waits for what becomes of it.
    pub(crate) done: oneshot::Sender<Done>,
    number: u64,
}

#[derive(Debug, Default)]
struct Lane {
    turn: Arc<tokio::sync::Mutex<()>>,
    inbox: Mutex<Inbox>,
    /// Something came, or somebody else wrote to the run.
    news: Notify,
}

#[derive(Debug, Default)]
struct Inbox {
    handed: VecDeque<Handed>,
    next: u64,
    /// Somebody else wrote to the run.
    nudged: bool,
}

type Map = Arc<Mutex<HashMap<RunId, Arc<Lane>>>>;

/// The lanes in use; as many as there are runs in work.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: Map,
}

/// The right to work on a run.
#[derive(Debug)]
pub(crate) struct Turn {
    lanes: Map,
    run: RunId,
    lane: Arc<Lane>,
    guard: Option<OwnedMutexGuard<()>>,
}

/// How an entry comes to be handled.
#[derive(Debug)]
pub(crate) enum Entered {
    /// Nobody works on its run: it is yours.
    Turn(Turn),
    /// Another handling took it in, and this is what became of it.
    Done(Done),
}

/// What came for a run in work.
#[derive(Debug)]
pub(crate) enum News {
    /// This entry.
    Entry(Box<Handed>),
    /// Somebody else wrote to it: the journal knows what.
    Nudge,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lanes {
    fn lane(&self, run: &RunId) -> Arc<Lane> {
        Arc::clone(locked(&self.lanes).entry(run.clone()).or_default())
    }

    /// Waits until nobody else in this process works on the run, or the one who does has taken the entry in.
    pub(crate) async fn enter(&self, run: &RunId, entry: &Entry, redelivered: bool) -> Entered {
        let mut turn = Turn {
            lanes: Arc::clone(&self.lanes),
            run: run.clone(),
            lane: self.lane(run),
            guard: None,
        };
        match turn.lane.enter(entry, redelivered).await {
            Ok(guard) => {
                turn.guard = Some(guard);
                Entered::Turn(turn)
            }
            Err(done) => Entered::Done(done),
        }
    }

    /// Tells the handling of a run, if there is one, that somebody else wrote to it.
    pub(crate) fn nudge(&self, run: &RunId) {
        if let Some(lane) = locked(&self.lanes).get(run) {
            locked(&lane.inbox).nudged = true;
            lane.news.notify_one();
        }
    }
}

impl Lane {
    async fn enter(&self, entry: &Entry, redelivered: bool) -> Result<OwnedMutexGuard<()>, Done> {
        if let Ok(guard) = Arc::clone(&self.turn).try_lock_owned() {
            return Ok(guard);
        }
        let (done, mut becomes) = oneshot::channel();
        let number = self.hand(entry, redelivered, done);
        tokio::select! {
            biased;
            done = &mut becomes => match done {
                Ok(done) => Err(done),
                // It was dropped with the handling that had it.
                Err(_) => Ok(Arc::clone(&self.turn).lock_owned().await),
            },
            guard = Arc::clone(&self.turn).lock_owned() => {
                self.take_back(number);
                // A handling answers for all it took in before it ends.
                becomes.try_recv().map_or(Ok(guard), Err)
            }
        }
    }

    fn hand(&self, entry: &Entry, redelivered: bool, done: oneshot::Sender<Done>) -> u64 {
        let mut inbox = locked(&self.inbox);
        let number = inbox.next;
        inbox.next += 1;
        inbox.handed.push_back(Handed {
            entry: entry.clone(),
            redelivered,
            done,
            number,
        });
        drop(inbox);
        self.news.notify_one();
        number
    }

    fn take_back(&self, number: u64) {
        locked(&self.inbox)
            .handed
            .retain(|handed| handed.number != number);
    }

    fn take(&self) -> Option<News> {
        let mut inbox = locked(&self.inbox);
        if let Some(handed) = inbox.handed.pop_front() {
            return Some(News::Entry(Box::new(handed)));
        }
        std::mem::take(&mut inbox.nudged).then_some(News::Nudge)
    }
}

impl Turn {
    /// Waits for something to come for the run.
    pub(crate) async fn news(&self) -> News {
        loop {
            if let Some(news) = self.lane.take() {
                return news;
            }
            self.lane.news.notified().await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut lanes = locked(&self.lanes);
        self.guard = None;
        // The map's reference and this one are the last: nobody waits. Waiters take theirs under the same lock.
        if lanes
            .get(&self.run)
            .is_some_and(|lane| Arc::strong_count(lane) == 2)
        {
            lanes.remove(&self.run);
        }
    }
}

#[cfg(test)]
mod tests {
    use flotilla_common::entry::{Address, Body, Fired, Kind};
    use futures_util::FutureExt as _;

    use super::*;

    fn entry(run: &RunId) -> Entry {
        Entry {
            seq: 1,
            address: Address {
                run: run.clone(),
                kind: Kind::Fired,
                name: "wake".parse().expect("a name"),
            },
            at: jiff::Timestamp::UNIX_EPOCH,
            body: Body::Fired(Fired {}),
            digest: [0; 32],
        }
    }

    fn run(id: &str) -> RunId {
        RunId::derive(&"w".parse().expect("a name"), "s", id)
    }

    async fn enter(lanes: &Lanes, run: &RunId) -> Turn {
        match lanes.enter(run, &entry(run), false).await {
            Entered::Turn(turn) => turn,
            Entered::Done(_) => panic!("nobody could have done it"),
        }
    }

    #[tokio::test]
    async fn one_at_a_time_per_run_and_nothing_is_kept() {
        let lanes = Lanes::default();
        let (one, other) = (run("1"), run("2"));
        let turn = enter(&lanes, &one).await;
        let beside = enter(&lanes, &other).await;
        let mut waiting = Box::pin(enter(&lanes, &one));
        assert!((&mut waiting).now_or_never().is_none());
        drop(turn);
        drop(waiting.await);
        assert_eq!(locked(&lanes.lanes).len(), 1);
        drop(beside);
        assert_eq!(locked(&lanes.lanes).len(), 0);
    }

    #[tokio::test]
    async fn what_comes_for_a_run_in_work_is_handed_over_or_handled_after_it() {
        let lanes = Lanes::default();
        let run = run("1");
        let turn = enter(&lanes, &run).await;
        let first = entry(&run);
        let mut waiting = Box::pin(lanes.enter(&run, &first, true));
        assert!((&mut waiting).now_or_never().is_none());
        let News::Entry(handed) = turn.news().await else {
            panic!("an entry came");
        };
        assert!(handed.redelivered);
        handed.done.send(Ok(())).expect("somebody waits");
        assert!(matches!(waiting.await, Entered::Done(Ok(()))));

        let mut dropped = Box::pin(lanes.enter(&run, &first, false));
        assert!((&mut dropped).now_or_never().is_none());
        drop(turn.news().await);
        assert!(
            (&mut dropped).now_or_never().is_none(),
            "not before its turn"
        );
        drop(turn);
        assert!(matches!(dropped.await, Entered::Turn(_)));
        assert_eq!(locked(&lanes.lanes).len(), 0);
    }

    #[tokio::test]
    async fn a_nudge_reaches_the_run_in_work_and_is_kept_for_nobody() {
        let lanes = Lanes::default();
        let run = run("1");
        lanes.nudge(&run);
        let turn = enter(&lanes, &run).await;
        assert!(turn.news().now_or_never().is_none());
        lanes.nudge(&run);
        assert!(matches!(turn.news().await, News::Nudge));
    }
}
