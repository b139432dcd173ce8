//! Whoever watches sees every entry once, whatever dies in between.

use std::time::Duration;

use flotilla_tests::{Event, Fleet, PATIENCE, RoleOptions, Sink, Sse, eventually};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::flows::{incident, incidents};

/// So that there is a middle of a run
const LATENCY_MS: u64 = 300;

async fn fleet(sink: &Sink) -> Fleet {
    Fleet::builder()
        .workflows(incidents(sink, "idempotent"))
        .start()
        .await
}

async fn begin(fleet: &Fleet, id: &str) -> String {
    let [run] = fleet
        .submit(&incident(id))
        .await
        .runs
        .try_into()
        .expect("one run");
    run
}

/// Opens a run's stream as soon as the run is there, and the gateway.
async fn watch(fleet: &Fleet, run: &str, last_event_id: Option<u64>) -> Sse {
    let url = format!("{}/v1/runs/{run}/live", fleet.api().base());
    eventually("the run can be watched", PATIENCE, || {
        Sse::open(&url, last_event_id)
    })
    .await
}

/// What a stream brought of entries, which must be those of the journal after a sequence.
async fn assert_is_journal(fleet: &Fleet, run: &str, after: u64, events: &[Event]) {
    let shown: Value = fleet
        .api()
        .get(&format!("/v1/runs/{run}?since={after}"))
        .await
        .json();
    let lines: Vec<&Value> = shown["journal"].as_array().unwrap().iter().collect();
    let entries = events.iter().filter(|event| event.id.is_some());
    let seen: Vec<&Value> = entries.clone().map(|event| &event.data).collect();
    assert_eq!(seen, lines, "of {run}");
    for event in entries {
        assert_eq!(json!(event.id), event.data["seq"]);
        assert_eq!(event.data["kind"], event.kind.as_str());
    }
}

fn assert_ended(events: &[Event], run: &str) {
    let last = events.last().expect("an event");
    assert_eq!(last.kind, "end", "{events:?}");
    assert_eq!(
        (&last.data["run"], &last.data["status"]),
        (&json!(run), &json!("completed"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_watched_to_its_end_from_any_place_and_each_entry_comes_once() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    fleet.sim.latency_ms(LATENCY_MS).await;
    let run = begin(&fleet, "a").await;
    let mut early = watch(&fleet, &run, None).await;
    let first = early.next().await.expect("its beginning");
    assert_eq!(
        (first.kind.as_str(), &first.data["name"]),
        ("started", &json!("incident"))
    );
    // More who come while it goes on.
    let mut others = Vec::new();
    for _ in 0..20 {
        others.push(watch(&fleet, &run, None).await);
    }
    let mut events = vec![first];
    events.extend(early.rest().await);
    assert_ended(&events, &run);
    assert_is_journal(&fleet, &run, 0, &events).await;
    for same in join_all(others.iter_mut().map(Sse::rest)).await {
        assert_eq!(same, events);
    }

    // From the middle on, by the header and by the address; the header knows better.
    let middle = events[2].id.unwrap();
    let rest = watch(&fleet, &run, Some(middle)).await.rest().await;
    assert_eq!(rest, events[3..]);
    let url = format!("{}/v1/runs/{run}/live?since={middle}", fleet.api().base());
    assert_eq!(Sse::open(&url, None).await.unwrap().rest().await, rest);
    let last = events[events.len() - 2].id;
    let ending = Sse::open(&url, last).await.unwrap().rest().await;
    assert_eq!(
        ending,
        events[events.len() - 1..],
        "who has seen all is told that it is over"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_questions_are_refused_and_too_many_watchers_too() {
    let sink = Sink::start().await;
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .env("FLOTILLA_WATCHERS_MAX", "2")
        .start()
        .await;
    let base = fleet.api().base().to_owned();
    let unknown = format!("{base}/v1/runs/run_{}/live", "0".repeat(32));
    for (url, status, what) in [
        (unknown.clone(), 404, "there is no run"),
        (format!("{unknown}?since=x"), 400, "`since`"),
        (format!("{unknown}?from=1"), 400, "from"),
        (format!("{base}/v1/runs/nonsense/live"), 400, "nonsense"),
        (
            format!("{base}/v1/live?topics=runs,weather"),
            400,
            "weather",
        ),
    ] {
        let (answered, text) = Sse::open(&url, None).await.unwrap_err();
        assert_eq!(answered, status, "{url}: {text}");
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(what), "{text}");
    }
    let url = format!("{base}/v1/live");
    let open = [Sse::open(&url, None).await, Sse::open(&url, None).await];
    let (status, text) = Sse::open(&url, None).await.unwrap_err();
    assert_eq!(status, 503, "{text}");
    assert_eq!(fleet.gateway.metric("flotilla_watchers").await, 2.0);
    drop(open);
    eventually("their places are free again", PATIENCE, || {
        Sse::open(&url, None)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_is_told_of_every_run_that_changed_until_it_stands_as_it_is() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let url = format!("{}/v1/live?topics=runs", fleet.api().base());
    let mut list = Sse::open(&url, None).await.unwrap();
    let mut open: Vec<String> = Vec::new();
    for id in 0..5 {
        open.push(begin(&fleet, &id.to_string()).await);
    }
    while !open.is_empty() {
        let event = list.next().await.expect("it goes on");
        assert_eq!((event.kind.as_str(), event.id), ("runs", None));
        assert_eq!(event.data["more"], 0);
        for line in event.data["runs"].as_array().unwrap() {
            assert_eq!(line["workflow"], "incident");
            if line["status"] == "completed" {
                open.retain(|run| line["id"] != run.as_str());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_killed_under_watchers_costs_them_no_entry() {
    let sink = Sink::start().await;
    let mut fleet = fleet(&sink).await;
    fleet.sim.latency_ms(LATENCY_MS).await;
    let run = begin(&fleet, "a").await;
    let mut stream = watch(&fleet, &run, None).await;
    let mut events = vec![stream.next().await.expect("its beginning")];
    fleet.gateway.kill9();
    let rest = stream.rest().await;
    assert!(rest.iter().all(|event| event.kind != "bye"));
    events.extend(rest);
    fleet.replace_gateway(RoleOptions::default()).await;
    let mut again = watch(&fleet, &run, stream.last_id).await;
    events.extend(again.rest().await);
    assert_ended(&events, &run);
    assert_is_journal(&fleet, &run, 0, &events).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_server_restarted_under_watchers_costs_them_no_entry() {
    let sink = Sink::start().await;
    let mut fleet = fleet(&sink).await;
    fleet.sim.latency_ms(LATENCY_MS).await;
    let mut runs = Vec::new();
    for id in 0..8 {
        runs.push(begin(&fleet, &id.to_string()).await);
    }
    let mut streams = Vec::new();
    for run in &runs {
        streams.push(watch(&fleet, run, None).await);
    }
    fleet.nats.kill();
    fleet.nats.restart().await;
    let all = join_all(streams.iter_mut().map(Sse::rest)).await;
    for (run, events) in runs.iter().zip(all) {
        assert_ended(&events, run);
        assert_is_journal(&fleet, run, 0, &events).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_stops_says_goodbye_and_does_not_wait_for_watchers() {
    let sink = Sink::start().await;
    let mut fleet = fleet(&sink).await;
    // The run waits for an answer that is not to come before the gateway has ended.
    fleet.sim.latency_ms(600_000).await;
    let run = begin(&fleet, "a").await;
    let mut stream = watch(&fleet, &run, None).await;
    let url = format!("{}/v1/live", fleet.api().base());
    let mut list = Sse::open(&url, None).await.unwrap();
    stream.next().await.expect("its beginning");
    let draining = fleet.gateway.drain(Duration::from_secs(20));
    let (events, lines, ()) = tokio::join!(stream.rest(), list.rest(), draining);
    for events in [events, lines] {
        assert_eq!(
            events.last().map(|event| event.kind.as_str()),
            Some("bye"),
            "{events:?}"
        );
    }
}

/// As many as the promise is about
const WATCHERS: usize = 2_000;
/// Of them, those that watch the list
const OF_LIST: usize = 20;
const WATCHED_RUNS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_watch_one_gateway_and_each_sees_every_entry() {
    // A socket for each, here as well as there.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    // Nothing ends before all are there.
    fleet.sim.latency_ms(600_000).await;
    let mut runs = Vec::new();
    for id in 0..WATCHED_RUNS {
        runs.push(begin(&fleet, &id.to_string()).await);
    }
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let base = fleet.api().base().to_owned();
    let list = format!("{base}/v1/live");
    let lists = join_all((0..OF_LIST).map(|_| Sse::open_by(&http, &list, None))).await;
    let mut lists: Vec<Sse> = lists.into_iter().map(Result::unwrap).collect();
    for run in &runs {
        watch(&fleet, run, None).await;
    }
    let urls: Vec<String> = runs
        .iter()
        .map(|run| format!("{base}/v1/runs/{run}/live"))
        .collect();
    let mut watchers = Vec::new();
    // So many at once that none waits in vain for its turn.
    for batch in (0..WATCHERS - OF_LIST).collect::<Vec<_>>().chunks(100) {
        let opening = batch
            .iter()
            .map(|n| Sse::open_by(&http, &urls[n % WATCHED_RUNS], None));
        watchers.extend(join_all(opening).await.into_iter().map(Result::unwrap));
    }
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    let all = WATCHERS as f64;
    eventually("all of them watch", PATIENCE, || async {
        let watching = fleet.gateway.metric("flotilla_watchers").await;
        if watching == all {
            Ok(())
        } else {
            Err(watching)
        }
    })
    .await;
    // Others come and go meanwhile, and the runs are stopped: a few entries more, and the end.
    let quick = fleet.api().get("/v1/runs/counts").await;
    assert_eq!(quick.status, 200);
    for run in &runs {
        let path = format!("/v1/runs/{run}/cancel");
        let answer = fleet.api().post(&path, "application/json", "").await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    let seen = join_all(watchers.iter_mut().map(Sse::rest)).await;
    for (n, events) in seen.iter().enumerate() {
        let same = &seen[n % WATCHED_RUNS];
        assert_eq!(events, same);
        assert_eq!(events.last().map(|event| event.kind.as_str()), Some("end"));
    }
    for (run, events) in runs.iter().zip(&seen) {
        assert_is_journal(&fleet, run, 0, events).await;
    }
    for list in &mut lists {
        assert_eq!(
            list.next().await.map(|event| event.kind).as_deref(),
            Some("runs")
        );
    }
    assert_eq!(
        fleet.gateway.metric("flotilla_watchers_lagged_total").await,
        0.0
    );
}
