//! Which runs changed, and how they stand now: looked up in the index every half a second, once for all who watch.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use flotilla_common::{ids::RunId, run::Summary};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::debug;

use super::{hub::Shared, seen::Seen};

/// How often lines are looked up.
const EVERY: Duration = Duration::from_millis(500);
/// Lines that are looked up at once, and told at once at most.
const LINES_MAX: usize = 200;
/// Runs that wait to be looked up; of more it is only told that they are.
const PENDING_MAX: usize = 10_000;
/// How often a run is looked up whose line is behind its journal: planners write it right after their decision, and late only when
/// they die in between. With the pause between two looks, ten seconds.
const LOOKS: u8 = 20;
/// The same after an entry of which its line may tell nothing: a result that somebody waits for, a signal that is folded later.
const LOOKS_WITHOUT_DECISION: u8 = 3;
/// How long Redis may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lines of runs that changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// As they stand now, in no order.
    pub(crate) runs: Vec<Summary>,
    /// Runs that changed besides; most of them are told of next time.
    pub(crate) more: usize,
    frame: OnceLock<Bytes>,
}

#[derive(Serialize)]
struct Shown<'a> {
    runs: Vec<&'a Summary>,
    more: usize,
}

impl Changes {
    /// As a server-sent event for whoever sees every run. Made once, whoever asks first.
    pub(super) fn frame(&self) -> Bytes {
        let made = self
            .frame
            .get_or_init(|| frame(self.runs.iter().collect(), self.more));
        made.clone()
    }

    /// The same for whoever sees some runs; `None` when there is nothing to tell. How busy others are is not told.
    pub(super) fn frame_of(&self, sees: impl Fn(&Summary) -> bool) -> Option<Bytes> {
        let runs: Vec<_> = self.runs.iter().filter(|run| sees(run)).collect();
        (!runs.is_empty()).then(|| frame(runs, 0))
    }
}

fn frame(runs: Vec<&Summary>, more: usize) -> Bytes {
    let shown = serde_json::to_string(&Shown { runs, more }).unwrap_or_default();
    format!("event: runs\ndata: {shown}\n\n").into()
}

/// Runs that changed, and whose lines were not all told yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    runs: HashMap<RunId, Change>,
    /// Those that found no room.
    dropped: usize,
}

/// What happened to a run since its line was told.
#[derive(Debug, Clone, Default)]
struct Change {
    /// The sequence of its last decision: an older line is not the newest.
    chain: u64,
    looks: u8,
    /// As told last.
    told: Option<Summary>,
}

impl Pending {
    /// A run has one more entry.
    pub(super) fn changed(&mut self, run: &RunId, seen: &Seen) {
        if self.runs.len() >= PENDING_MAX && !self.runs.contains_key(run) {
            self.dropped += 1;
            return;
        }
        let change = self.runs.entry(run.clone()).or_default();
        if seen.kind() == "decided" {
            change.chain = seen.seq();
            change.looks = LOOKS;
        } else {
            change.looks = change.looks.max(LOOKS_WITHOUT_DECISION);
        }
    }

    /// Those to be looked up now.
    fn due(&self) -> Vec<RunId> {
        self.runs.keys().take(LINES_MAX).cloned().collect()
    }

    /// Takes in what the index says of those that were due; gives what is to be told.
    fn looked(&mut self, due: Vec<RunId>, lines: Vec<Option<Summary>>) -> Changes {
        let mut runs = Vec::new();
        for (run, line) in due.into_iter().zip(lines) {
            let Some(change) = self.runs.get_mut(&run) else {
                continue;
            };
            change.looks = change.looks.saturating_sub(1);
            let chain = change.chain;
            let is_behind = line.as_ref().is_none_or(|line| line.chain < chain);
            // What was looked up right after a signal may be from before it.
            let is_done = change.looks == 0 || (chain > 0 && !is_behind);
            if let Some(line) = line
                && change.told.as_ref() != Some(&line)
            {
                change.told = Some(line.clone());
                runs.push(line);
            }
            if is_done {
                self.runs.remove(&run);
            }
        }
        let rest = self.runs.values().filter(|change| change.told.is_none());
        let more = rest.count() + std::mem::take(&mut self.dropped);
        Changes {
            runs,
            more,
            frame: OnceLock::new(),
        }
    }
}

/// Looks up what changed and tells it, until the stop.
pub(super) async fn keep(shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    let looking = Box::pin(async {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            look(&shared).await;
        }
    });
    stop.run_until_cancelled(looking).await;
}

async fn look(shared: &Shared) {
    let due = shared.pending(|pending| pending.due());
    if due.is_empty() {
        return;
    }
    let lines = match timeout(PATIENCE, shared.store.lines(&due)).await {
        Ok(Ok(lines)) => lines,
        // They are due next time again.
        Ok(Err(problem)) => return debug!(%problem, "lines of runs cannot be looked up"),
        Err(_) => return debug!("Redis does not say in time how runs stand"),
    };
    let changes = shared.pending(|pending| pending.looked(due, lines));
    if !changes.runs.is_empty() || changes.more > 0 {
        // Nobody listens: they went in the meantime.
        drop(shared.changes.send(Arc::new(changes)));
    }
}

#[cfg(test)]
mod tests {
    use flotilla_common::io::journal::Raw;

    use super::*;
    use crate::sample::{Journal, name};

    fn run(n: usize) -> RunId {
        RunId::derive(&name("w"), "s", &n.to_string())
    }

    fn seen(run: &RunId, seq: u64, rest: &str) -> Seen {
        let subject = format!("runs.{run}.{rest}");
        let payload = b"{}".to_vec().into();
        Seen::new(Raw {
            seq,
            subject,
            payload,
        })
        .unwrap()
    }

    fn line(n: usize, chain: u64) -> Summary {
        let journal = Journal::start(&n.to_string(), 1);
        Summary {
            chain,
            ..journal.run.summary().unwrap()
        }
    }

    #[test]
    fn a_line_is_told_once_and_looked_up_until_it_has_the_last_decision() {
        let run = run(1);
        let mut pending = Pending::default();
        pending.changed(&run, &seen(&run, 5, "decided.df"));
        let look = |pending: &mut Pending, line| {
            let due = pending.due();
            assert_eq!(due, std::slice::from_ref(&run));
            pending.looked(due, vec![line]).runs.len()
        };
        assert_eq!(
            look(&mut pending, Some(line(1, 3))),
            1,
            "an older one is told"
        );
        assert_eq!(look(&mut pending, Some(line(1, 3))), 0, "but not twice");
        assert_eq!(look(&mut pending, None), 0);
        assert_eq!(look(&mut pending, Some(line(1, 5))), 1);
        assert!(pending.due().is_empty());
        // Nobody ever writes the line: it is given up.
        pending.changed(&run, &seen(&run, 9, "decided.df"));
        for _ in 0..LOOKS {
            look(&mut pending, None);
        }
        assert!(pending.due().is_empty());
    }

    #[test]
    fn a_signal_is_looked_up_a_few_times_for_it_changes_no_decision() {
        let run = run(1);
        let mut pending = Pending::default();
        pending.changed(&run, &seen(&run, 5, "signalled.pause"));
        for _ in 0..LOOKS_WITHOUT_DECISION {
            assert_eq!(pending.due().len(), 1);
            let due = pending.due();
            pending.looked(due, vec![Some(line(1, 3))]);
        }
        assert!(pending.due().is_empty());
    }

    #[test]
    fn more_than_is_told_at_once_waits_and_more_than_can_wait_is_counted() {
        let mut pending = Pending::default();
        for n in 0..PENDING_MAX + 3 {
            let run = run(n);
            pending.changed(&run, &seen(&run, 1, "decided.df"));
        }
        let due = pending.due();
        assert_eq!(due.len(), LINES_MAX);
        let lines = due.iter().map(|run| {
            let mut line = line(0, 1);
            line.id = run.clone();
            Some(line)
        });
        let lines = lines.collect();
        let changes = pending.looked(due, lines);
        assert_eq!(changes.runs.len(), LINES_MAX);
        assert_eq!(changes.more, PENDING_MAX - LINES_MAX + 3);
        assert_eq!(pending.due().len(), LINES_MAX, "the others follow");
    }

    #[test]
    fn who_sees_one_tenant_is_told_of_no_other_and_of_nothing_when_there_is_nothing() {
        let changes = Changes {
            runs: vec![line(1, 1), line(2, 1)],
            more: 7,
            frame: OnceLock::new(),
        };
        let mine = run(2);
        let frame = changes.frame_of(|run| run.id == mine).unwrap();
        let text = String::from_utf8(frame.to_vec()).unwrap();
        assert!(text.contains(mine.as_str()) && !text.contains(run(1).as_str()));
        assert!(text.contains("\"more\":0"), "{text}");
        assert!(changes.frame_of(|_| false).is_none());
        let all = String::from_utf8(changes.frame().to_vec()).unwrap();
        assert!(all.starts_with("event: runs\ndata: {\"runs\":[{") && all.contains("\"more\":7"));
    }
}
