//! Streams cut anywhere, against the plain form of the same message.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::claude::StopReason;

/// How a server may write its lines.
const ENDINGS: [&str; 3] = ["\n", "\r\n", "\r"];

fn event(name: &str, data: &Value, ending: &str) -> String {
    format!("event: {name}{ending}data: {data}{ending}{ending}")
}

/// Cuts a text into pieces of so many characters.
fn pieces(text: &str, size: usize) -> Vec<String> {
    let all: Vec<char> = text.chars().collect();
    all.chunks(size)
        .map(|piece| piece.iter().collect())
        .collect()
}

/// What is told of a block piece by piece: how it begins, and its deltas.
fn told(block: &Value, size: usize) -> (Value, Vec<Value>) {
    let mut begun = block.clone();
    let text = |key: &str| block[key].as_str().unwrap_or_default().to_owned();
    let deltas = |kind: &str, key: &str, text: &str| -> Vec<Value> {
        let pieces = pieces(text, size).into_iter();
        pieces
            .map(|piece| json!({"type": kind, key: piece}))
            .collect()
    };
    match block["type"].as_str() {
        Some("text") => {
            begun["text"] = json!("");
            let mut all = deltas("text_delta", "text", &text("text"));
            if let Some(citations) = block.get("citations").and_then(Value::as_array) {
                begun["citations"] = json!(null);
                let told = citations
                    .iter()
                    .map(|citation| json!({"type": "citations_delta", "citation": citation}));
                all.extend(told);
            }
            (begun, all)
        }
        Some("thinking") => {
            begun["thinking"] = json!("");
            begun["signature"] = json!("");
            let mut all = deltas("thinking_delta", "thinking", &text("thinking"));
            all.push(json!({"type": "signature_delta", "signature": text("signature")}));
            (begun, all)
        }
        Some("tool_use") => {
            begun["input"] = json!({});
            let input = block["input"].to_string();
            (begun, deltas("input_json_delta", "partial_json", &input))
        }
        _ => (begun, vec![json!({"type": "brand_new_delta", "x": 1})]),
    }
}

/// A message as a server would stream it.
fn stream_of(message: &Value, size: usize, ending: &str) -> String {
    let mut begun = message.clone();
    begun["content"] = json!([]);
    begun["stop_reason"] = json!(null);
    begun["usage"]["output_tokens"] = json!(1);
    let mut text = String::from(": hello");
    text.push_str(ending);
    let mut add = |name: &str, mut data: Value| {
        data["type"] = json!(name);
        text.push_str(&event(name, &data, ending));
    };
    add("message_start", json!({"message": begun}));
    add("ping", json!({}));
    for (index, block) in message["content"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let (begun, deltas) = told(block, size);
        add(
            "content_block_start",
            json!({"index": index, "content_block": begun}),
        );
        for delta in deltas {
            add(
                "content_block_delta",
                json!({"index": index, "delta": delta}),
            );
        }
        add("content_block_stop", json!({"index": index}));
        add("brand_new_event", json!({"index": index}));
    }
    let mut delta = json!({"stop_reason": message["stop_reason"], "stop_sequence": null});
    if let Some(details) = message.get("stop_details") {
        delta["stop_details"] = details.clone();
    }
    let usage = json!({"output_tokens": message["usage"]["output_tokens"], "input_tokens": null});
    add("message_delta", json!({"delta": delta, "usage": usage}));
    add("message_stop", json!({}));
    text
}

fn feed(bytes: &[u8], size: usize) -> (Result<Option<Reply>, StreamError>, Option<Usage>) {
    let mut stream = ReplyStream::new();
    for chunk in bytes.chunks(size) {
        match stream.push(chunk) {
            Ok(None) => {}
            done => return (done, stream.billed()),
        }
    }
    (Ok(None), stream.billed())
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON has no others", |number| number.is_finite())
            .prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,6}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn any_block() -> impl Strategy<Value = Value> {
    let object = prop::collection::vec(("[a-z]{1,4}", any_json()), 0..4)
        .prop_map(|pairs| Value::Object(pairs.into_iter().collect()));
    prop_oneof![
        ".{0,30}".prop_map(|text| json!({"type": "text", "text": text})),
        (".{0,30}", any_json())
            .prop_map(|(text, cited)| json!({"citations": [cited], "type": "text", "text": text})),
        (".{0,30}", "[A-Za-z0-9+/]{0,20}").prop_map(
            |(text, signature)| json!({"type": "thinking", "thinking": text, "signature": signature})
        ),
        object.prop_map(|input| json!({"type": "tool_use", "id": "t", "name": "n", "input": input})),
        any_json().prop_map(|inside| json!({"type": "brand_new", "inside": inside})),
    ]
}

fn any_message() -> impl Strategy<Value = Value> {
    let reasons = ["end_turn", "tool_use", "max_tokens", "brand_new"];
    (
        prop::collection::vec(any_block(), 0..4),
        prop::sample::select(reasons.to_vec()),
        0_u64..1_000_000,
        prop::option::of(".{0,9}"),
    )
        .prop_map(|(content, reason, tokens, details)| {
            let mut message = json!({
                "id": "msg", "type": "message", "role": "assistant", "model": "m", "content": content,
                "stop_reason": reason, "stop_sequence": null,
                "usage": {"input_tokens": tokens, "cache_read_input_tokens": 3, "output_tokens": tokens / 7,
                    "cache_creation": {"ephemeral_1h_input_tokens": 2}},
            });
            if let Some(details) = details {
                message["stop_details"] = json!({"explanation": details});
            }
            message
        })
}

proptest! {
    #[test]
    fn a_message_is_the_same_however_its_stream_is_cut(
        message in any_message(), piece in 1_usize..9, chunk in 1_usize..200, ending in 0_usize..3, mark in any::<bool>(),
    ) {
        let mut bytes = if mark { b"\xEF\xBB\xBF".to_vec() } else { Vec::new() };
        bytes.extend(stream_of(&message, piece, ENDINGS[ending]).into_bytes());
        let plain: Reply = serde_json::from_value(message).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let (got, billed) = feed(&bytes, chunk);
        let got = got.map_err(|e| TestCaseError::fail(e.to_string()))?;
        // As text too, because the order of keys counts when it goes back.
        prop_assert_eq!(serde_json::to_string(&got).ok(), serde_json::to_string(&plain).ok());
        prop_assert_eq!(billed, Some(plain.usage));
        prop_assert_eq!(got, Some(plain));
    }

    #[test]
    fn a_stream_that_is_cut_off_is_no_reply(message in any_message(), at in 0.0_f64..1.0, ending in 0_usize..3) {
        let ending = ENDINGS[ending];
        let bytes = stream_of(&message, 3, ending).into_bytes();
        // A blank line's first byte ends it.
        let whole = bytes.len() - ending.len();
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a short text")]
        let cut = (whole as f64 * at) as usize;
        for cut in [cut, whole] {
            prop_assert_eq!(feed(&bytes[..cut], 16).0, Ok(None));
        }
    }

    #[test]
    fn garbage_is_refused_or_ignored(bytes in prop::collection::vec(any::<u8>(), 0..300), chunk in 1_usize..50) {
        prop_assert!(!matches!(feed(&bytes, chunk).0, Ok(Some(_))));
    }
}

fn events(text: &str) -> Vec<(String, String)> {
    let events = SseParser::new().push(text.as_bytes());
    let events = events.unwrap_or_default().into_iter();
    events.map(|event| (event.name, event.data)).collect()
}

#[test]
fn lines_comments_and_fields_are_read_as_the_standard_says() {
    let pair = |name: &str, data: &str| (name.to_owned(), data.to_owned());
    assert_eq!(
        events(
            "data: a\ndata:b\ndata\n\n: c\nid: 1\nretry: 2\n\nevent: e\n\ndata:  x\r\rdata: cut\n"
        ),
        [pair("", "a\nb\n"), pair("", " x")]
    );
    assert_eq!(
        events("\u{feff}event: e\r\ndata: 1\r\n\r\ndata: 2\n\n"),
        [pair("e", "1"), pair("", "2")]
    );
}

#[test]
fn an_event_that_never_ends_is_refused() {
    let mut parser = SseParser::new();
    let line = [b'x'; 1 << 16];
    let refused = (0..100).find_map(|_| parser.push(&line).err());
    assert!(matches!(refused, Some(StreamError::TooLarge(_))));
    let mut parser = SseParser::new();
    let lines = [b"data: ", line.as_slice(), b"\n"].concat();
    let refused = (0..100).find_map(|_| parser.push(&lines).err());
    assert!(matches!(refused, Some(StreamError::TooLarge(_))));
}

fn begun() -> String {
    let message = json!({"id": "m", "model": "m", "content": [], "usage": {"input_tokens": 40, "output_tokens": 2}});
    event(
        "message_start",
        &json!({"type": "message_start", "message": message}),
        "\n",
    )
}

#[test]
fn a_reply_without_an_end_to_its_size_is_refused() {
    let text = "x".repeat(1 << 20);
    let block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
    let delta = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    let mut stream = ReplyStream::new();
    let first = begun() + &event("content_block_start", &block, "\n");
    assert_eq!(stream.push(first.as_bytes()), Ok(None));
    let delta = event("content_block_delta", &delta, "\n");
    let refused = (0..20).find_map(|_| stream.push(delta.as_bytes()).err());
    assert!(matches!(refused, Some(StreamError::TooLarge(_))));
    assert_eq!(stream.billed().map(|usage| usage.input_tokens), Some(40));
}

#[test]
fn an_error_in_the_middle_is_told_with_what_is_billed() {
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}});
    let text = begun() + &event("error", &error, "\n");
    let (got, billed) = feed(text.as_bytes(), 7);
    let fault = StreamError::Fault {
        kind: "overloaded_error".into(),
        message: "busy".into(),
    };
    assert_eq!(got, Err(fault));
    assert_eq!(
        billed.map(|usage| (usage.input_tokens, usage.output_tokens)),
        Some((40, 2))
    );
    assert_eq!(feed(b"", 1), (Ok(None), None));
}

/// A stream whose tool input is cut off, stopped for this reason.
fn cut_input(reason: &str) -> String {
    let block = json!({"type": "tool_use", "id": "t", "name": "n", "input": {}});
    let delta = json!({"type": "input_json_delta", "partial_json": "{\"a\": \"b"});
    let all = [
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop"}),
    ];
    all.iter()
        .fold(begun(), |text, data| text + &event("", data, "\n"))
}

#[test]
fn a_tool_input_that_is_cut_off_is_a_cut_reply_and_never_a_whole_one() {
    let (got, _) = feed(cut_input("max_tokens").as_bytes(), 50);
    let cut = got.ok().flatten();
    assert!(cut.is_some_and(|reply| reply.stop_reason == StopReason::MaxTokens));
    let (got, billed) = feed(cut_input("tool_use").as_bytes(), 50);
    assert!(matches!(got, Err(StreamError::Malformed(_))), "{got:?}");
    assert_eq!(billed.map(|usage| usage.output_tokens), Some(9));
}

#[test]
fn events_out_of_their_order_are_refused_and_strange_ones_passed_over() {
    let start = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
    let delta = |index: u32, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let text = json!({"type": "text_delta", "text": "x"});
    let stop = json!({"type": "content_block_stop", "index": 0});
    let end = json!({"type": "message_stop"});
    let later =
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "text"}});
    let no_text = json!({"type": "text_delta"});
    let orders: [(bool, Vec<Value>); 7] = [
        (false, vec![start.clone()]),
        (true, vec![later]),
        (true, vec![delta(0, text.clone())]),
        (
            true,
            vec![start.clone(), stop.clone(), delta(0, text.clone())],
        ),
        (true, vec![start.clone(), delta(0, no_text)]),
        (true, vec![start.clone(), end]),
        (true, vec![json!({"no": "type"})]),
    ];
    for (first, events) in orders {
        let first = if first { begun() } else { String::new() };
        let all = events
            .iter()
            .fold(first, |all, data| all + &event("", data, "\n"));
        let (got, _) = feed(all.as_bytes(), 1_000);
        assert!(
            matches!(got, Err(StreamError::Malformed(_))),
            "{all}: {got:?}"
        );
    }
    let twice = begun() + &begun();
    assert!(feed(twice.as_bytes(), 9).0.is_err());
    let strange = "event: ping\ndata: \n\nevent: vendor\ndata: [DONE]\n\n".to_owned() + &begun();
    assert_eq!(feed(strange.as_bytes(), 9).0, Ok(None));
}
