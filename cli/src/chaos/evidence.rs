//! What is known of a run of the kit, from outside the fleet: the ledgers of Claude and of the sink, the lists of who sent and who
//! answered, and the raw journal.

use std::collections::BTreeMap;

use flotilla_common::{
    entry::Entry,
    ids::RunId,
    io::journal::{Journal, decode},
    names::subject,
};
use flotilla_sim::sink::Effect;

use super::{
    claude::Call,
    inject::{Happened, Injector},
    load::{Accepted, POISONED_RUN},
    people::{Lists, People},
};

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub(super) accepted: Vec<Accepted>,
    /// By idempotency key.
    pub(super) effects: BTreeMap<String, Effect>,
    pub(super) calls: Vec<Call>,
    pub(super) said: Lists,
    pub(super) happened: Vec<Happened>,
    pub(super) journal: BTreeMap<RunId, Vec<Entry>>,
    /// Messages on the journal that are neither entries nor our poison.
    pub(super) unreadable: Vec<String>,
}

impl Evidence {
    pub(super) async fn gather(injector: &Injector, people: &People) -> anyhow::Result<Self> {
        let mut evidence = Self {
            accepted: injector.submitter.accepted(),
            effects: injector.fleet.sink.effects(),
            calls: injector.claude.calls().await?,
            said: people.lists(),
            happened: injector.happened(),
            ..Self::default()
        };
        evidence.read(&injector.fleet.journal).await?;
        Ok(evidence)
    }

    async fn read(&mut self, journal: &Journal) -> anyhow::Result<()> {
        let mut next = Some(1);
        while let Some(from) = next {
            let page = journal.raw_page(subject::ALL_RUNS, from).await?;
            for raw in page.messages {
                match decode(&raw) {
                    Ok(Some(entry)) => {
                        let run = entry.address.run.clone();
                        self.journal.entry(run).or_default().push(entry);
                    }
                    Ok(None) => {}
                    Err(_) if raw.subject.contains(POISONED_RUN) => {}
                    Err(problem) => self.unreadable.push(problem.to_string()),
                }
            }
            next = page.next;
        }
        Ok(())
    }

    /// When each run's report was done, Unix milliseconds.
    pub(super) fn reports(&self) -> BTreeMap<&str, i64> {
        let mut reports = BTreeMap::new();
        for effect in self.effects_at("/report") {
            if let (Some(run), Some(done)) = (run_of(effect), effect.done_ms) {
                let first = reports.entry(run).or_insert(done);
                *first = done.min(*first);
            }
        }
        reports
    }

    /// What the sink was asked for at this path.
    pub(super) fn effects_at<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Effect> {
        let all = self.effects.values();
        all.filter(move |effect| effect.path() == path)
    }
}

/// The run that asked for an effect.
pub(super) fn run_of(effect: &Effect) -> Option<&str> {
    effect.bodies.first()?["run"].as_str()
}
