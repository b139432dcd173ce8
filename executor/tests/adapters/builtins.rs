//! What an executor does by itself.

use flotilla_common::{
    io::{bus::Bus, streams::ensure_streams},
    names::subject,
};
use flotilla_tests::Nats;
use serde_json::{Value, json};

use crate::{
    server::Server,
    trial::{Result, Trial},
};

#[tokio::test]
async fn an_event_is_published_once_however_often_it_is_emitted() -> Result<()> {
    let nats = Nats::start().await;
    let bus = Bus::connect(&nats.url(), "test").await?;
    ensure_streams(&bus).await?;
    let lines = "effect: idempotent\nbuiltin: {emit_event: {type: ops.deployed, data: {what: '{{ input.what }}', by: '{{ run }}'}}}";
    let trial = Trial::with_bus(lines, &bus)?;
    let first = trial.run(json!({"what": {"n": 1}})).await?;
    assert_eq!(first.kind, "ok", "{}", first.message);
    assert_eq!(first.output["id"], trial.idempotency_key());
    assert_eq!(
        trial.run(json!({"what": {"n": 1}})).await?.output,
        first.output
    );
    let stream = nats.jetstream().await.get_stream("EVENTS").await?;
    let message = stream
        .get_last_raw_message_by_subject("events.ops.deployed")
        .await?;
    assert_eq!(message.sequence, 1, "the second is the first");
    assert_eq!(
        subject::event_type(&message.subject),
        Some("ops.deployed".parse()?)
    );
    let event: Value = serde_json::from_slice(&message.payload)?;
    assert_eq!(event["data"]["what"], json!({"n": 1}));
    assert_eq!(
        event["source"],
        format!(
            "flotilla:run/{}",
            event["data"]["by"].as_str().ok_or("a run")?
        )
    );
    assert_eq!(
        Trial::new(lines)?.run(json!({"what": 1})).await?.kind,
        "config"
    );
    Ok(())
}

#[tokio::test]
async fn a_url_is_waited_for_until_it_answers_as_expected() -> Result<()> {
    let server = Server::start().await?;
    let lines = |url: &str, more: &str| {
        format!("timeout: 4s\nbuiltin: {{wait_for_url: {{url: '{url}', every: 100ms{more}}}}}")
    };
    let ended = Trial::new(&lines(&server.url("/later/3"), ""))?
        .run(json!({}))
        .await?;
    assert_eq!(ended.kind, "ok", "{}", ended.message);
    assert_eq!(ended.output, json!({"status": 200, "looks": 4}));
    let ended = Trial::new(&lines(&server.url("/status/503"), ", expect: [503]"))?;
    assert_eq!(ended.run(json!({})).await?.output["looks"], 1);
    let never = lines(&server.url("/status/503"), "").replace("4s", "1s");
    let ended = Trial::new(&never)?.run(json!({})).await?;
    assert_eq!(ended.kind, "timeout");
    assert!(
        ended.message.ends_with("it answered with status 503"),
        "{}",
        ended.message
    );
    // What must not be reached is not waited for.
    let before = server.seen().len();
    let inside = lines("http://{{ input.host }}/", "").replace("4s", "1h");
    let ended = Trial::new(&inside)?
        .run(json!({"host": "169.254.169.254"}))
        .await?;
    assert_eq!(ended.kind, "refused");
    assert_eq!(server.seen().len(), before);
    Ok(())
}

#[tokio::test]
async fn a_note_does_nothing_and_says_so() -> Result<()> {
    let ended = Trial::new("builtin: note")?
        .run(json!({"text": "remember"}))
        .await?;
    assert_eq!(
        (ended.kind.as_str(), ended.output),
        ("ok", json!({"noted": true}))
    );
    Ok(())
}
