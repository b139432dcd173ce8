//! What is known of a run of the kit, from outside the fleet: the ledgers of Claude and of the sink, the lists of who sent and who
//! answered, and the raw journal.

use std::{collections::BTreeMap, time::Duration};

use flotilla_common::{
    entry::{self, Body, Decision, Entry},
    ids::RunId,
    io::journal::{Journal, Raw, decode},
    names::subject,
};
use flotilla_sim::sink::Effect;

use super::{
    claude::Call,
    inject::{Happened, Injector},
    load::Accepted,
    people::{Lists, People},
    poison::POISONED_RUN,
};

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// Of a fleet that is not the kit's own: who broke what of it, and when, is not known.
    pub(super) attached: bool,
    /// What such a fleet was told a lease lasts; `None`: as long as in the kit's own.
    pub(super) lease: Option<Duration>,
    /// What the kit's definitions are named by.
    pub(super) kit: String,
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
            kit: injector.submitter.kit().to_owned(),
            accepted: injector.submitter.accepted(),
            effects: injector.outside.sink.effects(),
            calls: injector.outside.claude.calls().await?,
            said: people.lists(),
            happened: injector.happened(),
            ..Self::default()
        };
        evidence.read(&injector.outside.journal).await?;
        Ok(evidence)
    }

    async fn read(&mut self, journal: &Journal) -> anyhow::Result<()> {
        let read = journal.each_raw(subject::ALL_RUNS, |raw| {
            self.take(&raw);
            anyhow::Ok(())
        });
        read.await
    }

    fn take(&mut self, raw: &Raw) {
        match decode(raw) {
            Ok(Some(entry)) => {
                let run = entry.address.run.clone();
                self.journal.entry(run).or_default().push(entry);
            }
            Ok(None) => {}
            Err(_) if raw.subject.contains(POISONED_RUN) => {}
            Err(problem) => self.unreadable.push(problem.to_string()),
        }
    }

    /// The same of a fleet that others use too: what our own runs have to do with, and no more.
    pub(super) async fn gather_own(
        injector: &Injector,
        people: &People,
        lease: Duration,
    ) -> anyhow::Result<Self> {
        let mut evidence = Self {
            attached: true,
            lease: Some(lease),
            kit: injector.submitter.kit().to_owned(),
            accepted: injector.submitter.accepted(),
            said: people.lists(),
            happened: injector.happened(),
            ..Self::default()
        };
        let mut unread: Vec<RunId> = evidence
            .accepted
            .iter()
            .map(|one| one.run.clone())
            .collect();
        while let Some(run) = unread.pop() {
            if evidence.journal.contains_key(&run) {
                continue;
            }
            evidence.journal.insert(run.clone(), Vec::new());
            let subjects = subject::run(&run);
            for raw in injector.outside.journal.raw(&subjects).await? {
                evidence.take(&raw);
            }
            let entries = evidence.journal.get(&run);
            unread.extend(entries.into_iter().flatten().filter_map(child_of));
        }
        let own = |run: Option<&str>| {
            let run = run.and_then(|run| run.parse::<RunId>().ok());
            run.is_some_and(|run| evidence.journal.contains_key(&run))
        };
        let effects = injector.outside.sink.effects().into_iter();
        let effects = effects.filter(|(_, effect)| own(run_of(effect))).collect();
        let calls = injector.outside.claude.calls().await?.into_iter();
        let calls = calls.filter(|call| own(call.user_id.as_deref())).collect();
        Ok(Self {
            effects,
            calls,
            ..evidence
        })
    }

    /// How many calls each run's journal tells as lost, by run.
    pub(super) fn told_as_wasted(&self) -> BTreeMap<&str, u64> {
        self.told(|call| call.wasted)
    }

    /// How many replies of Claude each run's journal names, by run.
    pub(super) fn told_as_answered(&self) -> BTreeMap<&str, u64> {
        self.told(entry::Call::replies)
    }

    fn told(&self, of_call: fn(&entry::Call) -> u64) -> BTreeMap<&str, u64> {
        let told = |entry: &Entry| match &entry.body {
            Body::Decided(link) => link.call.as_ref().map_or(0, of_call),
            Body::Started(_) | Body::Resulted(_) | Body::Signalled(_) | Body::Fired(_) => 0,
        };
        let of = |entries: &Vec<Entry>| entries.iter().map(told).sum();
        let runs = self.journal.iter();
        runs.map(|(run, entries)| (run.as_str(), of(entries)))
            .collect()
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

/// The run that a decision begins.
fn child_of(entry: &Entry) -> Option<RunId> {
    let Body::Decided(link) = &entry.body else {
        return None;
    };
    let Decision::Run { child, .. } = &link.decision else {
        return None;
    };
    Some(child.clone())
}
