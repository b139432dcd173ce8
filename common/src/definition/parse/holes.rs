//! Conditions, and what holes may name: only what will be there when their step runs.

use std::collections::BTreeSet;

use serde_saphyr::{Location, Spanned};

use super::{
    super::{template::Formula, words::nearest},
    Gives, Parser,
};
use crate::ids::Name;

const EVENT_FIELDS: [&str; 6] = ["id", "source", "type", "time", "subject", "data"];

impl Parser<'_, '_> {
    pub(super) fn condition(&mut self, given: &Spanned<String>) -> Option<Formula> {
        match Formula::compile(&given.value) {
            Ok(formula) => {
                self.check_paths(given.referenced, None, &formula.paths());
                Some(formula)
            }
            Err(error) => {
                let message = format!("the condition does not compile: {error}");
                self.report.at(given.referenced, message, None);
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

    fn path_problem(&self, path: &str) -> Option<(String, Option<String>)> {
        let mut parts = path.split('.');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("event" | "steps"), None, _) | (Some("run"), Some("id") | None, _) => None,
            (Some("event"), Some(field), _) if EVENT_FIELDS.contains(&field) => None,
            (Some("event"), Some(_), _) => {
                let known = EVENT_FIELDS.join(", ");
                Some((
                    format!("an event has {known}; its payload is under event.data"),
                    None,
                ))
            }
            (Some("steps"), Some(id), field) => self.step_problem(id, field),
            (Some("run"), Some(_), _) => Some(("a run has only its `id`".into(), None)),
            _ => Some(("there are only event, steps and run".into(), None)),
        }
    }

    fn step_problem(&self, id: &str, field: Option<&str>) -> Option<(String, Option<String>)> {
        let found = self.known.iter().find(|(known, _)| known.as_str() == id);
        let Some((_, gives)) = found else {
            let names: Vec<_> = self
                .known
                .iter()
                .map(|(name, _)| Name::as_str(name))
                .collect();
            let help = match (nearest(id, names.iter().copied()), names.is_empty()) {
                (Some(near), _) => Some(format!("did you mean `{near}`?")),
                (None, true) => None,
                (None, false) => Some(format!("before it are: {}", names.join(", "))),
            };
            return Some((format!("there is no step `{id}` before this one"), help));
        };
        let field = field?;
        let known = match gives {
            Gives::Unknown => return None,
            Gives::Text => {
                let help = "give that step an `output` schema";
                return Some((
                    format!("step `{id}` gives a text, which has no `{field}`"),
                    Some(help.into()),
                ));
            }
            Gives::Answer(schema) if schema.allows_property(field) => return None,
            Gives::Answer(schema) => schema.properties(),
            Gives::Fields(fields) if fields.contains(&field) => return None,
            Gives::Fields(fields) => fields.to_vec(),
        };
        let help = format!("it gives: {}", known.join(", "));
        Some((
            format!("what step `{id}` gives has no `{field}`"),
            Some(help),
        ))
    }
}
