//! Conditions, and what holes may name: only what will be there when their step runs.

use std::collections::BTreeSet;

use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use super::{
    super::{
        template::{Formula, Shape, whole},
        words::nearest,
    },
    Parser,
    nesting::Container,
    scope::{Gives, Known},
};

const EVENT_FIELDS: [&str; 6] = ["id", "source", "type", "time", "subject", "data"];
/// What there is at every place.
pub(super) const EVERYWHERE: [&str; 3] = ["event", "steps", "run"];

/// What is wrong, and what to do.
type Wrong = Option<(String, Option<String>)>;

impl Parser<'_, '_> {
    pub(super) fn condition(&mut self, given: &Spanned<String>) -> Option<Formula> {
        self.formula("the condition", given, &given.value)
    }

    /// One expression, with or without `{{ }}` around it.
    pub(super) fn expression(&mut self, what: &str, given: &Spanned<String>) -> Option<Formula> {
        let inner = whole(&given.value);
        if inner.is_none() && given.value.contains("{{") {
            let message = format!("`{what}` must be one expression, with nothing around it");
            let help = "write it so: `{{ event.data.x }}`";
            self.report.at(given.referenced, message, Some(help));
            return None;
        }
        self.formula(&format!("`{what}`"), given, inner.unwrap_or(&given.value))
    }

    fn formula(&mut self, what: &str, given: &Spanned<String>, text: &str) -> Option<Formula> {
        match Formula::compile(text) {
            Ok(formula) => {
                self.check_paths(given.referenced, None, &formula.paths());
                Some(formula)
            }
            Err(error) => {
                let message = format!("{what} does not compile: {error}");
                self.report.at(given.referenced, message, None);
                None
            }
        }
    }

    /// JSON with holes.
    pub(super) fn shape(&mut self, what: &str, place: Location, value: &Value) -> Option<Shape> {
        match Shape::compile(value) {
            Ok(shape) => {
                self.check_paths(place, None, &shape.paths());
                Some(shape)
            }
            Err(error) => {
                let message = format!("`{what}` does not compile: {error}");
                self.report.at(place, message, None);
                None
            }
        }
    }

    /// Every path must exist when its step runs: only steps before it, only what they can give. `file` is where the holes are if
    /// that is not the definition itself.
    pub(super) fn check_paths(
        &mut self,
        place: Location,
        file: Option<&str>,
        paths: &BTreeSet<String>,
    ) {
        for path in paths {
            if let Some((problem, help)) = self.path_problem(path) {
                let file = file.map(|file| format!("{file}: ")).unwrap_or_default();
                self.report
                    .at(place, format!("{file}`{path}`: {problem}"), help.as_deref());
            }
        }
    }

    fn path_problem(&self, path: &str) -> Wrong {
        let parts: Vec<&str> = path.split('.').collect();
        match parts.as_slice() {
            ["event" | "steps" | "run"] | ["run", "id", ..] => None,
            ["event", field, ..] if EVENT_FIELDS.contains(field) => None,
            ["event", ..] => {
                let known = EVENT_FIELDS.join(", ");
                Some((
                    format!("an event has {known}; its payload is under event.data"),
                    None,
                ))
            }
            ["steps", id, rest @ ..] => self.step_problem(id, rest),
            ["run", ..] => Some(("a run has only its `id`".into(), None)),
            [name, rest @ ..] => {
                let mut more = self.scope.more.iter().rev();
                match more.find(|(known, _)| known == name) {
                    Some((_, gives)) => missing(&format!("`{name}`"), gives, rest),
                    None => Some((format!("there are only {}", self.roots()), None)),
                }
            }
            [] => None,
        }
    }

    /// What a path can begin with here.
    fn roots(&self) -> String {
        let more = self.scope.more.iter().map(|(name, _)| name.as_str());
        let mut roots: Vec<&str> = Vec::new();
        for root in EVERYWHERE.into_iter().chain(more) {
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        let last = roots.pop().unwrap_or_default();
        format!("{} and {last}", roots.join(", "))
    }

    fn step_problem(&self, id: &str, rest: &[&str]) -> Wrong {
        if let Some(known) = self
            .scope
            .known
            .iter()
            .find(|known| known.id.as_str() == id)
        {
            return known.missing(rest);
        }
        let names = self.scope.known.iter().filter(|known| known.can_be_named());
        let names: Vec<_> = names.map(|known| known.id.as_str()).collect();
        let help = match (nearest(id, names.iter().copied()), names.is_empty()) {
            (Some(near), _) => Some(format!("did you mean `{near}`?")),
            (None, true) => None,
            (None, false) => Some(format!("before it are: {}", names.join(", "))),
        };
        let message = format!("there is no step `{id}` before this one");
        Some(self.hidden(id).unwrap_or((message, help)))
    }

    /// Why a step of the workflow cannot be named here, where it is not just that it comes later.
    fn hidden(&self, id: &str) -> Option<(String, Option<String>)> {
        let (_, around) = self.places.iter().find(|(place, _)| place.as_str() == id)?;
        let visible = |one: &Container| self.scope.known.iter().any(|known| known.id == one.id);
        if let Some(outer) = around.iter().position(visible) {
            let mut path = "steps".to_owned();
            for one in around.iter().skip(outer) {
                let item = if one.key == "for_each" { "[0]" } else { "" };
                path += &format!(".{}{item}", one.id);
            }
            let within = around
                .get(outer)
                .map(|one| one.id.as_str())
                .unwrap_or_default();
            let help = format!("name it so: `{path}.{id}`");
            return Some((format!("step `{id}` is within step `{within}`"), Some(help)));
        }
        let both = around.iter().zip(&self.around);
        let shared = both.take_while(|(one, other)| one.id == other.id).last();
        let beside = shared.is_some_and(|(one, _)| one.key == "parallel");
        let message = format!("step `{id}` is done side by side with this one");
        beside.then_some((
            message,
            Some("move what needs it behind the `parallel`".into()),
        ))
    }
}

impl Known {
    fn can_be_named(&self) -> bool {
        !matches!(self.gives, Gives::Nothing)
    }

    /// What is wrong with naming this of it.
    fn missing(&self, rest: &[&str]) -> Wrong {
        if self.may_fail && matches!(rest.first(), Some(&("ok" | "error"))) {
            return None;
        }
        missing(&format!("step `{}`", self.id), &self.gives, rest)
    }
}

/// What is wrong with naming `rest` of what `what` gives.
fn missing(what: &str, gives: &Gives, rest: &[&str]) -> Wrong {
    if matches!(gives, Gives::Nothing) {
        return Some((format!("{what} gives nothing that could be named"), None));
    }
    let [field, deeper @ ..] = rest else {
        return None;
    };
    let known = match gives {
        Gives::Unknown | Gives::Nothing => return None,
        Gives::Text => {
            let help = "give that step an `output` schema";
            return Some((
                format!("{what} gives a text, which has no `{field}`"),
                Some(help.into()),
            ));
        }
        Gives::Number => return Some((format!("{what} is a number and has no `{field}`"), None)),
        Gives::List => {
            let help =
                format!("take one item of it, as in `[0].{field}`, or go through it with a loop");
            return Some((
                format!("{what} gives a list, one item for each time, which has no `{field}`"),
                Some(help),
            ));
        }
        Gives::Steps(steps) => {
            if let Some(step) = steps.iter().find(|step| step.id.as_str() == *field) {
                return step.missing(deeper);
            }
            steps
                .iter()
                .filter(|step| step.can_be_named())
                .map(|step| step.id.as_str())
                .collect()
        }
        Gives::Answer(schema) if schema.allows_property(field) => return None,
        Gives::Answer(schema) => schema.properties(),
        Gives::Fields(fields) if fields.contains(field) => return None,
        Gives::Fields(fields) => fields.to_vec(),
    };
    let (whole, verb) = match what.strip_prefix("step ") {
        Some(_) => (format!("what {what} gives"), "gives"),
        None => (what.to_owned(), "has"),
    };
    let help = format!("it {verb}: {}", known.join(", "));
    Some((format!("{whole} has no `{field}`"), Some(help)))
}
