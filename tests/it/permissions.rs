//! What each role may on NATS, held against a real nats-server with the users that `flotilla credentials` makes. That this is enough
//! for all that a fleet does is what every other test here shows: a fleet of the harness is these users, and a refusal fails it.

use std::path::Path;

use async_nats::Client;
use flotilla_common::io::{
    bus::{Bus, BusError},
    definitions::Definitions,
    streams::ensure_streams,
};
use flotilla_tests::{Keys, Nats, PATIENCE, Process, eventually, free_port};
use tempfile::TempDir;

struct Server {
    nats: Nats,
    keys: Keys,
    _folder: TempDir,
}

impl Server {
    /// One with the streams of a fleet, as its gateway makes them.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::make(folder.path()).await;
        let nats = Nats::start_with(&keys.nats_configuration()).await;
        let gateway = Bus::connect(&keys.nats_url("gateway", nats.port()), "test").await;
        let gateway = gateway.unwrap();
        ensure_streams(&gateway).await.unwrap();
        Box::pin(Definitions::open(&gateway)).await.unwrap();
        Self {
            nats,
            keys,
            _folder: folder,
        }
    }

    async fn user(&self, name: &str) -> Client {
        let url = self.keys.nats_url(name, self.nats.port());
        Bus::connect(&url, "test").await.unwrap().client
    }

    /// Waits until the server says that it refused a user something.
    async fn refused(&self, what: &str, user: &str, subject: &str) {
        let said = format!("user:{user}\" - {what} Violation - Subject \"{subject}\"");
        eventually(&said, PATIENCE, || async {
            let log = self.nats.log();
            if log.contains(&said) {
                return Ok(());
            }
            Err(log.lines().next_back().unwrap_or_default().to_owned())
        })
        .await;
    }
}

const REFUSED_TO_BOTH: [&str; 12] = [
    "events.x",
    "runs.x.fired.wake",
    "cron.due.w",
    "$KV.DEFINITIONS.active.w",
    "$KV.TOKENS.x",
    "$JS.API.STREAM.INFO.KV_TOKENS",
    "$JS.API.DIRECT.GET.KV_TOKENS.$KV.TOKENS.x",
    "$JS.API.STREAM.CREATE.X",
    "$JS.API.STREAM.DELETE.RUNS",
    "$JS.API.STREAM.PURGE.RUNS",
    "$JS.API.STREAM.MSG.DELETE.RUNS",
    "$JS.API.CONSUMER.DELETE.RUNS.planner",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_is_refused_what_is_anothers() {
    let server = Server::start().await;
    for (user, own, others) in [
        (
            "planner",
            "runs.x.decided.t",
            ["runs.x.resulted.t", "$JS.API.CONSUMER.MSG.NEXT.RUNS.tool-t"],
        ),
        (
            "executor",
            "runs.x.resulted.t",
            ["runs.x.decided.t", "$JS.API.CONSUMER.MSG.NEXT.RUNS.planner"],
        ),
        (
            "gateway",
            "runs.x.signalled.cancel",
            ["runs.x.decided.t", "$JS.API.STREAM.DELETE.RUNS"],
        ),
    ] {
        let client = server.user(user).await;
        let jetstream = async_nats::jetstream::new(client.clone());
        let stored = jetstream.publish(own, "{}".into()).await.unwrap();
        stored.await.unwrap();
        let both = REFUSED_TO_BOTH.iter().filter(|_| user != "gateway");
        for subject in both.chain(&others) {
            client.publish(*subject, "".into()).await.unwrap();
            server.refused("Publish", user, subject).await;
        }
    }
    let runs = server.nats.jetstream().await;
    let runs = runs.get_stream("RUNS").await.unwrap();
    assert_eq!(runs.cached_info().state.messages, 3, "each has its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_hears_what_is_for_another() {
    let server = Server::start().await;
    for (user, subjects) in [
        ("planner", ["_INBOX.gateway.>", "runs.>", "_INBOX.>"]),
        ("executor", ["_INBOX.planner.>", "runs.>", ">"]),
        ("gateway", ["_INBOX.planner.>", "_INBOX.executor.>", ">"]),
    ] {
        let client = server.user(user).await;
        for subject in subjects {
            let _subscribed = client.subscribe(subject).await.unwrap();
            server.refused("Subscription", user, subject).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_a_password_and_a_token_are_sent_as_the_address_means_them() {
    // Somebody without a name is the harness, which asks whether it is ready.
    let users = "no_auth_user: test\nauthorization { users: [{user: test, password: t}, {user: \"a:b\", password: \"p@ss/w%rd\"}] }";
    let nats = Nats::start_with(users).await;
    let at = |who: &str| format!("nats://{who}@127.0.0.1:{}", nats.port());
    let connected = Bus::connect(&at("a%3Ab:p%40ss%2Fw%25rd"), "test").await;
    connected.unwrap();
    let wrong = Bus::connect(&at("a%3Ab:p%40ss"), "test").await;
    let wrong: BusError = wrong.expect_err("the password is another one");
    let told = format!("{wrong} {wrong:?}");
    assert!(!told.contains("p@ss") && !told.contains("p%40ss"), "{told}");

    let token = "authorization { token: \"t/k\" }";
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nats.conf");
    let store = folder.path().join("store");
    let text =
        format!("host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: {store:?} }}\n{token}\n");
    std::fs::write(&file, text).unwrap();
    let args = ["-c".to_owned(), file.display().to_string()];
    let log = folder.path().join("log");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin/nats-server");
    let _server = Process::start("nats-server", &program, &args, &[], &log);
    let url = format!("nats://t%2Fk@127.0.0.1:{port}");
    eventually("a token is taken", PATIENCE, || async {
        let connected = Bus::connect(&url, "test").await;
        connected.map(drop).map_err(|error| error.to_string())
    })
    .await;
    let wrong = Bus::connect(&url.replace("t%2Fk", "t%252Fk"), "test").await;
    assert!(wrong.is_err(), "another token is not taken");
}
