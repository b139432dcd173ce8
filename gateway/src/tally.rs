//! The lines of all runs, from one reading of the journal in its order. A line needs the `started` and `decided` entries only, and
//! what is kept is one line for each run that has not ended yet: not the runs themselves, and not their journals.

use std::collections::{BTreeMap, HashMap};

use flotilla_common::{
    entry::{Body, Decided, Decision, Entry, Started},
    ids::RunId,
    run::{Status, Summary},
};
use jiff::Timestamp;

/// Runs on their way through the journal.
#[derive(Debug)]
pub(crate) struct Tally {
    /// By run: the sequence of its `started`, and its line so far.
    running: HashMap<RunId, (u64, Summary)>,
    by_start: BTreeMap<u64, RunId>,
    running_max: usize,
}

impl Tally {
    /// Of at most so many runs that have not ended: the newest. No index holds the others.
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
                let (_, summary) = self.running.get_mut(&run)?;
                decide(summary, &decided, entry.at);
                summary.chain = entry.seq;
                summary.ended_at?;
                let (seq, summary) = self.running.remove(&run)?;
                self.by_start.remove(&seq);
                Some(summary)
            }
            Body::Resulted(_) | Body::Signalled(_) | Body::Fired(_) => None,
        }
    }

    /// The lines of the runs that have not ended.
    pub(crate) fn rest(self) -> impl Iterator<Item = Summary> {
        self.running.into_values().map(|(_, summary)| summary)
    }

    fn start(&mut self, run: &RunId, seq: u64, summary: Summary) {
        self.running.insert(run.clone(), (seq, summary));
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
    }
}

/// The same sums as `Run::fold` and `Run::summary` make; a test holds them together.
fn decide(line: &mut Summary, decided: &Decided, at: Timestamp) {
    line.parked_by = None;
    match &decided.decision {
        Decision::End { outcome, reason } => {
            line.status = (*outcome).into();
            line.reason.clone_from(reason);
            line.ended_at = Some(at);
        }
        Decision::Park { by, why, .. } => {
            line.status = Status::Parked;
            line.parked_by = Some(*by);
            line.reason = Some(why.clone());
        }
        Decision::Act { .. } | Decision::Answer { .. } | Decision::Finish { .. } => {
            line.status = Status::Running;
            line.reason = None;
            line.steps = line.steps.saturating_add(1);
        }
    }
    if let Some(call) = &decided.call {
        let usage = &call.usage;
        let input = usage
            .input_tokens
            .saturating_add(usage.cache_creation_input_tokens);
        line.model_calls = line.model_calls.saturating_add(call.attempts.len() as u64);
        line.wasted_calls = line.wasted_calls.saturating_add(call.wasted);
        line.input_tokens = line.input_tokens.saturating_add(input);
        line.cache_read_tokens = line
            .cache_read_tokens
            .saturating_add(usage.cache_read_input_tokens);
        line.output_tokens = line.output_tokens.saturating_add(usage.output_tokens);
        line.usd_nano = line.usd_nano + call.usd_nano;
    }
}

#[cfg(test)]
mod tests {
    use flotilla_common::{
        claude::Usage,
        entry::{
            Account, Address, Attempt, Call, Kind, Outcome, ParkedBy, Pin, Resulted, ToolOutcome,
        },
        event::Event,
        ids::{Name, StepKey},
        money::Usd,
        run::{Draft, Run},
    };
    use serde_json::json;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn call() -> Call {
        let attempt = Attempt {
            content: Vec::new(),
            complaint: None,
            faults: Vec::new(),
            dropped: false,
            request_id: None,
            took_ms: 0,
        };
        Call {
            model: "m".into(),
            asked: String::new(),
            menu: Vec::new(),
            request_id: None,
            batch: None,
            prompt: String::new(),
            attempts: vec![attempt.clone(), attempt],
            usage: Usage {
                input_tokens: 5,
                cache_creation_input_tokens: 7,
                cache_read_input_tokens: 11,
                output_tokens: 13,
                ..Usage::default()
            },
            usd_nano: Usd::from_nano(17),
            took_ms: 1,
            wasted: 1,
            fallbacks: Vec::new(),
            wasted_usd_nano: Usd::from_nano(19),
            account: Account::default(),
        }
    }

    /// A run's journal as it grows, and the run as planners know it.
    struct Journal {
        run: Run,
        entries: Vec<Entry>,
    }

    impl Journal {
        fn start(event_id: &str, seq: u64) -> Self {
            let workflow = Pin {
                name: name("w"),
                version: 3,
                digest: String::new(),
            };
            let event = Event::new(
                "a.b".parse().unwrap(),
                "s".into(),
                event_id.into(),
                json!(1),
            );
            let id = RunId::derive(&name("w"), "s", event_id);
            let mut journal = Self {
                run: Run::new(id),
                entries: Vec::new(),
            };
            let body = Body::Started(Started { workflow, event });
            journal.add(seq, Kind::Started, "w", &body.encode(at(seq)).unwrap());
            journal
        }

        fn add(&mut self, seq: u64, kind: Kind, last: &str, payload: &[u8]) {
            let address = Address {
                run: self.run.id.clone(),
                kind,
                name: name(last),
            };
            let entry = Entry::decode(seq, address, payload).unwrap();
            self.run.fold(&entry).unwrap();
            self.entries.push(entry);
        }

        fn decide(&mut self, seq: u64, step: &str, decision: Decision, call: Option<Call>) {
            let draft = Draft {
                step: StepKey::step(&name(step)),
                branch: 0,
                decision,
                reasoning: None,
                confidence: None,
                call,
                left: None,
            };
            let links = self.run.link(vec![draft], at(seq)).unwrap();
            let last = links[0].address.name.clone();
            self.add(seq, Kind::Decided, last.as_str(), &links[0].payload);
        }
    }

    fn at(seq: u64) -> Timestamp {
        Timestamp::from_second(i64::try_from(seq).unwrap()).unwrap()
    }

    fn end() -> Decision {
        Decision::End {
            outcome: Outcome::Escalated,
            reason: Some("why".into()),
        }
    }

    fn act() -> Decision {
        Decision::Act {
            tool: name("df"),
            version: 1,
            with: json!({}),
        }
    }

    fn journal() -> Journal {
        let mut journal = Journal::start("1", 10);
        let answer = Decision::Answer { output: json!(1) };
        journal.decide(11, "ask", answer, Some(call()));
        journal.decide(12, "look", act(), None);
        let result = Body::Resulted(Resulted {
            step: StepKey::step(&name("look")),
            branch: 0,
            decided: 12,
            tool: name("df"),
            outcome: ToolOutcome::Ok { output: json!(2) },
            took_ms: 1,
            attempts: 1,
            worker: "x".into(),
        });
        journal.add(13, Kind::Resulted, "df", &result.encode(at(13)).unwrap());
        journal
    }

    #[test]
    fn a_line_is_the_same_as_the_folded_run_says_whether_it_ended_or_not() {
        let mut running = journal();
        let mut tally = Tally::new(9);
        for entry in running.entries.clone() {
            assert_eq!(tally.take(entry), None);
        }
        let lines: Vec<_> = tally.rest().collect();
        assert_eq!(lines, [running.run.summary().unwrap()]);

        running.decide(14, "end", end(), Some(call()));
        let mut tally = Tally::new(9);
        let ended: Vec<_> = running
            .entries
            .iter()
            .filter_map(|entry| tally.take(entry.clone()))
            .collect();
        assert_eq!(ended, [running.run.summary().unwrap()]);
        assert_eq!((ended[0].steps, ended[0].model_calls), (2, 4));
        assert_eq!(tally.rest().count(), 0);
    }

    #[test]
    fn a_parked_runs_line_says_what_keeps_it_until_something_is_decided() {
        let mut journal = journal();
        let park = Decision::Park {
            by: ParkedBy::Ceiling,
            why: "too dear".into(),
            until: None,
            replies: Vec::new(),
            account: Account::default(),
            batch: None,
        };
        journal.decide(14, "ask", park, None);
        let line = |journal: &Journal| {
            let mut tally = Tally::new(9);
            for entry in journal.entries.clone() {
                tally.take(entry);
            }
            tally.rest().next().unwrap()
        };
        let parked = line(&journal);
        assert_eq!(parked, journal.run.summary().unwrap());
        assert_eq!(parked.parked_by, Some(ParkedBy::Ceiling));
        journal.decide(15, "again", act(), None);
        let running = line(&journal);
        assert_eq!((running.status, running.parked_by), (Status::Running, None));
    }

    #[test]
    fn of_too_many_running_runs_the_newest_are_kept() {
        let mut tally = Tally::new(2);
        let runs: Vec<_> = [("a", 1), ("b", 2), ("c", 3)]
            .map(|(id, seq)| Journal::start(id, seq))
            .into();
        for journal in &runs {
            tally.take(journal.entries[0].clone());
        }
        let mut kept: Vec<_> = tally.rest().map(|summary| summary.started_at).collect();
        kept.sort();
        assert_eq!(kept, [at(2), at(3)]);
    }
}
