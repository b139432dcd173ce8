//! Against a real HTTP server that answers as told.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::post};
use flotilla_common::claude::{Message, Role, text_block};

use super::{
    answer::{RETRY_AFTER_MAX, retry_after},
    *,
};
use reqwest::header::HeaderMap;

type Answer = (u16, Vec<(&'static str, &'static str)>, &'static str);

const GOOD: &str = r#"{"id":"m","type":"message","role":"assistant","model":"x","content":[],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;

#[derive(Clone)]
struct Script {
    answers: Arc<Vec<Answer>>,
    calls: Arc<AtomicUsize>,
}

async fn answer(State(script): State<Script>) -> impl IntoResponse {
    let call = script.calls.fetch_add(1, Ordering::SeqCst);
    let (status, headers, body) = &script.answers[call.min(script.answers.len() - 1)];
    let headers: axum::http::HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
    (StatusCode::from_u16(*status).unwrap(), headers, *body)
}

/// A client of a server that gives these answers, the last one for ever; and the number of calls it got.
async fn client(answers: Vec<Answer>, patience: Duration) -> (Claude, Arc<AtomicUsize>) {
    drop(rustls::crypto::ring::default_provider().install_default());
    let script = Script {
        answers: Arc::new(answers),
        calls: Arc::default(),
    };
    let calls = Arc::clone(&script.calls);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/", listener.local_addr().unwrap());
    let routes = Router::new()
        .route("/v1/messages", post(answer))
        .with_state(script);
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let config = ClaudeConfig {
        base_url,
        key: Key::new("sk-secret".into()),
        call_timeout: Duration::from_secs(5),
        patience,
    };
    (Claude::new(config, 1).unwrap(), calls)
}

fn request() -> Request {
    Request {
        model: "claude-haiku-5-5".into(),
        max_tokens: 10,
        metadata: None,
        cache_control: None,
        tool_choice: None,
        tools: vec![],
        system: vec![],
        messages: vec![Message {
            role: Role::User,
            content: vec![text_block("hi")],
        }],
    }
}

fn fault(status: u16, kind: &'static str) -> Answer {
    (status, vec![("retry-after-ms", "1")], kind)
}

#[tokio::test]
async fn what_passes_by_itself_is_tried_again_as_told() {
    let answers = vec![
        fault(
            529,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#,
        ),
        fault(
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}"#,
        ),
        fault(500, "no json"),
        (200, vec![], "{\"not\": \"a message\"}"),
        (200, vec![("request-id", "req_1")], GOOD),
    ];
    let (claude, calls) = client(answers, Duration::from_secs(60)).await;
    let answered = claude
        .ask(&request(), &CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(answered.request_id.as_deref(), Some("req_1"));
    assert_eq!(calls.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn what_can_never_succeed_is_asked_once() {
    for status in [400, 413, 422] {
        let body = r#"{"type":"error","error":{"type":"invalid_request_error","message":"no"}}"#;
        let (claude, calls) = client(vec![(status, vec![], body)], Duration::from_secs(60)).await;
        let refused = claude.ask(&request(), &CancellationToken::new()).await;
        assert!(
            matches!(&refused, Err(ClaudeError::Refused(why)) if why.contains("invalid_request_error: no")),
            "{refused:?}"
        );
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn patience_ends() {
    let (claude, calls) = client(vec![fault(503, "")], Duration::ZERO).await;
    let exhausted = claude.ask(&request(), &CancellationToken::new()).await;
    assert!(matches!(exhausted, Err(ClaudeError::Exhausted { .. })));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_only_a_person_can_mend_waits_until_it_is_mended_or_the_planner_stops() {
    let spend = r#"{"type":"error","error":{"type":"rate_limit_error","message":"limit","details":{"error_code":"enforced_spend_limit_reached"}}}"#;
    for (status, body) in [(401, ""), (402, ""), (403, ""), (404, ""), (429, spend)] {
        let (claude, calls) = client(vec![(status, vec![], body)], Duration::ZERO).await;
        let stop = CancellationToken::new();
        let request = request();
        let asking = claude.ask(&request, &stop);
        let stopping = async {
            while calls.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            stop.cancel();
        };
        let (answered, ()) = tokio::join!(asking, stopping);
        assert!(matches!(answered, Err(ClaudeError::Stopping)), "{status}");
    }
}

#[test]
fn retry_after_is_read_in_all_its_forms_and_the_key_is_never_shown() {
    let headers = |name: &'static str, value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    };
    assert_eq!(
        retry_after(&headers("retry-after-ms", "1500")),
        Some(Duration::from_millis(1_500))
    );
    assert_eq!(
        retry_after(&headers("retry-after", "2")),
        Some(Duration::from_secs(2))
    );
    assert_eq!(
        retry_after(&headers("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")),
        Some(Duration::ZERO)
    );
    assert_eq!(
        retry_after(&headers("retry-after", "999999")),
        Some(RETRY_AFTER_MAX)
    );
    assert_eq!(retry_after(&headers("retry-after", "soon")), None);
    assert!(!format!("{:?}", Key::new("sk-secret".into())).contains("secret"));
}
