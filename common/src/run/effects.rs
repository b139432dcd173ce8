//! The ledger of a run's effects: what was to be done outside, under which key, and what is known of it. Read from the journal alone.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    definition::Effect,
    entry::{Body, Decision, Entry, Reconciled, Resulted, ToolOutcome},
    ids::{Aside, Name, RunId, Slot},
};

/// One effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectLine {
    /// What the tool got as `Idempotency-Key`, and what its service knows it by.
    pub key: String,
    /// Of which step or turn, and branch: `triage/3#1`.
    #[serde(rename = "step")]
    pub slot: Slot,
    /// Which tool.
    pub tool: Name,
    /// Its version.
    pub version: u32,
    /// What repeating it does; `None` where the version is not loaded here.
    pub effect: Option<Effect>,
    /// Its parameters.
    pub with: Value,
    /// The decision's sequence.
    pub decided: u64,
    /// When it was decided, by its writer's clock.
    pub decided_at: Timestamp,
    /// When its result was written; `None` while there is none.
    pub ended_at: Option<Timestamp>,
    /// How often it was begun, as far as executors know; 0 while it has no result, or where it was refused.
    pub tries: u32,
    /// Wall time of the tool, in milliseconds.
    pub took_ms: Option<u64>,
    /// Who ran it.
    pub worker: Option<String>,
    /// How it stands.
    pub outcome: Known,
    /// What was found out where nobody knew whether it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciled: Option<Box<Reconciled>>,
    /// What undid it, or is to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensated_by: Option<Undoing>,
    /// Where a person has to look: what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_do: Option<String>,
}

/// How an effect stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Known {
    /// It has no result yet: it waits for an executor, or is being done.
    Pending,
    /// It was done.
    Ok,
    /// It was not, or not as it should.
    Failed {
        /// The class.
        error: Name,
        /// For people.
        message: String,
    },
    /// Nobody knows whether it was done.
    Unknown {
        /// What is known.
        message: String,
    },
}

/// What undoes an effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Undoing {
    /// Where it stands.
    #[serde(rename = "step")]
    pub slot: Slot,
    /// By which tool.
    pub tool: Name,
    /// How that stands.
    pub outcome: Known,
}

impl From<&ToolOutcome> for Known {
    fn from(outcome: &ToolOutcome) -> Self {
        match outcome {
            ToolOutcome::Ok { .. } => Self::Ok,
            ToolOutcome::Failed { error, message, .. } => Self::Failed {
                error: error.clone(),
                message: message.clone(),
            },
            ToolOutcome::Unknown { message } => Self::Unknown {
                message: message.clone(),
            },
        }
    }
}

/// The effects of a run by its journal: those that nobody knows of first, then as they were decided. `effect` says what repeating a
/// version of a tool does, where that is known.
#[must_use]
pub fn effects(
    run: &RunId,
    entries: &[Entry],
    effect: impl Fn(&Name, u32) -> Option<Effect>,
) -> Vec<EffectLine> {
    let mut lines: Vec<EffectLine> = Vec::new();
    let mut places: BTreeMap<Slot, usize> = BTreeMap::new();
    for entry in entries {
        match &entry.body {
            Body::Decided(decided) => {
                let Decision::Act {
                    tool,
                    version,
                    with,
                } = &decided.decision
                else {
                    continue;
                };
                let slot = Slot {
                    step: decided.step.clone(),
                    branch: decided.branch,
                };
                places.insert(slot.clone(), lines.len());
                lines.push(EffectLine {
                    key: slot.idempotency_key(run),
                    slot,
                    tool: tool.clone(),
                    version: *version,
                    effect: effect(tool, *version),
                    with: with.clone(),
                    decided: entry.seq,
                    decided_at: entry.at,
                    ended_at: None,
                    tries: 0,
                    took_ms: None,
                    worker: None,
                    outcome: Known::Pending,
                    reconciled: None,
                    compensated_by: None,
                    to_do: None,
                });
            }
            Body::Resulted(resulted) => {
                let line = places
                    .get(&resulted.slot())
                    .and_then(|at| lines.get_mut(*at));
                if let Some(line) = line.filter(|line| line.outcome == Known::Pending) {
                    line.ends(entry.at, resulted);
                }
            }
            Body::Started(_) | Body::Signalled(_) | Body::Fired(_) => {}
        }
    }
    let undoing: Vec<_> = lines
        .iter()
        .map(|line| line.undone(&lines, &places))
        .collect();
    for (line, undoing) in lines.iter_mut().zip(undoing) {
        line.compensated_by = undoing;
        line.to_do = line.advice(run);
    }
    lines.sort_by_key(|line| (!line.is_unknown(), line.decided));
    lines
}

impl EffectLine {
    /// Whether nobody knows if it was done.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self.outcome, Known::Unknown { .. })
    }

    fn ends(&mut self, at: Timestamp, resulted: &Resulted) {
        self.ended_at = Some(at);
        self.tries = resulted.attempts;
        self.took_ms = Some(resulted.took_ms);
        self.worker = Some(resulted.worker.clone());
        self.outcome = Known::from(&resulted.outcome);
        self.reconciled.clone_from(&resulted.reconciled);
    }

    /// What undoes it, where that was decided.
    fn undone(&self, all: &[Self], places: &BTreeMap<Slot, usize>) -> Option<Undoing> {
        if self.slot.step.aside.is_some() {
            return None;
        }
        let slot = Slot {
            step: self.slot.step.clone().beside(Aside::Undo),
            branch: self.slot.branch,
        };
        let undoing = all.get(*places.get(&slot)?)?;
        Some(Undoing {
            slot,
            tool: undoing.tool.clone(),
            outcome: undoing.outcome.clone(),
        })
    }

    fn advice(&self, run: &RunId) -> Option<String> {
        let Known::Unknown { .. } = self.outcome else {
            return None;
        };
        let (tool, key, step) = (&self.tool, &self.key, &self.slot.step.step);
        if let Some(Undoing {
            tool: undoing,
            outcome: Known::Ok,
            ..
        }) = &self.compensated_by
        {
            return Some(format!(
                "nothing, if `{undoing}` may be trusted: it has undone it, whether it was done or not"
            ));
        }
        let ask = match &self.reconciled {
            Some(asked) => format!("`{}` could not say", asked.tool),
            None => format!("give `{tool}` a `reconcile`, and the next doubt is asked about"),
        };
        Some(format!(
            "look in the service of `{tool}` for the key {key}; where it was not done, do it, or have the run do it anew under another key: flotilla retry {run} {step}. {ask}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::entry::{Address, Kind};

    fn entry(seq: u64, kind: Kind, name: &str, body: Value) -> Entry {
        let run = run();
        let name = name.parse().unwrap();
        let address = Address { run, kind, name };
        let mut whole = json!({"v": 1, "at": format!("2026-11-21T10:00:{seq:02}Z")});
        let fields = whole.as_object_mut().unwrap();
        fields.extend(body.as_object().unwrap().clone());
        Entry::decode(seq, address, whole.to_string().as_bytes()).unwrap()
    }

    fn run() -> RunId {
        RunId::derive(&"w".parse().unwrap(), "s", "1")
    }

    fn decided(seq: u64, step: &str, tool: &str) -> Entry {
        let decision = json!({"kind": "act", "tool": tool, "version": 1, "with": {"a": seq}});
        let body = json!({"step": step, "decision": decision, "prev": "00"});
        entry(seq, Kind::Decided, tool, body)
    }

    fn resulted(seq: u64, step: &str, tool: &str, outcome: &Value) -> Entry {
        let body = json!({"step": step, "decided": 1, "tool": tool, "outcome": outcome, "took_ms": 5, "attempts": 2,
            "worker": format!("executor-{seq}"),
            "reconciled": {"tool": "find", "version": 1, "found": "unknown", "doubt": "lost"}});
        entry(seq, Kind::Resulted, tool, body)
    }

    #[test]
    fn the_unknown_stand_first_with_what_to_do_and_the_first_result_counts() {
        let (ok, unknown) = (
            json!({"kind": "ok", "output": 1}),
            json!({"kind": "unknown", "message": "nobody knows"}),
        );
        let entries = [
            decided(1, "look", "look"),
            decided(2, "pay", "pay"),
            resulted(3, "look", "look", &ok),
            resulted(4, "pay", "pay", &unknown),
            resulted(5, "pay", "pay", &ok),
            decided(6, "book", "book"),
            resulted(7, "book", "book", &unknown),
            decided(8, "book!undo", "drop"),
            resulted(9, "book!undo", "drop", &ok),
            decided(10, "wait", "look"),
        ];
        let kind = |tool: &Name, _| (tool.as_str() == "pay").then_some(Effect::Once);
        let lines = effects(&run(), &entries, kind);
        let steps: Vec<String> = lines
            .iter()
            .map(|line| line.slot.step.to_string())
            .collect();
        assert_eq!(steps, ["pay", "book", "look", "book!undo", "wait"]);
        let [pay, book, look, undo, wait] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!(pay.key, format!("{}.pay.0", run()));
        assert_eq!((pay.effect, look.effect), (Some(Effect::Once), None));
        assert_eq!((pay.tries, pay.worker.as_deref()), (2, Some("executor-4")));
        assert!(pay.to_do.as_ref().unwrap().contains(&pay.key));
        assert!(pay.to_do.as_ref().unwrap().contains("`find` could not say"));
        let by = book.compensated_by.as_ref().unwrap();
        assert_eq!((by.tool.as_str(), &by.outcome), ("drop", &Known::Ok));
        assert!(book.to_do.as_ref().unwrap().contains("`drop`"));
        assert_eq!((&undo.compensated_by, &undo.to_do), (&None, &None));
        assert_eq!((&wait.outcome, wait.ended_at), (&Known::Pending, None));
        // What the gateway says is what the command line reads.
        let told = serde_json::to_value(&lines).unwrap();
        assert_eq!(
            serde_json::from_value::<Vec<EffectLine>>(told).unwrap(),
            lines
        );
    }
}
