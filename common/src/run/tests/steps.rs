//! The clean paths, and what becomes of tools that fail.

use super::*;

const SEVERITY: &str = "
  - id: severity
    claude:
      prompt: How bad is {{ event.data.service }}?
      output: {type: object, required: [level], properties: {level: {enum: [info, page]}}}
";

#[test]
fn a_claude_step_gives_an_answer_of_its_shape_and_what_it_cost() {
    let mut stage = Stage::new(SEVERITY);
    let decision = stage.hears(&[picks("answer", json!({"level": "page"}), 0.9)]);
    assert_eq!(
        decision,
        Decision::Answer {
            output: json!({"level": "page"})
        }
    );
    assert_eq!(stage.facts()["steps"]["severity"]["level"], "page");
    assert_eq!(stage.ends(), (Outcome::Completed, String::new()));
    let summary = stage.run.summary().expect("it began");
    assert_eq!(
        (summary.status, summary.steps, summary.model_calls),
        (Status::Completed, 1, 1)
    );
    // 100 tokens at 100 nano-dollars in, 10 at 500 out.
    assert_eq!(
        (
            summary.input_tokens,
            summary.output_tokens,
            summary.usd_nano.nano()
        ),
        (100, 10, 15_000)
    );
}

#[test]
fn a_claude_step_without_a_shape_gives_a_text_that_later_steps_see() {
    let steps = "
  - id: sum
    claude: {prompt: Sum it up.}
  - id: ask
    claude: {prompt: 'Is it true: {{ steps.sum }}'}
";
    let mut stage = Stage::new(steps);
    let request = stage.ask().request;
    assert!(request.tools.is_empty() && request.tool_choice.is_none());
    stage.hears(&[says("The disk is full.")]);
    let asked = &stage.ask().request.messages[0].content[0]["text"];
    assert_eq!(asked, "Is it true: <data>The disk is full.</data>");
    stage.hears(&[says("Yes.")]);
    assert_eq!(stage.ends().0, Outcome::Completed);
}

#[test]
fn a_tool_step_runs_with_parameters_from_the_event_and_keeps_their_types() {
    let steps = "
  - id: look
    tool: disk_usage
    with: {path: '/srv/{{ event.data.service }}', depth: '{{ event.data.depth }}'}
";
    let mut stage = Stage::with(
        definition("", steps),
        json!({"service": "shop", "depth": 2}),
    );
    let draft = stage.drafts().remove(0);
    let with = json!({"path": "/srv/shop", "depth": 2});
    let decision = Decision::Act {
        tool: "disk_usage".parse().expect("a name"),
        version: 1,
        with,
    };
    assert_eq!(draft.decision, decision);
    stage.goes_on();
    assert!(
        matches!(stage.next(), Next::Wait(_)),
        "somebody else must act"
    );
    assert_eq!(stage.run.outstanding().count(), 1);
    let slot = Slot {
        step: draft.step,
        branch: 0,
    };
    assert_eq!(
        slot.idempotency_key(&stage.run.id),
        format!("{}.look.0", stage.run.id)
    );
    assert_eq!(stage.results(ok(json!("91%"))), Folded::New);
    let seen = json!({"ok": true, "output": "91%", "error": null});
    assert_eq!(stage.facts()["steps"]["look"], seen);
    assert_eq!(stage.ends().0, Outcome::Completed);
}

#[test]
fn parameters_that_only_this_event_makes_wrong_fail_the_run_before_anything_runs() {
    let steps = "
  - id: look
    tool: disk_usage
    with: {path: '{{ event.data.path }}'}
";
    for (data, problem) in [
        (json!({"path": 3}), "/path: 3 is not of type \"string\""),
        (json!({}), "`event.data.path` does not exist"),
    ] {
        let mut stage = Stage::with(definition("", steps), data);
        let (outcome, reason) = stage.ends();
        assert_eq!(outcome, Outcome::Failed);
        let expected = format!("step `look`: its `with` does not work for this event: {problem}");
        assert_eq!(reason, expected);
    }
}

#[test]
fn an_agent_uses_tools_one_after_the_other_until_it_picks_an_end() {
    let mut stage = Stage::new(TRIAGE);
    assert_eq!(stage.ask().step.to_string(), "triage/1");
    let decision = stage.hears(&[picks("disk_usage", json!({"path": "/"}), 0.9)]);
    assert!(matches!(decision, Decision::Act { version: 1, .. }));
    stage.results(ok(json!({"used": "99%"})));
    assert_eq!(stage.ask().step.to_string(), "triage/2");
    let decision = stage.hears(&[picks("restart", json!({"service": "shop"}), 0.8)]);
    assert!(matches!(decision, Decision::Act { version: 2, .. }));
    assert!(matches!(stage.next(), Next::Wait(_)));
    stage.results(ok(Value::Null));
    let end = stage.hears(&[picks("resolve", json!("Restarted it."), 1.0)]);
    assert_eq!(
        end,
        Decision::Finish {
            end: "resolve".parse().expect("a name"),
            summary: "Restarted it.".into()
        }
    );
    assert_eq!(
        stage.facts()["steps"]["triage"],
        json!({"end": "resolve", "summary": "Restarted it."})
    );
    assert_eq!(stage.ends(), (Outcome::Completed, String::new()));
    let decided: Vec<_> = stage
        .journal
        .iter()
        .filter(|entry| entry.address.kind == Kind::Decided)
        .collect();
    let names: Vec<_> = decided
        .iter()
        .map(|entry| entry.address.name.as_str())
        .collect();
    assert_eq!(names, ["disk_usage", "restart", "claude", "end"]);
}

#[test]
fn an_agent_that_escalates_lets_the_flow_go_on_and_the_run_ends_escalated() {
    let mut stage = Stage::new(&format!(
        "{TRIAGE}  - id: sum\n    claude: {{prompt: 'Sum up {{{{ steps.triage.summary }}}}'}}\n"
    ));
    stage.hears(&[picks("escalate", json!("I cannot tell."), 0.9)]);
    stage.hears(&[says("Somebody must look.")]);
    assert_eq!(stage.ends(), (Outcome::Escalated, "I cannot tell.".into()));
}

#[test]
fn a_tool_step_that_fails_fails_the_run_unless_it_may_continue() {
    let steps = |more: &str| {
        format!(
            "\n  - id: look\n    tool: page\n{more}  - id: sum\n    claude: {{prompt: '{{{{ steps.look }}}}'}}\n"
        )
    };
    let mut stage = Stage::new(&steps(""));
    stage.goes_on();
    stage.results(failed("no route to host"));
    let reason = "step `look`: page exit: no route to host";
    assert_eq!(stage.ends(), (Outcome::Failed, reason.into()));

    let mut stage = Stage::new(&steps("    on_error: continue\n"));
    stage.goes_on();
    stage.results(failed("no route to host"));
    let text = stage.ask().request.messages[0].content[0]["text"].clone();
    let seen = r#"<data>{"ok":false,"output":null,"error":{"kind":"exit","message":"no route to host"}}</data>"#;
    assert_eq!(text, seen);
    stage.hears(&[says("It failed.")]);
    assert_eq!(stage.ends().0, Outcome::Completed);
}

#[test]
fn an_unknown_outcome_of_a_tool_step_calls_for_a_person() {
    let mut stage = Stage::new("\n  - id: call\n    tool: page\n");
    stage.goes_on();
    stage.results(unknown("the executor died"));
    let reason = "step `call`: page outcome unknown: the executor died";
    assert_eq!(stage.ends(), (Outcome::Escalated, reason.into()));
}

#[test]
fn an_agent_is_told_what_failed_and_what_nobody_knows() {
    let mut stage = Stage::new(TRIAGE);
    stage.hears(&[picks("disk_usage", json!({"path": "/"}), 0.9)]);
    stage.results(ToolOutcome::Failed {
        error: "exit".parse().expect("a name"),
        message: "status 1".into(),
        output: Some(json!("no such disk")),
    });
    let told = stage.ask().request.messages[2].content[0].clone();
    let content = r#"{"error":"exit","message":"status 1","output":"no such disk"}"#;
    assert_eq!(
        told,
        json!({"type": "tool_result", "tool_use_id": "toolu_1", "content": content, "is_error": true})
    );
    stage.hears(&[picks("restart", json!({"service": "shop"}), 0.9)]);
    stage.results(unknown("the executor died"));
    let told = stage.ask().request.messages[4].content[0].clone();
    assert_eq!(told["is_error"], true);
    let content = told["content"].as_str().expect("a text");
    assert!(
        content.contains("must not be repeated blindly: the executor died"),
        "{content}"
    );
}

#[test]
fn a_definition_of_another_kind_than_the_journal_fails_the_run_and_does_not_hang_it() {
    let mut stage = Stage::new("\n  - id: a\n    claude: {prompt: hi}\n");
    stage.hears(&[says("hello")]);
    stage.workflow = definition("", "\n  - id: a\n    tool: page\n");
    let (outcome, reason) = stage.ends();
    assert_eq!(outcome, Outcome::Failed);
    assert!(reason.contains("another kind"), "{reason}");
}
