//! What the run machine promises. Everything goes through bytes, as on the journal.

mod dead;
mod explaining;
mod flow;
mod folding;
mod forking;
mod limits;
mod parallel;
mod parking;
mod properties;
mod recording;
mod replaying;
mod replies;
mod said;
mod script;
mod simulation;
mod steps;
mod wire;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use said::{answered, failed, ok, picks, reply, says, unknown, uses};

use super::*;
use crate::{
    claude::{Models, Reply, Request, StopReason, Usage},
    definition::{Catalogue, Sources, Workflow},
    entry::{
        Address, Answered, Body, Decided, Decision, Entry, Fired, Forked, Kind, Outcome, ParkedBy,
        Resulted, Signalled, Started, ToolOutcome,
    },
    ids::{Slot, StepKey},
};

/// The tools of these tests: one of each effect.
const TOOLS: &str = "\
tools:
  - tool: disk_usage
    version: 1
    description: Shows how full a disk is.
    input: {type: object, required: [path], properties: {path: {type: string}}}
    effect: read
    command: [du, '{{ input.path }}']
  - tool: restart
    version: 2
    description: Restarts a service.
    input: {type: object, required: [service], properties: {service: {type: string}}}
    effect: idempotent
    command: [restart, '{{ input.service }}']
  - tool: page
    version: 1
    description: Calls a person.
    input: {type: object}
    effect: once
    command: [page]
  - tool: book
    version: 1
    description: Books something.
    input: {type: object, required: [id], properties: {id: {type: string}}}
    effect: idempotent
    compensate: {tool: unbook, with: {id: '{{ (output or input).id }}'}}
    command: [book, '{{ input.id }}']
  - tool: unbook
    version: 1
    description: Gives a booking back.
    input: {type: object, required: [id], properties: {id: {type: string}}}
    effect: idempotent
    command: [unbook, '{{ input.id }}']
  - tool: drop_table
    version: 1
    description: Drops a table.
    input: {type: object, required: [table], properties: {table: {type: string}}}
    effect: once
    risk: high
    command: [drop, '{{ input.table }}']
";

/// A workflow that others run.
const OTHER: &str = "\
workflow: w2
version: 1
on: {event: other}
model: haiku
steps:
  - {id: look, tool: disk_usage, with: {path: /}}
";

/// An agent with both kinds of ends, and a floor.
const TRIAGE: &str = "
  - id: triage
    agent:
      goal: Find out why {{ event.data.service }} is slow.
      tools: [disk_usage, restart]
      ends: [resolve, escalate]
      max_loops: 3
      confidence: {min: 0.7, below: escalate}
      max_tokens: 500
";

fn definition(top: &str, steps: &str) -> Arc<Workflow> {
    let text = format!(
        "workflow: w\nversion: 1\non: {{event: disk.full}}\nmodel: haiku\n{top}\nsteps:{steps}"
    );
    let files = [
        ("w.yaml".to_owned(), text),
        ("tools.yaml".to_owned(), TOOLS.to_owned()),
        ("w2.yaml".to_owned(), OTHER.to_owned()),
    ];
    let models = Models::built_in().expect("the built-in table is right");
    let catalogue = Catalogue::parse(&Sources(files.into()), &models);
    let catalogue = catalogue.unwrap_or_else(|problems| panic!("{problems}"));
    let mut all = catalogue.newest();
    Arc::clone(
        all.find(|one| one.pin.name.as_str() == "w")
            .expect("it is there"),
    )
}

/// One run with its journal, its planner and its clock.
struct Stage {
    workflow: Arc<Workflow>,
    run: Run,
    journal: Vec<Entry>,
    now: Timestamp,
}

impl Stage {
    /// A run of these steps that has just started.
    fn new(steps: &str) -> Self {
        Self::with(definition("", steps), json!({"service": "shop"}))
    }

    fn with(workflow: Arc<Workflow>, data: Value) -> Self {
        let kind = workflow.on.event.clone();
        let event = Event::new(kind, "test".into(), "1".into(), data);
        let mut stage = Self {
            run: Run::new(RunId::derive(&workflow.pin.name, "test", "1")),
            now: "2026-11-21T10:00:00Z".parse().expect("a time"),
            journal: Vec::new(),
            workflow,
        };
        let started = Started {
            workflow: stage.workflow.pin.clone(),
            event,
            parent: None,
            lessons: Vec::new(),
            forked: None,
            received: None,
        };
        stage.writes(Kind::Started, "w", &Body::Started(started));
        stage
    }

    /// Somebody else writes an entry, and the planner folds it.
    fn writes(&mut self, kind: Kind, name: &str, body: &Body) -> Folded {
        let address = Address {
            run: self.run.id.clone(),
            kind,
            name: name.parse().expect("a name"),
        };
        let payload = body.encode(self.now).expect("JSON");
        self.append(address, &payload)
    }

    fn append(&mut self, address: Address, payload: &[u8]) -> Folded {
        // The stream holds other runs too: sequences have gaps.
        let seq = self.journal.last().map_or(7, |last| last.seq + 3);
        let entry = Entry::decode(seq, address, payload).expect("an entry of this version");
        self.journal.push(entry.clone());
        self.now += SignedDuration::from_secs(1);
        self.run.fold(&entry).expect("it follows")
    }

    fn next(&self) -> Next {
        self.run.next(&self.workflow, self.now)
    }

    fn ask(&self) -> Ask {
        let Next::Ask(mut asks, _) = self.next() else {
            panic!("it should ask, not {:?}", self.next());
        };
        assert_eq!(asks.len(), 1, "one question at a time");
        asks.remove(0)
    }

    /// The drafts that are due.
    fn drafts(&self) -> Vec<Draft> {
        let Next::Decide(drafts) = self.next() else {
            panic!("it should decide, not {:?}", self.next());
        };
        drafts
    }

    fn decides(&mut self, drafts: Vec<Draft>) {
        for link in self.run.link(drafts, self.now).expect("a link") {
            assert_eq!(self.append(link.address, &link.payload), Folded::New);
        }
    }

    /// What is due without Claude is decided.
    fn goes_on(&mut self) {
        let drafts = self.drafts();
        self.decides(drafts);
    }

    /// Claude gives these replies, one per attempt, and what follows is decided.
    fn hears(&mut self, replies: &[Reply]) -> Decision {
        let draft = self.settles(replies);
        let decision = draft.decision.clone();
        self.decides(vec![draft]);
        decision
    }

    /// What follows from these replies, all of which are asked for.
    fn settles(&self, replies: &[Reply]) -> Draft {
        let mut drafts = self.settles_all(replies);
        assert_eq!(drafts.len(), 1, "{drafts:?}");
        drafts.remove(0)
    }

    /// The same where that may be several.
    fn settles_all(&self, replies: &[Reply]) -> Vec<Draft> {
        let ask = self.ask();
        let answered: Vec<_> = replies.iter().cloned().map(answered).collect();
        for made in 0..answered.len() {
            let before = ask.settle(&answered[..made]);
            assert!(
                matches!(before, Settled::Again(_)),
                "reply {made} is not asked for: {before:?}"
            );
        }
        match ask.settle(&answered) {
            Settled::Decided(drafts) => drafts,
            Settled::Again(request) => panic!("it asks again: {request:?}"),
        }
    }

    /// The request after these replies.
    fn asks_again(&self, replies: &[Reply]) -> Request {
        let answered: Vec<_> = replies.iter().cloned().map(answered).collect();
        match self.ask().settle(&answered) {
            Settled::Again(request) => *request,
            Settled::Decided(drafts) => panic!("it decides {drafts:?}"),
        }
    }

    /// The executor writes the result of what was decided last.
    fn results(&mut self, outcome: ToolOutcome) -> Folded {
        let resulted = self.result_of_last(outcome);
        let tool = resulted.tool.to_string();
        self.writes(Kind::Resulted, &tool, &Body::Resulted(resulted))
    }

    fn result_of_last(&self, outcome: ToolOutcome) -> Resulted {
        let last = self
            .journal
            .iter()
            .rev()
            .find_map(|entry| match &entry.body {
                Body::Decided(decided) => Some((entry.seq, decided)),
                Body::Started(_) | Body::Resulted(_) | Body::Signalled(_) | Body::Fired(_) => None,
            });
        let (seq, decided) = last.expect("something was decided");
        let Decision::Act { tool, .. } = &decided.decision else {
            panic!("no tool was decided, but {:?}", decided.decision);
        };
        Resulted {
            step: decided.step.clone(),
            branch: decided.branch,
            decided: seq,
            tool: tool.clone(),
            outcome,
            took_ms: 5,
            attempts: 1,
            usd_nano: None,
            reconciled: None,
            worker: "test".into(),
        }
    }

    fn cancels(&mut self, id: &str) -> Folded {
        let signalled = Signalled {
            id: id.into(),
            by: Some("ann".into()),
            reason: Some("wrong host".into()),
            ..Signalled::default()
        };
        self.writes(Kind::Signalled, SIGNAL_CANCEL, &Body::Signalled(signalled))
    }

    fn signals(&mut self, name: &str, signalled: Signalled) -> Folded {
        self.writes(Kind::Signalled, name, &Body::Signalled(signalled))
    }

    fn wakes(&mut self) -> Folded {
        self.now = self.alarm().unwrap_or(self.now).max(self.now);
        self.writes(Kind::Fired, TIMER_WAKE, &Body::Fired(Fired {}))
    }

    /// When what it waits for comes by itself.
    fn alarm(&self) -> Option<Timestamp> {
        match self.next() {
            Next::Wait(alarm) | Next::Ask(_, alarm) => alarm,
            Next::Decide(_) | Next::Ended(_) => None,
        }
    }

    /// What holes see when all steps are done.
    fn facts(&self) -> Value {
        self.run.facts(&self.workflow)
    }

    fn deadline_fires(&mut self) -> Folded {
        self.writes(Kind::Fired, TIMER_DEADLINE, &Body::Fired(Fired {}))
    }

    /// Decides the end that is due and tells it; checks that the journal rebuilds to the same state on the way out.
    fn ends(&mut self) -> (Outcome, String) {
        self.goes_on();
        let end = self.run.end.clone().expect("it has ended");
        let next = self.next();
        assert!(
            matches!(next, Next::Ended(outcome) if outcome == end.outcome),
            "{next:?}"
        );
        let rebuilt = Run::rebuild(&self.run.id, self.journal.clone());
        assert_eq!(rebuilt.as_ref(), Ok(&self.run));
        (end.outcome, end.reason.unwrap_or_default())
    }
}
