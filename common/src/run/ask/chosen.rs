//! From what was picked to decisions: held to the confidence floor, and to people where the risk is high.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::{Ask, Wasted};
use crate::{
    definition::{Floor, Risk, Tool},
    entry::{Action, Answered, Attempt, Decision},
    ids::Slot,
    run::{
        Draft,
        check::{Choice, Expect, Picked},
        walk::asked,
    },
};

impl Ask {
    /// One draft for each choice; the first carries the call, which is paid once.
    pub(super) fn drafts(
        &self,
        picked: Picked,
        replies: &[Answered],
        attempts: Vec<Attempt>,
        now: Timestamp,
    ) -> Vec<Draft> {
        let Picked { first, others } = self.above_floor(picked);
        let draft = |(branch, choice): (u32, Choice)| Draft {
            step: self.step.clone(),
            branch,
            decision: choice.decision,
            reasoning: choice.reasoning,
            confidence: choice.confidence,
            call: None,
            left: Vec::new(),
        };
        let first = Draft {
            call: Some(self.call(replies, attempts, Wasted::default())),
            ..draft((0, first))
        };
        let others = (1..).zip(others).map(draft);
        let all = std::iter::once(first).chain(others);
        all.flat_map(|draft| self.held(draft, now)).collect()
    }

    /// An action of high risk becomes a question to a person.
    fn held(&self, draft: Draft, now: Timestamp) -> Vec<Draft> {
        let (Expect::Pick(menu), Some(asking)) = (&self.expect, &self.asking) else {
            return vec![draft];
        };
        let Decision::Act { tool, with, .. } = &draft.decision else {
            return vec![draft];
        };
        let is_risky = |one: &&Arc<Tool>| one.name == *tool && one.risk == Risk::High;
        let Some(risky) = menu.agent.tools.iter().find(is_risky) else {
            return vec![draft];
        };
        let slot = Slot {
            step: draft.step.clone(),
            branch: draft.branch,
        };
        let action = Action::new(risky, with.clone());
        let when = (&asking.run, asking.at.max(now));
        let mut drafts = asked(
            when,
            &asking.terms,
            &slot,
            Some(action),
            Value::Null,
            &asking.facts,
        );
        if let Some(first) = drafts.first_mut() {
            first.reasoning = draft.reasoning;
            first.confidence = draft.confidence;
            first.call = draft.call;
        }
        drafts
    }

    /// Below the confidence floor, the agent takes the end that its definition names instead of what it picked. Of several
    /// tools, the one that it is least sure of counts: they were picked together.
    fn above_floor(&self, picked: Picked) -> Picked {
        let floor = match &self.expect {
            Expect::Pick(menu) => menu.agent.floor.as_ref(),
            Expect::Text | Expect::Answer(_) | Expect::Review(_) => None,
        };
        let Some(floor) = floor else {
            return picked;
        };
        let sure = |choice: &Choice| choice.confidence.unwrap_or(0.0);
        let least = picked.others.iter().fold(&picked.first, |least, other| {
            if sure(other) < sure(least) {
                other
            } else {
                least
            }
        });
        let confidence = sure(least);
        let all = std::iter::once(&picked.first).chain(&picked.others);
        let wanted: Vec<String> = all
            .filter_map(|choice| wanted(&choice.decision, floor))
            .collect();
        if confidence >= floor.min || wanted.is_empty() {
            return picked;
        }
        let summary = format!(
            "confidence {confidence} is below {}: it wanted to {}",
            floor.min,
            wanted.join(", and to ")
        );
        Picked::from(Choice {
            decision: Decision::Finish {
                end: floor.below.clone(),
                summary,
            },
            ..least.clone()
        })
    }
}

/// What a decision below the floor would have done; `None` where it is what the floor leads to anyway.
fn wanted(decision: &Decision, floor: &Floor) -> Option<String> {
    if let Decision::Act { tool, with, .. } = decision {
        return Some(format!("use {tool} with {with}"));
    }
    if let Decision::Finish { end, summary } = decision
        && *end != floor.below
    {
        return Some(format!("end as `{end}`: {summary}"));
    }
    None
}
