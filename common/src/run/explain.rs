//! How a decision came about: the state it was taken in is folded again, the prompt is built again, and its digest says whether
//! that is what Claude saw.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{FoldError, Next, Run};
use crate::{
    claude::Request,
    definition::Workflow,
    entry::{Body, Call, Decided, Decision, Entry, ParkedBy, Pin},
    ids::{RunId, StepKey},
};

/// Steps that are named in an error, at most.
const STEPS_TOLD_MAX: usize = 50;

/// How a step, or a turn of an agent, was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// The run.
    pub run: RunId,
    /// The definition it is pinned to.
    pub workflow: Pin,
    /// The step or turn.
    pub step: StepKey,
    /// What was decided, by branch; never empty.
    pub decisions: Vec<Chosen>,
    /// How often the run waited here before, oldest first.
    pub waits: Vec<Waited>,
    /// The Claude call behind it, as the journal has it.
    pub call: Option<Call>,
    /// What Claude was asked; `None` where it was not.
    pub prompt: Option<Prompt>,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// Its sequence.
    pub seq: u64,
    /// When, by its writer's clock.
    pub at: Timestamp,
    /// Which branch of a fan-out.
    pub branch: u32,
    /// What.
    pub decision: Decision,
    /// Why, in the model's words.
    pub reasoning: Option<String>,
    /// How sure the model says it was, 0 to 1.
    pub confidence: Option<f64>,
}

/// A wait before the decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waited {
    /// The sequence of the decision to wait.
    pub seq: u64,
    /// Since when.
    pub at: Timestamp,
    /// What kept it.
    pub by: ParkedBy,
    /// For people.
    pub why: String,
}

/// The prompt of a decision's first attempt, built again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// Whether it is the one that was sent.
    pub verdict: Verdict,
    /// For people: why it is not known, or what is different.
    pub why: Option<String>,
    /// SHA-256 (hex) of what was built now; the journal's is [`Call::prompt`].
    pub digest: Option<String>,
    /// What was built now.
    pub request: Option<Request>,
}

/// Whether a prompt that was built again is the one that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Byte for byte.
    Same,
    /// The definition is the one of that time, but what is built from it now is not what was sent.
    Differs,
    /// The definition of that time is not loaded.
    NotLoaded,
}

/// Why a decision cannot be explained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// The journal cannot be folded.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// Nothing was decided for this step or turn.
    #[error("nothing was decided for `{step}` in this run; there are decisions for {known}")]
    Undecided {
        /// What was asked for.
        step: StepKey,
        /// For people: what there is.
        known: String,
    },
    /// It waits at this step, and has decided nothing else for it yet.
    #[error("nothing was decided for `{step}` yet: {why}")]
    Waits {
        /// What was asked for.
        step: StepKey,
        /// For people.
        why: String,
    },
}

/// Explains what was decided for a step or turn. `workflow` gives a definition if it is loaded.
///
/// # Errors
/// [`ExplainError`].
pub fn explain(
    id: &RunId,
    entries: Vec<Entry>,
    step: &StepKey,
    workflow: impl FnOnce(&Pin) -> Option<Arc<Workflow>>,
) -> Result<Explained, ExplainError> {
    let mut decisions = Vec::new();
    let mut waits = Vec::new();
    let mut call = None;
    for (entry, decided) in links(&entries).filter(|(_, decided)| decided.step == *step) {
        if let Decision::Park { by, why, .. } = &decided.decision {
            waits.push(Waited {
                seq: entry.seq,
                at: entry.at,
                by: *by,
                why: why.clone(),
            });
            continue;
        }
        call = call.or_else(|| decided.call.clone());
        decisions.push(Chosen {
            seq: entry.seq,
            at: entry.at,
            branch: decided.branch,
            decision: decided.decision.clone(),
            reasoning: decided.reasoning.clone(),
            confidence: decided.confidence,
        });
    }
    let Some(first) = decisions.first() else {
        return Err(missing(step, &entries, waits.last()));
    };
    let run = Run::before(id, entries, first.seq)?;
    // Nothing is decided in a run that has not begun: it could not have been folded.
    let pin = run.begun.as_ref().map(|begun| begun.pin.clone());
    let pin = pin.ok_or_else(|| FoldError::Stale {
        run: id.clone(),
        seq: first.seq,
    })?;
    let prompt = call
        .as_ref()
        .map(|call| rebuilt(&run, &pin, step, call, workflow(&pin).as_deref()));
    Ok(Explained {
        run: id.clone(),
        workflow: pin,
        step: step.clone(),
        decisions,
        waits,
        call,
        prompt,
    })
}

fn links(entries: &[Entry]) -> impl Iterator<Item = (&Entry, &Decided)> {
    entries.iter().filter_map(|entry| match &entry.body {
        Body::Decided(decided) => Some((entry, decided.as_ref())),
        Body::Started(_) | Body::Resulted(_) | Body::Signalled(_) | Body::Fired(_) => None,
    })
}

fn missing(step: &StepKey, entries: &[Entry], wait: Option<&Waited>) -> ExplainError {
    if let Some(wait) = wait {
        return ExplainError::Waits {
            step: step.clone(),
            why: wait.why.clone(),
        };
    }
    let mut known: Vec<String> = links(entries)
        .filter(|(_, decided)| !matches!(decided.decision, Decision::Park { .. }))
        .map(|(_, decided)| decided.step.to_string())
        .collect();
    known.dedup();
    let more = known.len() > STEPS_TOLD_MAX;
    known.truncate(STEPS_TOLD_MAX);
    let known = match known.join(", ") {
        none if none.is_empty() => "none".to_owned(),
        all if more => format!("{all}, …"),
        all => all,
    };
    ExplainError::Undecided {
        step: step.clone(),
        known,
    }
}

/// The prompt of the state before the decision.
fn rebuilt(
    run: &Run,
    pin: &Pin,
    step: &StepKey,
    call: &Call,
    workflow: Option<&Workflow>,
) -> Prompt {
    let unknown = |verdict, why| Prompt {
        verdict,
        why: Some(why),
        digest: None,
        request: None,
    };
    let Some(workflow) = workflow else {
        let why = format!(
            "workflow {} version {} (digest {:.12}) is not loaded here",
            pin.name, pin.version, pin.digest
        );
        return unknown(Verdict::NotLoaded, why);
    };
    // It was asked, so its time was not up: as of its beginning it is not either.
    let now = run
        .begun
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |begun| begun.at);
    match run.next(workflow, now) {
        Next::Ask(asks, _) if asks.iter().any(|ask| ask.step == *step) => {
            let Some(ask) = asks.into_iter().find(|ask| ask.step == *step) else {
                return unknown(Verdict::Differs, "it is not asked".to_owned());
            };
            let digest = ask.prompt_digest();
            let (verdict, why) = if digest == call.prompt {
                (Verdict::Same, None)
            } else {
                let why = "what is built now is not what was sent: another version of flotilla, or another table of models";
                (Verdict::Differs, Some(why.to_owned()))
            };
            Prompt {
                verdict,
                why,
                digest: Some(digest),
                request: Some(ask.request),
            }
        }
        Next::Ask(..) | Next::Decide(_) | Next::Wait(_) | Next::Ended(_) => unknown(
            Verdict::Differs,
            "this version of flotilla would not ask Claude here".to_owned(),
        ),
    }
}
