//! Effects of which nobody knows whether they happened, and those that are known not to have begun.

use serde_json::json;
use tokio::{io::AsyncReadExt as _, net::TcpListener};

use crate::{
    server::Server,
    trial::{Result, Trial, script},
};

async fn kind(effect: &str, lines: &str) -> Result<String> {
    let trial = Trial::new(&format!("effect: {effect}\n{lines}"))?;
    let ended = trial.run(json!({"a": 1})).await?;
    if ended.kind == "unknown" {
        assert!(ended.message.contains("nobody knows"), "{}", ended.message);
    }
    Ok(ended.kind)
}

#[tokio::test]
async fn a_call_of_once_that_was_begun_and_not_heard_of_is_unknown() -> Result<()> {
    let server = Server::start().await?;
    let silent = format!("timeout: 300ms\nhttp: {{url: '{}'}}", server.url("/silent"));
    for (lines, class) in [
        (silent, "timeout"),
        (script("sleep 60", "timeout: 300ms"), "timeout"),
        (script("kill -9 $$", ""), "signal"),
    ] {
        assert_eq!(kind("once", &lines).await?, "unknown", "{lines}");
        assert_eq!(kind("idempotent", &lines).await?, class);
        assert_eq!(kind("read", &lines).await?, class);
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_once_unknown() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http: {{url: 'http://{}/'}}", listener.local_addr()?);
    let breaks = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await?;
            let _some = stream.read(&mut [0; 1024]).await?;
        }
        std::io::Result::Ok(())
    });
    assert_eq!(kind("once", &url).await?, "unknown");
    assert_eq!(kind("idempotent", &url).await?, "network");
    breaks.await??;
    Ok(())
}

#[tokio::test]
async fn what_was_not_begun_or_has_answered_is_a_failure_even_of_once() -> Result<()> {
    let server = Server::start().await?;
    let nobody = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let http = |url: &str| format!("http: {{url: '{url}'}}");
    for (lines, class) in [
        (http(&format!("http://{nobody}/")), "connect"),
        (http(&server.url("/status/500")), "status"),
        (http("http://{{ input.a }}27.0.0.1/"), "refused"),
        ("command: [no-such-program-here]".into(), "spawn"),
        ("env: [NOT_SET]\ncommand: ['true']".into(), "config"),
        ("command: [echo, '{{ input.b }}']".into(), "input"),
        (script("exit 3", ""), "exit"),
    ] {
        assert_eq!(kind("once", &lines).await?, class, "{lines}");
    }
    Ok(())
}
