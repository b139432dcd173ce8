//! Which models the server says it knows, or why it does not say.

use axum::routing::get;

use super::{super::models::ModelsError, *};

/// What is made of such an answer: a word for it, and what is told.
async fn listed(status: u16, body: &'static str) -> (&'static str, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let status = StatusCode::from_u16(status).unwrap();
    let routes = Router::new().route("/v1/models", get(move || async move { (status, body) }));
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let found = claude(config(&base_url))
        .models(Duration::from_secs(10))
        .await;
    let kind = match &found {
        Ok(_) => "list",
        Err(ModelsError::Away { .. }) => "away",
        Err(ModelsError::Key { .. }) => "key",
        Err(ModelsError::Failing { busy: true, .. }) => "busy",
        Err(ModelsError::Failing { busy: false, .. }) => "failing",
        Err(ModelsError::Unlisted { .. }) => "unlisted",
    };
    (
        kind,
        found.map_or_else(|e| e.to_string(), |_| String::new()),
    )
}

#[tokio::test]
async fn only_a_server_without_the_list_is_taken_for_one_and_others_are_told_as_they_answer() {
    let error = r#"{"error":{"type":"some_error","message":"so it is"}}"#;
    for (status, body, expected, says) in [
        (200, r#"{"data":[{"id":"x"}]}"#, "list", ""),
        (200, "<html>", "unlisted", "not a list of models"),
        (404, error, "unlisted", "404"),
        (405, "", "unlisted", "405"),
        (401, error, "key", "401"),
        (403, error, "key", "403"),
        (400, error, "failing", "400 some_error: so it is"),
        (429, error, "busy", "429 some_error: so it is"),
        (500, error, "failing", "500 some_error: so it is"),
        (503, "<html>", "failing", ": 503"),
        (529, error, "busy", "529 some_error: so it is"),
    ] {
        let (kind, told) = listed(status, body).await;
        assert_eq!(kind, expected, "{status}: {told}");
        assert!(told.contains(says), "{status}: {told}");
    }
}
