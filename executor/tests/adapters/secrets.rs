//! What a tool sees of the executor's environment, and what comes back of it.

use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    server::Server,
    trial::{Result, Trial, script},
};

#[tokio::test]
async fn a_program_sees_its_list_and_nothing_else() -> Result<()> {
    let env = [
        ("MINE", "mine"),
        ("NOT_MINE", "not-mine"),
        ("HOME", "/home"),
        ("LANG", "C.UTF-8"),
        ("TZ", "UTC"),
        ("ANTHROPIC_API_KEY", "sk-not-yours"),
    ];
    let trial = Trial::with_env("env: [MINE]\ncommand: [env]", &env)?;
    let ended = trial.run(json!({})).await?;
    let stdout = ended.output["stdout"].as_str().unwrap_or_default();
    let names: BTreeSet<_> = stdout
        .lines()
        .filter_map(|line| line.split('=').next())
        .collect();
    assert_eq!(names, ["HOME", "LANG", "MINE", "PATH", "TZ"].into());
    assert!(stdout.contains("MINE=mine\n"));
    Ok(())
}

#[tokio::test]
async fn a_missing_or_empty_variable_stops_the_call() -> Result<()> {
    for env in [&[][..], &[("TOKEN", "")]] {
        let ended = Trial::with_env("env: [TOKEN]\ncommand: [echo, ran]", env)?
            .run(json!({}))
            .await?;
        assert_eq!(ended.kind, "config");
        assert!(ended.message.contains("TOKEN"), "{}", ended.message);
    }
    Ok(())
}

#[tokio::test]
async fn secrets_do_not_come_back_from_a_program() -> Result<()> {
    let env = [("TOKEN", "hunter2-hunter2"), ("WORK_DIR", "/srv/work")];
    let text = r#"echo "out $TOKEN $1 $WORK_DIR"; echo "err $TOKEN" >&2; exit 1"#;
    let lines = script(text, "env: [TOKEN, WORK_DIR]");
    let ended = Trial::with_env(&lines, &env)?
        .run(json!({"a": "hunter2-hunter2"}))
        .await?;
    assert_eq!(
        ended.output["stdout"],
        "out [redacted:TOKEN] a=[redacted:TOKEN] /srv/work\n"
    );
    assert_eq!(ended.output["stderr"], "err [redacted:TOKEN]\n");
    assert_eq!(
        ended.message,
        "`sh` ended with status 1: err [redacted:TOKEN]"
    );

    let program = "env: [TOKEN]\ncommand: ['{{ env.TOKEN }}']";
    let ended = Trial::with_env(program, &env)?.run(json!({})).await?;
    assert!(!ended.message.contains("hunter2"), "{}", ended.message);
    Ok(())
}

#[tokio::test]
async fn a_secret_is_not_shown_in_part_where_an_output_is_cut() -> Result<()> {
    let lines = script(
        r#"printf 'xxxx%s and more' "$TOKEN""#,
        "env: [TOKEN]\noutput_limit: 12B",
    );
    let ended = Trial::with_env(&lines, &[("TOKEN", "hunter2-hunter2")])?
        .run(json!({"a": 1}))
        .await?;
    assert_eq!(ended.output["stdout"], "xxxx");
    assert_eq!(ended.output["truncated"], true);
    Ok(())
}

#[tokio::test]
async fn secrets_do_not_come_back_from_a_server() -> Result<()> {
    let server = Server::start().await?;
    let env = [("TOKEN", "hunter2-hunter2")];
    for path in ["/echo", "/echo-text"] {
        let url = server.url(path);
        let lines = format!(
            "env: [TOKEN]\nhttp: {{method: POST, url: '{url}', headers: {{Authorization: 'Bearer {{{{ env.TOKEN }}}}'}}, body: {{t: '{{{{ env.TOKEN }}}}'}}}}"
        );
        let ended = Trial::with_env(&lines, &env)?.run(json!({})).await?;
        let shown = ended.output.to_string();
        assert!(
            shown.contains("Bearer [redacted:TOKEN]") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
    assert_eq!(
        server.last()?.headers["authorization"],
        "Bearer hunter2-hunter2"
    );
    Ok(())
}

#[tokio::test]
async fn what_the_definition_takes_out_is_in_no_output_and_no_message() -> Result<()> {
    let server = Server::start().await?;
    let redact = "redact: [/body/body/token, /body/headers, 'acct-*']";
    let url = server.url("/echo");
    let lines =
        format!("{redact}\nhttp: {{method: POST, url: '{url}', body: '{{{{ input.a }}}}'}}");
    let input = json!({"a": {"token": "t", "note": "for acct-77 and acct-78.", "n": 1}});
    let ended = Trial::new(&lines)?.run(input).await?;
    let note = "for [redacted] and [redacted]";
    assert_eq!(
        ended.output["body"],
        json!({"headers": "[redacted]", "body": {"token": "[redacted]", "note": note, "n": 1}})
    );
    let lines = script(
        "echo acct-1; echo acct-2 is closed >&2; exit 3",
        "redact: ['acct-*']",
    );
    let ended = Trial::new(&lines)?.run(json!({"a": ""})).await?;
    assert_eq!(ended.output["stdout"], "[redacted]\n");
    assert!(
        ended.message.ends_with("[redacted] is closed"),
        "{}",
        ended.message
    );
    Ok(())
}
