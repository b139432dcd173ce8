use flotilla_common::{
    claude::Models,
    definition::{Catalogue, Sources},
    entry::{Decision, Forked, Outcome},
};
use serde_json::json;

use super::*;
use crate::sample::{Journal, act, name};

const WORKFLOW: &str = "
workflow: w
version: 1
on: {event: a.b}
model: haiku
steps:
  - {id: ask, claude: {prompt: Say yes.}}
  - {id: work, agent: {goal: Do it., tools: [note], ends: [resolve, escalate]}}
";
const TOOLS: &str = "
tools:
  - tool: note
    version: 1
    description: Notes.
    input: {type: object, additionalProperties: false}
    effect: read
    command: ['true']
";

fn workflow(text: &str) -> Workflow {
    let sources = [("w.yaml", text), ("tools.yaml", TOOLS)];
    let sources = sources.map(|(file, text)| (file.to_owned(), text.to_owned()));
    let models = Models::built_in().unwrap();
    let catalogue = Catalogue::parse(&Sources(sources.into()), &models).unwrap();
    Workflow::clone(catalogue.newest().next().unwrap())
}

fn signalled(step: Option<&str>) -> Signalled {
    Signalled {
        step: step.map(name),
        ..Signalled::default()
    }
}

fn refused(run: &Run, signal: Signal, step: Option<&str>, status: u16) -> String {
    let workflow = workflow(WORKFLOW);
    let problem = fits(run, Some(&workflow), signal, &signalled(step)).unwrap_err();
    assert_eq!(problem.status, status, "{}", problem.detail);
    problem.detail
}

fn fine(run: &Run, signal: Signal, step: Option<&str>) -> bool {
    fits(run, Some(&workflow(WORKFLOW)), signal, &signalled(step)).is_ok()
}

#[test]
fn a_step_must_be_one_that_the_signal_means_something_for() {
    let run = Journal::start("1", 10).run;
    let detail = refused(&run, Signal::Retry, Some("wrok"), 400);
    assert_eq!(
        detail,
        "`/step` must be a step of the run; of w v1 these are: ask, work"
    );
    let detail = refused(&run, Signal::Message, Some("ask"), 400);
    assert_eq!(detail, "`/step` must be an agent; of w v1 these are: work");
    let detail = refused(&run, Signal::Raise, Some("wrok"), 400);
    assert!(detail.ends_with("these do: ask, work"), "{detail}");
    for signal in [Signal::Retry, Signal::Message, Signal::Raise] {
        assert!(fine(&run, signal, Some("work")), "{signal}");
    }
    // Nobody here knows its steps.
    assert!(fits(&run, None, Signal::Retry, &signalled(Some("wrok"))).is_ok());
}

#[test]
fn a_run_begins_nothing_anew_that_it_has_brought_along_from_another_one() {
    let mut run = Journal::start("1", 10).run;
    let from = run.id.clone();
    let forked = Forked {
        run: from.clone(),
        seq: 10,
        step: name("work"),
        given: [(name("ask"), json!("yes"))].into(),
        escalated: None,
        by: None,
        reason: None,
    };
    run.begun.as_mut().unwrap().forked = Some(Box::new(forked));
    let detail = refused(&run, Signal::Retry, Some("ask"), 409);
    let expected = format!("what `ask` gave is brought along from {from}");
    assert!(detail.starts_with(&expected), "{detail}");
    assert!(fine(&run, Signal::Retry, Some("work")));
}

#[test]
fn a_message_that_nobody_would_hear_is_refused() {
    let mut journal = Journal::start("1", 10);
    let deaf = workflow(&WORKFLOW.replace(
        "agent: {goal: Do it., tools: [note], ends: [resolve, escalate]}",
        "tool: note",
    ));
    let problem = fits(&journal.run, Some(&deaf), Signal::Message, &signalled(None));
    let detail = problem.unwrap_err().detail;
    assert_eq!(detail, "nobody would hear it: w v1 has no agent");
    let end = Decision::Finish {
        end: name("resolve"),
        summary: "done".into(),
    };
    journal.decide(11, "work/1", end, None);
    let detail = refused(&journal.run, Signal::Message, Some("work"), 409);
    assert_eq!(detail, "the agent `work` has ended already");
}

#[test]
fn a_run_is_paused_once_and_resumed_where_it_waits() {
    let mut journal = Journal::start("1", 10);
    let detail = refused(&journal.run, Signal::Resume, None, 409);
    assert!(detail.contains("it is running"), "{detail}");
    assert!(fine(&journal.run, Signal::Pause, None));
    journal.signal(11, "pause", json!({"id": "p", "by": "ana"}));
    let detail = refused(&journal.run, Signal::Pause, None, 409);
    assert_eq!(detail, "the run is paused by ana already");
    assert!(fine(&journal.run, Signal::Resume, None));
}

#[test]
fn a_run_that_stops_is_told_nothing_that_would_come_to_nothing() {
    let mut stops = Journal::start("1", 10);
    stops.signal(11, "cancel", json!({"id": "c", "by": "ana"}));
    let mut fails = Journal::start("1", 10);
    let undo = Decision::Undo {
        outcome: Outcome::Failed,
        reason: "no room".into(),
    };
    fails.decide(11, "end", undo, None);
    for (signal, step) in [
        (Signal::Pause, None),
        (Signal::Retry, Some("ask")),
        (Signal::Message, None),
    ] {
        let detail = refused(&stops.run, signal, step, 409);
        assert!(
            detail.contains("about to stop: cancelled by ana"),
            "{detail}"
        );
        let detail = refused(&fails.run, signal, step, 409);
        assert!(detail.contains("no room"), "{detail}");
    }
    assert!(fine(&stops.run, Signal::Cancel, None));
    let undo = Signalled {
        compensate: true,
        ..Signalled::default()
    };
    let late = fits(&stops.run, None, Signal::Cancel, &undo).unwrap_err();
    assert!(late.detail.contains("without undoing"), "{}", late.detail);
}

#[test]
fn an_ended_run_can_be_told_what_people_think_of_it_and_nothing_else() {
    let mut journal = Journal::start("1", 10);
    journal.decide(11, "note", act(), None);
    let end = Decision::End {
        outcome: Outcome::Completed,
        reason: None,
    };
    journal.decide(12, "end", end, None);
    assert!(fine(&journal.run, Signal::Feedback, None));
    for signal in [
        Signal::Cancel,
        Signal::Pause,
        Signal::Resume,
        Signal::Raise,
        Signal::Retry,
        Signal::Message,
    ] {
        let detail = refused(&journal.run, signal, None, 409);
        assert!(detail.contains("has ended already: completed"), "{detail}");
    }
}
