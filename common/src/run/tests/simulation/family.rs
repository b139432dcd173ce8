//! Runs within runs. As the planner's own.

use super::{super::*, process::Process};
use crate::{
    entry::{Parent, RESERVED_RUN},
    run::Child,
};

/// Starts the runs within this one that have not ended.
pub(super) async fn start_children(process: &Process, run: &Run) {
    if run.end.is_some() {
        return;
    }
    for (place, state) in &run.steps {
        if let StepState::Run(child) = state
            && child.outcome.is_none()
        {
            start_child(process, run, run.key(place), child).await;
        }
    }
}

async fn start_child(process: &Process, run: &Run, step: StepKey, child: &Child) {
    let workflow =
        process.at_once(|world| world.definition.workflows.get(&child.workflow).cloned());
    let workflow = workflow.expect("it was parsed with its parent");
    let kind = workflow.on.event.clone();
    let parent = Parent {
        run: run.id.clone(),
        step: step.clone(),
        decided: child.decided,
        depth: run.depth() + 1,
        usd_nano: child.allotted,
    };
    let started = Started {
        workflow: workflow.pin.clone(),
        event: Event::new(kind, run.id.to_string(), step.token(), child.with.clone()),
        parent: Some(parent),
        lessons: Vec::new(),
        forked: None,
        received: None,
    };
    process.notes("child");
    process
        .retries(|world| world.start(&child.run, &workflow, started.clone(), process.skew))
        .await;
}

/// A run that is to stop takes those within it along.
pub(super) async fn cancel_children(process: &Process, run: &Run) {
    let stops = run.end.is_some() || run.cancel.is_some() || run.failing.is_some();
    if !stops {
        return;
    }
    // A signal before its beginning would stand in the way of it.
    start_children(process, run).await;
    for child in run.children() {
        let signalled = Signalled {
            id: format!("{}.parent", child.run),
            by: Some(run.id.to_string()),
            compensate: run.cancel.as_ref().is_some_and(|it| it.compensate),
            ..Signalled::default()
        };
        process
            .retries(|world| world.signal(&child.run, SIGNAL_CANCEL, signalled.clone()))
            .await;
    }
}

/// What an ended run leaves to do: those within it stop, and the one above learns how it ended.
pub(super) async fn end_family(process: &Process, run: &Run, workflow: &Workflow) {
    cancel_children(process, run).await;
    let parent = run.begun.as_ref().and_then(|begun| begun.parent.as_ref());
    let Some((parent, end)) = parent.zip(run.end.as_ref()) else {
        return;
    };
    let outcome = match end.outcome {
        Outcome::Completed => ok(run.output(workflow)),
        Outcome::Escalated | Outcome::Failed | Outcome::Cancelled => ToolOutcome::Failed {
            error: end.outcome.to_string().parse().expect("a name"),
            message: end.reason.clone().unwrap_or_default(),
            output: None,
        },
    };
    let resulted = Resulted {
        step: parent.step.clone(),
        branch: 0,
        decided: parent.decided,
        tool: RESERVED_RUN.parse().expect("a name"),
        outcome,
        took_ms: 0,
        attempts: 1,
        worker: run.id.to_string(),
        usd_nano: Some(run.cost()),
        reconciled: None,
    };
    let body = Body::Resulted(resulted);
    process
        .retries(|world| {
            if let Err(problem) = world.ledger.told_above(&run.id, run.cost()) {
                world.violated(problem);
            }
            world.write(
                &parent.run,
                Kind::Resulted,
                RESERVED_RUN,
                &body,
                process.skew,
            )
        })
        .await;
}
