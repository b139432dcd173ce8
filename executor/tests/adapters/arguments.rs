//! A parameter is one argument, and never anything else.

use serde_json::json;

use crate::trial::{Result, Trial};

const SHOW: &str = r#"command: [printf, '<%s>', 'x{{ input.a }}', '{{ input.a }}']"#;

#[tokio::test]
async fn no_shell_ever_reads_an_argument() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("made").display().to_string();
    let show = Trial::new(SHOW)?;
    for attack in [
        format!("; touch {file}"),
        format!("$(touch {file})"),
        format!("`touch {file}`"),
        format!("| touch {file}"),
        format!("\n touch {file} \n"),
        format!("' ; touch {file} ; '"),
        "* ~ $HOME ${PATH} %s %n \\ \" '".to_owned(),
        "{{ env.PATH }}{% for a in range(9) %}".to_owned(),
    ] {
        let ended = show.run(json!({"a": attack})).await?;
        assert_eq!(ended.output["stdout"], format!("<x{attack}><{attack}>"));
    }
    assert!(!std::path::Path::new(&file).exists());
    Ok(())
}

#[tokio::test]
async fn a_value_cannot_become_an_option() -> Result<()> {
    for (tool, value) in [
        (SHOW, "-o"),
        (SHOW, "--output=/etc/passwd"),
        ("command: [printf, '%s', '{{ input.a }}x']", "-"),
        (
            "command: [printf, '%s', '{% if input.a %}{{ input.a }}{% endif %}']",
            "-v",
        ),
        ("command: [printf, '%s', '  {{- input.a }}']", "-v"),
        ("command: [printf, '%s', '{{ \"-\" ~ input.a }}']", "v"),
    ] {
        let ended = Trial::new(tool)?.run(json!({"a": value})).await?;
        assert_eq!(ended.kind, "input", "{tool} {value}");
        assert!(
            ended.message.contains("read as an option"),
            "{}",
            ended.message
        );
    }
    let named = Trial::new("command: [printf, '%s|', '--a={{ input.a }}', 'b{{ input.a }}']")?;
    let ended = named.run(json!({"a": "-o"})).await?;
    assert_eq!(ended.output["stdout"], "--a=-o|b-o|");
    Ok(())
}

#[tokio::test]
async fn what_is_no_single_text_is_refused() -> Result<()> {
    let show = Trial::new(SHOW)?;
    for (value, why) in [
        (json!("a\0b"), "NUL"),
        (json!(["a", "b"]), "needs a text, number or boolean"),
        (json!({"b": 1}), "needs a text, number or boolean"),
        (json!(null), "needs a text, number or boolean"),
    ] {
        let ended = show.run(json!({"a": value})).await?;
        assert_eq!(ended.kind, "input");
        assert!(ended.message.contains(why), "{}", ended.message);
    }
    let missing = show.run(json!({})).await?;
    assert_eq!(missing.kind, "input");
    assert_eq!(show.run(json!({"a": ""})).await?.output["stdout"], "<x><>");
    assert_eq!(show.run(json!({"a": 7})).await?.output["stdout"], "<x7><7>");
    Ok(())
}

#[tokio::test]
async fn a_parameter_does_not_choose_the_program() -> Result<()> {
    for tool in [
        "command: ['{{ input.a }}']",
        "command: ['/usr/bin/{{ input.a }}']",
        "command: ['{% set p = input %}{{ p.a }}']",
    ] {
        assert!(Trial::new(tool).is_err(), "{tool}");
    }
    // Nor does anything else that is not the operator's.
    let ended = Trial::new("command: ['{{ step }}']")?
        .run(json!({}))
        .await?;
    assert_eq!(ended.kind, "config", "{}", ended.message);
    let lines = "env: [PROGRAM]\ncommand: ['{{ env.PROGRAM }}', '{{ input.a }}']";
    let ended = Trial::with_env(lines, &[("PROGRAM", "echo")])?
        .run(json!({"a": "hi"}))
        .await?;
    assert_eq!(ended.output["stdout"], "hi\n");
    Ok(())
}

#[tokio::test]
async fn holes_see_the_run_the_step_and_the_idempotency_key() -> Result<()> {
    let trial = Trial::new("command: [echo, '{{ run }}', '{{ step }}', '{{ idempotency_key }}']")?;
    let ended = trial.run(json!({})).await?;
    let key = trial.idempotency_key();
    let run = key.split('.').next().unwrap_or_default();
    assert_eq!(ended.output["stdout"], format!("{run} act/3 {key}\n"));
    Ok(())
}
