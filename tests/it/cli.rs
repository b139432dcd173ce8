//! The command line as scripts and people meet it: how it ends, and what `doctor` finds.

mod doctor;

use std::{io::Read, process::Stdio};

use flotilla_tests::{Fleet, PATIENCE, Redis, Workflows, flotilla, free_port, run_flotilla};
use serde_json::Value;

use crate::access::{WORKFLOW, asking, first_token};

/// What every list of a fleet is printed by.
const LISTS: [&str; 14] = [
    "runs",
    "runs -o json",
    "approvals",
    "cost",
    "cost --csv",
    "fleet",
    "ceiling list",
    "dead list",
    "workflows",
    "workflows small",
    "switch list",
    "tools",
    "token list",
    "audit --json",
];

fn small() -> Workflows {
    Workflows::files(&[("small.yaml", WORKFLOW)])
}

async fn code(args: &str, env: &[(&str, &str)]) -> (Option<i32>, String) {
    let args: Vec<&str> = args.split(' ').collect();
    let ended = run_flotilla(&args, env, PATIENCE).await;
    assert!(!ended.output.contains("panicked"), "{}", ended.output);
    (ended.status.code(), ended.output)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_ends_by_what_became_of_it() {
    let fleet = asking().start().await;
    let (url, token) = (fleet.api().base().to_owned(), first_token(&fleet));
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let no_nats = format!("nats://127.0.0.1:{}", free_port());
    let known = [("FLOTILLA_URL", url.as_str()), ("FLOTILLA_TOKEN", &token)];
    let no_token = [("FLOTILLA_URL", url.as_str())];
    let away = [
        ("FLOTILLA_URL", nowhere.as_str()),
        ("FLOTILLA_NATS_URL", &no_nats),
    ];
    let (made, reader) = code("token create reader --scope read", &known).await;
    assert_eq!(made, Some(0), "{reader}");
    let reader = reader.trim();
    let reads = [("FLOTILLA_URL", url.as_str()), ("FLOTILLA_TOKEN", reader)];
    let run = format!("run_{}", "0".repeat(32));
    for (args, env, expected) in [
        ("runs", &known[..], 0),
        ("runs --json", &reads, 0),
        ("workflows small -o json", &known, 0),
        ("runs --limit many", &known, 2),
        ("runs --json -o table", &known, 2),
        ("no-such-command", &known, 2),
        ("rollout small", &known, 2),
        ("runs --config /nowhere/at/all", &known, 2),
        ("runs --batch-items 0", &known, 2),
        (&format!("show {run}"), &known, 3),
        (&format!("watch {run}"), &known, 3),
        (&format!("effects {run}"), &known, 3),
        (&format!("export {run}"), &known, 3),
        (&format!("cancel {run}"), &known, 3),
        (&format!("approve {run}"), &known, 3),
        ("dead show 7", &known, 3),
        ("workflows other", &known, 3),
        ("token revoke other", &known, 3),
        ("runs", &away, 4),
        ("ceiling list -o json", &away, 4),
        ("token list --direct", &away, 4),
        ("gateway --auth off --http 127.0.0.1:0", &away, 4),
        ("runs", &no_token, 5),
        ("deactivate small", &reads, 5),
        ("token list", &reads, 5),
    ] {
        let (code, output) = code(args, env).await;
        assert_eq!(code, Some(expected), "{args}: {output}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_ends_without_a_word_when_nobody_reads_it_and_is_plain_in_a_pipe() {
    let fleet = asking().start().await;
    let (url, token) = (fleet.api().base().to_owned(), first_token(&fleet));
    let env = [("FLOTILLA_URL", url.as_str()), ("FLOTILLA_TOKEN", &token)];
    // So that the audit has something to say.
    let (set, output) = code("ceiling set workflow small 5", &env).await;
    assert_eq!(set, Some(0), "{output}");
    tokio::task::spawn_blocking(move || {
        for list in LISTS {
            let start = || {
                let mut command = std::process::Command::new(flotilla());
                command
                    .args(list.split(' '))
                    .env_remove("NO_COLOR")
                    .envs([("FLOTILLA_URL", &url), ("FLOTILLA_TOKEN", &token)])
                    .stdin(Stdio::null());
                command
            };
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let ended = start().stdout(writer).output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(
                (ended.status.code(), said.as_ref()),
                (Some(141), ""),
                "{list}"
            );
            let read = start().output().unwrap();
            assert!(read.status.success(), "{list}: {read:?}");
            let plain = [read.stdout, read.stderr].concat();
            assert!(!plain.contains(&0x1b), "{list} has colours in a pipe");
        }
    })
    .await
    .unwrap();
    drop(fleet);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_is_the_same_by_either_flag_and_of_signals_too() {
    let fleet = Fleet::builder().workflows(small()).start().await;
    let url = fleet.api().base().to_owned();
    let env = [("FLOTILLA_URL", url.as_str())];
    let (_, short) = code("workflows --json", &env).await;
    let (_, long) = code("workflows --output json", &env).await;
    assert_eq!(short, long);
    fleet.sim.latency_ms(600_000).await;
    let submitted = code("submit --type test.small --detach -o json", &env)
        .await
        .1;
    let submitted: Value = serde_json::from_str(&submitted).unwrap();
    let run = submitted["runs"][0].as_str().unwrap();
    let paused = flotilla_tests::eventually("the run takes a signal", PATIENCE, || async {
        match code(&format!("pause {run} -o json"), &env).await {
            (Some(0), output) => Ok(output),
            (_, output) => Err(output),
        }
    })
    .await;
    let paused: Value = serde_json::from_str(&paused).unwrap();
    assert!(paused.is_object(), "{paused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_warns_of_a_variable_that_nothing_reads() {
    let redis = Redis::start().await;
    let (nats, redis) = (format!("nats://127.0.0.1:{}", free_port()), redis.url());
    let env = [
        ("FLOTILLA_NATS_URL", nats.as_str()),
        ("FLOTILLA_REDIS_URL", &redis),
        ("FLOTILLA_SLOT", "7"),
    ];
    for role in ["gateway", "planner", "executor"] {
        let args = format!("{role} --http 127.0.0.1:{}", free_port());
        let (code, output) = code(&args, &env).await;
        assert_eq!(code, Some(4), "{output}");
        let warned = output.matches("did you mean FLOTILLA_SLOTS?").count();
        assert_eq!(warned, 1, "{output}");
    }
}

#[test]
fn the_help_ends_with_what_the_exit_codes_mean() {
    let mut help = std::process::Command::new(flotilla())
        .arg("--help")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    help.stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(help.wait().unwrap().success());
    let (_, codes) = text.split_once("Exit codes:").unwrap();
    assert!(
        codes.contains("  4  the gateway, NATS or Redis does not answer"),
        "{codes}"
    );
}
