//! Whether a run, as it stands, can be sent a signal: one that would change nothing is refused, with what the run is instead.

use flotilla_common::{
    definition::{Step, StepKind, Workflow},
    entry::Signalled,
    ids::{Name, Place},
    io::http::Problem,
    run::{Run, StepState, asks_claude},
};

use super::Signal;
use crate::{fields::wrong, problem::conflict, routes::App};

/// A 409, or a 400 about the step, when the signal would come to nothing.
pub(super) fn check(
    app: &App,
    run: &Run,
    signal: Signal,
    signalled: &Signalled,
) -> Result<(), Problem> {
    let pin = run.begun.as_ref().map(|begun| &begun.pin);
    // Only where the very version of the run's definition is at hand can anybody say which steps it has.
    let catalogue = app.current.catalogue();
    let workflow = pin.and_then(|pin| catalogue.pinned(pin));
    let workflow = workflow.map(AsRef::as_ref);
    fits(run, workflow, signal, signalled)
}

fn fits(
    run: &Run,
    workflow: Option<&Workflow>,
    signal: Signal,
    signalled: &Signalled,
) -> Result<(), Problem> {
    // It is about a run, and changes nothing in it.
    if signal == Signal::Feedback {
        return Ok(());
    }
    has_not_ended(run)?;
    let step = signalled.step.as_ref();
    match signal {
        Signal::Feedback => Ok(()),
        Signal::Cancel => can_be_cancelled(run, signalled.compensate),
        Signal::Resume => is_parked(run),
        Signal::Raise => workflow.map_or(Ok(()), |workflow| has_priced_step(workflow, step)),
        Signal::Pause => {
            goes_on(run)?;
            match &run.paused {
                Some(why) => Err(conflict(format!("the run is {why} already"))),
                None => Ok(()),
            }
        }
        Signal::Retry => {
            goes_on(run)?;
            workflow.map_or(Ok(()), |workflow| has_step(workflow, step))?;
            workflow.map_or(Ok(()), |workflow| is_its_own(run, workflow, step))
        }
        Signal::Message => {
            goes_on(run)?;
            workflow.map_or(Ok(()), |workflow| has_agent(run, workflow, step))
        }
    }
}

/// A 409 when the run has ended.
pub(crate) fn has_not_ended(run: &Run) -> Result<(), Problem> {
    match &run.end {
        None => Ok(()),
        Some(end) => Err(conflict(format!(
            "the run has ended already: {} at {}",
            end.outcome, end.at
        ))),
    }
}

/// A 409 when the run is on its way to its end, whatever it is told.
pub(crate) fn goes_on(run: &Run) -> Result<(), Problem> {
    if let Some(cancel) = &run.cancel {
        let why = &cancel.reason;
        return Err(conflict(format!("the run is about to stop: {why}")));
    }
    match &run.failing {
        None => Ok(()),
        Some(failing) => Err(conflict(format!(
            "the run has failed, and does what its definition says then: {}",
            failing.reason
        ))),
    }
}

fn can_be_cancelled(run: &Run, compensate: bool) -> Result<(), Problem> {
    match &run.cancel {
        Some(cancel) if compensate && !cancel.compensate => Err(conflict(format!(
            "the run is about to stop without undoing what it did: {}",
            cancel.reason
        ))),
        Some(_) | None => Ok(()),
    }
}

fn is_parked(run: &Run) -> Result<(), Problem> {
    if run.is_parked() || run.paused.is_some() {
        return Ok(());
    }
    Err(conflict(match run.parked.first() {
        Some(parked) => format!(
            "the run is not parked any more: it was told to go on at step {}, and has not decided anything since",
            parked.step
        ),
        None if !run.dead.is_empty() => run.dead.why().unwrap_or_default(),
        None => "the run is neither parked nor paused: it is running".to_owned(),
    }))
}

fn has_priced_step(workflow: &Workflow, step: Option<&Name>) -> Result<(), Problem> {
    match step {
        Some(step) if !asks_claude(workflow, step) => {
            let asking = |step: &&Step| asks_claude(workflow, &step.id);
            let steps = workflow.all_steps().into_iter().filter(asking);
            Err(no_such_step(
                workflow,
                "a step that asks Claude",
                "do",
                steps,
            ))
        }
        Some(_) | None => Ok(()),
    }
}

/// What is done when a run fails is no part of it that could be begun anew.
fn has_step(workflow: &Workflow, step: Option<&Name>) -> Result<(), Problem> {
    let steps = || workflow.steps.iter().flat_map(Step::tree);
    match step {
        Some(step) if !steps().any(|one| one.id == *step) => {
            Err(no_such_step(workflow, "a step of the run", "are", steps()))
        }
        Some(_) | None => Ok(()),
    }
}

/// What a run has brought along from another one is not its own to begin anew.
fn is_its_own(run: &Run, workflow: &Workflow, step: Option<&Name>) -> Result<(), Problem> {
    let (Some(forked), Some(step)) = (run.forked(), step) else {
        return Ok(());
    };
    let before = workflow.steps.iter();
    let mut before = before
        .take_while(|one| one.id != forked.step)
        .flat_map(Step::tree);
    if !before.any(|one| one.id == *step) {
        return Ok(());
    }
    Err(conflict(format!(
        "what `{step}` gave is brought along from {}: this run begins at `{}`; fork that run at `{step}` instead",
        forked.run, forked.step
    )))
}

fn has_agent(run: &Run, workflow: &Workflow, step: Option<&Name>) -> Result<(), Problem> {
    let agents = || {
        let steps = workflow.all_steps().into_iter();
        steps.filter(|step| matches!(step.kind, StepKind::Agent(_)))
    };
    let pin = &workflow.pin;
    if agents().next().is_none() {
        return Err(conflict(format!(
            "nobody would hear it: {} v{} has no agent",
            pin.name, pin.version
        )));
    }
    let Some(step) = step else {
        return Ok(());
    };
    if !agents().any(|agent| agent.id == *step) {
        return Err(no_such_step(workflow, "an agent", "are", agents()));
    }
    // Within a loop, another one of that id may still begin.
    match run.steps.get(&Place::top(step)) {
        Some(StepState::Agent(agent)) if agent.end.is_some() => {
            Err(conflict(format!("the agent `{step}` has ended already")))
        }
        Some(_) | None => Ok(()),
    }
}

fn no_such_step<'a>(
    workflow: &Workflow,
    what: &str,
    verb: &str,
    there: impl Iterator<Item = &'a Step>,
) -> Problem {
    let there: Vec<&str> = there.map(|step| step.id.as_str()).collect();
    let there = if there.is_empty() {
        format!("none {verb}")
    } else {
        format!("these {verb}: {}", there.join(", "))
    };
    let pin = &workflow.pin;
    let problem = format!("must be {what}; of {} v{} {there}", pin.name, pin.version);
    wrong("step", &problem)
}

#[cfg(test)]
mod tests;
