//! The lines of all runs, from one reading of the journal in its order. A line needs what was started, decided and signalled, and
//! what is kept is one line, with what it waits for, for each run that has not ended yet: not the runs, and not their journals.

mod standing;

use std::collections::{BTreeMap, HashMap};

use flotilla_common::{
    entry::{Body, Entry, Started},
    ids::RunId,
    run::{Called, ForkedFrom, Status, Summary},
};
use jiff::Timestamp;

use self::standing::Standing;

/// Runs on their way through the journal.
#[derive(Debug)]
pub(crate) struct Tally {
    /// By run: the sequence of its `started`, and how it stands so far.
    running: HashMap<RunId, (u64, Standing)>,
    by_start: BTreeMap<u64, RunId>,
    running_max: usize,
}

impl Tally {
    /// Of at most so many runs that have not ended: the newest.
    pub(crate) fn new(running_max: usize) -> Self {
        Self {
            running: HashMap::new(),
            by_start: BTreeMap::new(),
            running_max,
        }
    }

    /// Takes the next entry; gives the line of the run that ends with it.
    pub(crate) fn take(&mut self, entry: Entry) -> Option<Summary> {
        let run = entry.address.run;
        match entry.body {
            Body::Started(started) => {
                self.start(&run, entry.seq, line(&run, &started, entry.at));
                None
            }
            Body::Decided(decided) => {
                let (_, standing) = self.running.get_mut(&run)?;
                standing.decide(&decided, entry.seq, entry.at);
                if !standing.has_ended() {
                    return None;
                }
                let (seq, standing) = self.running.remove(&run)?;
                self.by_start.remove(&seq);
                Some(standing.line())
            }
            Body::Signalled(signalled) => {
                let (_, standing) = self.running.get_mut(&run)?;
                standing.signal(&entry.address.name, &signalled);
                None
            }
            Body::Resulted(_) | Body::Fired(_) => None,
        }
    }

    /// The lines of the runs that have not ended.
    pub(crate) fn rest(self) -> impl Iterator<Item = Summary> {
        self.running
            .into_values()
            .map(|(_, standing)| standing.line())
    }

    fn start(&mut self, run: &RunId, seq: u64, summary: Summary) {
        let standing = Standing::new(summary);
        self.running.insert(run.clone(), (seq, standing));
        self.by_start.insert(seq, run.clone());
        if self.running.len() > self.running_max
            && let Some((_, oldest)) = self.by_start.pop_first()
        {
            self.running.remove(&oldest);
        }
    }
}

/// The line of a run that has just begun.
pub(crate) fn line(run: &RunId, started: &Started, at: Timestamp) -> Summary {
    Summary {
        id: run.clone(),
        workflow: started.workflow.name.clone(),
        version: started.workflow.version,
        tenant: started.event.tenant().to_owned(),
        chain: 0,
        status: Status::Running,
        reason: None,
        parked_by: None,
        started_at: at,
        ended_at: None,
        steps: 0,
        model_calls: 0,
        wasted_calls: 0,
        input_tokens: 0,
        cache_read_tokens: 0,
        output_tokens: 0,
        usd_nano: flotilla_common::money::Usd::from_nano(0),
        tools: Called::default(),
        forked: started.forked.as_deref().map(ForkedFrom::from),
    }
}

#[cfg(test)]
mod tests;
