//! The decisions that are asked again, and what came of each.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use flotilla_common::{
    claude::Model,
    definition::Workflow,
    entry::Pin,
    ids::{Name, RunId, StepKey},
    money::Usd,
    run::{Ask, Difference, Observation, Side, compare, observations, question},
};
use flotilla_planner::{Alone, Purse};

use super::{
    definitions::{OfFleet, OfFolder},
    journal::{Journal, Unreadable},
};
use crate::client::Client;

/// How the questions are asked again.
#[derive(Debug)]
pub(super) struct Candidate {
    /// The runs' own definitions.
    pub(super) own: OfFleet,
    /// The ones that are tried in their place.
    pub(super) other: Option<OfFolder>,
    /// The model in place of each step's.
    pub(super) model: Option<Model>,
    /// Only this step.
    pub(super) step: Option<Name>,
}

/// A decision that Claude took.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) run: RunId,
    pub(super) workflow: Name,
    pub(super) version: u32,
    pub(super) observation: Observation,
    /// The question, or why it cannot be asked.
    pub(super) ask: Result<Box<Ask>, String>,
}

/// What came of asking again.
#[derive(Debug)]
pub(super) struct Compared {
    pub(super) now: Side,
    pub(super) difference: Difference,
    pub(super) usd: Usd,
    pub(super) took_ms: u64,
}

/// A case, and what came of it: or why nothing did.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) case: Case,
    pub(super) compared: Result<Compared, String>,
    /// What was paid for it, whatever came of it.
    pub(super) paid: Usd,
}

impl Candidate {
    async fn definition(
        &self,
        client: &Client,
        run: &RunId,
        pin: &Pin,
    ) -> Result<Arc<Workflow>, String> {
        let Some(other) = &self.other else {
            return self.own.of_run(client, run, pin).await;
        };
        let newest = other.newest(&pin.name).map(Arc::clone);
        newest.ok_or_else(|| format!("the candidate has no workflow `{}`", pin.name))
    }

    /// The decisions of a run, at most so many.
    pub(super) async fn cases(
        &self,
        client: &Client,
        run: &RunId,
        most: usize,
    ) -> anyhow::Result<Vec<Case>> {
        let Some(raws) = client.journal(run).await? else {
            return Ok(Vec::new());
        };
        let journal = Journal::of(&raws);
        if let Some(Unreadable { seq, why, .. }) = journal.fault() {
            bail!("entry {seq} of {run} cannot be read: {why}");
        }
        let pin = journal.pin().cloned();
        let pin = pin.with_context(|| format!("the journal of {run} has no `started`"))?;
        let definition = self.definition(client, run, &pin).await;
        let mut cases = Vec::new();
        observations(run, journal.entries, |before, observation| {
            let wanted = self.step.as_ref();
            if wanted.is_some_and(|step| *step != observation.step.step) || cases.len() >= most {
                return;
            }
            let ask = definition
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|workflow| {
                    question(before, &observation, workflow, self.model.as_ref())
                        .map(Box::new)
                        .map_err(|unreachable| unreachable.to_string())
                });
            cases.push(Case {
                run: run.clone(),
                workflow: pin.name.clone(),
                version: pin.version,
                observation,
                ask,
            });
        })?;
        Ok(cases)
    }
}

impl Case {
    /// The most that asking it again can cost.
    pub(super) fn worst(&self, alone: &Alone) -> Usd {
        self.ask
            .as_ref()
            .map_or_else(|_| Usd::default(), |ask| alone.worst(ask))
    }

    /// Whether it is asked with the very prompt that was sent.
    pub(super) fn has_same_prompt(&self) -> bool {
        let asked = self.ask.as_ref();
        asked.is_ok_and(|ask| ask.prompt_digest() == self.observation.call.prompt)
    }

    /// As `explain` names it.
    pub(super) fn told_as(&self) -> &StepKey {
        &self.observation.decided
    }

    /// Asks it again.
    pub(super) async fn ask(self, alone: &Alone, purse: &Purse) -> Tried {
        let ask = match &self.ask {
            Ok(ask) => ask,
            Err(why) => {
                return Tried {
                    compared: Err(why.clone()),
                    paid: Usd::default(),
                    case: self,
                };
            }
        };
        let asked = alone.ask(ask, purse).await;
        let now = asked.drafts.and_then(|drafts| {
            let side = Side::new(&drafts);
            side.ok_or_else(|| "Claude gave no reply".to_owned())
        });
        let compared = now.map(|now| Compared {
            difference: compare(&self.observation.recorded, &now),
            now,
            usd: asked.usd,
            took_ms: asked.took_ms,
        });
        Tried {
            compared,
            paid: asked.usd,
            case: self,
        }
    }
}
