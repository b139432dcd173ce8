//! How a run stands, as far as its line says: a sketch of what `Run` knows, without what its steps did. What comes from results
//! and timers is seen with the decision that follows from them.

use std::collections::BTreeMap;

use flotilla_common::{
    entry::{Decided, Decision, ParkedBy, Signalled},
    ids::{Name, Place, Slot, StepKey},
    run::{
        Letters, SIGNAL_APPROVE, SIGNAL_DEAD, SIGNAL_DROP, SIGNAL_PAUSE, SIGNAL_RAISE,
        SIGNAL_REDRIVE, SIGNAL_REJECT, SIGNAL_RESUME, SIGNAL_RETRY, Status, Summary,
    },
};
use jiff::Timestamp;

/// A run's line, and what it waits for.
#[derive(Debug)]
pub(super) struct Standing {
    line: Summary,
    paused: Option<String>,
    dead: Letters,
    parks: Vec<Park>,
    asks: BTreeMap<Slot, Ask>,
    /// Why it has failed, while it winds up.
    failing: Option<String>,
}

/// A step that waits for Claude or for money.
#[derive(Debug)]
struct Park {
    step: StepKey,
    by: ParkedBy,
    why: String,
    until: Option<Timestamp>,
}

/// A question to a person.
#[derive(Debug)]
struct Ask {
    hash: String,
    tool: Option<Name>,
    until: Option<Timestamp>,
}

impl Standing {
    pub(super) fn new(line: Summary) -> Self {
        Self {
            line,
            paused: None,
            dead: Letters::default(),
            parks: Vec::new(),
            asks: BTreeMap::new(),
            failing: None,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.line.ended_at.is_some()
    }

    /// The line; `Run::summary` says the same, and a test holds them together.
    pub(super) fn line(self) -> Summary {
        let mut line = self.line;
        if line.ended_at.is_some() {
            return line;
        }
        let parked = self.parks.first();
        line.parked_by = if self.dead.is_empty() {
            parked.map(|park| park.by)
        } else {
            Some(ParkedBy::Dead)
        };
        line.status = if self.paused.is_some() {
            Status::Paused
        } else if line.parked_by.is_some() {
            Status::Parked
        } else if self.asks.is_empty() {
            Status::Running
        } else {
            Status::Waiting
        };
        let parked = parked.map(|park| park.why.clone());
        let asked = self.asks.first_key_value();
        let asked = asked.map(|(slot, ask)| match &ask.tool {
            Some(tool) => format!("step `{slot}`: a person must allow {tool}"),
            None => format!("step `{slot}`: a person must decide"),
        });
        let held = self.paused.or_else(|| self.dead.why());
        line.reason = held.or(parked).or(asked).or(self.failing);
        line
    }

    pub(super) fn decide(&mut self, decided: &Decided, seq: u64, at: Timestamp) {
        self.line.chain = seq;
        self.count(decided);
        self.line.tools.take(&decided.decision);
        let steps = u32::from(decided.decision.is_step());
        self.line.steps = self.line.steps.saturating_add(steps);
        let step = &decided.step;
        let slot = Slot {
            step: step.clone(),
            branch: decided.branch,
        };
        match &decided.decision {
            Decision::End { outcome, reason } => {
                self.line.status = (*outcome).into();
                self.line.reason.clone_from(reason);
                self.line.parked_by = None;
                self.line.ended_at = Some(at);
                return;
            }
            Decision::Park { by, why, until, .. } => {
                self.parks.retain(|park| park.step != *step);
                self.parks.push(Park {
                    step: step.clone(),
                    by: *by,
                    why: why.clone(),
                    until: *until,
                });
                return;
            }
            Decision::Abandon {} => {
                self.parks.retain(|park| park.step != *step);
                return;
            }
            Decision::Approve(approve) => {
                let ask = Ask {
                    hash: approve.hash.clone(),
                    tool: approve.action.as_ref().map(|action| action.tool.clone()),
                    until: approve.until,
                };
                self.asks.insert(slot, ask);
            }
            Decision::Act { .. } => drop(self.asks.remove(&slot)),
            Decision::Again { resets, .. } => self.begin_anew(&step.place(), resets),
            Decision::Undo { reason, .. } => self.failing = Some(reason.clone()),
            Decision::Answer { .. }
            | Decision::Finish { .. }
            | Decision::Branch { .. }
            | Decision::Skip {}
            | Decision::Begin { .. }
            | Decision::Each { .. }
            | Decision::Sleep { .. }
            | Decision::Run { .. }
            | Decision::Review { .. }
            | Decision::Fail { .. } => {}
        }
        let place = step.place();
        let is_over = |until: Option<Timestamp>| until.is_some_and(|until| until <= at);
        self.parks
            .retain(|park| park.step.place() != place && !is_over(park.until));
        self.asks.retain(|_, ask| !is_over(ask.until));
    }

    pub(super) fn signal(&mut self, name: &Name, signalled: &Signalled) {
        match name.as_str() {
            SIGNAL_PAUSE => self.paused = Some(paused_by(signalled)),
            SIGNAL_RESUME => {
                self.paused = None;
                self.parks.clear();
            }
            SIGNAL_RAISE if signalled.usd_nano.is_some() => self.parks.clear(),
            SIGNAL_RETRY if signalled.step.is_some() => self.parks.clear(),
            name @ (SIGNAL_DEAD | SIGNAL_REDRIVE | SIGNAL_DROP) => {
                self.dead.take(name, signalled);
            }
            SIGNAL_APPROVE | SIGNAL_REJECT => {
                if let Some(judged) = &signalled.approval {
                    let slot = Slot {
                        step: judged.step.clone(),
                        branch: judged.branch,
                    };
                    self.asks
                        .retain(|other, ask| *other != slot || ask.hash != judged.hash);
                }
            }
            _ => {}
        }
    }

    fn begin_anew(&mut self, root: &Place, resets: &[Name]) {
        let is_reset =
            |place: &Place| resets.contains(&place.step) && place.items.starts_with(&root.items);
        self.parks.retain(|park| !is_reset(&park.step.place()));
        self.asks.retain(|slot, _| !is_reset(&slot.step.place()));
    }

    fn count(&mut self, decided: &Decided) {
        let Some(call) = &decided.call else {
            return;
        };
        let (line, usage) = (&mut self.line, &call.usage);
        let input = usage
            .input_tokens
            .saturating_add(usage.cache_creation_input_tokens);
        line.model_calls = line.model_calls.saturating_add(call.replies());
        line.wasted_calls = line.wasted_calls.saturating_add(call.wasted);
        line.input_tokens = line.input_tokens.saturating_add(input);
        line.cache_read_tokens = line
            .cache_read_tokens
            .saturating_add(usage.cache_read_input_tokens);
        line.output_tokens = line.output_tokens.saturating_add(usage.output_tokens);
        line.usd_nano = line.usd_nano + call.usd_nano;
    }
}

fn paused_by(signalled: &Signalled) -> String {
    let by = signalled.by.as_deref().unwrap_or("somebody");
    match &signalled.reason {
        Some(reason) => format!("paused by {by}: {reason}"),
        None => format!("paused by {by}"),
    }
}
