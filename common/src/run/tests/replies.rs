//! What becomes of replies: taken, mended once, or given up.

use super::*;

const OUTPUT: &str = "
  - id: level
    claude: {prompt: How bad?, output: {type: object, required: [level], properties: {level: {enum: [info, page]}}}}
";

#[test]
fn below_the_confidence_floor_the_agent_takes_the_end_that_its_definition_names() {
    let mut stage = Stage::new(TRIAGE);
    let draft = stage.settles(&[picks("restart", json!({"service": "shop"}), 0.69)]);
    assert_eq!(
        (draft.confidence, draft.reasoning.as_deref()),
        (Some(0.69), Some("It looks like it."))
    );
    stage.decides(vec![draft]);
    let why = r#"confidence 0.69 is below 0.7: it wanted to use restart with {"service":"shop"}"#;
    assert_eq!(stage.ends(), (Outcome::Escalated, why.into()));

    let mut stage = Stage::new(TRIAGE);
    let decision = stage.hears(&[picks("restart", json!({"service": "shop"}), 0.7)]);
    assert!(
        matches!(decision, Decision::Act { .. }),
        "the floor itself is enough"
    );

    let stage = Stage::new(TRIAGE);
    let draft = stage.settles(&[picks("resolve", json!("Done."), 0.2)]);
    let summary = "confidence 0.2 is below 0.7: it wanted to end as `resolve`: Done.".to_owned();
    assert_eq!(
        draft.decision,
        Decision::Finish {
            end: "escalate".parse().expect("a name"),
            summary
        }
    );
    let draft = stage.settles(&[picks("escalate", json!("Not sure."), 0.2)]);
    assert!(matches!(draft.decision, Decision::Finish { summary, .. } if summary == "Not sure."));
}

#[test]
fn a_wrong_reply_gets_one_repair_turn_in_which_every_tool_use_is_answered() {
    let mut stage = Stage::new(TRIAGE);
    let first = stage.ask().request;
    let wrong = reply(
        json!([
            {"type": "thinking", "thinking": "Both.", "signature": "x=="},
            {"type": "tool_use", "id": "a", "name": "disk_usage", "input": {"with": {"path": "/"}, "reasoning": "r", "confidence": 1}},
            {"type": "tool_use", "id": "b", "name": "restart", "input": {"with": {"service": "shop"}, "reasoning": "r", "confidence": 1}},
        ]),
        StopReason::ToolUse,
    );
    let again = stage.asks_again(std::slice::from_ref(&wrong));
    let told = "Not accepted: exactly one tool must be used, not 2 (`disk_usage`, `restart`). Correct this.";
    let asked = serde_json::to_value(&again.messages).expect("JSON");
    let expected = json!([
        first.messages[0],
        {"role": "assistant", "content": wrong.content},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": told, "is_error": true},
            {"type": "tool_result", "tool_use_id": "b", "content": told, "is_error": true},
        ]},
    ]);
    assert_eq!(asked, expected);
    let others = |request: &Request| Request {
        messages: Vec::new(),
        ..request.clone()
    };
    assert_eq!(
        others(&again),
        others(&first),
        "nothing but the conversation grew"
    );

    let draft = stage.settles(&[
        wrong.clone(),
        picks("disk_usage", json!({"path": "/"}), 0.9),
    ]);
    let call = draft.call.clone().expect("Claude was asked");
    assert_eq!((call.attempts.len(), call.usage.input_tokens), (2, 200));
    assert_eq!(
        call.attempts[0].complaint.as_deref(),
        Some("exactly one tool must be used, not 2 (`disk_usage`, `restart`).")
    );
    assert_eq!(call.attempts[1].complaint, None);
    stage.decides(vec![draft]);
    stage.results(ok(json!("91%")));
    let next = serde_json::to_value(&stage.ask().request.messages).expect("JSON");
    let before = expected.as_array().expect("messages").as_slice();
    assert_eq!(
        next.as_array().map(|all| &all[..3]),
        Some(before),
        "the repair stays in the conversation"
    );
}

/// What the repair turn of a request says.
fn told(request: &Request) -> Value {
    let last = request.messages.last().expect("a message");
    let block = &last.content[0];
    let key = if block["type"] == "text" {
        "text"
    } else {
        "content"
    };
    block[key].clone()
}

#[test]
fn what_is_wrong_is_told_in_words_that_the_model_can_act_on() {
    let agent = |input: Value| uses("t", "disk_usage", input);
    let cases = [
        (
            says("I would look at the disk."),
            "exactly one tool must be used, not 0.",
        ),
        (
            picks("rm", json!({}), 1.0),
            "`rm` is not on the menu; there are disk_usage, restart, resolve, escalate.",
        ),
        (
            agent(json!({"reasoning": "r", "confidence": 1})),
            "`with` is missing.",
        ),
        (
            agent(json!({"with": {"path": "/"}, "confidence": 1})),
            "`reasoning` must be a text that is not empty.",
        ),
        (
            agent(json!({"with": {"path": "/"}, "reasoning": " ", "confidence": 1})),
            "`reasoning` must be a text that is not empty.",
        ),
        (
            agent(json!({"with": {"path": "/"}, "reasoning": "r", "confidence": 1.01})),
            "`confidence` must be a number from 0 to 1.",
        ),
        (
            agent(json!({"with": {"path": "/"}, "reasoning": "r", "confidence": "high"})),
            "`confidence` must be a number from 0 to 1.",
        ),
        (
            agent(json!({"with": {"path": 3}, "reasoning": "r", "confidence": 1})),
            "`with` does not fit the input of `disk_usage`: /path: 3 is not of type \"string\".",
        ),
        (
            picks("resolve", json!(""), 1.0),
            "`summary` must be a text that is not empty.",
        ),
    ];
    let stage = Stage::new(TRIAGE);
    for (wrong, complaint) in cases {
        let told = told(&stage.asks_again(&[wrong]));
        assert_eq!(told, format!("Not accepted: {complaint} Correct this."));
    }
}

#[test]
fn an_answer_of_another_shape_is_told_where_it_does_not_fit() {
    let wrong = picks("answer", json!({"level": "loud"}), 1.0);
    let again = Stage::new(OUTPUT).asks_again(&[wrong]);
    let told = again.messages[2].content[0]["content"].to_string();
    assert!(told.contains("`with` does not fit: /level: "), "{told}");
}

#[test]
fn wrong_twice_escalates_by_the_agents_end_or_ends_the_run() {
    let wrong = picks("disk_usage", json!({"path": 3}), 1.0);
    let fault =
        "`with` does not fit the input of `disk_usage`: /path: 3 is not of type \"string\".";

    let mut stage = Stage::new(TRIAGE);
    stage.hears(&[wrong.clone(), wrong.clone()]);
    let why = format!("step `triage/1`: {fault}");
    assert_eq!(stage.ends(), (Outcome::Escalated, why.clone()));
    assert_eq!(
        (stage.run.spent.calls, stage.run.spent.usage.output_tokens),
        (2, 20)
    );

    let ends = TRIAGE
        .replace("[resolve, escalate]", "[resolve]")
        .replace("below: escalate", "below: resolve");
    let mut stage = Stage::new(&ends);
    let decision = stage.hears(&[wrong.clone(), wrong]);
    assert_eq!(
        decision,
        Decision::End {
            outcome: Outcome::Escalated,
            reason: Some(why)
        }
    );
    assert!(matches!(stage.next(), Next::Ended(Outcome::Escalated)));

    let mut stage = Stage::new(OUTPUT);
    let wrong = picks("answer", json!({}), 1.0);
    let decision = stage.hears(&[wrong.clone(), wrong]);
    assert!(
        matches!(decision, Decision::End { outcome: Outcome::Escalated, reason: Some(why) } if why.contains("level"))
    );
}

#[test]
fn a_reply_cut_at_max_tokens_is_asked_for_again_with_double_the_room() {
    let mut stage = Stage::new(TRIAGE);
    let first = stage.ask().request;
    assert_eq!(first.max_tokens, 500);
    let mut cut = picks("restart", json!({"service": "sh"}), 0.9);
    cut.stop_reason = StopReason::MaxTokens;
    let again = stage.asks_again(std::slice::from_ref(&cut));
    assert_eq!(
        again,
        Request {
            max_tokens: 1_000,
            ..first.clone()
        },
        "nothing of the cut reply comes back"
    );

    let draft = stage.settles(&[cut.clone(), picks("disk_usage", json!({"path": "/"}), 0.9)]);
    let call = draft.call.as_ref().expect("Claude was asked");
    assert_eq!(
        call.attempts[0].complaint.as_deref(),
        Some("cut at max_tokens = 500")
    );
    assert!(call.attempts[0].dropped && !call.attempts[1].dropped);
    stage.decides(vec![draft]);
    stage.results(ok(json!("91%")));
    let next = stage.ask().request;
    assert_eq!(
        (next.max_tokens, next.messages.len()),
        (500, 3),
        "nor later"
    );

    let mut stage = Stage::new(TRIAGE);
    stage.hears(&[cut.clone(), cut]);
    assert_eq!(
        stage.ends(),
        (
            Outcome::Escalated,
            "step `triage/1`: cut at max_tokens = 1000".into()
        )
    );
}

#[test]
fn an_empty_reply_is_asked_for_again_because_it_cannot_be_sent_back() {
    for content in [json!([]), json!([{"type": "text", "text": " \n"}])] {
        let stage = Stage::new(TRIAGE);
        let empty = reply(content, StopReason::EndTurn);
        assert_eq!(
            stage.asks_again(std::slice::from_ref(&empty)),
            stage.ask().request
        );
        let draft = stage.settles(&[empty.clone(), empty]);
        assert!(
            matches!(draft.decision, Decision::Finish { summary, .. } if summary == "step `triage/1`: the reply is empty")
        );
    }
}

#[test]
fn a_tool_use_where_there_are_no_tools_is_asked_for_again_and_not_argued_with() {
    const PROSE: &str = "\n  - id: note\n    claude: {prompt: Write a note.}\n";
    let stage = Stage::new(PROSE);
    let both = json!([
        {"type": "text", "text": "As you wish."},
        {"type": "tool_use", "id": "t", "name": "restart", "input": {}},
    ]);
    let obeying = reply(both, StopReason::ToolUse);
    let again = stage.asks_again(std::slice::from_ref(&obeying));
    assert_eq!(again, stage.ask().request);
    let draft = stage.settles(&[obeying.clone(), obeying]);
    let call = draft.call.as_ref().expect("Claude was asked");
    assert!(call.attempts.iter().all(|attempt| attempt.dropped));
    let why = "step `note`: it uses a tool, and this step has none";
    let end = Decision::End {
        outcome: Outcome::Escalated,
        reason: Some(why.to_owned()),
    };
    assert_eq!(draft.decision, end);
}

#[test]
fn what_no_second_try_would_mend_escalates_at_once() {
    let with =
        |stop_reason: StopReason| reply(json!([{"type": "text", "text": "no"}]), stop_reason);
    let mut refusal = with(StopReason::Refusal);
    refusal.stop_details = Some(json!({"type": "refusal", "explanation": "not for me"}));
    let cases = [
        (refusal, "the model refused: not for me"),
        (with(StopReason::Refusal), "the model refused"),
        (
            with(StopReason::ContextExceeded),
            "the conversation is longer than the model's context window",
        ),
        (
            with(StopReason::Other("brand_new".into())),
            "unknown stop reason `brand_new`",
        ),
        (with(StopReason::None), "the reply names no stop reason"),
    ];
    for (reply, why) in cases {
        let mut stage = Stage::new(TRIAGE);
        stage.hears(&[reply]);
        assert_eq!(
            stage.ends(),
            (Outcome::Escalated, format!("step `triage/1`: {why}"))
        );
    }
}

#[test]
fn a_call_that_never_came_back_escalates_with_its_reason_and_what_was_paid() {
    let mut stage = Stage::new(TRIAGE);
    let paid = Answered {
        wasted: 2,
        ..answered(says("Hm."))
    };
    let draft = stage
        .ask()
        .give_up("the provider does not answer", &[paid], Wasted::default());
    let call = draft.call.clone().expect("one reply was paid");
    assert_eq!(
        (call.attempts.len(), call.wasted, call.usd_nano.nano()),
        (1, 2, 15_000)
    );
    stage.decides(vec![draft]);
    assert_eq!((stage.run.spent.calls, stage.run.spent.wasted), (1, 2));
    let why = "step `triage/1`: the provider does not answer";
    assert_eq!(stage.ends(), (Outcome::Escalated, why.into()));
    assert!(
        Stage::new(TRIAGE)
            .ask()
            .give_up("no credit", &[], Wasted::default())
            .call
            .is_none()
    );
}

#[test]
fn a_call_says_who_was_asked_first_what_was_offered_and_each_attempts_own_request() {
    let stage = Stage::new(TRIAGE);
    let answer = |reply: Reply, id: &str, took_ms: u64| Answered {
        request_id: Some(id.into()),
        took_ms,
        ..answered(reply)
    };
    let mut second = picks("disk_usage", json!({"path": "/"}), 0.9);
    second.model = "another".into();
    let replies = [
        answer(picks("rm", json!({}), 1.0), "req_a", 7),
        answer(second, "req_b", 8),
    ];
    let ask = stage.ask();
    let Settled::Decided(drafts) = ask.settle(&replies) else {
        panic!("it is decided");
    };
    let call = drafts[0].call.clone().expect("Claude was asked");
    assert_eq!(
        (call.asked.as_str(), call.model.as_str(), call.took_ms),
        ("claude-haiku-5-5", "another", 15)
    );
    assert_eq!(
        call.menu,
        ["disk_usage@1", "restart@2", "resolve", "escalate"]
    );
    let attempts: Vec<_> = call
        .attempts
        .iter()
        .map(|one| (one.request_id.as_deref(), one.took_ms))
        .collect();
    assert_eq!(attempts, [(Some("req_a"), 7), (Some("req_b"), 8)]);
    let complaint = call.attempts[0].complaint.as_deref().unwrap_or_default();
    assert!(
        complaint.contains("`rm`"),
        "what was tried is told: {complaint}"
    );
    assert_eq!(call.prompt, ask.prompt_digest());

    let mut old = serde_json::to_value(&call).expect("JSON");
    for new in ["asked", "menu"] {
        old.as_object_mut().and_then(|call| call.remove(new));
    }
    for attempt in old["attempts"].as_array_mut().into_iter().flatten() {
        *attempt = json!({"content": attempt["content"]});
    }
    let old: crate::entry::Call = serde_json::from_value(old).expect("entries of before are read");
    assert_eq!((old.asked.as_str(), old.attempts.len()), ("", 2));
}
