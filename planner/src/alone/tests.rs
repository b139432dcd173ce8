//! Against a real server that answers as told.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::post};
use flotilla_common::{
    claude::Models,
    definition::{Catalogue, Sources, Workflow},
    entry::{Address, Body, Decision, Entry, Kind, Started},
    event::Event,
    ids::RunId,
    run::{Next, Run},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::claude::Key;

const WORKFLOW: &str = r"
workflow: w
version: 1
on: {event: a.b}
model: haiku
steps:
  - id: kind
    claude:
      prompt: 'Which kind? {{ event.data }}'
      output: {type: object, required: [kind], properties: {kind: {enum: [a, b]}}, additionalProperties: false}
";

/// A server that gives these answers, the last one for ever; with the number of calls.
async fn server(answers: Vec<(u16, Value)>) -> (String, Arc<AtomicUsize>) {
    type Shared = (Arc<Vec<(u16, Value)>>, Arc<AtomicUsize>);
    async fn answer(State((answers, calls)): State<Shared>) -> impl IntoResponse {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        let (status, body) = answers[call.min(answers.len() - 1)].clone();
        let headers = [("content-type", "application/json")];
        (
            StatusCode::from_u16(status).unwrap(),
            headers,
            body.to_string(),
        )
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new()
        .route("/v1/messages", post(answer))
        .with_state((Arc::new(answers), Arc::clone(&calls)));
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (url, calls)
}

fn reply(name: &str, kind: &str) -> (u16, Value) {
    let input = json!({"reasoning": "So it says.", "confidence": 0.9, "with": {"kind": kind}});
    let block = json!({"type": "tool_use", "id": "t", "name": name, "input": input});
    let usage = json!({"input_tokens": 10, "output_tokens": 5});
    let body = json!({"id": "m", "type": "message", "role": "assistant", "model": "claude-haiku-5-5", "content": [block],
        "stop_reason": "tool_use", "usage": usage});
    (200, body)
}

fn workflow() -> Arc<Workflow> {
    let files = [("w.yaml".to_owned(), WORKFLOW.to_owned())];
    let models = Models::built_in().unwrap();
    let catalogue = Catalogue::parse(&Sources(files.into()), &models).unwrap();
    let first = catalogue.newest().next().map(Arc::clone);
    first.unwrap()
}

fn ask() -> Ask {
    let workflow = workflow();
    let event = Event::new("a.b".parse().unwrap(), "s".into(), "1".into(), json!("x"));
    let started = Body::Started(Started {
        workflow: workflow.pin.clone(),
        event,
        parent: None,
        lessons: Vec::new(),
        forked: None,
        received: None,
    });
    let now = jiff::Timestamp::UNIX_EPOCH;
    let run = RunId::derive(&workflow.pin.name, "s", "1");
    let address = Address {
        run: run.clone(),
        kind: Kind::Started,
        name: workflow.pin.name.clone(),
    };
    let payload = started.encode(now).unwrap();
    let mut run = Run::new(run);
    run.fold(&Entry::decode(1, address, &payload).unwrap())
        .unwrap();
    match run.next(&workflow, now) {
        Next::Ask(mut asks, _) => asks.remove(0),
        Next::Decide(_) | Next::Wait(_) | Next::Ended(_) => panic!("it asks"),
    }
}

fn alone(url: &str) -> Alone {
    drop(rustls::crypto::ring::default_provider().install_default());
    let config = ClaudeConfig {
        key: Some(Key::new("sk-secret".into())),
        ..ClaudeConfig::new(url)
    };
    Alone::new(config, 1).unwrap()
}

#[tokio::test]
async fn an_overload_is_waited_for_a_wrong_reply_is_mended_once_and_all_of_it_is_paid() {
    let busy = json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}});
    let answers = vec![(529, busy), reply("answr", "a"), reply("answer", "b")];
    let (url, calls) = server(answers).await;
    let (ask, alone) = (ask(), alone(&url));
    let purse = Purse::new(Usd::from_dollars(1.0).unwrap());
    let asked = alone.ask(&ask, &purse).await;
    let drafts = asked.drafts.unwrap();
    let expected = Decision::Answer {
        output: json!({"kind": "b"}),
    };
    assert_eq!(drafts[0].decision, expected);
    let attempts = drafts[0].call.as_ref().unwrap().attempts.len();
    assert_eq!((calls.load(Ordering::SeqCst), attempts), (3, 2));
    assert!(asked.usd > Usd::default() && asked.usd < alone.worst(&ask));
    assert_eq!(purse.spent(), asked.usd);
}

#[tokio::test]
async fn a_call_that_could_cost_more_than_is_left_is_not_made() {
    let (url, calls) = server(vec![reply("answer", "a")]).await;
    let purse = Purse::new(Usd::from_nano(1));
    let asked = alone(&url).ask(&ask(), &purse).await;
    let why = asked.drafts.unwrap_err();
    assert!(why.starts_with("the ceiling is $0.00000"), "{why}");
    assert_eq!(
        (calls.load(Ordering::SeqCst), asked.usd),
        (0, Usd::default())
    );
}

#[tokio::test]
async fn what_no_second_try_would_mend_is_told_at_once() {
    let refused = json!({"type": "error", "error": {"type": "authentication_error", "message": "no such key"}});
    let (url, calls) = server(vec![(401, refused)]).await;
    let purse = Purse::new(Usd::from_dollars(1.0).unwrap());
    let asked = alone(&url).ask(&ask(), &purse).await;
    assert!(asked.drafts.unwrap_err().contains("no such key"));
    assert_eq!(
        (calls.load(Ordering::SeqCst), purse.spent()),
        (1, Usd::default())
    );
}
