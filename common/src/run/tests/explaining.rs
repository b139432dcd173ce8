//! Decisions, explained from the journal alone.

use super::*;

fn explained(stage: &Stage, step: &str) -> Result<Explained, ExplainError> {
    let step: StepKey = step.parse().expect("a step key");
    let workflow = Arc::clone(&stage.workflow);
    explain(&stage.run.id, stage.journal.clone(), &step, |pin| {
        (*pin == workflow.pin).then_some(workflow)
    })
}

/// A run with a repair, a wait, and two turns.
fn stage() -> Stage {
    let mut stage = Stage::new(TRIAGE);
    let wrong = picks("rm", json!({}), 0.9);
    stage.hears(&[wrong, picks("disk_usage", json!({"path": "/"}), 0.9)]);
    stage.results(ok(json!("91%")));
    let park = stage.ask().park(
        ParkedBy::Ceiling,
        "$0.10 is not enough",
        None,
        &[],
        Wasted::default(),
    );
    stage.decides(vec![park]);
    stage.signals(SIGNAL_RESUME, Signalled::default());
    stage.hears(&[picks("resolve", json!("It is fine."), 0.8)]);
    stage
}

#[test]
fn the_prompt_of_every_turn_is_built_again_to_the_byte() {
    let stage = stage();
    for (step, waits, messages) in [("triage/1", 0, 1), ("triage/2", 1, 5)] {
        let explained = explained(&stage, step).expect("it was decided");
        let prompt = explained.prompt.expect("Claude was asked");
        assert_eq!(
            (prompt.verdict, prompt.why),
            (Verdict::Same, None),
            "{step}"
        );
        assert_eq!(prompt.digest, explained.call.map(|call| call.prompt));
        let built = prompt.request.map_or(0, |request| request.messages.len());
        assert_eq!((explained.waits.len(), built), (waits, messages), "{step}");
    }
}

#[test]
fn every_branch_of_a_turn_is_told_with_the_one_call() {
    let wide = TRIAGE.replace("max_loops: 3", "max_loops: 3\n      parallel: 2");
    let mut stage = Stage::new(&wide);
    let block = |id: &str| {
        json!({"type": "tool_use", "id": id, "name": "disk_usage",
            "input": {"reasoning": id, "confidence": 0.9, "with": {"path": "/"}}})
    };
    let said = reply(json!([block("a"), block("b")]), StopReason::ToolUse);
    let drafts = stage.settles_all(&[said]);
    stage.decides(drafts);
    let explained = explained(&stage, "triage/1").expect("it was decided");
    let told: Vec<_> = explained
        .decisions
        .iter()
        .map(|chosen| (chosen.branch, chosen.reasoning.as_deref()))
        .collect();
    assert_eq!(told, [(0, Some("a")), (1, Some("b"))]);
    assert_eq!(
        explained.prompt.map(|prompt| prompt.verdict),
        Some(Verdict::Same)
    );
}

#[test]
fn a_definition_that_is_gone_or_builds_another_prompt_is_said() {
    let mut stage = stage();
    let pin = stage.workflow.pin.clone();
    let mut other = (*definition("", &TRIAGE.replace("Find out", "Guess"))).clone();
    stage.workflow = Arc::new(other.clone());
    let prompt = |stage: &Stage| explained(stage, "triage/1").map(|it| it.prompt.expect("asked"));
    let gone = prompt(&stage).expect("it was decided");
    assert_eq!((gone.verdict, gone.request), (Verdict::NotLoaded, None));
    assert!(
        gone.why
            .is_some_and(|why| why.contains("is not loaded here"))
    );
    other.pin = pin;
    stage.workflow = Arc::new(other);
    let differs = prompt(&stage).expect("it was decided");
    assert_eq!(differs.verdict, Verdict::Differs);
    assert!(differs.request.is_some(), "and it is shown all the same");
}

#[test]
fn what_was_not_decided_is_told_with_what_was() {
    let stage = stage();
    let told = explained(&stage, "triage").map(drop);
    let expected =
        "nothing was decided for `triage` in this run; there are decisions for triage/1, triage/2";
    assert_eq!(
        told.map_err(|error| error.to_string()),
        Err(expected.to_owned())
    );
    let mut parked = Stage::new(TRIAGE);
    let park = parked
        .ask()
        .park(ParkedBy::Blocked, "no key", None, &[], Wasted::default());
    parked.decides(vec![park]);
    let told = explained(&parked, "triage/1").map(drop);
    let expected = "nothing was decided for `triage/1` yet: step `triage/1`: no key";
    assert_eq!(
        told.map_err(|error| error.to_string()),
        Err(expected.to_owned())
    );
}

#[test]
fn what_claude_was_not_asked_for_has_no_prompt() {
    let mut stage = Stage::new("\n  - id: look\n    tool: page\n");
    stage.goes_on();
    let explained = explained(&stage, "look").expect("it was decided");
    assert_eq!((explained.call, explained.prompt), (None, None));
}
