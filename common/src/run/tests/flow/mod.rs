//! The whole workflow language: groups, people, time, runs within runs, failures.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names the one thing it wants"
)]

mod agents;
mod failing;
mod groups;
mod people;
mod runs;
mod switched;
mod telling;
mod time;
mod void;

use super::*;

impl Stage {
    /// A run of these steps, with more at the top of the definition.
    fn of(top: &str, steps: &str, data: Value) -> Self {
        Self::with(definition(top, steps), data)
    }

    /// Decides all that needs nobody else.
    fn goes_far(&mut self) {
        while let Next::Decide(drafts) = self.next() {
            assert!(drafts.len() <= 250, "{} in one append", drafts.len());
            self.decides(drafts);
        }
    }

    /// The last decision for an action or a run within the run.
    fn last_of(&self, slot: &str) -> (u64, Box<Decided>) {
        let slot: Slot = slot.parse().expect("an action");
        let found = self
            .journal
            .iter()
            .rev()
            .find_map(|entry| match &entry.body {
                Body::Decided(decided)
                    if decided.step == slot.step
                        && decided.branch == slot.branch
                        && matches!(
                            decided.decision,
                            Decision::Act { .. } | Decision::Run { .. }
                        ) =>
                {
                    Some((entry.seq, decided.clone()))
                }
                _ => None,
            });
        found.unwrap_or_else(|| panic!("nothing was decided for {slot}"))
    }

    /// The result of the last decision for an action comes in.
    fn gives(&mut self, slot: &str, outcome: ToolOutcome) -> Folded {
        let is_run = matches!(self.last_of(slot).1.decision, Decision::Run { .. });
        self.gives_for(slot, outcome, is_run.then(|| Usd::from_nano(7)))
    }

    /// The same of a tool that costs something.
    fn gives_for(&mut self, slot: &str, outcome: ToolOutcome, usd_nano: Option<Usd>) -> Folded {
        let (decided, link) = self.last_of(slot);
        let tool = link.decision.name().expect("a name");
        let resulted = Resulted {
            step: link.step.clone(),
            branch: link.branch,
            decided,
            tool: tool.clone(),
            outcome,
            took_ms: 5,
            attempts: 1,
            worker: "test".into(),
            usd_nano,
            reconciled: None,
        };
        self.writes(Kind::Resulted, tool.as_str(), &Body::Resulted(resulted))
    }

    /// The same, and all that follows from it without others.
    fn done(&mut self, slot: &str, output: Value) {
        assert_eq!(self.gives(slot, ok(output)), Folded::New);
        self.goes_far();
    }

    /// The keys of what is asked now.
    fn asked(&self) -> Vec<String> {
        match self.next() {
            Next::Ask(asks, _) => asks.iter().map(|ask| ask.step.to_string()).collect(),
            Next::Wait(_) => Vec::new(),
            other => panic!("it should ask or wait, not {other:?}"),
        }
    }

    /// One of several questions is answered, and what follows without others is decided.
    fn replies(&mut self, step: &str, reply: Reply) {
        let Next::Ask(asks, _) = self.next() else {
            panic!("it should ask, not {:?}", self.next());
        };
        let ask = asks.into_iter().find(|ask| ask.step.to_string() == step);
        let ask = ask.unwrap_or_else(|| panic!("{step} is not asked"));
        let mut answered = answered(reply);
        answered.heard = ask.heard;
        match ask.settle(&[answered]) {
            Settled::Decided(drafts) => self.decides(drafts),
            Settled::Again(request) => panic!("it asks again: {request:?}"),
        }
        self.goes_far();
    }

    /// What the executors have in hand, as actions.
    fn in_hand(&self) -> Vec<String> {
        let of_steps = self.run.steps.iter().flat_map(|(place, state)| {
            let acts = self.run.acts_of(place, state);
            acts.into_iter()
                .filter(|(_, act)| act.is_outstanding())
                .map(|(slot, _)| slot)
        });
        let beside = self
            .run
            .asides
            .iter()
            .filter(|(_, act)| act.is_outstanding());
        let beside = beside.map(|(slot, _)| slot.clone());
        let mut all: Vec<String> = of_steps
            .chain(beside)
            .map(|slot| slot.to_string())
            .collect();
        all.sort();
        all
    }

    /// How it ended; the journal rebuilds to the same state.
    fn ended(&mut self) -> (Outcome, String) {
        self.goes_far();
        let end = self.run.end.clone();
        let end = end.unwrap_or_else(|| panic!("it goes on: {:?}", self.next()));
        let rebuilt = Run::rebuild(&self.run.id, self.journal.clone());
        assert_eq!(rebuilt.as_ref(), Ok(&self.run));
        (end.outcome, end.reason.unwrap_or_default())
    }
}

fn act_with(decision: &Decision) -> &Value {
    match decision {
        Decision::Act { with, .. } => with,
        other => panic!("no action: {other:?}"),
    }
}

fn text(words: &str) -> Reply {
    reply(
        json!([{"type": "text", "text": words}]),
        StopReason::EndTurn,
    )
}
