use super::*;
use crate::prompt::render;
use crate::wire::{Object, Request};
use serde_json::{Value, json};

const MINIMUM: u64 = 512;

fn prompt(body: Value) -> Prompt {
    let body: Object = serde_json::from_value(body).unwrap();
    render(&Request::read(body).unwrap(), "key")
}

/// A text of exactly that many tokens.
fn text(tokens: usize, fill: &str) -> String {
    fill.repeat(tokens * 7 / 2)
}

fn cached(tokens: usize, fill: &str) -> Value {
    json!({"type": "text", "text": text(tokens, fill), "cache_control": {"type": "ephemeral"}})
}

fn ask(system: Value, messages: Value) -> Value {
    json!({"model": "claude-opus-5", "max_tokens": 10, "system": system, "messages": messages})
}

fn user(content: impl Into<Value>) -> Value {
    json!({"role": "user", "content": content.into()})
}

/// Looks up and commits at once, as a request with no latency does.
fn send(cache: &PromptCache, prompt: &Prompt, now: Instant) -> (u64, u64, u64) {
    let used = cache.look_up(prompt, MINIMUM, now);
    cache.commit(&used, now);
    (
        used.read,
        used.written(),
        prompt.tokens - used.read - used.written(),
    )
}

#[test]
fn the_first_request_writes_up_to_the_breakpoint_and_the_second_reads_it() {
    let cache = PromptCache::new();
    let now = Instant::now();
    let first = prompt(ask(
        json!([cached(1000, "s")]),
        json!([user(text(100, "a"))]),
    ));
    let second = prompt(ask(
        json!([cached(1000, "s")]),
        json!([user(text(60, "b"))]),
    ));
    assert_eq!(send(&cache, &first, now), (0, 1000, 100));
    assert_eq!(send(&cache, &second, now), (1000, 0, 60));
}

#[test]
fn one_changed_byte_before_the_breakpoint_reads_nothing() {
    let cache = PromptCache::new();
    let now = Instant::now();
    let at = |clock: &str| {
        prompt(ask(
            json!([cached(1000, "s"), {"type": "text", "text": clock}]),
            json!([user("go")]),
        ))
    };
    let stamped = |clock: &str| {
        let system = format!("{clock}{}", text(1000, "s"));
        prompt(ask(
            json!([{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}]),
            json!([user("go")]),
        ))
    };
    send(&cache, &at("09:00"), now);
    assert_eq!(
        send(&cache, &at("09:01"), now).0,
        1000,
        "a change behind the breakpoint does not matter"
    );
    send(&cache, &stamped("09:00"), now);
    assert_eq!(send(&cache, &stamped("09:01"), now).0, 0);
}

#[test]
fn a_prefix_below_the_models_minimum_is_not_cached_and_nothing_says_so() {
    let cache = PromptCache::new();
    let now = Instant::now();
    let short = prompt(ask(json!([cached(511, "s")]), json!([user("go")])));
    let enough = prompt(ask(json!([cached(512, "t")]), json!([user("go")])));
    for _ in 0..2 {
        let (read, written, input) = send(&cache, &short, now);
        assert_eq!((read, written, input), (0, 0, short.tokens));
    }
    assert_eq!(send(&cache, &enough, now).1, 512);
}

#[test]
fn each_use_makes_an_entry_live_for_five_more_minutes() {
    let cache = PromptCache::new();
    let start = Instant::now();
    let body = prompt(ask(json!([cached(1000, "s")]), json!([user("go")])));
    let minutes = |n: u64| start + Duration::from_secs(60 * n);
    send(&cache, &body, start);
    for n in [4, 8, 12] {
        assert_eq!(send(&cache, &body, minutes(n)).0, 1000);
    }
    assert_eq!(
        send(&cache, &body, minutes(17)),
        (0, 1000, body.tokens - 1000)
    );
}

#[test]
fn an_hour_long_prefix_and_a_short_one_are_counted_apart() {
    let cache = PromptCache::new();
    let now = Instant::now();
    let long = json!({"type": "text", "text": text(1000, "s"), "cache_control": {"type": "ephemeral", "ttl": "1h"}});
    let body = prompt(ask(json!([long]), json!([user(json!([cached(200, "u")]))])));
    let used = cache.look_up(&body, MINIMUM, now);
    assert_eq!(
        (used.read, used.written_1h, used.written_5m),
        (0, 1000, 200)
    );
    cache.commit(&used, now);
    let later = now + Duration::from_secs(30 * 60);
    let used = cache.look_up(&body, MINIMUM, later);
    assert_eq!(
        (used.read, used.written_1h, used.written_5m),
        (1000, 0, 200)
    );
}

#[test]
fn automatic_caching_moves_the_breakpoint_with_the_conversation() {
    let cache = PromptCache::new();
    let now = Instant::now();
    let body = |turns: &[Value]| {
        let mut body = ask(json!(text(1000, "s")), json!(turns));
        body["cache_control"] = json!({"type": "ephemeral"});
        prompt(body)
    };
    let one = user(text(100, "a"));
    let two = json!({"role": "assistant", "content": text(50, "b")});
    let three = user(text(30, "c"));
    assert_eq!(
        send(&cache, &body(std::slice::from_ref(&one)), now),
        (0, 1100, 0)
    );
    assert_eq!(send(&cache, &body(&[one, two, three]), now), (1100, 80, 0));
}

#[test]
fn an_entry_more_than_twenty_blocks_back_is_not_found() {
    let now = Instant::now();
    let reads = |blocks_after: usize| {
        let cache = PromptCache::new();
        send(
            &cache,
            &prompt(ask(json!([cached(1000, "s")]), json!([user("go")]))),
            now,
        );
        let mut blocks: Vec<Value> = (0..blocks_after)
            .map(|n| json!({"type": "text", "text": format!("block {n}")}))
            .collect();
        if let Some(last) = blocks.last_mut() {
            last["cache_control"] = json!({"type": "ephemeral"});
        }
        let system = json!([{"type": "text", "text": text(1000, "s")}]);
        send(&cache, &prompt(ask(system, json!([user(blocks)]))), now).0
    };
    assert_eq!(reads(19), 1000);
    assert_eq!(reads(20), 0);
}

#[test]
fn tools_come_first_so_that_a_changed_tool_breaks_everything_and_a_changed_choice_only_the_messages()
 {
    let cache = PromptCache::new();
    let now = Instant::now();
    let body = |description: &str, choice: &str| {
        let mut body = ask(
            json!([cached(1000, "s")]),
            json!([user(json!([cached(100, "u")]))]),
        );
        body["tools"] = json!([{"name": "look", "description": description, "input_schema": {"type": "object"}}]);
        body["tool_choice"] = json!({"type": choice});
        prompt(body)
    };
    let whole = send(&cache, &body("looks", "any"), now).1;
    assert_eq!(send(&cache, &body("looks", "any"), now).0, whole);
    assert_eq!(
        send(&cache, &body("looks", "auto"), now),
        (whole - 100, 100, 0)
    );
    assert_eq!(send(&cache, &body("sees", "any"), now).0, 0);
}

#[test]
fn the_order_of_keys_matters_and_the_place_of_the_breakpoint_does_not() {
    let now = Instant::now();
    let body = |input: &str, mark: &str| {
        let input: Value = serde_json::from_str(input).unwrap();
        let block = |name: &str, value: Value| {
            let mut value = value;
            if mark == name {
                value["cache_control"] = json!({"type": "ephemeral"});
            }
            value
        };
        let mut body = ask(
            json!(text(1000, "s")),
            json!([
                user("go"),
                {"role": "assistant", "content": [block("use", json!({"type": "tool_use", "id": "t1", "name": "look", "input": input}))]},
                user(json!([block("result", json!({"type": "tool_result", "tool_use_id": "t1", "content": "seen"}))])),
            ]),
        );
        body["tools"] = json!([{"name": "look", "input_schema": {"type": "object"}}]);
        prompt(body)
    };
    let cache = PromptCache::new();
    let (_, written, _) = send(&cache, &body(r#"{"a":1,"b":2}"#, "use"), now);
    assert_eq!(
        send(&cache, &body(r#"{"a":1,"b":2}"#, "result"), now).0,
        written
    );
    assert_eq!(send(&cache, &body(r#"{"b":2,"a":1}"#, "result"), now).0, 0);
}

#[test]
fn two_requests_at_once_both_pay_for_the_write() {
    let cache = PromptCache::new();
    let now = Instant::now();
    let body = prompt(ask(json!([cached(1000, "s")]), json!([user("go")])));
    let first = cache.look_up(&body, MINIMUM, now);
    let second = cache.look_up(&body, MINIMUM, now);
    cache.commit(&first, now);
    assert_eq!(
        (first.written(), second.written(), second.read),
        (1000, 1000, 0)
    );
    assert_eq!(cache.look_up(&body, MINIMUM, now).read, 1000);
}

#[test]
fn one_keys_cache_is_not_anothers_nor_one_models_anothers() {
    let cache = PromptCache::new();
    let now = Instant::now();
    let body = |model: &str, owner: &str| {
        let mut body = ask(json!([cached(1000, "s")]), json!([user("go")]));
        body["model"] = json!(model);
        let body: Object = serde_json::from_value(body).unwrap();
        render(&Request::read(body).unwrap(), owner)
    };
    send(&cache, &body("claude-opus-5", "one"), now);
    assert_eq!(send(&cache, &body("claude-opus-5", "two"), now).0, 0);
    assert_eq!(send(&cache, &body("claude-fable-5-1", "one"), now).0, 0);
    assert_eq!(send(&cache, &body("claude-opus-5", "one"), now).0, 1000);
}

#[test]
fn a_full_cache_forgets_what_ends_first_and_stays_bounded() {
    let cache = PromptCache::with_shard_limit(16);
    let start = Instant::now();
    let body = |n: usize| {
        prompt(ask(
            json!([cached(600, "s")]),
            json!([user(json!([cached(600, &format!("{n:04}"))]))]),
        ))
    };
    for n in 0..4000 {
        send(&cache, &body(n), start + Duration::from_millis(n as u64));
    }
    let held: usize = cache
        .shards
        .iter()
        .map(|shard| shard.lock().unwrap().len())
        .sum();
    assert!(held <= 16 * SHARDS, "{held}");
    let now = start + Duration::from_secs(5);
    let newest = body(3999);
    assert_eq!(cache.look_up(&newest, MINIMUM, now).read, newest.tokens);
}
