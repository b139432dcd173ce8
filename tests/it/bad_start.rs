//! A start that cannot work ends at once, and says what is wrong and what to do.

use std::net::TcpListener;

use async_nats::jetstream::stream::{Config, StorageType};
use flotilla_tests::{
    FakeNats, Finished, Nats, PATIENCE, Redis, Workflows, flotilla, free_port, run_flotilla,
};

use crate::access::WORKFLOW;

const ROLES: [&str; 3] = ["gateway", "planner", "executor"];

/// What a role is started with; each test spoils one of them.
struct World {
    nats: String,
    redis: String,
    http: String,
    workflows: Workflows,
}

impl World {
    fn new(nats: String, redis: String) -> Self {
        Self {
            nats,
            redis,
            http: format!("127.0.0.1:{}", free_port()),
            workflows: Workflows::files(&[("small.yaml", WORKFLOW)]),
        }
    }

    async fn start(&self, role: &str) -> Finished {
        let folder = self.workflows.folder().display().to_string();
        let env = [
            ("FLOTILLA_NATS_URL", self.nats.as_str()),
            ("FLOTILLA_REDIS_URL", &self.redis),
            ("FLOTILLA_HTTP", &self.http),
            ("FLOTILLA_WORKFLOWS", &folder),
            ("ANTHROPIC_BASE_URL", "http://127.0.0.1:9"),
            ("ANTHROPIC_API_KEY", "sk-ant-only-a-test"),
        ];
        run_flotilla(&[role], &env, PATIENCE).await
    }

    /// Starts a role that must refuse, saying all of `words`.
    async fn refuses(&self, role: &str, words: &[&str]) {
        let Finished { status, output } = self.start(role).await;
        assert!(
            status.code().is_some_and(|code| code != 0),
            "{role} ended with {status}:\n{output}"
        );
        assert!(!output.contains("panicked"), "{role}:\n{output}");
        for word in words {
            assert!(
                output.contains(word),
                "{role} does not say `{word}`:\n{output}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_nats_is_named_with_the_setting_to_change() {
    let redis = Redis::start().await;
    let nats = format!("nats://127.0.0.1:{}", free_port());
    let world = World::new(nats.clone(), redis.url());
    for role in ROLES {
        world.refuses(role, &[&nats, "FLOTILLA_NATS_URL"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_redis_is_named_with_the_setting_to_change() {
    let nats = Nats::start().await;
    let redis = format!("redis://127.0.0.1:{}", free_port());
    let world = World::new(nats.url(), redis.clone());
    for role in ROLES {
        world.refuses(role, &[&redis, "FLOTILLA_REDIS_URL"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_too_old_nats_server_is_told_by_its_version() {
    let (old, redis) = (FakeNats::start("2.9.10").await, Redis::start().await);
    let world = World::new(old.url(), redis.url());
    for role in ROLES {
        world.refuses(role, &["2.9.10", "2.12"]).await;
    }
}

/// A stream of a name of ours that is not as ours are.
pub(crate) fn stream_of_others() -> Config {
    Config {
        name: "RUNS".to_owned(),
        subjects: vec!["runs.>".to_owned()],
        storage: StorageType::Memory,
        ..Config::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_other_settings_is_named_and_left_alone() {
    let (nats, redis) = (Nats::start().await, Redis::start().await);
    let jetstream = nats.jetstream().await;
    jetstream.create_stream(stream_of_others()).await.unwrap();
    let before = jetstream
        .get_stream("RUNS")
        .await
        .unwrap()
        .cached_info()
        .config
        .clone();

    let world = World::new(nats.url(), redis.url());
    for role in ROLES {
        world.refuses(role, &["RUNS", "storage"]).await;
    }
    let after = jetstream
        .get_stream("RUNS")
        .await
        .unwrap()
        .cached_info()
        .config
        .clone();
    assert_eq!(before, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_definition_is_told_with_its_place() {
    let (nats, redis) = (Nats::start().await, Redis::start().await);
    let mut world = World::new(nats.url(), redis.url());
    let unknown_tool = "
workflow: broken
version: 1
on: {event: test.small}
steps:
  - {id: act, tool: no_such_tool}
";
    for (text, words) in [
        ("workflow: [unclosed\n", &["bad.yaml:"][..]),
        (unknown_tool, &["bad.yaml:6:", "no_such_tool"]),
    ] {
        world.workflows = Workflows::files(&[("good.yaml", WORKFLOW), ("folder/bad.yaml", text)]);
        for role in ROLES {
            world.refuses(role, words).await;
        }
        let folder = world.workflows.folder().display().to_string();
        let checked = run_flotilla(
            &["check"],
            &[("FLOTILLA_WORKFLOWS", folder.as_str())],
            PATIENCE,
        )
        .await;
        assert!(!checked.status.success(), "{}", checked.output);
        assert!(
            words.iter().all(|word| checked.output.contains(word)),
            "{}",
            checked.output
        );
    }
    world.workflows = Workflows::at("/nowhere/to/be/found");
    world
        .refuses("gateway", &["/nowhere/to/be/found", "FLOTILLA_WORKFLOWS"])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named_with_the_setting_to_change() {
    let (nats, redis) = (Nats::start().await, Redis::start().await);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut world = World::new(nats.url(), redis.url());
    world.http = taken.local_addr().unwrap().to_string();
    for role in ROLES {
        world.refuses(role, &[&world.http, "FLOTILLA_HTTP"]).await;
    }
}

#[test]
fn who_reads_no_more_ends_a_program_without_a_word() {
    let workflows = Workflows::files(&[("small.yaml", WORKFLOW)]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = std::process::Command::new(flotilla())
        .args(["check", "--workflows"])
        .arg(workflows.folder())
        .stdout(writer)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!((ended.status.code(), said.as_ref()), (Some(141), ""));
}
