//! Requests and what comes of them.

use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    server::Server,
    trial::{Result, Trial},
};

fn get(url: &str) -> String {
    format!("timeout: 5s\nhttp: {{url: '{url}'}}")
}

#[tokio::test]
async fn a_request_carries_its_parts_and_the_idempotency_key() -> Result<()> {
    let server = Server::start().await?;
    let url = server.url("/echo?q={{ input.q }}");
    let lines = format!(
        "http: {{method: PUT, url: '{url}', headers: {{X-Step: '{{{{ step }}}}', idempotency-key: mine}}, body: {{n: '{{{{ input.n }}}}', t: 'n is {{{{ input.n }}}}'}}}}"
    );
    let trial = Trial::new(&lines)?;
    let ended = trial.run(json!({"n": [1, 2], "q": "a b&c=d#e/é"})).await?;
    assert_eq!(ended.kind, "ok", "{}", ended.message);
    assert_eq!(ended.output["status"], 200);
    assert_eq!(
        ended.output["body"]["body"],
        json!({"n": [1, 2], "t": "n is [1,2]"})
    );
    let seen = server.last()?;
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("PUT", "/echo?q=a%20b%26c%3Dd%23e%2F%C3%A9")
    );
    assert_eq!(seen.headers["idempotency-key"], trial.idempotency_key());
    assert_eq!(seen.headers["x-step"], "act/3");
    assert_eq!(seen.headers["content-type"], "application/json");
    Ok(())
}

#[tokio::test]
async fn bodies_are_json_where_the_answer_says_so_and_else_text() -> Result<()> {
    let server = Server::start().await?;
    for (path, body) in [
        ("/problem", json!({"a": 1})),
        ("/not-json", json!("{oops")),
        ("/bytes", json!("\u{fffd}\0ok")),
        ("/nothing", json!(null)),
        ("/hops/0", json!("arrived")),
    ] {
        let ended = Trial::new(&get(&server.url(path)))?.run(json!({})).await?;
        assert_eq!(
            (ended.kind.as_str(), &ended.output["body"]),
            ("ok", &body),
            "{path}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn json_so_deep_that_its_result_could_not_be_read_stays_text() -> Result<()> {
    let server = Server::start().await?;
    for (levels, is_json) in [(64, true), (65, false), (125, false), (1_000, false)] {
        let url = server.url(&format!("/deep/{levels}"));
        let ended = Trial::new(&get(&url))?.run(json!({})).await?;
        let body = &ended.output["body"];
        assert_eq!((body.is_array(), body.is_string()), (is_json, !is_json));
        // As deep as it stands in a result.
        let entry = json!({"outcome": {"output": ended.output}}).to_string();
        assert!(serde_json::from_str::<serde_json::Value>(&entry).is_ok());
    }
    Ok(())
}

#[tokio::test]
async fn a_status_from_400_on_is_a_failure_that_keeps_the_answer() -> Result<()> {
    let server = Server::start().await?;
    for code in [400, 404, 409, 429, 500, 503] {
        let ended = Trial::new(&get(&server.url(&format!("/status/{code}"))))?
            .run(json!({}))
            .await?;
        assert_eq!(ended.kind, "status");
        assert_eq!(
            ended.output,
            json!({"status": code, "body": {"why": "because"}})
        );
        assert!(
            ended.message.contains(&code.to_string()),
            "{}",
            ended.message
        );
    }
    Ok(())
}

#[tokio::test]
async fn slow_answers_end_at_the_timeout() -> Result<()> {
    let server = Server::start().await?;
    for path in ["/silent", "/drip"] {
        let lines = format!("timeout: 300ms\nhttp: {{url: '{}'}}", server.url(path));
        let ended = Trial::new(&lines)?.run(json!({})).await?;
        assert_eq!(ended.kind, "timeout", "{path}: {}", ended.message);
        assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
    }
    Ok(())
}

#[tokio::test]
async fn of_a_flood_only_the_beginning_is_read() -> Result<()> {
    let server = Server::start().await?;
    let lines = format!("output_limit: 1KiB\n{}", get(&server.url("/flood")));
    let ended = Trial::new(&lines)?.run(json!({})).await?;
    assert_eq!(
        (ended.kind.as_str(), &ended.output["truncated"]),
        ("ok", &json!(true))
    );
    assert_eq!(ended.output["body"], "x".repeat(1_024));
    Ok(())
}

#[tokio::test]
async fn nobody_there_is_told_apart_from_a_connection_that_breaks() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let url = format!("http://127.0.0.1:{port}/");
    let breaks = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut chunk = [0; 1024];
        tokio::io::AsyncReadExt::read(&mut stream, &mut chunk).await
    });
    let broken = Trial::new(&get(&url))?.run(json!({})).await?;
    assert_eq!(broken.kind, "network", "{}", broken.message);
    breaks.await??;
    let nobody = Trial::new(&get(&url))?.run(json!({})).await?;
    assert_eq!(nobody.kind, "connect", "{}", nobody.message);
    let nowhere = Trial::new(&get("http://no-such-host.invalid/"))?
        .run(json!({}))
        .await?;
    assert_eq!(nowhere.kind, "connect", "{}", nowhere.message);
    Ok(())
}

#[tokio::test]
async fn a_value_cannot_add_a_header() -> Result<()> {
    let server = Server::start().await?;
    let url = server.url("/echo");
    let lines = format!("http: {{url: '{url}', headers: {{X-A: '{{{{ input.a }}}}'}}}}");
    let trial = Trial::new(&lines)?;
    for bad in ["a\r\nX-B: c", "a\nb", "a\0"] {
        let ended = trial.run(json!({"a": bad})).await?;
        assert_eq!(ended.kind, "input");
    }
    assert!(server.seen().is_empty());
    assert_eq!(
        trial.run(json!({"a": "fine"})).await?.output["body"]["headers"]["x-a"],
        "fine"
    );
    Ok(())
}

#[tokio::test]
async fn a_few_redirects_within_one_origin_are_followed() -> Result<()> {
    let server = Server::start().await?;
    let three = Trial::new(&get(&server.url("/hops/3")))?
        .run(json!({}))
        .await?;
    assert_eq!(three.output["body"], "arrived");
    let four = Trial::new(&get(&server.url("/hops/4")))?
        .run(json!({}))
        .await?;
    assert_eq!(
        (four.kind.as_str(), &four.output["status"]),
        ("redirect", &json!(302))
    );
    Ok(())
}

#[tokio::test]
async fn no_redirect_leads_to_another_host() -> Result<()> {
    let (server, other) = (Server::start().await?, Server::start().await?);
    for to in [
        other.url("/echo"),
        format!("http://localhost:{}/echo", server.port),
        "//example.com/".into(),
    ] {
        let ended = Trial::new(&get(&server.url(&format!("/to?{to}"))))?
            .run(json!({}))
            .await?;
        assert_eq!(ended.kind, "redirect", "{to}: {}", ended.message);
        assert_eq!(ended.output["body"], "elsewhere");
    }
    assert!(other.seen().is_empty());
    assert_eq!(server.seen().len(), 3);
    Ok(())
}
