//! Steps within steps: their ids, how many there are, how deep they stand.

use super::{
    super::yaml::{KindYaml, StepYaml},
    Parser,
};
use crate::ids::Name;

/// Steps of one workflow: more than anybody can follow.
const STEPS_IN_ALL_MAX: usize = 500;
/// Containers one in another.
const DEPTH_MAX: usize = 8;
/// Loops one in another; a key of the journal names the item of each.
const LOOPS_MAX: usize = 3;
/// Where a list ends, as a target.
pub(super) const END: &str = "end";

/// A step with steps in it.
#[derive(Clone)]
pub(super) struct Container {
    pub(super) id: Name,
    /// What it is: `parallel`, `for_each` or `steps`.
    pub(super) key: &'static str,
}

impl Parser<'_, '_> {
    /// Looks at all steps before any is compiled: their ids, and how they are nested.
    pub(super) fn nesting(&mut self, steps: &[StepYaml], around: &[Container]) {
        for step in steps {
            let id = &step.id;
            if id.value.as_str() == END {
                let message = "no step can be called `end`: `then: end` leads past the last step";
                let help = Some("give the step another id");
                self.report.at(id.referenced, message, help);
            }
            if self
                .places
                .insert(id.value.clone(), around.to_vec())
                .is_some()
            {
                let message = format!("there is a step `{}` already", id.value);
                let help = Some("give each step its own id");
                self.report.at(id.referenced, message, help);
            } else if self.places.len() == STEPS_IN_ALL_MAX + 1 {
                let message = format!("a workflow has at most {STEPS_IN_ALL_MAX} steps in all");
                let help = "make a part of it a workflow of its own, and `run` that";
                self.report.at(id.referenced, message, Some(help));
            }
            if let [kind] = step.kinds().as_slice() {
                self.within_step(step, *kind, around);
            }
        }
    }

    fn within_step(&mut self, step: &StepYaml, kind: KindYaml<'_>, around: &[Container]) {
        let steps = kind.within();
        if steps.is_empty() {
            return;
        }
        let mut around = around.to_vec();
        around.push(Container {
            id: step.id.value.clone(),
            key: kind.key(),
        });
        let loops = around.iter().filter(|one| one.key == "for_each").count();
        let too_deep = match (loops, around.len()) {
            (loops, _) if loops > LOOPS_MAX && kind.key() == "for_each" => {
                Some(("loops", LOOPS_MAX))
            }
            (_, depth) if depth == DEPTH_MAX + 1 => Some(("steps", DEPTH_MAX)),
            _ => None,
        };
        if let Some((what, most)) = too_deep {
            let message = format!("{what} are nested more than {most} deep");
            let help = "make a part of it a workflow of its own, and `run` that";
            self.report.at(step.id.referenced, message, Some(help));
        }
        self.nesting(steps, &around);
    }
}
