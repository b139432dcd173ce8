//! One handling of a run at a time within a process; what comes meanwhile is handed over to it. As the planner's own.

use std::{cell::Cell, collections::VecDeque, rc::Rc};

use super::{super::*, process::Process, queue::Message};

/// What became of an entry that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Waiting,
    Settled,
    /// The handling that had it is over, and says nothing of it.
    Dropped,
}

/// An entry for a handling that is at work already.
#[derive(Debug, Clone)]
pub(super) struct Handed {
    pub(super) entry: Entry,
    pub(super) redelivered: bool,
    pub(super) done: Rc<Cell<Done>>,
}

/// What came for a run in work.
#[derive(Debug)]
pub(super) enum News {
    /// This entry.
    Entry(Box<Handed>),
    /// Somebody else wrote to it: the journal knows what.
    Nudge,
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    working: bool,
    pub(super) inbox: VecDeque<Handed>,
    /// Somebody else wrote to the run.
    pub(super) nudged: bool,
}

impl Lane {
    pub(super) fn news(&mut self) -> Option<News> {
        let handed = self.inbox.pop_front();
        let nudged = handed.is_none() && std::mem::take(&mut self.nudged);
        handed
            .map(|handed| News::Entry(Box::new(handed)))
            .or_else(|| nudged.then_some(News::Nudge))
    }
}

/// Whether it is this task's turn; otherwise another handling took the entry in, and answered for it.
pub(super) async fn enter(process: &Process, message: &Message) -> bool {
    let key = (process.id, message.entry.address.run.clone());
    let take = |lane: &mut Lane| !std::mem::replace(&mut lane.working, true);
    if process.at_once(|world| take(world.lanes.entry(key.clone()).or_default())) {
        return true;
    }
    let done = Rc::new(Cell::new(Done::Waiting));
    let handed = Handed {
        entry: message.entry.clone(),
        redelivered: message.delivered > 1,
        done: Rc::clone(&done),
    };
    process.at_once(|world| {
        let lane = world.lanes.entry(key.clone()).or_default();
        lane.inbox.push_back(handed);
    });
    loop {
        process.waits(1).await;
        if done.get() == Done::Settled {
            process.notes("handed over");
            return false;
        }
        let mine = process.at_once(|world| {
            let lane = world.lanes.entry(key.clone()).or_default();
            let mine = take(lane);
            if mine {
                lane.inbox.retain(|other| !Rc::ptr_eq(&other.done, &done));
            }
            mine
        });
        if mine {
            return true;
        }
    }
}

/// The handling of a run is over; what it took in and did not answer for is others' again.
pub(super) fn leave(process: &Process, run: &RunId, handed: &[Handed]) {
    for one in handed {
        one.done.set(Done::Dropped);
    }
    process.at_once(|world| {
        let key = (process.id, run.clone());
        let lane = world.lanes.entry(key).or_default();
        lane.working = false;
        // A lane that nobody waits for is gone.
        lane.nudged &= !lane.inbox.is_empty();
    });
}
