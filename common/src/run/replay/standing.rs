//! How a run stands after an entry, in words: what one entry changed is the difference between two of these.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::{Act, Agent, Approval, Next, Run, Said, Status, StepState};
use crate::{
    definition::{OnTimeout, Workflow},
    entry::ToolOutcome,
    ids::Place,
    money::Usd,
};

/// How a run stands.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// `None` before it has begun.
    pub status: Option<Status>,
    /// Why it ended so, or what it waits for.
    pub reason: Option<String>,
    /// Steps that something was decided for, in words.
    pub steps: BTreeMap<Place, String>,
    /// What Claude cost it: lost calls at their most, and the runs within it.
    pub usd_nano: Usd,
    /// What it waits for, in words.
    pub waits: Vec<String>,
    /// What a planner would do now, in words; `None` where the definition is not at hand.
    pub next: Option<Vec<String>>,
}

/// One thing that an entry changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What: `status`, `money`, `waits`, `next`, `step triage`.
    pub what: String,
    /// As it was; empty where it was not there.
    pub from: String,
    /// As it is now; empty where it is not there any more.
    pub to: String,
}

/// How a run stands, as of its last entry.
#[must_use]
pub fn standing(run: &Run, workflow: Option<&Workflow>) -> Standing {
    let cancel = run.cancel.as_ref().map(|cancel| cancel.reason.clone());
    let line = run.summary();
    let reason = line.as_ref().and_then(|line| line.reason.clone());
    let mut steps: BTreeMap<Place, String> = run
        .steps
        .iter()
        .map(|(place, state)| (place.clone(), of_step(state)))
        .collect();
    let failed = run.failed.iter();
    steps.extend(failed.map(|(place, failure)| {
        let told = format!("{}: {}", failure.outcome, failure.reason);
        (place.clone(), told)
    }));
    Standing {
        status: line.map(|line| line.status),
        reason: reason.or(cancel.filter(|_| run.end.is_none())),
        steps,
        usd_nano: run.cost(),
        waits: waits(run),
        next: workflow.map(|workflow| next(run, workflow)),
    }
}

/// What is different in the second one.
#[must_use]
pub fn changes(before: &Standing, after: &Standing) -> Vec<Change> {
    let mut found = Vec::new();
    let mut add = |what: String, from: String, to: String| {
        if from != to {
            found.push(Change { what, from, to });
        }
    };
    let status = |standing: &Standing| {
        let status = standing.status.map(|status| status.to_string());
        let parts = status.into_iter().chain(standing.reason.clone());
        parts.collect::<Vec<_>>().join(": ")
    };
    add("status".into(), status(before), status(after));
    let places = before.steps.keys().chain(after.steps.keys());
    let places: std::collections::BTreeSet<&Place> = places.collect();
    for place in places {
        let of = |standing: &Standing| standing.steps.get(place).cloned().unwrap_or_default();
        add(format!("step {place}"), of(before), of(after));
    }
    let money = |standing: &Standing| standing.usd_nano.to_string();
    add("money".into(), money(before), money(after));
    let list = |words: &[String]| words.join("; ");
    add("waits".into(), list(&before.waits), list(&after.waits));
    let next = |standing: &Standing| list(standing.next.as_deref().unwrap_or_default());
    add("next".into(), next(before), next(after));
    found
}

fn of_step(state: &StepState) -> String {
    match state {
        StepState::Answer { .. } => "answered".to_owned(),
        StepState::Tool(act) => format!("{}: {}", act.action.tool, of_act(act)),
        StepState::Agent(agent) => of_agent(agent),
        StepState::Branch { to: Some(to), .. } => format!("went to {to}"),
        StepState::Branch { end: true, .. } => "went to the end".to_owned(),
        StepState::Branch { .. } => "went on".to_owned(),
        StepState::Skipped => "skipped".to_owned(),
        StepState::Each { items } => format!("{items} items"),
        StepState::Sleep { until } => format!("until {until}"),
        StepState::Approval(approval) => of_approval(approval).to_owned(),
        StepState::Run(child) => match &child.outcome {
            None => format!("{} runs as {}", child.workflow, child.run),
            Some(outcome) => format!("{}: {}", child.workflow, of_outcome(outcome)),
        },
    }
}

fn of_agent(agent: &Agent) -> String {
    if let Some((end, _)) = &agent.end {
        return format!("ended as {end} after {} turns", agent.turns.len());
    }
    let Some(last) = agent.turns.last() else {
        return "began".to_owned();
    };
    let acts = last
        .acts
        .iter()
        .map(|act| format!("{}: {}", act.action.tool, of_act(act)));
    let acts: Vec<_> = acts.collect();
    let reviews = match agent.reviews.len() {
        0 => String::new(),
        count => format!(", {count} reviews"),
    };
    format!("turn {}, {}{reviews}", agent.turns.len(), acts.join(", "))
}

fn of_act(act: &Act) -> String {
    match (&act.outcome, &act.hold) {
        (Some(outcome), _) => of_outcome(outcome),
        (None, Some(hold)) => of_approval(hold).to_owned(),
        (None, None) => "with an executor".to_owned(),
    }
}

fn of_outcome(outcome: &ToolOutcome) -> String {
    match outcome {
        ToolOutcome::Ok { .. } => "ok".to_owned(),
        ToolOutcome::Failed { error, .. } => format!("failed ({error})"),
        ToolOutcome::Unknown { .. } => "outcome unknown".to_owned(),
    }
}

fn of_approval(approval: &Approval) -> &'static str {
    match approval.verdict.as_ref().map(|verdict| verdict.said) {
        None => "a person is asked",
        Some(Said::Approved | Said::TimedOut(OnTimeout::Approve)) => "allowed",
        Some(Said::Rejected) => "refused",
        Some(Said::TimedOut(_)) => "not allowed in time",
    }
}

fn waits(run: &Run) -> Vec<String> {
    if run.end.is_some() {
        return Vec::new();
    }
    let mut waits: Vec<String> = run.paused.iter().cloned().collect();
    waits.extend(run.dead.why());
    let parked = run.parked.iter().filter(|parked| !parked.awake);
    waits.extend(parked.map(|parked| {
        let until = parked.until.map(|until| format!(" until {until}"));
        let until = until.unwrap_or_default();
        format!("parked at {} by {}{until}", parked.step, parked.by)
    }));
    waits.extend(run.approvals().map(|(slot, approval, _)| {
        let until = approval.until.map(|until| format!(" until {until}"));
        format!("a person, for {slot}{}", until.unwrap_or_default())
    }));
    for (place, state) in &run.steps {
        let acts = run.acts_of(place, state);
        let out = acts.iter().filter(|(_, act)| act.is_outstanding());
        waits.extend(out.map(|(slot, act)| format!("{} for {slot}", act.action.tool)));
        if let StepState::Sleep { until } = state
            && *until > run.clock
        {
            waits.push(format!("{place} sleeps until {until}"));
        }
    }
    let beside = run.asides.iter().filter(|(_, act)| act.is_outstanding());
    waits.extend(beside.map(|(slot, act)| format!("{} for {slot}", act.action.tool)));
    waits.extend(run.children().map(|child| format!("{}", child.run)));
    waits
}

/// What a planner would do as of the run's last entry.
pub(super) fn next(run: &Run, workflow: &Workflow) -> Vec<String> {
    let until = |until: &jiff::Timestamp| format!("look again at {until}");
    match run.next(workflow, run.at) {
        Next::Ask(asks, alarm) => {
            let asks = asks
                .iter()
                .map(|ask| format!("ask Claude for {}", ask.step));
            asks.chain(alarm.as_ref().map(until)).collect()
        }
        Next::Decide(drafts) => drafts
            .iter()
            .map(|draft| {
                let name = draft.decision.name();
                let name = name.map_or_else(|_| String::new(), |name| name.to_string());
                format!("decide {}: {name}", draft.step)
            })
            .collect(),
        Next::Wait(alarm) => {
            let wait = std::iter::once("wait".to_owned());
            wait.chain(alarm.as_ref().map(until)).collect()
        }
        Next::Ended(_) => vec!["nothing".to_owned()],
    }
}
