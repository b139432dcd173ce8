//! Agents that use several tools in one reply.

use super::*;

const WIDE: &str = "
  - id: triage
    agent:
      goal: Find out why it is slow.
      tools: [disk_usage, restart, page]
      ends: [resolve, escalate]
      parallel: 3
      confidence: {min: 0.7, below: escalate}
";

/// Tool uses of one reply, with ids a, b, c…
fn together(uses: &[(&str, Value)]) -> Reply {
    let blocks = ('a'..).zip(uses).map(|(id, (name, input))| {
        json!({"type": "tool_use", "id": id.to_string(), "name": name, "input": input})
    });
    reply(blocks.collect(), StopReason::ToolUse)
}

fn disk(path: &str, confidence: f64) -> (&'static str, Value) {
    let why = format!("{path} may be full.");
    (
        "disk_usage",
        json!({"reasoning": why, "confidence": confidence, "with": {"path": path}}),
    )
}

fn resolve() -> (&'static str, Value) {
    (
        "resolve",
        json!({"reasoning": "It is.", "confidence": 1, "summary": "Done."}),
    )
}

/// The executor writes the result of one branch of the last turn.
fn results(stage: &mut Stage, branch: u32, outcome: ToolOutcome) {
    let decided = stage.journal.iter().rev().find_map(|entry| {
        let Body::Decided(decided) = &entry.body else {
            return None;
        };
        (decided.branch == branch).then(|| (entry.seq, decided.step.clone()))
    });
    let (decided, step) = decided.expect("that branch was decided");
    let resulted = Resulted {
        step,
        branch,
        decided,
        tool: "disk_usage".parse().expect("a name"),
        outcome,
        took_ms: 5,
        attempts: 1,
        usd_nano: None,
        reconciled: None,
        worker: "test".into(),
    };
    let folded = stage.writes(Kind::Resulted, "disk_usage", &Body::Resulted(resulted));
    assert_eq!(folded, Folded::New);
}

#[test]
fn several_uses_are_one_batch_and_every_result_comes_back_in_their_order() {
    let mut stage = Stage::new(WIDE);
    let first = stage.ask().request;
    assert_eq!(
        serde_json::to_value(&first.tool_choice).expect("JSON"),
        json!({"type": "any", "disable_parallel_tool_use": false})
    );
    let said = together(&[disk("/", 0.9), disk("/srv", 0.8), disk("/var", 0.7)]);
    let drafts = stage.settles_all(std::slice::from_ref(&said));
    let told: Vec<_> = drafts
        .iter()
        .map(|draft| (draft.branch, draft.confidence, draft.call.is_some()))
        .collect();
    let expected = [
        (0, Some(0.9), true),
        (1, Some(0.8), false),
        (2, Some(0.7), false),
    ];
    assert_eq!(told, expected, "one call is paid once");
    assert_eq!(drafts[2].reasoning.as_deref(), Some("/var may be full."));
    let links = stage.run.link(drafts.clone(), stage.now).expect("links");
    assert_eq!(links.len(), 3, "which are appended together");
    stage.decides(drafts);
    assert_eq!((stage.run.decisions, stage.run.spent.calls), (3, 1));

    for (branch, outcome) in [(2, ok(json!("3%"))), (0, ok(json!("1%")))] {
        results(&mut stage, branch, outcome);
        assert!(stage.run.awaits_others());
        assert!(
            matches!(stage.next(), Next::Wait(_)),
            "one is still underway"
        );
    }
    results(&mut stage, 1, failed("no such disk"));
    assert!(!stage.run.awaits_others());
    let next = stage.ask();
    assert_eq!(next.step.to_string(), "triage/2");
    let error = r#"{"error":"exit","message":"no such disk"}"#;
    let expected = json!([
        first.messages[0],
        {"role": "assistant", "content": said.content},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "1%"},
            {"type": "tool_result", "tool_use_id": "b", "content": error, "is_error": true},
            {"type": "tool_result", "tool_use_id": "c", "content": "3%"},
        ]},
    ]);
    let asked = serde_json::to_value(&next.request.messages).expect("JSON");
    assert_eq!(asked, expected);
    stage.hears(&[together(&[resolve()])]);
    assert_eq!(stage.ends(), (Outcome::Completed, String::new()));
}

#[test]
fn one_wrong_use_stops_all_and_the_right_ones_are_told_why_nothing_was_done() {
    let mut stage = Stage::new(WIDE);
    let wrong = together(&[
        disk("/", 0.9),
        ("rm", json!({})),
        (
            "disk_usage",
            json!({"reasoning": "r", "confidence": 1, "with": {}}),
        ),
    ]);
    let again = stage.asks_again(std::slice::from_ref(&wrong));
    let told: Vec<_> = again.messages[2]
        .content
        .iter()
        .map(|block| block["content"].as_str().unwrap_or_default())
        .collect();
    let redo = "Correct this, and repeat the other uses that are still wanted.";
    assert_eq!(told[0], "not done: another use in the same reply was wrong");
    assert_eq!(
        told[1],
        format!(
            "Not accepted: `rm` is not on the menu; there are disk_usage, restart, page, resolve, escalate. {redo}"
        )
    );
    assert!(
        told[2].contains("\"path\" is a required property") && told[2].ends_with(redo),
        "{}",
        told[2]
    );
    let drafts = stage.settles_all(&[wrong, together(&[disk("/", 0.9), disk("/srv", 0.9)])]);
    let call = drafts[0].call.clone().expect("Claude was asked");
    let complaint = call.attempts[0].complaint.clone().unwrap_or_default();
    assert!(
        complaint.starts_with("use 2 of 3 (`rm`): `rm` is not on the menu"),
        "{complaint}"
    );
    stage.decides(drafts);
    results(&mut stage, 0, ok(json!("1%")));
    results(&mut stage, 1, ok(json!("2%")));
    let next = stage.ask().request;
    assert_eq!(
        next.messages[..3],
        again.messages[..3],
        "the repair stays in the conversation, from the journal too"
    );
}

#[test]
fn too_many_none_or_an_end_among_others_is_wrong() {
    let stage = Stage::new(WIDE);
    let told = |reply: Reply| {
        let content = stage.asks_again(&[reply]).messages[2].content.clone();
        let text = |block: &Value| {
            block["content"]
                .as_str()
                .or(block["text"].as_str())
                .map(String::from)
        };
        content.iter().filter_map(text).collect::<Vec<_>>()
    };
    let four: Vec<_> = ["/a", "/b", "/c", "/d"].map(|path| disk(path, 0.9)).into();
    let names = "`disk_usage`, `disk_usage`, `disk_usage`, `disk_usage`";
    let expected =
        format!("Not accepted: 1 to 3 tools must be used, not 4 ({names}). Correct this.");
    assert_eq!(told(together(&four)), vec![expected; 4]);
    assert_eq!(
        told(says("Let me think.")),
        ["Not accepted: 1 to 3 tools must be used, not 0. Correct this."]
    );
    let ended = told(together(&[disk("/", 0.9), resolve()]));
    assert!(ended[0].starts_with("not done: "), "{ended:?}");
    assert!(
        ended[1].starts_with("Not accepted: `resolve` ends the work, so it must be used alone."),
        "{ended:?}"
    );
}

#[test]
fn the_use_it_is_least_sure_of_counts_against_the_floor_and_takes_all_with_it() {
    let stage = Stage::new(WIDE);
    let draft = stage.settles(&[together(&[disk("/", 0.9), disk("/srv", 0.3)])]);
    let why = "confidence 0.3 is below 0.7: it wanted to use disk_usage with {\"path\":\"/\"}, and to use disk_usage with \
               {\"path\":\"/srv\"}";
    assert_eq!(
        draft.decision,
        Decision::Finish {
            end: "escalate".parse().expect("a name"),
            summary: why.into()
        }
    );
    assert_eq!(
        (draft.confidence, draft.reasoning.as_deref()),
        (Some(0.3), Some("/srv may be full."))
    );
}

#[test]
fn each_action_is_a_step_of_the_limit_and_the_model_is_told_how_many_are_left() {
    let workflow = definition("limits: {steps: 4}", WIDE);
    let mut stage = Stage::with(workflow, json!({}));
    let two = [disk("/", 0.9), disk("/srv", 0.9)];
    let drafts = stage.settles_all(&[together(&two)]);
    stage.decides(drafts);
    results(&mut stage, 0, ok(Value::Null));
    results(&mut stage, 1, ok(Value::Null));
    let three = together(&[disk("/a", 0.9), disk("/b", 0.9), disk("/c", 0.9)]);
    let again = stage.asks_again(std::slice::from_ref(&three));
    let told = again.messages[4].content[0]["content"].to_string();
    assert!(
        told.contains("the run has only 2 steps left, so at most 2 tools can be used, not 3"),
        "{told}"
    );
    let drafts = stage.settles_all(&[three, together(&two)]);
    stage.decides(drafts);
    results(&mut stage, 0, ok(Value::Null));
    results(&mut stage, 1, ok(Value::Null));
    assert_eq!(stage.run.decisions, 4);
    let reason = "limits.steps: 4 decisions were not enough";
    assert_eq!(stage.ends(), (Outcome::Failed, reason.into()));
}
