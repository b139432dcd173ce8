//! Who asks, and that nobody sees the key.

use super::*;

#[tokio::test]
async fn a_key_and_a_token_go_in_their_own_headers() {
    let (server, base_url) = Server::start(vec![said(200, &[], GOOD)]).await;
    let header = |name: &str| {
        server
            .last()
            .0
            .get(name)
            .map(|v| v.to_str().unwrap().to_owned())
    };
    once(&claude(config(&base_url)), &request()).await.unwrap();
    assert_eq!(header("x-api-key").as_deref(), Some("sk-secret"));
    assert_eq!(header("authorization"), None);
    assert_eq!(header("anthropic-version").as_deref(), Some("2023-06-01"));
    assert_eq!(header("content-type").as_deref(), Some("application/json"));
    let token = ClaudeConfig {
        auth_token: Some(Key::new("tok-secret".into())),
        ..ClaudeConfig::new(&base_url)
    };
    once(&claude(token), &request()).await.unwrap();
    assert_eq!(header("x-api-key"), None);
    assert_eq!(
        header("authorization").as_deref(),
        Some("Bearer tok-secret")
    );
}

#[tokio::test]
async fn a_key_that_a_server_echoes_is_shown_nowhere() {
    let both = |base_url: &str| ClaudeConfig {
        auth_token: Some(Key::new("tok-secret".into())),
        ..config(base_url)
    };
    // So that the cut to a readable length would fall into the key.
    let long = "x".repeat(590);
    let echo = format!(
        r#"{{"error":{{"type":"authentication_error","message":"{long} sk-secret, Bearer tok-secret"}}}}"#
    );
    let start =
        r#"{"error":{"type":"authentication_error","message":"sk-secret, Bearer tok-secret"}}"#;
    let reply = r#"{"model":"m","content":[],"usage":"sk-secret tok-secret"}"#;
    let event = format!(
        "event: error\ndata: {{\"type\":\"error\",{}\n\n",
        start.trim_start_matches('{')
    );
    let answers = [
        said(401, &[], &echo),
        said(401, &[], start),
        said(
            307,
            &[("location", "http://127.0.0.1:1/?k=sk-secret&t=tok-secret")],
            "",
        ),
        said(200, &[], reply),
        said(200, &[("content-type", "text/event-stream")], &event),
    ];
    for answer in answers {
        let (_, base_url) = Server::start(vec![answer]).await;
        let claude = claude(both(&base_url));
        let failed = once(&claude, &request()).await.unwrap_err();
        for shown in [
            format!("{failed}"),
            format!("{failed:?}"),
            format!("{claude:?}"),
        ] {
            assert!(
                !shown.contains("secre") && !shown.contains("sk-"),
                "{shown}"
            );
        }
    }
    assert!(!format!("{:?}", both("http://localhost")).contains("secret"));
}

#[test]
fn a_key_that_no_header_can_hold_is_refused_at_the_start_without_being_shown() {
    let broken = ClaudeConfig {
        key: Some(Key::new("sk-\nsecret".into())),
        ..ClaudeConfig::new("http://localhost")
    };
    drop(rustls::crypto::ring::default_provider().install_default());
    let refused = Claude::new(broken, 1).unwrap_err();
    assert!(matches!(refused, ClaudeError::Key));
    assert!(!format!("{refused} {refused:?}").contains("secret"));
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_key() {
    let (elsewhere, other_url) = Server::start(vec![said(200, &[], GOOD)]).await;
    let to = format!("{other_url}v1/messages");
    let failed = call(said(307, &[("location", &to)], "")).await.unwrap_err();
    assert!(failed.why.contains("ANTHROPIC_BASE_URL"), "{failed}");
    assert_eq!(elsewhere.calls(), 0);
}
