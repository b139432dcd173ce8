//! Where steps lead: only forward, and to every step from somewhere.

use serde_saphyr::Spanned;

use super::{
    super::{
        step::{Case, Target},
        words::nearest,
        yaml::{CaseYaml, KindYaml, StepYaml},
    },
    Parser,
    nesting::END,
};
use crate::ids::Name;

/// Where a step stands.
#[derive(Clone, Copy)]
pub(super) struct At<'y> {
    /// Its list; of a branch, it alone.
    pub(super) list: &'y [StepYaml],
    /// Its number in it, from 0.
    pub(super) index: usize,
}

impl<'y> At<'y> {
    pub(super) fn step(&self) -> Option<&'y StepYaml> {
        self.list.get(self.index)
    }
}

impl Parser<'_, '_> {
    /// A step's target; what is wrong with it is told at its place.
    pub(super) fn target(&mut self, at: At<'_>, to: &Spanned<Name>) -> Option<Target> {
        let id = &to.value;
        if id.as_str() == END {
            return Some(Target::End);
        }
        let position = at.list.iter().position(|step| step.id.value == *id);
        let (message, help) = match position {
            Some(index) if index > at.index => return Some(Target::Step(id.clone())),
            Some(index) if index == at.index => (
                format!("`{id}` leads to itself: it would loop; the way is forward only"),
                None,
            ),
            Some(_) => (
                format!("`{id}` is before this step: it would loop; the way is forward only"),
                None,
            ),
            None if self.are_branches(at, id) => (
                format!("`{id}` is done side by side with this step: neither leads to the other"),
                Some("to do one after the other, make them one branch: `steps: […]`".to_owned()),
            ),
            None if self.places.contains_key(id) => (
                format!("`{id}` is in another list: a step leads only to later ones of its own"),
                Some("`end` leads past the last step of this list".to_owned()),
            ),
            None => {
                let later = at.list.iter().skip(at.index + 1);
                let later: Vec<&str> = later.map(|step| step.id.value.as_str()).collect();
                let near = nearest(id.as_str(), later.iter().copied().chain([END]));
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!(
                        "it can be: {}",
                        later
                            .into_iter()
                            .chain([END])
                            .collect::<Vec<_>>()
                            .join(", ")
                    ),
                };
                (
                    format!("there is no step `{id}` after this one"),
                    Some(help),
                )
            }
        };
        self.report.at(to.referenced, message, help.as_deref());
        None
    }

    /// Whether a step is a branch beside this one.
    fn are_branches(&self, at: At<'_>, other: &Name) -> bool {
        let around = |id: &Name| self.places.get(id).and_then(|around| around.last());
        let own = at.step().and_then(|step| around(&step.id.value));
        let pair = own.zip(around(other));
        pair.is_some_and(|(own, other)| own.key == "parallel" && own.id == other.id)
    }

    pub(super) fn switch(
        &mut self,
        at: At<'_>,
        yaml: &Spanned<Vec<Spanned<CaseYaml>>>,
    ) -> Option<Vec<Case>> {
        if !yaml.value.iter().any(|case| case.value.when.is_some()) {
            let message = "a `switch` needs at least one case with `when`";
            let help = "to go on elsewhere always, give the step before it a `then`";
            self.report.at(yaml.referenced, message, Some(help));
        }
        let last = yaml.value.len().saturating_sub(1);
        let cases = yaml.value.iter().enumerate();
        let cases: Vec<_> = cases
            .map(|(index, case)| self.case(at, case, index == last))
            .collect();
        cases.into_iter().collect()
    }

    fn case(&mut self, at: At<'_>, case: &Spanned<CaseYaml>, is_last: bool) -> Option<Case> {
        let CaseYaml {
            when,
            to,
            otherwise,
        } = &case.value;
        match (when, to, otherwise) {
            (Some(when), Some(to), None) => {
                let condition = self.condition(when);
                let to = self.target(at, to);
                Some(Case {
                    when: Some(condition?),
                    to: to?,
                })
            }
            (None, None, Some(otherwise)) => {
                if !is_last {
                    let message = "`else` comes last: cases after it would never be looked at";
                    self.report.at(otherwise.referenced, message, None);
                }
                let to = self.target(at, otherwise)?;
                Some(Case { when: None, to })
            }
            _ => {
                let message = "a case has `when` and `to`, or `else` alone";
                let help = "write `{when: '…', to: a_step}` or `{else: a_step}`";
                self.report.at(case.referenced, message, Some(help));
                None
            }
        }
    }

    /// Notes steps of a list that nothing leads to.
    pub(super) fn check_reached(&mut self, list: &[StepYaml]) {
        let Some(reached) = reached(list) else {
            return;
        };
        let pairs = list
            .iter()
            .zip(list.iter().skip(1))
            .zip(reached.iter().skip(1));
        for ((before, step), is_reached) in pairs {
            if *is_reached {
                continue;
            }
            let (id, before_it) = (&step.id.value, &before.id.value);
            let why = match &before.then {
                _ if !goes_on(before) => format!("`{before_it}` ends the run"),
                Some(then) if then.value.as_str() == END => {
                    format!("`{before_it}` leads past the last step")
                }
                Some(then) => format!("`{before_it}` leads to `{}`", then.value),
                None => format!("`{before_it}` always leads elsewhere"),
            };
            let message =
                format!("step `{id}` is never reached: {why}, and nothing else leads here");
            let help = "let a `then` or `switch` before it lead here, or take it out";
            self.report.at(step.id.referenced, message, Some(help));
        }
    }
}

/// Which steps of a list something leads to, and last whether something leads past its end. `None` where a target is wrong: that is
/// told at its place. A step that nothing leads to counts as if it were reached once it is told.
fn reached(list: &[StepYaml]) -> Option<Vec<bool>> {
    let mut reached = vec![false; list.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    for index in 0..list.len() {
        for way in ways(At { list, index })? {
            if let Some(found) = reached.get_mut(way) {
                *found = true;
            }
        }
    }
    Some(reached)
}

/// The steps of its list that a step can lead to; the list's length is its end.
fn ways(at: At<'_>) -> Option<Vec<usize>> {
    let step = at.step()?;
    let index_of = |to: &Spanned<Name>| {
        if to.value.as_str() == END {
            return Some(at.list.len());
        }
        let found = at.list.iter().position(|step| step.id.value == to.value);
        found.filter(|found| *found > at.index)
    };
    if !goes_on(step) {
        return Some(Vec::new());
    }
    let mut targets: Vec<&Spanned<Name>> = step.then.iter().collect();
    let mut ways = Vec::new();
    if let [KindYaml::Switch(cases)] = step.kinds().as_slice() {
        let cases = cases.value.iter().map(|case| &case.value);
        targets.extend(cases.clone().filter_map(|case| case.to.as_ref()));
        let mut otherwise = cases.filter_map(|case| case.otherwise.as_ref()).peekable();
        if otherwise.peek().is_none() && step.then.is_none() {
            ways.push(at.index + 1);
        }
        targets.extend(otherwise);
    } else if step.then.is_none() {
        ways.push(at.index + 1);
    }
    for to in targets {
        ways.push(index_of(to)?);
    }
    Some(ways)
}

/// Whether anything can come after a step: not when it ends the run in any case.
fn goes_on(step: &StepYaml) -> bool {
    let ends = |list: &[StepYaml]| reached(list).is_some_and(|found| found.last() == Some(&false));
    let kinds = step.kinds();
    let [kind] = kinds.as_slice() else {
        return true;
    };
    match kind {
        KindYaml::End(_) => false,
        KindYaml::Steps(steps) => !ends(&steps.value),
        KindYaml::Parallel(branches) => branches.value.iter().all(goes_on),
        KindYaml::Claude(_)
        | KindYaml::Tool(_)
        | KindYaml::Agent(_)
        | KindYaml::Switch(_)
        | KindYaml::Each(_)
        | KindYaml::Approval(_)
        | KindYaml::Sleep(_)
        | KindYaml::Until(_)
        | KindYaml::Run(_) => true,
    }
}
