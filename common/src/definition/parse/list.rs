//! Lists of steps, and what all kinds of steps have in common.

use std::time::Duration;

use super::{
    super::{
        step::{OnError, Retry, Step},
        yaml::{KindYaml, RetryYaml, StepYaml},
    },
    Parser,
    scope::{Gives, Known},
    ways::At,
};

/// Repetitions of a step.
const RETRIES_MAX: u32 = 20;
const PAUSE: Duration = Duration::from_secs(1);
/// Keys that only a `tool` has.
const OF_TOOLS: [&str; 3] = ["with", "compensate", "approve"];

impl Parser<'_, '_> {
    /// Steps one after the other.
    pub(super) fn list(&mut self, list: &[StepYaml]) -> Vec<Step> {
        let indices = 0..list.len();
        let steps = indices.filter_map(|index| self.step(At { list, index }));
        let steps = steps.collect();
        self.check_reached(list);
        steps
    }

    /// Compiles a step; from then on it can be named.
    pub(super) fn step(&mut self, at: At<'_>) -> Option<Step> {
        let yaml = at.step()?;
        let (kind, within) = match self.one_kind(yaml) {
            Some(kind) => {
                self.check_keys(yaml, kind);
                self.kind(at, kind)
            }
            None => (None, Vec::new()),
        };
        let gives = kind
            .as_ref()
            .map_or(Gives::Unknown, |kind| Gives::of(kind, within));
        self.scope.known.push(Known::new(yaml, gives));
        let then = yaml.then.as_ref().and_then(|then| self.target(at, then));
        let timeout = yaml.timeout.as_ref();
        let timeout = timeout.and_then(|given| self.span("timeout", given));
        let retry = yaml
            .retry
            .as_ref()
            .and_then(|given| self.retry(&given.value));
        let step = Step {
            id: yaml.id.value.clone(),
            kind: kind?,
            then,
            timeout,
            retry,
            on_error: yaml
                .on_error
                .as_ref()
                .map(|given| given.value)
                .unwrap_or_default(),
            off: None,
        };
        self.check_undoing(yaml, &step);
        Some(step)
    }

    /// The one thing that a step does.
    fn one_kind<'y>(&mut self, yaml: &'y StepYaml) -> Option<KindYaml<'y>> {
        let id = &yaml.id;
        let listed = |keys: &[&str]| match keys {
            [first @ .., last] => {
                let first: Vec<_> = first.iter().map(|key| format!("`{key}`")).collect();
                format!("{} and `{last}`", first.join(", "))
            }
            [] => String::new(),
        };
        match yaml.kinds().as_slice() {
            [kind] => Some(*kind),
            [] => {
                let message = format!("step `{}` does nothing", id.value);
                let help = format!("give it one of {}", listed(&KindYaml::KEYS));
                self.report.at(id.referenced, message, Some(&help));
                None
            }
            several => {
                let message = format!("step `{}` does more than one thing", id.value);
                let keys: Vec<_> = several.iter().map(KindYaml::key).collect();
                let keep = listed(&keys);
                let help = format!("keep one of {keep}; make the others steps of their own");
                self.report.at(id.referenced, message, Some(&help));
                None
            }
        }
    }

    /// Notes keys that mean nothing for this kind of step.
    fn check_keys(&mut self, yaml: &StepYaml, kind: KindYaml<'_>) {
        let (id, is_tool) = (&yaml.id.value, matches!(kind, KindYaml::Tool(_)));
        for (key, place) in yaml.beside() {
            if OF_TOOLS.contains(&key) && !is_tool {
                let message = format!("`{key}` belongs to a `tool`, and step `{id}` has none");
                self.report.at(place, message, None);
            } else if kind.refuses().contains(&key) {
                let message = format!("`{key}` means nothing for a step with `{}`", kind.key());
                self.report.at(place, message, Some("take it out"));
            }
        }
        if let (KindYaml::Switch(cases), Some(then)) = (kind, &yaml.then) {
            let mut cases = cases.value.iter();
            if cases.any(|case| case.value.otherwise.is_some()) {
                let message = "this is never taken: the `else` always leads elsewhere";
                self.report
                    .at(then.referenced, message, Some("keep one of them"));
            }
        }
    }

    fn retry(&mut self, yaml: &RetryYaml) -> Option<Retry> {
        self.within("retry.times", Some(&yaml.times), RETRIES_MAX);
        let pause = yaml.pause.as_ref();
        let pause = pause.map_or(Some(PAUSE), |given| self.span("retry.pause", given));
        Some(Retry {
            times: yaml.times.value,
            pause: pause?,
        })
    }

    /// What is to be undone must be undoable.
    fn check_undoing(&mut self, yaml: &StepYaml, step: &Step) {
        if let Some(given) = &yaml.on_error
            && step.on_error == OnError::Compensate
            && !self.can_be_undone(std::slice::from_ref(step))
        {
            self.report
                .at(given.referenced, UNDONE_BY_NOTHING, Some(UNDO_HELP));
        }
    }

    /// Whether something that these steps do has a tool that undoes it; also where something in them is wrong, and nobody knows.
    pub(super) fn can_be_undone(&self, steps: &[Step]) -> bool {
        let undoable = |step: &Step| !step.ways_back().is_empty();
        let whole = self.report.problems.is_empty() && !self.tool_was_wrong;
        !whole || steps.iter().flat_map(Step::tree).any(undoable)
    }
}

pub(super) const UNDONE_BY_NOTHING: &str =
    "nothing here says how it is undone; give a tool `compensate`";
pub(super) const UNDO_HELP: &str =
    "in the tools' file `compensate: {tool: …, with: …}`, or so beside a step's `tool`";
