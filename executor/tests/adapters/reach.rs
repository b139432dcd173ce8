//! Where a parameter can lead a request: to its own part of the URL, and to public hosts.

use serde_json::json;

use crate::{
    server::Server,
    trial::{Result, Trial},
};

fn get(url: &str) -> String {
    format!("env: [BASE]\ntimeout: 5s\nhttp: {{url: '{url}'}}")
}

#[tokio::test]
async fn a_parameter_cannot_choose_a_host_that_is_not_public() -> Result<()> {
    let server = Server::start().await?;
    let port = server.port;
    let base = server.url("");
    let env = [("BASE", base.as_str())];
    for (url, value) in [
        (
            format!("http://{{{{ input.a }}}}:{port}/echo"),
            "127.0.0.1".to_owned(),
        ),
        (
            format!("http://{{{{ input.a }}}}:{port}/echo"),
            "localhost".to_owned(),
        ),
        (
            format!("http://{{{{ input.a }}}}:{port}/echo"),
            "2130706433".to_owned(),
        ),
        (
            format!("http://{{{{ input.a }}}}.1:{port}/echo"),
            "0x7f".to_owned(),
        ),
        (
            format!("http://127.0.0.{{{{ input.a }}}}:{port}/echo"),
            "1".to_owned(),
        ),
        (
            "http://127.0.0.1:{{ input.a }}/echo".to_owned(),
            port.to_string(),
        ),
        ("{{ input.a | safe }}".to_owned(), server.url("/echo")),
        (
            "{{ input.a | safe }}".to_owned(),
            format!("http://user:word@127.0.0.1:{port}/echo"),
        ),
        (
            "{{ env.BASE | replace(\"x\", input.a) | safe }}/echo".to_owned(),
            "y".to_owned(),
        ),
        (
            "http://{{ input.a }}/latest/meta-data".to_owned(),
            "169.254.169.254".to_owned(),
        ),
    ] {
        let ended = Trial::with_env(&get(&url), &env)?
            .run(json!({"a": value}))
            .await?;
        assert_eq!(ended.kind, "refused", "{url} {value}: {}", ended.message);
    }
    assert!(server.seen().is_empty());
    Ok(())
}

#[tokio::test]
async fn the_definition_and_the_operator_may_name_any_host() -> Result<()> {
    let server = Server::start().await?;
    let base = server.url("");
    let env = [("BASE", base.as_str())];
    for url in [
        server.url("/{{ input.a }}"),
        "{{ env.BASE }}/{{ input.a }}".to_owned(),
    ] {
        let ended = Trial::with_env(&get(&url), &env)?
            .run(json!({"a": "x"}))
            .await?;
        assert_eq!(
            (ended.kind.as_str(), &ended.output["body"]),
            ("ok", &json!("fallback")),
            "{url}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_value_stays_in_its_part_of_the_url() -> Result<()> {
    let server = Server::start().await?;
    let base = server.url("");
    let url = server.url("/items/{{ input.a }}/x?b={{ input.b }}");
    let trial = Trial::with_env(&get(&url), &[("BASE", base.as_str())])?;
    for (a, b, target) in [
        ("../admin", "1", "/items/..%2Fadmin/x?b=1"),
        ("1?b=2#", "&c=3", "/items/1%3Fb%3D2%23/x?b=%26c%3D3"),
        ("%2e%2e", "", "/items/%252e%252e/x?b="),
        ("a\\..\\b", "\r\n", "/items/a%5C..%5Cb/x?b=%0D%0A"),
        (
            "@evil.example:80",
            "+",
            "/items/%40evil.example%3A80/x?b=%2B",
        ),
    ] {
        let ended = trial.run(json!({"a": a, "b": b})).await?;
        assert_eq!(ended.kind, "ok", "{a}: {}", ended.message);
        assert_eq!(server.last()?.target, target);
    }
    let before = server.seen().len();
    for (a, why) in [("..", "`..`"), (".", "`.`"), ("", "empty")] {
        let ended = trial.run(json!({"a": a, "b": "1"})).await?;
        assert_eq!(ended.kind, "input", "{a}");
        assert!(ended.message.contains(why), "{}", ended.message);
    }
    let marked = server.url("/items/{{ input.a | safe }}/x");
    let trial = Trial::with_env(&get(&marked), &[("BASE", base.as_str())])?;
    let ended = trial.run(json!({"a": "a/%2E%2e/%2e"})).await?;
    assert_eq!(ended.kind, "input", "{}", ended.message);
    assert_eq!(server.seen().len(), before);
    Ok(())
}

#[tokio::test]
async fn only_http_is_spoken() -> Result<()> {
    for url in [
        "file:///etc/passwd",
        "ftp://example.com/",
        "data:text/plain,x",
        "/etc/passwd",
        "",
    ] {
        let lines = "http: {url: '{{ input.a | safe }}'}";
        let ended = Trial::new(lines)?.run(json!({"a": url})).await?;
        assert_eq!(ended.kind, "input", "{url}: {}", ended.message);
    }
    Ok(())
}
