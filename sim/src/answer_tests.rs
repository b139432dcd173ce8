use super::*;
use serde_json::json;

fn request(extra: Value) -> Request {
    let schema = |names: &[&str]| {
        let properties: Map<String, Value> = names
            .iter()
            .map(|name| ((*name).to_owned(), json!({"type": "string"})))
            .collect();
        json!({"type": "object", "properties": properties, "required": names})
    };
    let mut body = json!({
        "model": "claude-sonnet-5",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": "go"}],
        "tools": [{"name": "long", "input_schema": schema(&["a", "b"])}, {"name": "short", "input_schema": schema(&["a"])}],
    });
    for (key, value) in extra.as_object().unwrap() {
        body[key] = value.clone();
    }
    Request::read(body.as_object().unwrap().clone()).unwrap()
}

fn uses(names: &[&str]) -> Decision {
    let uses = names
        .iter()
        .map(|name| ((*name).to_owned(), None))
        .collect();
    Decision {
        answer: Answer::Message {
            say: Some("I will look.".to_owned()),
            uses,
        },
        ..Decision::default()
    }
}

fn built(extra: Value, decision: &Decision) -> Reply {
    build(&request(extra), decision).unwrap()
}

#[test]
fn a_forced_choice_gets_a_tool_use_that_fits_its_schema() {
    let any = built(
        json!({"tool_choice": {"type": "any"}}),
        &Decision::default(),
    );
    assert_eq!(
        (any.tools_used(), any.stop_reason.as_str()),
        (vec!["short".to_owned()], "tool_use")
    );
    let one = built(
        json!({"tool_choice": {"type": "tool", "name": "long"}}),
        &Decision::default(),
    );
    assert!(
        matches!(one.parts.as_slice(), [Part::ToolUse { input, .. }] if *input == json!({"a": "simulated", "b": "simulated"}))
    );
}

#[test]
fn a_script_does_not_get_around_the_tool_choice() {
    let forced = built(
        json!({"tool_choice": {"type": "tool", "name": "long"}}),
        &uses(&["short"]),
    );
    assert_eq!(forced.tools_used(), ["long"]);
    let none = built(json!({"tool_choice": {"type": "none"}}), &uses(&["short"]));
    assert_eq!(
        (none.tools_used().len(), none.stop_reason.as_str()),
        (0, "end_turn")
    );
    let single = json!({"tool_choice": {"type": "any", "disable_parallel_tool_use": true}});
    assert_eq!(
        built(single, &uses(&["short", "long"])).tools_used(),
        ["short"]
    );
    let both = built(
        json!({"tool_choice": {"type": "auto"}}),
        &uses(&["short", "long"]),
    );
    assert_eq!(both.tools_used(), ["short", "long"]);
    assert!(matches!(both.parts.first(), Some(Part::Text(_))));
}

#[test]
fn without_a_policy_the_tool_used_least_comes_next() {
    let used = json!({"tool_choice": {"type": "any"}, "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "short", "input": {"a": "x"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "done"}]}]});
    assert_eq!(built(used, &Decision::default()).tools_used(), ["long"]);
}

#[test]
fn an_answer_longer_than_max_tokens_is_cut() {
    let said = Decision {
        answer: Answer::Message {
            say: Some("é".repeat(100)),
            uses: vec![],
        },
        ..Decision::default()
    };
    let cut = built(json!({"max_tokens": 10}), &said);
    assert_eq!(
        (cut.stop_reason.as_str(), cut.output_tokens),
        ("max_tokens", 10)
    );
    assert_eq!(cut.parts, [Part::Text("é".repeat(17))]);
}

#[test]
fn an_answer_a_little_too_long_loses_only_what_is_too_much() {
    let answer = Answer::Message {
        say: Some("x".repeat(40)),
        uses: vec![],
    };
    let cut = built(
        json!({"max_tokens": 10}),
        &Decision {
            answer,
            ..Decision::default()
        },
    );
    assert_eq!(cut.parts, [Part::Text("x".repeat(35))]);
}

#[test]
fn a_tool_use_cut_by_max_tokens_lacks_members() {
    let input = json!({"a": "short", "b": "long ".repeat(100)});
    let answer = Answer::Message {
        say: None,
        uses: vec![("long".to_owned(), Some(input))],
    };
    let cut = built(
        json!({"max_tokens": 20}),
        &Decision {
            answer,
            ..Decision::default()
        },
    );
    assert_eq!(cut.stop_reason, "max_tokens");
    assert!(
        matches!(cut.parts.as_slice(), [Part::ToolUse { input, .. }] if *input == json!({"a": "short"}))
    );
}

#[test]
fn a_scripted_max_tokens_cuts_a_forced_tool_use_too() {
    let stop = Decision {
        stop: Some("max_tokens".to_owned()),
        ..Decision::default()
    };
    let cut = built(json!({"tool_choice": {"type": "any"}}), &stop);
    assert_eq!(
        (cut.stop_reason.as_str(), cut.output_tokens),
        ("max_tokens", 1000)
    );
    assert!(matches!(cut.parts.as_slice(), [Part::ToolUse { input, .. }] if *input == json!({})));
}

#[test]
fn a_stop_sequence_ends_the_text_before_it() {
    let said = Decision {
        answer: Answer::Message {
            say: Some("one END two".to_owned()),
            uses: vec![],
        },
        ..Decision::default()
    };
    let reply = built(json!({"stop_sequences": ["two", "END"]}), &said);
    assert_eq!(reply.parts, [Part::Text("one ".to_owned())]);
    assert_eq!(
        (reply.stop_reason.as_str(), reply.stop_sequence.as_deref()),
        ("stop_sequence", Some("END"))
    );
}

#[test]
fn a_refusal_has_no_content_and_says_why() {
    let refuse = Decision {
        answer: Answer::Refuse("not this".to_owned()),
        ..Decision::default()
    };
    let reply = built(json!({"tool_choice": {"type": "any"}}), &refuse);
    assert_eq!(
        (reply.parts.len(), reply.stop_reason.as_str()),
        (0, "refusal")
    );
    assert_eq!(reply.refusal.as_deref(), Some("not this"));
}

#[test]
fn a_requested_format_is_answered_in_json() {
    let schema = json!({"type": "object", "additionalProperties": false, "required": ["ok"], "properties": {"ok": {"type": "boolean"}}});
    let format = json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}});
    assert_eq!(
        built(format, &Decision::default()).parts,
        [Part::Text(r#"{"ok":false}"#.to_owned())]
    );
}
