//! A run driven to its end by a script, and all that was written on the way.

use super::{
    script::{Choices, Script, claude, outcome, unanswered},
    *,
};

/// Rounds that no run of a script should need.
const ROUNDS_MAX: usize = 2_000;

/// What was written and what the planner knew.
pub(super) struct Recording {
    pub(super) live: Run,
    pub(super) journal: Vec<Entry>,
    /// The bytes of each entry.
    pub(super) payloads: Vec<Vec<u8>>,
    /// The states right after each decision, with the sequences folded until then.
    pub(super) snapshots: Vec<(Vec<u64>, Run)>,
    /// Every request to Claude, with its step, in order.
    pub(super) asked: Vec<(Name, Request)>,
}

struct Driver {
    stage: Stage,
    payloads: Vec<Vec<u8>>,
    /// Entries of others that the planner has not got yet.
    underway: Vec<Entry>,
    folded: Vec<u64>,
    snapshots: Vec<(Vec<u64>, Run)>,
    /// Actions that have a result on the journal already.
    answered: Vec<u64>,
    script: Script,
    asked: Vec<(Name, Request)>,
}

/// Drives a run of this definition to its end, checking on every step that it does not hang.
pub(super) fn record(workflow: Arc<Workflow>, script: Vec<u8>) -> Recording {
    let stage = Stage::with(workflow, json!({"service": "shop"}));
    let entry = stage.journal[0].clone();
    let mut driver = Driver {
        payloads: vec![entry.body.encode(entry.at).expect("JSON")],
        folded: vec![entry.seq],
        stage,
        underway: Vec::new(),
        snapshots: Vec::new(),
        answered: Vec::new(),
        script: Script::new(script),
        asked: Vec::new(),
    };
    for _ in 0..ROUNDS_MAX {
        if driver.round() {
            while !driver.underway.is_empty() {
                driver.deliver();
            }
            let Driver {
                stage,
                payloads,
                snapshots,
                asked,
                ..
            } = driver;
            return Recording {
                live: stage.run,
                journal: stage.journal,
                payloads,
                snapshots,
                asked,
            };
        }
    }
    panic!("no end after {ROUNDS_MAX} rounds: {:?}", driver.stage.run);
}

impl Driver {
    /// Does one thing; true when the run has ended.
    fn round(&mut self) -> bool {
        self.meddle();
        if !self.underway.is_empty() && !self.script.once_in(4) {
            self.deliver();
            return false;
        }
        match self.stage.next() {
            Next::Ended(_) => return true,
            Next::Decide(drafts) => self.decide(drafts),
            Next::Ask(asks, _) => {
                let drafts = self.ask(&asks[0]);
                self.decide(drafts);
            }
            Next::Wait(_) if self.stage.run.is_parked() => self.wake(),
            Next::Wait(_) => {
                let waiting: Vec<u64> = self
                    .stage
                    .run
                    .outstanding()
                    .map(|act| act.decided)
                    .collect();
                assert!(
                    !waiting.is_empty(),
                    "it waits for nothing: {:?}",
                    self.stage.run
                );
                self.act(&waiting);
            }
        }
        false
    }

    /// People, timers and the clock do what they want.
    fn meddle(&mut self) {
        if self.script.once_in(40) {
            let id = format!("c{}", self.script.below(2));
            let body = Body::Signalled(Signalled {
                id,
                ..Signalled::default()
            });
            self.others_write(Kind::Signalled, SIGNAL_CANCEL, &body);
        }
        if self.script.once_in(40) {
            let id = format!("r{}", self.script.below(3));
            let usd_nano = Some(Usd::from_nano(7)).filter(|_| self.script.once_in(2));
            let body = Body::Signalled(Signalled {
                id,
                usd_nano,
                ..Signalled::default()
            });
            self.others_write(Kind::Signalled, SIGNAL_RAISE, &body);
        }
        if self.script.once_in(60) {
            self.others_write(Kind::Fired, TIMER_DEADLINE, &Body::Fired(Fired {}));
        }
        if self.script.once_in(30) {
            self.stage.now += SignedDuration::from_secs(100);
        }
    }

    /// What a parked run waits for comes, or something before it.
    fn wake(&mut self) {
        let told = Signalled {
            id: format!("w{}", self.stage.journal.len()),
            ..Signalled::default()
        };
        match self.stage.alarm() {
            Some(until) => {
                self.stage.now = self.stage.now.max(until);
                self.others_write(Kind::Fired, TIMER_WAKE, &Body::Fired(Fired {}));
            }
            None => self.others_write(Kind::Signalled, SIGNAL_RESUME, &Body::Signalled(told)),
        }
        self.deliver();
    }

    fn ask(&mut self, ask: &Ask) -> Vec<Draft> {
        let mut replies = ask.replies.clone();
        loop {
            match ask.settle(&replies) {
                Settled::Decided(drafts) => return drafts,
                Settled::Again(request) => match self.claude(ask, &request) {
                    Some(reply) => replies.push(answered(reply)),
                    None if self.script.once_in(2) => {
                        let until = Some(self.stage.now + SignedDuration::from_secs(30));
                        let until = until.filter(|_| self.script.once_in(2));
                        return vec![ask.park(
                            ParkedBy::Unavailable,
                            "no answer",
                            until,
                            &replies,
                            Wasted::default(),
                        )];
                    }
                    None => {
                        let why = "it never came back";
                        return vec![ask.give_up(why, &replies, Wasted::default())];
                    }
                },
            }
            assert!(replies.len() <= 2, "one repair and no more");
        }
    }

    /// Asked as the provider takes it.
    fn claude(&mut self, ask: &Ask, request: &Request) -> Option<Reply> {
        assert_eq!(unanswered(request), None, "{request:?}");
        self.asked.push((ask.step.step.clone(), request.clone()));
        claude(request, &mut self.script)
    }

    fn decide(&mut self, drafts: Vec<Draft>) {
        for link in self.stage.run.link(drafts, self.stage.now).expect("a link") {
            let entry = self.append(link.address, link.payload);
            self.fold(&entry);
            self.snapshots
                .push((self.folded.clone(), self.stage.run.clone()));
        }
    }

    /// Executors write results; now and then two of them for the same action, and not the same.
    fn act(&mut self, waiting: &[u64]) {
        let open: Vec<u64> = waiting
            .iter()
            .filter(|seq| !self.answered.contains(seq))
            .copied()
            .collect();
        let Some(&seq) = open.first() else {
            return self.deliver();
        };
        let decided = self.stage.journal.iter().find(|entry| entry.seq == seq);
        let Some(Body::Decided(decided)) = decided.map(|entry| entry.body.clone()) else {
            panic!("no decision {seq}");
        };
        let Decision::Act { tool, .. } = decided.decision else {
            panic!("no action {seq}");
        };
        let copies = if self.script.once_in(5) { 2 } else { 1 };
        for copy in 0..copies {
            let resulted = Resulted {
                step: decided.step.clone(),
                branch: decided.branch,
                decided: seq,
                tool: tool.clone(),
                outcome: outcome(&mut self.script),
                took_ms: copy,
                attempts: 1,
                usd_nano: None,
                reconciled: None,
                worker: "test".into(),
            };
            self.others_write(Kind::Resulted, tool.as_str(), &Body::Resulted(resulted));
        }
        self.answered.push(seq);
    }

    fn others_write(&mut self, kind: Kind, name: &str, body: &Body) {
        let address = Address {
            run: self.stage.run.id.clone(),
            kind,
            name: name.parse().expect("a name"),
        };
        let entry = self.append(address, body.encode(self.stage.now).expect("JSON"));
        self.underway.push(entry);
    }

    fn append(&mut self, address: Address, payload: Vec<u8>) -> Entry {
        let seq = self
            .stage
            .journal
            .last()
            .map_or(1, |last| last.seq + 1 + self.script.below(3) as u64);
        let entry = Entry::decode(seq, address, &payload).expect("an entry");
        self.stage.journal.push(entry.clone());
        self.payloads.push(payload);
        entry
    }

    /// Any of what is underway arrives, and stays underway now and then: it comes again.
    fn deliver(&mut self) {
        let Some(last) = self.underway.len().checked_sub(1) else {
            return;
        };
        let index = self.script.below(last + 1);
        let entry = if self.script.once_in(4) && self.stage.run.end.is_none() {
            self.underway[index].clone()
        } else {
            self.underway.remove(index)
        };
        self.fold(&entry);
    }

    /// Folds an entry twice: the second time changes nothing.
    fn fold(&mut self, entry: &Entry) {
        let folded = self.stage.run.fold(entry).expect("it follows");
        if folded == Folded::New {
            self.folded.push(entry.seq);
        }
        let before = self.stage.run.clone();
        assert_eq!(self.stage.run.fold(entry), Ok(Folded::Old));
        assert_eq!(self.stage.run, before);
    }
}
