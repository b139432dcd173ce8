//! The journal's adapter against a real nats-server: what the protocol rests on.

use std::time::Duration;

use flotilla_common::{
    entry::{Address, Body, Kind, Signalled},
    event::Event,
    ids::{Name, RunId},
    io::{
        bus::Bus,
        journal::{Journal, JournalError},
        streams::{StreamError, ensure_consumer, ensure_streams},
    },
    run::Link,
};
use flotilla_tests::{Nats, PATIENCE, eventually};
use jiff::Timestamp;
use serde_json::json;

async fn journal(nats: &Nats) -> Journal {
    let bus = Bus::connect(&nats.url(), "test").await.unwrap();
    ensure_streams(&bus).await.unwrap();
    Journal::new(bus)
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn run(id: &str) -> RunId {
    RunId::derive(&name("w"), "test", id)
}

fn link(run: &RunId, tool: &str) -> Link {
    let address = Address {
        run: run.clone(),
        kind: Kind::Decided,
        name: name(tool),
    };
    Link {
        address,
        payload: b"{}".to_vec(),
    }
}

#[tokio::test]
async fn a_run_starts_once_however_often_it_is_started() {
    let nats = Nats::start().await;
    let journal = journal(&nats).await;
    let run = run("1");
    journal
        .start(&run, &name("w"), b"{}".to_vec(), None)
        .await
        .unwrap();
    let again = journal.start(&run, &name("w"), b"{}".to_vec(), None).await;
    assert!(matches!(again, Err(JournalError::Conflict(_))), "{again:?}");
}

#[tokio::test]
async fn a_chain_takes_what_knows_its_end_and_refuses_the_rest_whole() {
    let nats = Nats::start().await;
    let journal = journal(&nats).await;
    let run = run("1");
    journal
        .start(&run, &name("w"), b"{}".to_vec(), None)
        .await
        .unwrap();
    let first = journal.append(&run, &[link(&run, "a")], 0).await.unwrap();
    let stale = journal.append(&run, &[link(&run, "b")], 0).await;
    assert!(matches!(stale, Err(JournalError::Conflict(_))), "{stale:?}");
    // A result in between is not part of the chain.
    journal
        .result(&run, &name("a"), "r1", b"{}".to_vec())
        .await
        .unwrap();
    let batch: Vec<Link> = ["c", "c", "d"]
        .iter()
        .map(|tool| link(&run, tool))
        .collect();
    let second = journal.append(&run, &batch, first).await.unwrap();
    let stale = journal.append(&run, &batch, first).await;
    assert!(matches!(stale, Err(JournalError::Conflict(_))), "{stale:?}");
    let all = journal.raw(&format!("runs.{run}.>")).await.unwrap();
    let chain: Vec<_> = all
        .iter()
        .filter(|raw| raw.subject.contains(".decided."))
        .map(|raw| raw.seq)
        .collect();
    assert_eq!(chain, [first, second, second + 1, second + 2]);
}

#[tokio::test]
async fn a_long_history_is_read_whole_and_in_order_among_others() {
    let nats = Nats::start().await;
    let journal = journal(&nats).await;
    let (run, other) = (run("1"), run("2"));
    let body = Body::Signalled(Signalled {
        id: "x".into(),
        ..Signalled::default()
    });
    let payload = body.encode(Timestamp::UNIX_EPOCH).unwrap();
    for index in 0..1_100 {
        let to = if index % 11 == 0 { &other } else { &run };
        journal
            .signal(to, &name("cancel"), &index.to_string(), payload.clone())
            .await
            .unwrap();
    }
    let entries = journal.read(&run).await.unwrap();
    assert_eq!(entries.len(), 1_000);
    assert!(entries.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    assert!(entries.iter().all(|entry| entry.address.run == run));
    assert!(journal.read(&self::run("3")).await.unwrap().is_empty());
}

#[tokio::test]
async fn rubbish_beside_the_chain_is_skipped_and_rubbish_in_the_chain_is_not() {
    let nats = Nats::start().await;
    let journal = journal(&nats).await;
    let run = run("1");
    journal
        .result(&run, &name("a"), "1", b"\xff".to_vec())
        .await
        .unwrap();
    assert!(journal.read(&run).await.unwrap().is_empty());
    journal.append(&run, &[link(&run, "a")], 0).await.unwrap();
    assert!(matches!(
        journal.read(&run).await,
        Err(JournalError::Entry(_))
    ));
}

#[tokio::test]
async fn a_timer_fires_once_also_when_it_was_set_twice_and_the_server_was_down_at_the_time() {
    let mut nats = Nats::start().await;
    let journal = journal(&nats).await;
    let run = run("1");
    let at = Timestamp::now() + Duration::from_secs(1);
    journal.schedule(&run, &name("deadline"), at).await.unwrap();
    journal.schedule(&run, &name("deadline"), at).await.unwrap();
    let history = journal.raw(&format!("runs.{run}.>")).await.unwrap();
    assert!(history.is_empty(), "a schedule is no entry: {history:?}");
    nats.kill();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    nats.restart().await;
    let fired = format!("runs.{run}.fired.>");
    eventually("the timer fires", PATIENCE, async || {
        let found = journal.raw(&fired).await.map_err(|e| e.to_string())?;
        if found.is_empty() {
            Err("nothing fired".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
    let entries = journal.read(&run).await.unwrap();
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0].at, at);
}

#[tokio::test]
async fn an_event_published_twice_is_known_as_a_duplicate() {
    let nats = Nats::start().await;
    let journal = journal(&nats).await;
    let event = Event::new("a.b".parse().unwrap(), "s".into(), "1".into(), json!({}));
    assert!(!journal.publish_event(&event, None).await.unwrap().duplicate);
    assert!(journal.publish_event(&event, None).await.unwrap().duplicate);
}

#[tokio::test]
async fn streams_and_consumers_are_verified_and_never_changed() {
    let nats = Nats::start().await;
    let bus = Bus::connect(&nats.url(), "test").await.unwrap();
    ensure_streams(&bus).await.unwrap();
    ensure_streams(&bus).await.unwrap();
    let wait = Duration::from_secs(30);
    let consumer = |ack_wait| {
        ensure_consumer(
            &bus,
            "RUNS",
            "planner",
            vec!["runs.*.started.>".into()],
            ack_wait,
        )
    };
    consumer(wait).await.unwrap();
    consumer(wait).await.unwrap();
    let differs = consumer(wait * 2).await;
    assert!(
        matches!(&differs, Err(StreamError::Differs { what, differences })
            if what == "consumer planner of RUNS" && differences == "ack_wait is 30s, must be 60s"),
        "{differs:?}"
    );
}
