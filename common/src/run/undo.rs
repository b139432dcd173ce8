//! Compensation: what was done is undone, the last first, one after the other.

use serde_json::json;

use super::{
    Act, Draft, Run,
    walk::{Stand, Walk},
};
use crate::{
    definition::{Compensate, Context, Step, TemplateError, Workflow},
    entry::{Action, ToolOutcome},
    ids::{Aside, Place, Slot},
};

/// Something that was done and has a way back.
struct Done<'a> {
    slot: Slot,
    act: &'a Act,
    back: &'a Compensate,
}

impl Done<'_> {
    /// Where its compensation stands.
    fn slot_of_undo(&self) -> Slot {
        Slot {
            step: self.slot.step.clone().beside(Aside::Undo),
            branch: self.slot.branch,
        }
    }

    fn draft(&self, walk: &mut Walk<'_>) -> Result<Draft, TemplateError> {
        let output = self.act.outcome.as_ref().and_then(ToolOutcome::output);
        let mut facts = walk.sight_of(&self.slot.step.place())?.facts;
        facts["input"] = self.act.action.with.clone();
        facts["output"] = json!(output);
        let with = self.back.with.render(&Context::new(&facts))?;
        let action = Action::new(&self.back.tool, with);
        Ok(Draft::at(self.slot_of_undo(), action.into()))
    }
}

impl<'a> Walk<'a> {
    /// Undoes what was done: all of it, or what a step did, with all within it.
    pub(super) fn undo(&mut self, within: Option<(&Step, &Place)>) -> Stand {
        let (run, workflow) = (self.run, self.workflow);
        // What is in flight may still be done, and would have to be undone then.
        let waits = match within {
            Some((step, place)) => self.is_outstanding(step, place),
            None => run
                .steps
                .values()
                .any(|state| state.acts().into_iter().any(Act::is_outstanding)),
        };
        if waits {
            return Stand::Busy;
        }
        for done in run.done(workflow, within) {
            match run.asides.get(&done.slot_of_undo()) {
                Some(act) if act.outcome.is_none() => return Stand::Busy,
                Some(_) => continue,
                None => {}
            }
            // One whose way back cannot be told is left, and told at the end.
            if let Ok(draft) = done.draft(self) {
                self.due.drafts.push(draft);
                return Stand::Busy;
            }
        }
        Stand::Done
    }
}

impl Run {
    /// What was done and has a way back, the last first.
    fn done<'a>(
        &'a self,
        workflow: &'a Workflow,
        within: Option<(&Step, &Place)>,
    ) -> Vec<Done<'a>> {
        let tree = within.map(|(step, place)| (step.tree(), place));
        let is_within = |slot: &Slot| {
            tree.as_ref().is_none_or(|(tree, place)| {
                slot.step.items.starts_with(&place.items)
                    && tree.iter().any(|step| step.id == slot.step.step)
            })
        };
        let now = self
            .steps
            .iter()
            .flat_map(|(place, state)| self.acts_of(place, state).into_iter());
        let past = self.past.iter().map(|(slot, act)| (slot.clone(), act));
        let mut done: Vec<Done<'a>> = now
            .chain(past)
            .filter(|(slot, act)| is_done(act) && is_within(slot))
            .filter_map(|(slot, act)| {
                let back = way_back(workflow, &slot, act)?;
                Some(Done { slot, act, back })
            })
            .collect();
        done.sort_by_key(|done| std::cmp::Reverse(done.act.resulted));
        done
    }

    /// What could not be undone, for people.
    pub(super) fn not_undone(&self, workflow: &Workflow) -> Vec<String> {
        let left = self.done(workflow, None).into_iter().filter(|done| {
            let undone = self.asides.get(&done.slot_of_undo());
            let outcome = undone.and_then(|act| act.outcome.as_ref());
            !matches!(outcome, Some(ToolOutcome::Ok { .. }))
        });
        left.map(|done| format!("{} ({})", done.slot, done.act.action.tool))
            .collect()
    }
}

/// What happened, or may have happened: a tool that undoes must bear that there is nothing to undo.
fn is_done(act: &Act) -> bool {
    let outcome = act.outcome.as_ref();
    outcome.is_some_and(ToolOutcome::may_have_happened)
}

fn way_back<'a>(workflow: &'a Workflow, slot: &Slot, act: &Act) -> Option<&'a Compensate> {
    let action = &act.action;
    let mut ways = workflow.step(&slot.step.step)?.ways_back().into_iter();
    let way = ways.find(|(tool, _)| tool.name == action.tool && tool.version == action.version);
    way.map(|(_, back)| back)
}
