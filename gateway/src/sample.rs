//! Runs for tests: a journal as it grows, and the run as planners know it.

use flotilla_common::{
    entry::{Action, Address, Approve, Body, Call, Decision, Entry, Kind, Pin, Started},
    event::Event,
    ids::{Name, RunId, StepKey},
    run::{Draft, Run},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// A run's journal as it grows, and the run as planners know it.
pub(crate) struct Journal {
    pub(crate) run: Run,
    pub(crate) entries: Vec<Entry>,
}

impl Journal {
    /// A run of a workflow `w`, version 3.
    pub(crate) fn start(event_id: &str, seq: u64) -> Self {
        let workflow = Pin {
            name: name("w"),
            version: 3,
            digest: String::new(),
        };
        Self::of(workflow, event_id, seq)
    }

    pub(crate) fn of(workflow: Pin, event_id: &str, seq: u64) -> Self {
        let event = Event::new(
            "a.b".parse().unwrap(),
            "s".into(),
            event_id.into(),
            json!(1),
        );
        let last = workflow.name.to_string();
        let id = RunId::derive(&workflow.name, "s", event_id);
        let mut journal = Self {
            run: Run::new(id),
            entries: Vec::new(),
        };
        let body = Body::Started(Started {
            workflow,
            event,
            parent: None,
            lessons: Vec::new(),
            forked: None,
            received: None,
        });
        journal.add(seq, Kind::Started, &last, &body.encode(at(seq)).unwrap());
        journal
    }

    pub(crate) fn add(&mut self, seq: u64, kind: Kind, last: &str, payload: &[u8]) {
        let address = Address {
            run: self.run.id.clone(),
            kind,
            name: name(last),
        };
        let entry = Entry::decode(seq, address, payload).unwrap();
        self.run.fold(&entry).unwrap();
        self.entries.push(entry);
    }

    pub(crate) fn decide(&mut self, seq: u64, step: &str, decision: Decision, call: Option<Call>) {
        let draft = Draft {
            step: key(step),
            branch: 0,
            decision,
            reasoning: None,
            confidence: None,
            call,
            left: Vec::new(),
        };
        let links = self.run.link(vec![draft], at(seq)).unwrap();
        let last = links[0].address.name.clone();
        self.add(seq, Kind::Decided, last.as_str(), &links[0].payload);
    }

    pub(crate) fn signal(&mut self, seq: u64, signal: &str, signalled: Value) {
        let body = Body::Signalled(serde_json::from_value(signalled).unwrap());
        self.add(seq, Kind::Signalled, signal, &body.encode(at(seq)).unwrap());
    }

    /// A verdict of ana's.
    pub(crate) fn judge(
        &mut self,
        seq: u64,
        signal: &str,
        step: &str,
        hash: &str,
        with: Option<Value>,
    ) {
        let approval = json!({"step": step, "hash": hash, "with": with});
        let signalled = json!({"id": format!("verdict.{seq}"), "by": "ana", "approval": approval});
        self.signal(seq, signal, signalled);
    }
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn key(text: &str) -> StepKey {
    text.parse().unwrap()
}

/// So many seconds after 1970.
pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap()
}

pub(crate) fn act() -> Decision {
    Decision::Act {
        tool: name("df"),
        version: 1,
        with: json!({}),
    }
}

/// The decision to ask for a tool, or for a question, until so many seconds after 1970.
pub(crate) fn approve(hash: &str, tool: Option<&str>, until: Option<u64>) -> Decision {
    let action = tool.map(|tool| Action {
        tool: name(tool),
        version: 1,
        with: json!({"path": "/"}),
    });
    Decision::Approve(Box::new(Approve {
        hash: hash.into(),
        show: Value::Null,
        action,
        until: until.map(at),
        on_timeout: until.map(|_| flotilla_common::definition::OnTimeout::Escalate),
    }))
}
