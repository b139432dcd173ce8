//! Tools that are services on NATS.

use std::collections::BTreeMap;

use async_nats::{HeaderMap, Message};
use flotilla_common::io::bus::Bus;
use flotilla_tests::Nats;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use crate::trial::{Result, Trial};

/// A service that does as its `do` says.
struct Service {
    nats: Nats,
    bus: Bus,
    task: AbortHandle,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Service {
    async fn start() -> Result<Self> {
        let nats = Nats::start().await;
        let bus = Bus::connect(&nats.url(), "test").await?;
        let client = nats.client().await;
        let mut requests = client.subscribe("svc.>").await?;
        client.flush().await?;
        let serving = async move {
            while let Some(request) = requests.next().await {
                let Some(reply) = request.reply.clone() else {
                    continue;
                };
                let Some((headers, payload)) = answer(&request) else {
                    continue;
                };
                let sent = client.publish_with_headers(reply, headers, payload.into());
                if sent.await.is_err() {
                    return;
                }
            }
        };
        let task = tokio::spawn(serving).abort_handle();
        Ok(Self { nats, bus, task })
    }

    async fn ended(&self, lines: &str, input: Value) -> Result<crate::trial::Ended> {
        Trial::with_bus(lines, &self.bus)?.run(input).await
    }
}

fn answer(request: &Message) -> Option<(HeaderMap, Vec<u8>)> {
    let asked: Value = serde_json::from_slice(&request.payload).unwrap_or_default();
    let mut headers = HeaderMap::new();
    let payload = match asked["input"]["do"].as_str().unwrap_or_default() {
        "echo" => {
            let heard = request.headers.iter().flat_map(HeaderMap::iter);
            let heard: BTreeMap<_, _> = heard
                .map(|(name, values)| (name.to_string(), values[0].to_string()))
                .collect();
            json!({"subject": request.subject.as_str(), "asked": asked, "headers": heard})
                .to_string()
                .into_bytes()
        }
        "fail" => {
            headers.insert("Flotilla-Error", "sold_out");
            headers.insert("Flotilla-Retryable", "false");
            json!({"message": "no seats", "left": 0})
                .to_string()
                .into_bytes()
        }
        "busy" => {
            headers.insert("Flotilla-Error", "busy");
            headers.insert("Flotilla-Retryable", "true");
            b"come back later".to_vec()
        }
        "doubt" => {
            headers.insert("Flotilla-Error", "unknown");
            Vec::new()
        }
        "framework" => {
            headers.insert("Nats-Service-Error", "bad seat");
            headers.insert("Nats-Service-Error-Code", "400");
            Vec::new()
        }
        "text" => b"just a text".to_vec(),
        "long" => vec![b'x'; 3_000],
        "nothing" => Vec::new(),
        _ => return None,
    };
    Some((headers, payload))
}

const BOOK: &str = "nats: {subject: 'svc.{{ input.city }}.book'}";

#[tokio::test]
async fn a_service_hears_the_input_and_whose_call_it_is() -> Result<()> {
    let service = Service::start().await?;
    let trial = Trial::with_bus(BOOK, &service.bus)?;
    let input = json!({"do": "echo", "city": "berlin", "n": [1]});
    let ended = trial.run(input.clone()).await?;
    assert_eq!(ended.kind, "ok", "{}", ended.message);
    assert_eq!(ended.output["subject"], "svc.berlin.book");
    assert_eq!(ended.output["asked"], json!({"input": input}));
    let headers = &ended.output["headers"];
    assert_eq!(headers["Idempotency-Key"], trial.idempotency_key());
    assert_eq!(headers["Flotilla-Step"], "act/3#2");
    assert_eq!(headers["Flotilla-Tool"], "trial@1");
    let run = headers["Flotilla-Run"].as_str().ok_or("a run")?;
    let trace = headers["traceparent"].as_str().ok_or("a trace")?;
    let parts: Vec<&str> = trace.split('-').collect();
    let [version, of, parent, flags] = parts[..] else {
        return Err(trace.into());
    };
    assert_eq!((version, flags, parent.len()), ("00", "01", 16));
    assert_eq!(format!("run_{of}"), run);
    Ok(())
}

#[tokio::test]
async fn a_service_says_itself_how_it_failed_and_whether_to_come_again() -> Result<()> {
    let service = Service::start().await?;
    let with = |what: &str| json!({"do": what, "city": "berlin"});
    let ended = service.ended(BOOK, with("fail")).await?;
    assert_eq!(
        (ended.kind.as_str(), ended.retryable),
        ("sold_out", Some(false))
    );
    assert!(ended.message.ends_with("no seats"), "{}", ended.message);
    assert_eq!(ended.output["left"], 0);
    let ended = service.ended(BOOK, with("busy")).await?;
    assert_eq!((ended.kind.as_str(), ended.retryable), ("busy", Some(true)));
    assert!(
        ended.message.ends_with("come back later"),
        "{}",
        ended.message
    );
    let ended = service.ended(BOOK, with("framework")).await?;
    assert_eq!(
        (ended.kind.as_str(), ended.retryable),
        ("service_error", Some(false))
    );
    assert!(
        ended.message.ends_with("code 400: bad seat"),
        "{}",
        ended.message
    );
    for (effect, kind) in [("idempotent", "lost"), ("once", "unknown")] {
        let lines = format!("{BOOK}\neffect: {effect}");
        assert_eq!(service.ended(&lines, with("doubt")).await?.kind, kind);
    }
    Ok(())
}

#[tokio::test]
async fn a_reply_is_json_or_a_text_up_to_the_limit() -> Result<()> {
    let service = Service::start().await?;
    let lines = format!("{BOOK}\noutput_limit: 1KiB");
    for (what, output) in [
        ("text", json!("just a text")),
        ("nothing", Value::Null),
        (
            "long",
            json!({"text": "x".repeat(1_024), "truncated": true}),
        ),
    ] {
        let with = json!({"do": what, "city": "berlin"});
        let ended = service.ended(&lines, with).await?;
        assert_eq!((ended.kind.as_str(), &ended.output), ("ok", &output));
    }
    Ok(())
}

#[tokio::test]
async fn nobody_there_is_told_apart_from_nobody_answering() -> Result<()> {
    let mut service = Service::start().await?;
    let lines = "effect: once\ntimeout: 1s\nnats: {subject: 'nobody.{{ input.city }}'}";
    let ended = service.ended(lines, json!({"city": "berlin"})).await?;
    assert_eq!(ended.kind, "connect", "{}", ended.message);
    assert!(
        ended.message.contains("`nobody.berlin`"),
        "{}",
        ended.message
    );
    let silent = format!("effect: once\ntimeout: 1s\n{BOOK}");
    let ended = service
        .ended(&silent, json!({"do": "", "city": "berlin"}))
        .await?;
    assert_eq!(ended.kind, "unknown", "{}", ended.message);
    let without = Trial::new(BOOK)?.run(json!({"city": "berlin"})).await?;
    assert_eq!(without.kind, "config");
    let big = json!({"city": "berlin", "text": "x".repeat(2_000_000)});
    let ended = service.ended(BOOK, big).await?;
    assert_eq!(ended.kind, "input", "{}", ended.message);
    service.nats.stop().await;
    flotilla_tests::eventually("the loss is noticed", flotilla_tests::PATIENCE, || async {
        (!service.bus.is_connected())
            .then_some(())
            .ok_or("connected")
    })
    .await;
    let ended = service
        .ended(BOOK, json!({"do": "echo", "city": "berlin"}))
        .await?;
    assert_eq!(ended.kind, "connect", "{}", ended.message);
    Ok(())
}

#[tokio::test]
async fn a_parameter_is_one_part_of_the_subject_and_nothing_else() -> Result<()> {
    let service = Service::start().await?;
    for bad in [
        "",
        "a.b",
        "*",
        ">",
        "a b",
        "$SYS",
        "a\r\nPUB x 0",
        &"x".repeat(65),
        "ü",
    ] {
        let ended = service
            .ended(BOOK, json!({"do": "echo", "city": bad}))
            .await?;
        assert_eq!(ended.kind, "input", "{bad}: {}", ended.message);
    }
    let marked = BOOK.replace("input.city", "input.city | safe");
    let ended = service
        .ended(&marked, json!({"do": "echo", "city": "a.b"}))
        .await?;
    assert_eq!(ended.kind, "input");
    Ok(())
}
