//! Clients that send byte by byte, or stop in the middle, are told so or let go, and stand in nobody's way.

use std::{fs, time::Duration};

use flotilla_tests::{Builder, Fleet, PATIENCE, Sink, eventually, within};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::flows::{incident, incidents};

/// More than there are turns for requests, and places for slow ones, together
const MANY: usize = 700;

fn builder(sink: &Sink) -> Builder {
    Fleet::builder().workflows(incidents(sink, "idempotent"))
}

async fn fleet(sink: &Sink) -> Fleet {
    builder(sink).start().await
}

/// How a body begins: of a length that its head says, or in chunks.
const LONG: (&str, &str) = ("Content-Length: 1000", "{");
const CHUNKED: (&str, &str) = ("Transfer-Encoding: chunked", "1\r\n{\r\n");

/// Begins to send an event, and leaves the rest of it.
async fn begin(fleet: &Fleet, (head, body): (&str, &str)) -> TcpStream {
    let address = fleet.api().base().trim_start_matches("http://").to_owned();
    let mut client = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n{head}\r\n\r\n{body}"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    client
}

/// What is answered until the gateway closes the connection: the status, and the problem.
async fn answer(mut client: impl tokio::io::AsyncRead + Unpin) -> (u16, Value) {
    let mut answer = Vec::new();
    // Where it is still being sent to, the gateway's end is a reset.
    let _ = within(
        "the connection ends",
        PATIENCE,
        client.read_to_end(&mut answer),
    )
    .await;
    let text = String::from_utf8(answer).unwrap();
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {text}"));
    assert!(head.contains("application/problem+json"), "{text}");
    let problem = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {text}"));
    (status.unwrap(), problem)
}

/// Connections, files and whatever else the gateway has open.
fn open_files(fleet: &Fleet) -> usize {
    let files = fs::read_dir(format!("/proc/{}/fd", fleet.gateway.pid()));
    files.unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stops_or_comes_byte_by_byte_is_answered_and_its_connection_closed() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let stops = begin(&fleet, LONG).await;
    let (drips, mut sends) = begin(&fleet, CHUNKED).await.into_split();
    let dripping = tokio::spawn(async move {
        while sends.write_all(b"1\r\n \r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    for (status, problem) in [answer(stops).await, answer(drips).await] {
        assert_eq!(
            (status, &problem["status"]),
            (408, &Value::from(408)),
            "{problem}"
        );
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("too slowly"), "{detail}");
    }
    within("nobody takes what is dripped", PATIENCE, dripping)
        .await
        .unwrap();
    // Who breaks off is not waited for, and is no event.
    drop(begin(&fleet, LONG).await);
    let run = fleet.submit(&incident("a")).await.runs.remove(0);
    assert_eq!(fleet.wait_run_end(&run).await.status, "completed");
    assert_eq!(fleet.runs().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_slow_clients_at_once_stop_nobody_else_and_leave_nothing_behind() {
    let sink = Sink::start().await;
    withstands(fleet(&sink).await, LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_whose_bodies_might_become_large_stop_nobody_else_either() {
    let sink = Sink::start().await;
    let fleet = builder(&sink).env("FLOTILLA_EVENT_BYTES_MAX", "64MiB");
    withstands(fleet.start().await, CHUNKED).await;
}

/// Hundreds begin to send so, and nobody else notices.
async fn withstands(fleet: Fleet, how: (&str, &str)) {
    let run = fleet.submit(&incident("before")).await.runs.remove(0);
    fleet.wait_run_end(&run).await;
    let before = open_files(&fleet);
    let clients: Vec<_> = (0..MANY).map(|_| begin(&fleet, how)).collect();
    let clients = join_all(clients).await;
    // Nobody is refused, while all turns are taken and after that.
    for id in ["a", "b", "c"] {
        let run = fleet.submit(&incident(id)).await.runs.remove(0);
        assert_eq!(fleet.api().get("/v1/runs/counts").await.status, 200);
        assert_eq!(fleet.wait_run_end(&run).await.status, "completed");
    }
    let answers = join_all(clients.into_iter().map(answer)).await;
    let of = |wanted: u16| {
        answers
            .iter()
            .filter(|(status, _)| *status == wanted)
            .count()
    };
    assert_eq!(of(408) + of(503), MANY, "{answers:?}");
    assert!(of(408) > 0 && of(503) > 0, "{} and {}", of(408), of(503));
    eventually("nothing is left of them", PATIENCE, || async {
        let (open, shown) = (open_files(&fleet), fleet.api().get("/v1/fleet").await);
        let shown: Value = shown.json();
        let gateway = shown["workers"]
            .as_array()
            .and_then(|all| all.iter().find(|one| one["role"] == "gateway").cloned());
        let requests = gateway.as_ref().and_then(|one| one["requests"].as_u64());
        // The one that asks, and those of the harness that are kept open.
        match requests {
            Some(0 | 1) if open <= before + 8 => Ok(()),
            _ => Err((open, gateway)),
        }
    })
    .await;
}
