//! The harness's own tests: what the others stand on.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::Config;
use flotilla_tests::{FakeNats, Nats, PATIENCE, Process, Proxy, Redis, Sink, eventually, within};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Long enough to see that something did *not* happen
const A_MOMENT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_message_outlives_its_killed_nats_server() {
    let mut nats = Nats::start().await;
    let url = nats.url();
    let jetstream = nats.jetstream().await;
    let kept = Config {
        name: "KEPT".to_owned(),
        subjects: vec!["kept".to_owned()],
        ..Config::default()
    };
    jetstream.create_stream(kept).await.unwrap();
    jetstream
        .publish("kept", "precious".into())
        .await
        .unwrap()
        .await
        .unwrap();

    nats.kill();
    refused(nats.port()).await;
    nats.restart().await;

    assert_eq!(nats.url(), url);
    let stream = nats.jetstream().await.get_stream("KEPT").await.unwrap();
    let message = stream.get_raw_message(1).await.unwrap();
    assert_eq!(message.payload, "precious");
}

#[tokio::test]
async fn a_nats_server_takes_more_configuration_and_stops_when_told() {
    let mut nats = Nats::start_with("max_payload: 2048").await;
    assert_eq!(nats.client().await.server_info().max_payload, 2048);
    nats.stop().await;
    refused(nats.port()).await;
}

#[tokio::test]
async fn a_flushed_and_a_restarted_redis_have_forgotten_everything() {
    let mut redis = Redis::start().await;
    set(&redis, "a", "1").await;
    assert_eq!(redis.keys("*").await, ["a"]);
    redis.flush().await;
    assert!(redis.keys("*").await.is_empty());

    set(&redis, "b", "2").await;
    redis.restart().await;
    assert!(redis.keys("*").await.is_empty());
}

#[tokio::test]
async fn a_redis_that_keeps_an_append_only_file_remembers() {
    let mut redis = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    set(&redis, "a", "1").await;
    redis.kill();
    refused(redis.port()).await;
    redis.restart().await;
    assert_eq!(redis.field("a", "is").await.as_deref(), Some("1"));
}

async fn set(redis: &Redis, key: &str, value: &str) {
    let mut connection = redis.connection().await;
    redis::cmd("HSET")
        .arg(key)
        .arg("is")
        .arg(value)
        .exec_async(&mut connection)
        .await
        .unwrap();
}

/// Also run by the test below, which kills the process that runs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_end_with_what_started_them() {
    let nats = Nats::start().await;
    let redis = Redis::start().await;
    let ports = [nats.port(), redis.port()];
    if let Some(file) = std::env::var_os("HARNESS_TEST_PORTS") {
        let half = std::path::Path::new(&file).with_extension("half");
        std::fs::write(&half, json!(ports).to_string()).unwrap();
        std::fs::rename(&half, &file).unwrap();
        // Killed here; if not, that is the other test's failure to tell.
        let _: () = within("being killed", PATIENCE, std::future::pending()).await;
    }
    drop((nats, redis));
    for port in ports {
        refused(port).await;
    }
}

#[tokio::test]
async fn a_killed_test_process_leaves_no_orphans() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ports");
    let mut doomed = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "harness::servers_end_with_what_started_them"])
        .env("HARNESS_TEST_PORTS", &file)
        // Its scratch folders go with this one.
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ports: Vec<u16> = eventually("its servers are up", PATIENCE, || {
        let ports = std::fs::read(&file).map_err(|error| (error, doomed.try_wait()));
        std::future::ready(ports.map(|ports| serde_json::from_slice(&ports).unwrap()))
    })
    .await;
    for &port in &ports {
        TcpStream::connect(("127.0.0.1", port)).unwrap();
    }

    doomed.kill().unwrap();
    doomed.wait().unwrap();

    for &port in &ports {
        refused(port).await;
    }
}

async fn refused(port: u16) {
    eventually(
        &format!("nobody listens on {port}"),
        PATIENCE,
        || async move {
            match tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
                Ok(_) => Err("somebody does"),
                Err(_) => Ok(()),
            }
        },
    )
    .await;
}

#[tokio::test]
async fn a_stopped_process_goes_on_when_continued_and_ends_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let script = "trap 'echo bye; exit 3' TERM; while :; do echo tick; sleep 0.01; done";
    let mut process = Process::start("ticker", "/bin/sh".as_ref(), &["-c", script], &[], &log);
    let ticks = |process: &Process| process.log().lines().count();
    let more_than = async |process: &Process, count: usize| {
        eventually("it ticks", PATIENCE, || {
            let now = ticks(process);
            std::future::ready(if now > count { Ok(now) } else { Err(now) })
        })
        .await
    };
    more_than(&process, 0).await;

    process.stop();
    let at_stop = ticks(&process);
    tokio::time::sleep(A_MOMENT).await;
    assert!(ticks(&process) <= at_stop + 1, "it ticks while stopped");
    process.cont();
    more_than(&process, at_stop + 1).await;

    let status = process.terminate(PATIENCE).await;
    assert_eq!(status.code(), Some(3));
    assert!(process.log().ends_with("bye\n"));
}

#[tokio::test]
#[should_panic(expected = "not within 50ms: the sky falls; last seen: \"blue\"")]
async fn a_condition_that_does_not_come_says_what_was_there_instead() {
    let look = || std::future::ready(Err::<(), _>("blue"));
    eventually("the sky falls", Duration::from_millis(50), look).await;
}

/// A server that says back what it is told.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut guest, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = guest.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    port
}

async fn said_back(connection: &mut tokio::net::TcpStream, word: &[u8]) {
    let mut heard = vec![0; word.len()];
    within("the echo", PATIENCE, connection.read_exact(&mut heard))
        .await
        .unwrap();
    assert_eq!(heard, word);
}

async fn silent(connection: &mut tokio::net::TcpStream) {
    let heard = tokio::time::timeout(A_MOMENT, connection.read_u8()).await;
    assert!(heard.is_err(), "something came through: {heard:?}");
}

#[tokio::test]
async fn a_paused_proxy_holds_what_it_is_given_and_gives_it_on_when_resumed() {
    let proxy = Proxy::to(echo().await).await;
    let mut connection = tokio::net::TcpStream::connect(("127.0.0.1", proxy.port()))
        .await
        .unwrap();
    connection.write_all(b"one").await.unwrap();
    said_back(&mut connection, b"one").await;

    proxy.pause_upstream().await;
    connection.write_all(b"two").await.unwrap();
    silent(&mut connection).await;
    proxy.resume();
    said_back(&mut connection, b"two").await;

    proxy.pause_downstream().await;
    connection.write_all(b"three").await.unwrap();
    silent(&mut connection).await;
    proxy.resume();
    said_back(&mut connection, b"three").await;

    proxy.delay(A_MOMENT);
    let since = Instant::now();
    connection.write_all(b"four").await.unwrap();
    said_back(&mut connection, b"four").await;
    assert!(since.elapsed() >= 2 * A_MOMENT, "once there, once back");
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn a_cut_proxy_drops_what_it_holds_and_takes_new_connections() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::to(server.local_addr().unwrap().port()).await;
    let mut client = tokio::net::TcpStream::connect(("127.0.0.1", proxy.port()))
        .await
        .unwrap();
    let (mut taken, _) = server.accept().await.unwrap();

    proxy.pause_upstream().await;
    client.write_all(b"never to arrive").await.unwrap();
    silent(&mut taken).await;
    proxy.cut().await;
    proxy.resume();

    let mut heard = Vec::new();
    within(
        "the server sees the end",
        PATIENCE,
        taken.read_to_end(&mut heard),
    )
    .await
    .unwrap();
    assert_eq!(heard, b"");
    let mut again = tokio::net::TcpStream::connect(("127.0.0.1", proxy.port()))
        .await
        .unwrap();
    let (mut taken, _) = server.accept().await.unwrap();
    again.write_all(b"hello").await.unwrap();
    said_back(&mut taken, b"hello").await;
}

#[tokio::test]
async fn a_proxy_to_a_dead_server_closes_its_clients() {
    let dead = flotilla_tests::free_port();
    let proxy = Proxy::to(dead).await;
    let mut client = tokio::net::TcpStream::connect(("127.0.0.1", proxy.port()))
        .await
        .unwrap();
    let mut heard = Vec::new();
    within("the end", PATIENCE, client.read_to_end(&mut heard))
        .await
        .unwrap();
    assert_eq!(heard, b"");
}

async fn ask(sink: &Sink, path: &str, key: &str) -> (u16, Value) {
    // As in production: the test process chooses its TLS once, used or not.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let request = Client::new()
        .post(sink.url(path))
        .header("Idempotency-Key", key)
        .json(&json!({"n": 1}));
    let response = within("the sink answers", PATIENCE, request.send())
        .await
        .unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

#[tokio::test]
async fn a_sink_does_a_key_once_and_answers_it_again_from_memory() {
    let sink = Sink::start().await;
    sink.answer(json!({"ticket": 1}));
    assert_eq!(ask(&sink, "/open", "k1").await, (200, json!({"ticket": 1})));
    sink.answer(json!({"ticket": 2}));
    assert_eq!(ask(&sink, "/open", "k1").await, (200, json!({"ticket": 1})));
    assert_eq!(ask(&sink, "/open", "k2").await, (200, json!({"ticket": 2})));

    let effects = sink.effects();
    assert_eq!((effects["k1"].requests, effects["k1"].executions), (2, 1));
    assert_eq!((effects["k2"].requests, effects["k2"].executions), (1, 1));
    assert_eq!(effects["k1"].bodies, [json!({"n": 1}), json!({"n": 1})]);
    assert_eq!(effects["k1"].what, "POST /open");
    assert_eq!(sink.effects_at("/open").len(), 2);
    assert!(sink.effects_at("/other").is_empty());
}

#[tokio::test]
async fn a_sink_that_refuses_does_nothing_and_one_that_ignores_keys_does_it_again() {
    let sink = Sink::start().await;
    sink.refuse(Some(503));
    assert_eq!(ask(&sink, "/open", "k").await.0, 503);
    sink.refuse(None);
    sink.ignore_keys();
    ask(&sink, "/open", "k").await;
    ask(&sink, "/open", "k").await;
    let effect = &sink.effects()["k"];
    assert_eq!((effect.requests, effect.executions), (3, 2));
}

#[tokio::test]
async fn a_holding_sink_has_done_it_before_it_answers() {
    let sink = Sink::start().await;
    sink.hold("/open");
    let asked = ask(&sink, "/open", "k");
    let answered = async {
        eventually("the effect is done", PATIENCE, || {
            let effects = sink.effects();
            let done = effects
                .get("k")
                .is_some_and(|effect| effect.executions == 1);
            std::future::ready(if done { Ok(()) } else { Err(effects) })
        })
        .await;
        sink.release();
    };
    let ((status, _), ()) = tokio::join!(asked, answered);
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_fake_nats_server_is_of_the_version_it_says() {
    let fake = FakeNats::start("2.9.10").await;
    let client = within("connect", PATIENCE, async_nats::connect(fake.url()))
        .await
        .unwrap();
    assert_eq!(client.server_info().version, "2.9.10");
}
