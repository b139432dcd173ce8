//! Steps that hold other steps: side by side, and once for each item of a list.

use serde_json::Value;

use super::{Mark, Scope, Stand, Walk, broken, failed, of_another_kind};
use crate::{
    definition::{Case, EachStep, OnError, Step, Target},
    entry::{Decision, Outcome},
    ids::Place,
    run::{Failure, StepState},
};

/// How several things stand together.
#[derive(Default)]
struct Together {
    busy: u32,
    failed: Option<Failure>,
    end: Option<(Outcome, Option<String>)>,
}

impl Together {
    fn add(&mut self, stand: Stand) {
        match stand {
            Stand::Done => {}
            Stand::Busy => self.busy += 1,
            Stand::Failed(failure) => drop(self.failed.get_or_insert(failure)),
            Stand::End(outcome, reason) => drop(self.end.get_or_insert((outcome, reason))),
        }
    }
}

impl<'a> Walk<'a> {
    pub(super) fn switch(&mut self, cases: &[Case], place: &Place, scope: &Scope<'a>) -> Stand {
        match self.run.step(place) {
            Some(StepState::Branch { .. }) => return Stand::Done,
            Some(_) => return of_another_kind(place),
            None => {}
        }
        let context = match self.sight(scope) {
            Ok(sight) => sight.context(),
            Err(error) => return broken(place, "its `switch`", &error),
        };
        let mut taken = None;
        for case in cases {
            let holds = case
                .when
                .as_ref()
                .map_or(Ok(true), |when| when.holds(&context));
            match holds {
                Ok(true) => {
                    taken = Some(&case.to);
                    break;
                }
                Ok(false) => {}
                Err(error) => return broken(place, "its `switch`", &error),
            }
        }
        let (to, end) = match taken {
            Some(Target::Step(id)) => (Some(id.clone()), false),
            Some(Target::End) => (None, true),
            None => (None, false),
        };
        self.draft(place, Decision::Branch { to, end })
    }

    pub(super) fn parallel(
        &mut self,
        step: &'a Step,
        branches: &'a [Step],
        place: &Place,
        scope: &mut Scope<'a>,
    ) -> Stand {
        let mark = self.mark();
        scope.depth += 1;
        let mut all = Together::default();
        for branch in branches {
            all.add(self.step(branch, scope));
        }
        scope.depth -= 1;
        self.together(step, place, all, mark)
    }

    pub(super) fn each(
        &mut self,
        step: &'a Step,
        each: &'a EachStep,
        place: &Place,
        scope: &mut Scope<'a>,
    ) -> Stand {
        let items = match self.run.step(place) {
            Some(StepState::Each { items }) => *items,
            Some(_) => return of_another_kind(place),
            None => return self.begin_each(each, place, scope),
        };
        let mark = self.mark();
        scope.depth += 1;
        scope.loops.push((each, place.clone()));
        let mut all = Together::default();
        for item in 0..items {
            if all.busy >= each.width {
                break;
            }
            scope.items.push(item);
            let stand = self.list(&each.steps, 0, scope);
            scope.items.pop();
            all.add(stand);
        }
        scope.loops.pop();
        scope.depth -= 1;
        self.together(step, place, all, mark)
    }

    fn begin_each(&mut self, each: &EachStep, place: &Place, scope: &Scope<'a>) -> Stand {
        let list = self
            .sight(scope)
            .and_then(|sight| each.list.value(&sight.context()));
        let list = match list {
            Ok(Value::Array(list)) => list,
            Ok(_) => return broken(place, "its `in`", &"it is no list"),
            Err(error) => return broken(place, "its `in`", &error),
        };
        match u32::try_from(list.len()) {
            Ok(items) if items <= each.most => self.draft(place, Decision::Each { items }),
            Ok(_) | Err(_) => {
                let reason = format!(
                    "step `{place}`: its list has {} items, and it takes at most {} (`max`)",
                    list.len(),
                    each.most
                );
                failed(Outcome::Failed, "items", reason)
            }
        }
    }

    /// A failure among several ends what has not begun, unless it is forgiven; what is in flight is waited for.
    fn together(&mut self, step: &'a Step, place: &Place, all: Together, mark: Mark) -> Stand {
        let forgiven = step.on_error == OnError::Continue;
        let stop = all.end.is_some() || (all.failed.is_some() && !forgiven);
        if stop {
            self.undo_mark(mark);
            if self.is_outstanding(step, place) {
                return Stand::Busy;
            }
        } else if all.busy > 0 {
            return Stand::Busy;
        }
        match (all.end, all.failed) {
            (Some((outcome, reason)), _) => Stand::End(outcome, reason),
            (None, Some(failure)) => Stand::Failed(failure),
            (None, None) => Stand::Done,
        }
    }
}
