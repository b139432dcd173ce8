//! What holes can see at a place: the steps before it, what belongs to the loops around it, and what only it has.

use super::{
    super::{
        schema::Schema,
        step::{OnError, Step, StepKind},
        yaml::StepYaml,
    },
    Parser,
};
use crate::ids::Name;

/// What can be named at a place.
#[derive(Default)]
pub(super) struct Scope {
    /// Steps before it, in its own list and those around it.
    pub(super) known: Vec<Known>,
    /// What there is besides `event`, `steps` and `run`.
    pub(super) more: Vec<(String, Gives)>,
}

/// A step that can be named.
pub(super) struct Known {
    pub(super) id: Name,
    pub(super) gives: Gives,
    /// It may have failed and the run gone on: what it gives may be `ok` and `error` instead.
    pub(super) may_fail: bool,
}

/// What later steps can name of a step.
pub(super) enum Gives {
    /// A text: nothing within.
    Text,
    /// A whole number: nothing within.
    Number,
    /// An answer of this shape.
    Answer(Schema),
    /// Always these fields.
    Fields(&'static [&'static str]),
    /// What each of these steps gives, by its id.
    Steps(Vec<Known>),
    /// A list: for each item, what each of these steps gives.
    List,
    /// Nothing at all: it cannot be named.
    Nothing,
    /// Nobody knows: it comes from outside, or the step is wrong.
    Unknown,
}

impl Gives {
    pub(super) const TOOL: Self = Self::Fields(&["ok", "output", "error"]);
    pub(super) const AGENT: Self = Self::Fields(&["end", "summary"]);
    pub(super) const APPROVAL: Self = Self::Fields(&["approved", "by", "reason", "with"]);
    pub(super) const RUN: Self = Self::Fields(&["ok", "output", "error", "outcome", "run"]);
    /// What whoever is told of a waiting approval can be told.
    pub(super) const WAITING: Self = Self::Fields(&["step", "hash", "show", "until"]);
    /// What a run that fails knows of it.
    pub(super) const FAILURE: Self = Self::Fields(&["outcome", "reason"]);

    /// What a step of this kind gives; a `parallel`'s and a group's steps are in `within`.
    pub(super) fn of(kind: &StepKind, within: Vec<Known>) -> Self {
        match kind {
            StepKind::Claude(claude) => claude.output.clone().map_or(Self::Text, Self::Answer),
            StepKind::Tool(_) => Self::TOOL,
            StepKind::Agent(_) => Self::AGENT,
            StepKind::Parallel(_) | StepKind::Steps(_) => Self::Steps(within),
            StepKind::Each(_) => Self::List,
            StepKind::Approval(_) => Self::APPROVAL,
            StepKind::Run(_) => Self::RUN,
            StepKind::Switch(_) | StepKind::Sleep(_) | StepKind::End(_) => Self::Nothing,
        }
    }
}

impl Known {
    pub(super) fn new(yaml: &StepYaml, gives: Gives) -> Self {
        let on_error = yaml.on_error.as_ref().map(|given| given.value);
        Self {
            id: yaml.id.value.clone(),
            gives,
            may_fail: on_error.is_some_and(|on_error| on_error != OnError::Fail),
        }
    }
}

impl Parser<'_, '_> {
    /// Whatever is compiled in here sees these too.
    pub(super) fn seeing<T, const N: usize>(
        &mut self,
        more: [(&str, Gives); N],
        compile: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let before = self.scope.more.len();
        let more = more.map(|(name, gives)| (name.to_owned(), gives));
        self.scope.more.extend(more);
        let compiled = compile(self);
        self.scope.more.truncate(before);
        compiled
    }

    /// A list within a step: it sees what is before that step, and nobody outside sees its steps by their own ids. They come with it.
    pub(super) fn inner(
        &mut self,
        compile: impl FnOnce(&mut Self) -> Vec<Step>,
    ) -> (Vec<Step>, Vec<Known>) {
        let before = self.scope.known.len();
        let steps = compile(self);
        (steps, self.scope.known.split_off(before))
    }
}
