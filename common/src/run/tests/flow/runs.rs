//! Runs within runs, and what they may cost.

use super::*;

fn child_of(stage: &Stage, slot: &str) -> (RunId, Option<Usd>) {
    match &stage.last_of(slot).1.decision {
        Decision::Run {
            child, usd_nano, ..
        } => (child.clone(), *usd_nano),
        other => panic!("no run: {other:?}"),
    }
}

#[test]
fn a_run_within_a_run_is_waited_for_and_its_end_is_the_steps() {
    let steps = "
  - {id: fix, run: {workflow: w2, with: {host: '{{ event.data.host }}'}}}
  - {id: last, tool: disk_usage, with: {path: '{{ steps.fix.output }}'}}
";
    let mut stage = Stage::of("", steps, json!({"host": "db1"}));
    stage.goes_far();
    let (child, usd) = child_of(&stage, "fix");
    assert_eq!(usd, None, "nothing bounds it here");
    let other = RunId::derive(&"w2".parse().expect("a name"), stage.run.id.as_str(), "fix");
    assert_ne!(child, other, "no event's sender can take its place");
    assert!(matches!(stage.next(), Next::Wait(_)));
    assert_eq!(stage.run.children().count(), 1);
    stage.done("fix", json!("mended"));
    assert_eq!(
        act_with(&stage.last_of("last").1.decision)["path"],
        "mended"
    );
    assert_eq!(
        stage.run.cost(),
        Usd::from_nano(7),
        "what it cost is its parent's cost too"
    );
    stage.done("last", json!(1));
    assert_eq!(stage.ended().0, Outcome::Completed);
}

#[test]
fn how_a_run_within_a_run_ends_is_how_its_step_does() {
    let steps = "
  - {id: fix, run: {workflow: w2, with: {}}}
";
    for (error, outcome) in [
        ("failed", Outcome::Failed),
        ("escalated", Outcome::Escalated),
    ] {
        let mut stage = Stage::of("", steps, json!({}));
        stage.goes_far();
        let outcome_of_child = ToolOutcome::Failed {
            error: error.parse().expect("a name"),
            message: "no way".into(),
            output: None,
        };
        stage.gives("fix", outcome_of_child);
        let (ended, reason) = stage.ended();
        assert_eq!(ended, outcome);
        assert!(reason.ends_with("no way"), "{reason}");
    }
}

#[test]
fn runs_side_by_side_get_no_more_than_their_parent_has_left() {
    let steps = "
  - id: both
    parallel:
      - {id: a, run: {workflow: w2, with: {}, usd: 0.6}}
      - {id: b, run: {workflow: w2, with: {}, usd: 0.6}}
  - {id: rest, run: {workflow: w2, with: {}}}
";
    let mut stage = Stage::of("limits: {usd: 1}", steps, json!({}));
    stage.goes_far();
    let dollars = |nano| Some(Usd::from_nano(nano));
    assert_eq!(child_of(&stage, "a").1, dollars(600_000_000));
    assert_eq!(child_of(&stage, "b").1, dollars(400_000_000));
    stage.done("a", json!(1));
    stage.done("b", json!(1));
    assert_eq!(
        child_of(&stage, "rest").1,
        dollars(1_000_000_000 - 14),
        "what was not spent is free again"
    );
}

#[test]
fn a_cancelled_run_waits_for_the_runs_within_it() {
    let steps = "
  - {id: fix, run: {workflow: w2, with: {}}}
";
    let mut stage = Stage::of("", steps, json!({}));
    stage.goes_far();
    stage.cancels("c1");
    assert!(matches!(stage.next(), Next::Wait(_)));
    stage.gives("fix", failed("cancelled"));
    assert_eq!(stage.ended().0, Outcome::Cancelled);
}

#[test]
fn what_tools_cost_is_the_runs_spending_and_not_there_for_claude() {
    let steps = "
  - {id: look, tool: disk_usage, with: {path: /}}
  - {id: say, claude: {prompt: hi, max_tokens: 100}}
";
    let mut stage = Stage::of("limits: {usd: 1}", steps, json!({}));
    stage.goes_far();
    let (cost, dear) = (Usd::from_nano(400_000_000), ok(json!("91%")));
    stage.gives_for("look", dear.clone(), Some(cost));
    // A copy of it is not paid twice.
    stage.gives_for("look", dear, Some(cost));
    assert_eq!(stage.run.cost(), cost);
    let of_run = stage.ask().ceilings.into_iter();
    let mut of_run = of_run.filter(|ceiling| ceiling.scope == Scope::Run);
    let of_run = of_run.next().expect("a ceiling of the run");
    assert_eq!((of_run.limit.nano(), of_run.spent.nano()), (600_000_000, 0));
}
