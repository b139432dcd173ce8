//! What was recorded beside what was decided when Claude was asked again.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::{super::Draft, observe::refusal};
use crate::{
    entry::{Call, Decided, Decision},
    ids::Aside,
};

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// What was decided, by branch: uses of tools as such, also where a person must allow them.
    pub decisions: Vec<Decision>,
    /// Why, in the model's words, by branch.
    pub reasoning: Vec<String>,
    /// Why the checks took no reply; `None` where they took one.
    pub refused: Option<String>,
    /// A text was asked for, and nothing of another shape.
    pub is_text: bool,
}

/// How two sides differ, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// Not at all.
    Same,
    /// Only in texts that nothing but people and models read: a text step's answer, reasoning, a summary, advice.
    Words,
    /// The same tools with other parameters.
    Parameters,
    /// Another answer of a step with a shape, or another verdict of a review.
    Answer,
    /// Another tool, more or fewer of them, or another end.
    Choice,
    /// What was taken then is refused by the checks now.
    Refused,
}

impl Difference {
    /// All of them, the worst last.
    pub const ALL: [Self; 6] = [
        Self::Same,
        Self::Words,
        Self::Parameters,
        Self::Answer,
        Self::Choice,
        Self::Refused,
    ];

    /// Whether the run could have gone another way because of it.
    #[must_use]
    pub fn counts(self) -> bool {
        match self {
            Self::Same | Self::Words => false,
            Self::Parameters | Self::Answer | Self::Choice | Self::Refused => true,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Same => "same",
            Self::Words => "other words only",
            Self::Parameters => "other parameters",
            Self::Answer => "other answer",
            Self::Choice => "other tool or end",
            Self::Refused => "refused by the checks",
        })
    }
}

impl Side {
    /// What the journal has: the decisions of one reply, the first with its call.
    pub(super) fn recorded(all: &[&Decided], call: &Call) -> Self {
        let decided = all.iter();
        Self::of(
            decided.map(|one| (&one.decision, one.reasoning.as_deref())),
            call,
        )
    }

    /// What would be decided now; `None` where Claude was not asked for it.
    #[must_use]
    pub fn new(drafts: &[Draft]) -> Option<Self> {
        let call = drafts.iter().find_map(|draft| draft.call.as_ref())?;
        let own = drafts.iter();
        let own = own.filter(|draft| draft.step.aside != Some(Aside::Notify));
        let decided = own.map(|draft| (&draft.decision, draft.reasoning.as_deref()));
        Some(Self::of(decided, call))
    }

    fn of<'a>(decided: impl Iterator<Item = (&'a Decision, Option<&'a str>)>, call: &Call) -> Self {
        let (decisions, reasoning): (Vec<&Decision>, Vec<Option<&str>>) = decided.unzip();
        let first = decisions.first();
        let refused = first.and_then(|first| refusal(first, call));
        Self {
            decisions: decisions.into_iter().map(plain).collect(),
            reasoning: reasoning.into_iter().flatten().map(str::to_owned).collect(),
            refused: refused.map(|(_, why)| why),
            is_text: call.menu.is_empty(),
        }
    }
}

/// An action that a person must allow is the action.
fn plain(decision: &Decision) -> Decision {
    let asked = if let Decision::Approve(approve) = decision {
        approve.action.clone()
    } else {
        None
    };
    match asked {
        Some(action) => Decision::Act {
            tool: action.tool,
            version: action.version,
            with: action.with,
        },
        None => decision.clone(),
    }
}

/// How what is decided now differs from what was recorded.
#[must_use]
pub fn compare(recorded: &Side, now: &Side) -> Difference {
    let decided = match (&recorded.refused, &now.refused) {
        (Some(_), Some(_)) => return Difference::Same,
        (None, Some(_)) => return Difference::Refused,
        (Some(_), None) => other(now),
        (None, None) => decisions(recorded, now),
    };
    if decided == Difference::Same {
        in_words(reasons(recorded) == reasons(now))
    } else {
        decided
    }
}

/// In a fixed order, as [`uses`].
fn reasons(side: &Side) -> Vec<&str> {
    let mut reasons: Vec<&str> = side.reasoning.iter().map(String::as_str).collect();
    reasons.sort_unstable();
    reasons
}

fn decisions(recorded: &Side, now: &Side) -> Difference {
    if let (Some(then), Some(now)) = (uses(recorded), uses(now)) {
        let names = |uses: &[(String, String)]| -> Vec<String> {
            uses.iter().map(|(tool, _)| tool.clone()).collect()
        };
        return if then == now {
            Difference::Same
        } else if names(&then) == names(&now) {
            Difference::Parameters
        } else {
            Difference::Choice
        };
    }
    match (recorded.decisions.first(), now.decisions.first()) {
        (
            Some(Decision::Finish { end, summary }),
            Some(Decision::Finish {
                end: now,
                summary: words,
            }),
        ) if end == now => in_words(summary == words),
        (
            Some(Decision::Review { verdict, advice }),
            Some(Decision::Review {
                verdict: now,
                advice: words,
            }),
        ) if verdict == now => in_words(advice == words),
        (Some(Decision::Answer { output }), Some(Decision::Answer { output: other })) => {
            match (output == other, recorded.is_text && now.is_text) {
                (true, _) => Difference::Same,
                (false, true) => Difference::Words,
                (false, false) => Difference::Answer,
            }
        }
        _ => other(now),
    }
}

fn in_words(same: bool) -> Difference {
    if same {
        Difference::Same
    } else {
        Difference::Words
    }
}

/// Something else altogether, as what is decided now names it.
fn other(now: &Side) -> Difference {
    match now.decisions.first() {
        Some(Decision::Answer { .. } | Decision::Review { .. }) => Difference::Answer,
        Some(_) | None => Difference::Choice,
    }
}

/// The uses of tools in a fixed order, if there is nothing else: those of one reply are done at the same time.
fn uses(side: &Side) -> Option<Vec<(String, String)>> {
    let uses = side.decisions.iter().map(|decision| {
        if let Decision::Act {
            tool,
            version,
            with,
        } = decision
        {
            Some((format!("{tool}@{version}"), canonical(with)))
        } else {
            None
        }
    });
    let mut uses: Vec<_> = uses.collect::<Option<_>>()?;
    uses.sort();
    (!uses.is_empty()).then_some(uses)
}

/// One text per value, whatever order its keys come in.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            let fields = fields
                .into_iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            let items = items.iter().map(canonical);
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
