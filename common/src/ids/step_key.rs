//! What a run does once: a step at a place, one turn of an agent, one action.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{IdError, Name, RunId};

/// Loops that can stand one in another: more is a mistake, and every key names them all.
const LOOPS_MAX: usize = 4;

/// Where a step stands: its id, and the item (from 0) of each `for_each` around it, outermost first. As text `fetch`, and
/// `fetch[3]` or `fetch[3][0]` within loops.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place {
    /// The step's id in the workflow.
    pub step: Name,
    /// The items of the loops around it.
    pub items: Vec<u32>,
}

impl Place {
    /// Outside of loops.
    #[must_use]
    pub fn top(step: &Name) -> Self {
        Self {
            step: step.clone(),
            items: Vec::new(),
        }
    }
}

/// What is done beside a step's own work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aside {
    /// Its effect is undone.
    Undo,
    /// A second model reviews an agent's turns so far.
    Review,
    /// Somebody is told that an approval waits.
    Notify,
}

impl Aside {
    const ALL: [Self; 3] = [Self::Undo, Self::Review, Self::Notify];

    fn as_str(self) -> &'static str {
        match self {
            Self::Undo => "undo",
            Self::Review => "review",
            Self::Notify => "notify",
        }
    }
}

/// One thing a run does once: a step (`severity`), a step within a loop (`fetch[3]`), a turn of an agent step (`triage/3`, turns
/// count from 1), each again (`fetch@1`, the first repetition), or something beside it (`triage/3!review`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepKey {
    /// The step's id in the workflow.
    pub step: Name,
    /// The items of the loops around it, as [`Place::items`].
    pub items: Vec<u32>,
    /// How often the step was begun anew before; 0 the first time.
    pub again: u32,
    /// The agent's turn, from 1; `None` for every other kind of step.
    pub turn: Option<u32>,
    /// What beside the step's own work it is.
    pub aside: Option<Aside>,
}

impl StepKey {
    /// The key of a step that is done once, outside of loops.
    #[must_use]
    pub fn step(step: &Name) -> Self {
        Self {
            step: step.clone(),
            items: Vec::new(),
            again: 0,
            turn: None,
            aside: None,
        }
    }

    /// The key of an agent's turn (from 1), outside of loops.
    #[must_use]
    pub fn turn(step: &Name, turn: u32) -> Self {
        Self::step(step).at_turn(turn)
    }

    /// The key of a place, begun anew so often.
    #[must_use]
    pub fn at(place: &Place, again: u32) -> Self {
        Self {
            items: place.items.clone(),
            again,
            ..Self::step(&place.step)
        }
    }

    /// The key of this step's turn (from 1).
    #[must_use]
    pub fn at_turn(mut self, turn: u32) -> Self {
        self.turn = Some(turn);
        self
    }

    /// The key of something beside this.
    #[must_use]
    pub fn beside(mut self, aside: Aside) -> Self {
        self.aside = Some(aside);
        self
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            step: self.step.clone(),
            items: self.items.clone(),
        }
    }

    /// The key without brackets (`fetch~3@1.2.undo`), for Redis keys and idempotency keys: a name has none of these marks, so
    /// that no two keys are the same token.
    #[must_use]
    pub fn token(&self) -> String {
        use fmt::Write as _;
        let mut token = self.step.to_string();
        // Writing to a String cannot fail.
        for item in &self.items {
            let _ = write!(token, "~{item}");
        }
        if self.again > 0 {
            let _ = write!(token, "@{}", self.again);
        }
        if let Some(turn) = self.turn {
            let _ = write!(token, ".{turn}");
        }
        if let Some(aside) = self.aside {
            let _ = write!(token, ".{}", aside.as_str());
        }
        token
    }
}

fn write_place(f: &mut impl fmt::Write, step: &Name, items: &[u32]) -> fmt::Result {
    f.write_str(step.as_str())?;
    items.iter().try_for_each(|item| write!(f, "[{item}]"))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, &self.step, &self.items)
    }
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        write_place(&mut text, &self.step, &self.items)?;
        if self.again > 0 {
            text += &format!("@{}", self.again);
        }
        if let Some(turn) = self.turn {
            text += &format!("/{turn}");
        }
        if let Some(aside) = self.aside {
            text += &format!("!{}", aside.as_str());
        }
        f.pad(&text)
    }
}

/// One spelling per number: `+3` and `03` parse as numbers but would be other keys.
fn number(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

impl FromStr for Place {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || {
            IdError::new(
                text,
                "a place: a step's id, with [item] for each loop around it",
            )
        };
        let (step, items) = match text.find('[') {
            None => (text, ""),
            Some(at) => text.split_at(at),
        };
        let mut found = Vec::new();
        let mut rest = items;
        while !rest.is_empty() {
            let inner = rest.strip_prefix('[').ok_or_else(wrong)?;
            let (item, after) = inner.split_once(']').ok_or_else(wrong)?;
            found.push(number(item).ok_or_else(wrong)?);
            rest = after;
        }
        if found.len() > LOOPS_MAX {
            return Err(wrong());
        }
        Ok(Self {
            step: step.parse()?,
            items: found,
        })
    }
}

impl FromStr for StepKey {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || {
            IdError::new(
                text,
                "a step key: a step's id, or id/turn, with [item], @repetition or !undo where they are",
            )
        };
        let counted = |text: &str| number(text).filter(|n| *n > 0).ok_or_else(wrong);
        let (rest, aside) = match text.split_once('!') {
            None => (text, None),
            Some((rest, word)) => {
                let found = Aside::ALL.into_iter().find(|one| one.as_str() == word);
                (rest, Some(found.ok_or_else(wrong)?))
            }
        };
        let (rest, turn) = match rest.split_once('/') {
            None => (rest, None),
            Some((rest, turn)) => (rest, Some(counted(turn)?)),
        };
        let (place, again) = match rest.split_once('@') {
            None => (rest, 0),
            Some((rest, again)) => (rest, counted(again)?),
        };
        let Place { step, items } = place.parse()?;
        Ok(Self {
            step,
            items,
            again,
            turn,
            aside,
        })
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"{self}\"")
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(key: $name) -> Self {
                key.to_string()
            }
        }
    )*};
}

as_text!(Place, StepKey, Slot);

/// One action of a run: its step key, and its branch within a fan-out (0 where there is one action only). As text `triage/3`,
/// and `triage/3#1` for another branch than the first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slot {
    /// The step or agent turn.
    pub step: StepKey,
    /// The branch, from 0.
    pub branch: u32,
}

impl Slot {
    /// The idempotency key of this action's effect: from run, step and branch, never from the attempt, never by the model.
    #[must_use]
    pub fn idempotency_key(&self, run: &RunId) -> String {
        format!("{run}.{}.{}", self.step.token(), self.branch)
    }
}

impl FromStr for Slot {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::new(text, "an action: a step key, or step key#branch");
        let (step, branch) = match text.split_once('#') {
            None => (text, 0),
            Some((step, branch)) => {
                let branch = number(branch).filter(|branch| *branch > 0);
                (step, branch.ok_or_else(wrong)?)
            }
        };
        Ok(Self {
            step: step.parse()?,
            branch,
        })
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.branch == 0 {
            self.step.fmt(f)
        } else {
            write!(f, "{}#{}", self.step, self.branch)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_step_key_has_one_spelling() {
        for text in [
            "triage",
            "triage/3",
            "fetch[0]",
            "fetch[3][12]@2/4!review",
            "book!undo",
        ] {
            assert_eq!(
                text.parse::<StepKey>().map(|k| k.to_string()),
                Ok(text.to_owned())
            );
        }
        for bad in [
            "triage/0",
            "triage/03",
            "triage/+3",
            "triage/",
            "/1",
            "a/1/2",
            "a[",
            "a[]",
            "a[03]",
            "a]0[",
            "a[1]b",
            "a@0",
            "a@",
            "a!",
            "a!redo",
            "a/1@2",
            "a!undo/1",
            "a[1][1][1][1][1]",
        ] {
            assert!(bad.parse::<StepKey>().is_err(), "{bad}");
        }
    }

    fn keys() -> impl Strategy<Value = StepKey> {
        (
            "[a-c_-]{1,3}[0-9]?",
            prop::collection::vec(0..12_u32, 0..3),
            0..3_u32,
            prop::option::of(1..30_u32),
            prop::option::of(prop::sample::select(Aside::ALL.to_vec())),
        )
            .prop_filter_map("a name", |(step, items, again, turn, aside)| {
                let step = step.parse().ok()?;
                Some(StepKey {
                    step,
                    items,
                    again,
                    turn,
                    aside,
                })
            })
    }

    proptest! {
        #[test]
        fn two_keys_have_two_texts_and_two_tokens_and_read_back(one in keys(), other in keys()) {
            prop_assert_eq!(one.to_string().parse::<StepKey>().ok(), Some(one.clone()));
            prop_assert_eq!(one == other, one.to_string() == other.to_string());
            prop_assert_eq!(one == other, one.token() == other.token());
        }
    }
}
