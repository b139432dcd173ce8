//! What a step sees: the event, the steps before it, the items of the loops around it.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use serde_json::{Map, Value, json};

use super::Walk;
use crate::{
    definition::{Context, EachStep, OnError, Step, StepKind, TemplateError, Workflow},
    ids::{Name, Place},
    run::{Run, StepState, event_facts},
};

/// Where a walk is.
#[derive(Clone)]
pub(super) struct Scope<'a> {
    /// The items of the loops around.
    pub(super) items: Vec<u32>,
    /// Those loops, with where each stands.
    pub(super) loops: Vec<(&'a EachStep, Place)>,
    /// Steps that can be named.
    pub(super) seen: Vec<(&'a Step, Place)>,
    /// Groups around.
    pub(super) depth: u32,
    /// It is what a failed run does before it ends.
    of_failure: bool,
}

impl<'a> Scope<'a> {
    pub(super) fn top() -> Self {
        Self {
            items: Vec::new(),
            loops: Vec::new(),
            seen: Vec::new(),
            depth: 0,
            of_failure: false,
        }
    }

    /// After all of these steps, however far they got.
    pub(super) fn after(steps: &'a [Step]) -> Self {
        let mut scope = Self::top();
        scope.of_failure = true;
        scope.seen = steps.iter().map(|step| (step, scope.place(step))).collect();
        scope
    }

    /// Where the walk is when it comes to a place.
    pub(super) fn of(workflow: &'a Workflow, place: &Place) -> Option<Self> {
        let top = Self::top();
        let lists = [&workflow.steps, &workflow.on_failure.steps];
        lists
            .into_iter()
            .find_map(|steps| top.within(steps, place, true))
    }

    /// The same below some steps, which see those before them where they are a list.
    fn within(&self, steps: &'a [Step], place: &Place, is_list: bool) -> Option<Self> {
        let mut here = self.clone();
        for step in steps {
            if step.id == place.step {
                return Some(here);
            }
            let own = here.place(step);
            let below = if let StepKind::Each(each) = &step.kind {
                let mut inner = here.clone();
                inner.loops.push((each, own.clone()));
                let item = place.items.get(inner.items.len());
                inner.items.push(item.copied().unwrap_or_default());
                inner.within(&each.steps, place, true)
            } else {
                let is_list = !matches!(step.kind, StepKind::Parallel(_));
                here.within(step.within(), place, is_list)
            };
            if below.is_some() {
                return below;
            }
            if is_list {
                here.seen.push((step, own));
            }
        }
        None
    }

    /// From here on, these can be named too.
    pub(super) fn pass(&mut self, steps: impl IntoIterator<Item = &'a Step>) {
        for step in steps {
            let place = self.place(step);
            self.seen.push((step, place));
        }
    }

    /// Where a step stands here.
    pub(super) fn place(&self, step: &Step) -> Place {
        Place {
            step: step.id.clone(),
            items: self.items.clone(),
        }
    }

    /// Whether a step's failure is the run's, and nothing is done about it.
    pub(super) fn is_plain(&self, step: &Step) -> bool {
        self.depth == 0
            && !self.of_failure
            && step.retry.is_none()
            && step.on_error == OnError::Fail
    }
}

/// The lists of loops, as far as this walk needed them.
pub(super) type Lists = BTreeMap<Place, Rc<Vec<Value>>>;

/// What a step sees.
#[derive(Debug)]
pub(in crate::run) struct Sight {
    /// What its holes see.
    pub(in crate::run) facts: Value,
    /// What the steps before it gave, in order.
    pub(in crate::run) before: Vec<(Name, Value)>,
}

impl Sight {
    pub(in crate::run) fn context(&self) -> Context {
        Context::new(&self.facts)
    }
}

impl<'a> Walk<'a> {
    /// What a step sees at its place.
    pub(in crate::run) fn sight_of(&mut self, place: &Place) -> Result<Sight, TemplateError> {
        let scope = Scope::of(self.workflow, place).unwrap_or_else(Scope::top);
        self.sight(&scope)
    }

    /// What is seen here.
    pub(super) fn sight(&mut self, scope: &Scope<'a>) -> Result<Sight, TemplateError> {
        let mut seen = self.sight_at(scope, scope.seen.len(), scope.loops.len())?;
        if let Some(failing) = self.run.failing.as_ref().filter(|_| scope.of_failure) {
            seen.facts["failure"] = json!({"outcome": failing.outcome, "reason": failing.reason});
        }
        Ok(seen)
    }

    fn sight_at(
        &mut self,
        scope: &Scope<'a>,
        steps: usize,
        loops: usize,
    ) -> Result<Sight, TemplateError> {
        let before: Vec<(Name, Value)> = scope
            .seen
            .iter()
            .take(steps)
            .map(|(step, place)| (step.id.clone(), self.run.seen(step, place)))
            .collect();
        let of_steps: Map<String, Value> = before
            .iter()
            .map(|(id, value)| (id.to_string(), value.clone()))
            .collect();
        let event = self.run.begun.as_ref();
        let event = event.map(|begun| event_facts(&begun.event));
        let mut facts = json!({"event": event, "steps": of_steps, "run": {"id": self.run.id}});
        for (depth, (each, place)) in scope.loops.iter().take(loops).enumerate() {
            let list = self.list_of(scope, depth, each, place)?;
            let index = scope.items.get(depth).copied().unwrap_or_default();
            let item = usize::try_from(index).ok().and_then(|at| list.get(at));
            facts[each.item.as_str()] = item.cloned().unwrap_or_default();
            facts["index"] = json!(index);
        }
        Ok(Sight { facts, before })
    }

    /// The list of a loop, as its step saw it when it began: what comes before it does not change any more.
    fn list_of(
        &mut self,
        scope: &Scope<'a>,
        depth: usize,
        each: &EachStep,
        place: &Place,
    ) -> Result<Rc<Vec<Value>>, TemplateError> {
        if let Some(list) = self.lists.get(place) {
            return Ok(Rc::clone(list));
        }
        let inner = |(_, seen): &(&Step, Place)| seen.items.len() <= depth;
        let steps = scope.seen.iter().take_while(|one| inner(one)).count();
        let sight = self.sight_at(scope, steps, depth)?;
        let list = each.list.value(&sight.context())?;
        let list = list.as_array().cloned().unwrap_or_default();
        let list = Rc::new(list);
        self.lists.insert(place.clone(), Rc::clone(&list));
        Ok(list)
    }
}

impl Run {
    /// What holes of this run's definition see after all of its steps: `event`, `steps` and `run`.
    #[must_use]
    pub fn facts(&self, workflow: &Workflow) -> Value {
        let none = BTreeSet::new();
        let scope = Scope::after(&workflow.steps);
        let sight = Walk::new(self, workflow, &none).sight(&scope);
        sight.map(|sight| sight.facts).unwrap_or_default()
    }

    /// What a step gave, as later ones see it.
    pub(in crate::run) fn seen(&self, step: &Step, place: &Place) -> Value {
        if let Some(given) = self.given(place) {
            return given.clone();
        }
        if let Some(failure) = self.failed.get(place) {
            return failure.seen();
        }
        let mut seen = self.gave(step, place);
        // Where a failure is forgiven, later steps can ask whether there was one.
        if step.on_error != OnError::Fail
            && let Some(fields) = seen.as_object_mut()
            && !fields.contains_key("ok")
        {
            let error = self.error_of(step, place);
            fields.insert("ok".into(), json!(error.is_none()));
            // An answer of Claude may have a field of this name.
            fields
                .entry("error")
                .or_insert_with(|| error.unwrap_or_default());
        }
        seen
    }

    /// Why a step has failed, as later ones see it: by itself, or by one within it that is not forgiven.
    fn error_of(&self, step: &Step, place: &Place) -> Option<Value> {
        if let Some(failure) = self.failed.get(place) {
            return Some(failure.seen()["error"].clone());
        }
        let first = |steps: &[Step], items: &[u32]| {
            let mut unforgiven = steps.iter().filter(|step| step.on_error == OnError::Fail);
            unforgiven.find_map(|step| {
                let place = Place {
                    step: step.id.clone(),
                    items: items.to_vec(),
                };
                self.error_of(step, &place)
            })
        };
        match (&step.kind, self.step(place)) {
            (StepKind::Each(each), Some(StepState::Each { items })) => {
                (0..*items).find_map(|item| {
                    let mut around = place.items.clone();
                    around.push(item);
                    first(&each.steps, &around)
                })
            }
            (_, Some(state)) => state.error(),
            (_, None) => first(step.within(), &place.items),
        }
    }

    fn gave(&self, step: &Step, place: &Place) -> Value {
        let at = |step: &Step, items: &[u32]| Place {
            step: step.id.clone(),
            items: items.to_vec(),
        };
        let all = |steps: &[Step], items: &[u32]| -> Value {
            let each = steps.iter();
            each.map(|step| (step.id.to_string(), self.seen(step, &at(step, items))))
                .collect::<Map<String, Value>>()
                .into()
        };
        match (&step.kind, self.step(place)) {
            (_, Some(StepState::Skipped)) => Value::Null,
            (StepKind::Parallel(steps) | StepKind::Steps(steps), _) => all(steps, &place.items),
            (StepKind::Each(each), Some(StepState::Each { items })) => {
                let one = |item: u32| {
                    let mut around = place.items.clone();
                    around.push(item);
                    all(&each.steps, &around)
                };
                Value::Array((0..*items).map(one).collect())
            }
            (_, Some(state)) => state.seen(),
            (_, None) => Value::Null,
        }
    }
}
