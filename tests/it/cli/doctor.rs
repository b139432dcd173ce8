//! `flotilla doctor`: what it finds, and that it changes nothing.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use axum::{Router, http::header::DATE, routing::get};
use flotilla_tests::{
    CLAUDE_KEY, Fleet, Keys, Nats, PATIENCE, Process, Redis, eventually, free_port, program,
    run_flotilla,
};
use futures_util::TryStreamExt as _;
use serde_json::Value;

use super::small;
use crate::bad_start::stream_of_others;

/// Longer than all that doctor waits for, and shorter than anybody would.
const WITHIN: Duration = Duration::from_secs(60);

/// What it found: for each check, each verdict with what it says.
struct Found {
    code: Option<i32>,
    checks: BTreeMap<String, Vec<(String, String)>>,
}

impl Found {
    fn has(&self, check: &str, verdict: &str, words: &str) -> bool {
        let found = self.checks.get(check).into_iter().flatten();
        found
            .into_iter()
            .any(|(is, says)| is == verdict && says.contains(words))
    }

    #[track_caller]
    fn must_have(&self, check: &str, verdict: &str, words: &str) {
        assert!(self.has(check, verdict, words), "{:#?}", self.checks);
    }

    fn verdicts(&self, check: &str) -> Vec<&str> {
        let found = self.checks.get(check).into_iter().flatten();
        found.map(|(verdict, _)| verdict.as_str()).collect()
    }
}

async fn doctor(env: &[(&str, &str)], args: &[&str]) -> Found {
    let args = [&["doctor", "-o", "json"], args].concat();
    let ended = run_flotilla(&args, env, WITHIN).await;
    let report: Value =
        serde_json::from_str(&ended.output).unwrap_or_else(|_| panic!("{}", ended.output));
    assert_eq!(report["ok"], ended.status.success(), "{report}");
    let mut checks: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let text = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
    for one in report["checks"].as_array().unwrap() {
        let says = format!("{} {}", text(one, "says"), text(one, "todo"));
        let found = checks.entry(text(one, "check")).or_default();
        found.push((text(one, "verdict"), says));
    }
    Found {
        code: ended.status.code(),
        checks,
    }
}

/// Addresses at which nothing is.
fn nothing() -> [(String, String); 4] {
    let at = |scheme: &str| format!("{scheme}://127.0.0.1:{}", free_port());
    [
        ("FLOTILLA_NATS_URL", at("nats")),
        ("FLOTILLA_REDIS_URL", at("redis")),
        ("FLOTILLA_URL", at("http")),
        ("ANTHROPIC_BASE_URL", at("http")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// Nothing but these.
async fn doctor_of(given: &[(&str, &str)]) -> Found {
    let nothing = nothing();
    let mut env: Vec<(&str, &str)> = nothing
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    env.retain(|(name, _)| given.iter().all(|(one, _)| one != name));
    env.extend(given);
    doctor(&env, &[]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_fleet_is_found_to_be_so() {
    let fleet = Fleet::builder()
        .workflows(small())
        .keep_redis()
        .start()
        .await;
    let (nats, redis, claude) = (fleet.nats.url(), fleet.redis.url(), fleet.sim.url());
    let (url, folder) = (fleet.api().base().to_owned(), fleet.workflows().folder());
    let folder = folder.display().to_string();
    let env = [
        ("FLOTILLA_NATS_URL", nats.as_str()),
        ("FLOTILLA_REDIS_URL", &redis),
        ("FLOTILLA_URL", &url),
        ("FLOTILLA_WORKFLOWS", &folder),
        ("ANTHROPIC_BASE_URL", &claude),
        ("ANTHROPIC_API_KEY", CLAUDE_KEY),
    ];
    let found = doctor(&env, &["--executor"]).await;
    assert_eq!(found.code, Some(0), "{:#?}", found.checks);
    for check in [
        "settings",
        "nats",
        "streams",
        "workflows",
        "workers",
        "redis",
        "clock",
        "claude",
        "models",
        "gateway",
        "token",
        "folder",
        "secrets",
    ] {
        let verdicts = found.verdicts(check);
        let right = !verdicts.is_empty() && verdicts.iter().all(|verdict| *verdict == "ok");
        assert!(right, "{check}: {:#?}", found.checks);
    }
    assert_eq!(found.verdicts("clock").len(), 3, "{:#?}", found.checks);
    found.must_have("workflows", "ok", "small v1");
    let calls = fleet.sim.ledger().await;
    assert!(calls.is_empty(), "it asked Claude something that costs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_without_its_workers_is_told_whom_to_start() {
    let mut fleet = Fleet::builder().workflows(small()).start().await;
    fleet.planners.clear();
    let nats = fleet.nats.url();
    // nats-server keeps a pull of a client that was killed until it is noticed.
    eventually("nobody takes work", PATIENCE, || async {
        let found = doctor_of(&[("FLOTILLA_NATS_URL", &nats)]).await;
        let told = found.has("workers", "fail", "start one: flotilla planner");
        if told {
            Ok(())
        } else {
            Err(format!("{:#?}", found.checks))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_is_there_it_says_so_of_each() {
    let found = doctor_of(&[
        ("ANTHROPIC_API_KEY", CLAUDE_KEY),
        ("FLOTILLA_REDIS_ULR", "x"),
    ])
    .await;
    assert_eq!(found.code, Some(1));
    for (check, words) in [
        ("nats", "FLOTILLA_NATS_URL"),
        ("redis", "FLOTILLA_REDIS_URL"),
        ("gateway", "flotilla up"),
        ("claude", "ANTHROPIC_BASE_URL"),
    ] {
        assert!(
            found.has(check, "fail", words),
            "{check}: {:#?}",
            found.checks
        );
    }
    assert!(found.has("settings", "warn", "did you mean FLOTILLA_REDIS_URL?"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_settings_file_is_told_and_the_rest_is_looked_at_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f.toml");
    std::fs::write(&file, "nats_ulr = 1\n").unwrap();
    let found = doctor_of(&[("FLOTILLA_CONFIG", file.to_str().unwrap())]).await;
    assert_eq!(found.code, Some(1));
    found.must_have("settings", "fail", "nats_ulr");
    found.must_have("redis", "fail", "cannot reach");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_server_without_jetstream_is_told() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port().to_string());
    let log = folder.path().join("log");
    let args = ["-a", "127.0.0.1", "-p", &port];
    let _server = Process::start("nats-server", &program("nats-server"), &args, &[], &log);
    let nats = format!("nats://127.0.0.1:{port}");
    eventually("it listens", PATIENCE, || async {
        async_nats::connect(&nats)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    })
    .await;
    let found = doctor_of(&[("FLOTILLA_NATS_URL", &nats)]).await;
    assert_eq!(found.code, Some(1));
    found.must_have("nats", "fail", "without JetStream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_without_a_fleet_stays_as_it_is_and_a_stream_of_other_settings_too() {
    let nats = Nats::start().await;
    let jetstream = nats.jetstream().await;
    let streams = async || -> Vec<String> { jetstream.stream_names().try_collect().await.unwrap() };
    let found = doctor_of(&[("FLOTILLA_NATS_URL", &nats.url())]).await;
    found.must_have("streams", "warn", "start a gateway");
    assert_eq!(streams().await, Vec::<String>::new());
    jetstream.create_stream(stream_of_others()).await.unwrap();
    let found = doctor_of(&[("FLOTILLA_NATS_URL", &nats.url())]).await;
    found.must_have("streams", "fail", "storage is Memory, must be File");
    found.must_have("streams", "warn", "EVENTS");
    assert_eq!(streams().await, ["RUNS"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_not_look_at_everything_is_told_what_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::make(folder.path()).await;
    let nats = Nats::start_with(&keys.nats_configuration()).await;
    let url = keys.nats_url("executor", nats.port());
    let found = doctor_of(&[("FLOTILLA_NATS_URL", &url)]).await;
    found.must_have("nats", "ok", "nats-server 2.");
    found.must_have("streams", "warn", "not known: ");
    let password = url.split([':', '@']).nth(2).unwrap();
    let said = format!("{:?}", found.checks);
    assert!(!said.contains(password), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_would_throw_out_claims_is_told() {
    let redis =
        Redis::start_with(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]).await;
    let found = doctor_of(&[("FLOTILLA_REDIS_URL", &redis.url())]).await;
    assert_eq!(found.code, Some(1));
    found.must_have("redis", "fail", "noeviction");
    found.must_have("redis", "warn", "appendonly");
    found.must_have("redis", "ok", "a round trip takes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_clock_is_off_and_that_is_not_ready_is_told() {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let date = [(DATE, "Sat, 01 Jan 2028 00:00:00 GMT")];
    let ready = move || async move {
        (
            axum::http::StatusCode::SERVICE_UNAVAILABLE,
            date,
            r#"{"detail": "Redis: away"}"#,
        )
    };
    let routes = Router::new().route("/readyz", get(ready));
    let _serving = tokio::spawn(async move { axum::serve(listener, routes).await });
    let found = doctor_of(&[("FLOTILLA_URL", &url)]).await;
    found.must_have("gateway", "fail", "Redis: away");
    found.must_have("clock", "warn", "behind the gateway's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_tools_of_a_folder_need_is_looked_for_where_an_executor_runs() {
    let tool = "
tools:
  - tool: ask
    version: 1
    description: Asks somebody.
    input: {type: object}
    effect: read
    http: {url: 'http://127.0.0.1:9/', auth: {bearer: 'env:ASK_TOKEN'}}
";
    let workflow = "
workflow: asks
version: 1
on: {event: test.asks}
steps:
  - {id: ask, tool: ask, with: {}}
";
    let folder = flotilla_tests::Workflows::files(&[("tools.yaml", tool), ("asks.yaml", workflow)]);
    let folder = folder.folder().display().to_string();
    let nothing = nothing();
    let mut env: Vec<(&str, &str)> = nothing
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    env.push(("FLOTILLA_WORKFLOWS", &folder));
    let found = doctor(&env, &["--executor"]).await;
    found.must_have("secrets", "fail", "ASK_TOKEN (for ask)");
    env.push(("ASK_TOKEN", "x"));
    let found = doctor(&env, &["--executor"]).await;
    assert_eq!(found.verdicts("secrets"), ["ok"], "{:#?}", found.checks);
}
