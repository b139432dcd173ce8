//! The sink of effects in trouble: what is done is in its book, whatever its answers are.

use axum::http::StatusCode;
use flotilla_sim::sink::{Sink, Trouble};

use crate::harness::client;

async fn post(sink: &Sink, path: &str, key: &str) -> reqwest::Result<(u16, String)> {
    let request = client()
        .build()?
        .post(sink.url(path))
        .header("idempotency-key", key);
    let answer = request.json(&serde_json::json!({"n": 1})).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

#[tokio::test]
async fn what_is_refused_is_not_done() {
    let sink = Sink::start().await.unwrap();
    let refused = Trouble::Refuse(StatusCode::INTERNAL_SERVER_ERROR);
    sink.trouble(Some(refused), &["/spared"]);
    assert_eq!(post(&sink, "/note", "a").await.unwrap().0, 500);
    assert_eq!(post(&sink, "/spared", "b").await.unwrap().0, 200);
    let effects = sink.effects();
    assert_eq!((effects["a"].requests, effects["a"].executions), (1, 0));
    assert_eq!((effects["b"].requests, effects["b"].executions), (1, 1));
    assert_eq!(
        (effects["a"].done_ms, effects["b"].done_ms.is_some()),
        (None, true)
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_nonsense_is_of_something_that_was_done_once() {
    let sink = Sink::start().await.unwrap();
    sink.trouble(Some(Trouble::Cut), &[]);
    assert!(post(&sink, "/note", "a").await.is_err());
    sink.trouble(Some(Trouble::Garbage), &[]);
    let (status, text) = post(&sink, "/note", "a").await.unwrap();
    assert_eq!(status, 200);
    assert!(
        serde_json::from_str::<serde_json::Value>(&text).is_err(),
        "{text}"
    );
    sink.trouble(None, &[]);
    assert_eq!(post(&sink, "/note", "a").await.unwrap().1, r#"{"ok":true}"#);
    let effect = &sink.effects_at("/note")["a"];
    assert_eq!((effect.requests, effect.executions), (3, 1));
    assert_eq!((effect.bodies.len(), effect.at_ms.len()), (3, 3));
}
