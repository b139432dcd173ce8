//! What runs taught, in a bucket that every role reaches and none depends on.

use flotilla_common::{
    entry::Pin,
    ids::RunId,
    io::{
        bus::Bus,
        lessons::{KEPT_MAX, Lesson, Lessons},
    },
};
use flotilla_tests::{Nats, PATIENCE, within};
use jiff::Timestamp;

fn pin(version: u32) -> Pin {
    Pin {
        name: "w".parse().unwrap(),
        version,
        digest: String::new(),
    }
}

fn lesson(number: usize) -> Lesson {
    let run = RunId::derive(&"w".parse().unwrap(), "test", &number.to_string());
    let at = Timestamp::from_second(i64::try_from(number).unwrap()).unwrap();
    Lesson::new(&run, at, &format!("lesson {number}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lessons_that_come_at_once_are_all_noted_and_the_newest_are_told_oldest_first() {
    let nats = Nats::start().await;
    let bus = Bus::connect(&nats.url(), "test").await.unwrap();
    let lessons = Lessons::open(&bus).await.unwrap();
    assert!(lessons.newest(&pin(1), 5).await.is_empty());

    // Each of them is a change of the same value.
    let adds = (0..8).map(|number| {
        let lessons = lessons.clone();
        tokio::spawn(async move { lessons.add(&pin(1), lesson(number)).await })
    });
    for add in adds.collect::<Vec<_>>() {
        assert!(add.await.unwrap());
    }
    assert!(lessons.add(&pin(1), lesson(7)).await, "it is noted, once");
    let told = lessons.newest(&pin(1), 3).await;
    assert_eq!(told, ["lesson 5", "lesson 6", "lesson 7"]);
    assert!(lessons.newest(&pin(1), 0).await.is_empty());
    assert!(
        lessons.newest(&pin(2), 5).await.is_empty(),
        "another version"
    );

    for number in 8..=KEPT_MAX {
        lessons.add(&pin(1), lesson(number)).await;
    }
    let other = Lessons::open(&bus).await.unwrap();
    let told = other.newest(&pin(1), 100).await;
    assert_eq!((told.len(), told[0].as_str()), (KEPT_MAX, "lesson 1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_bucket_and_a_nats_that_is_away_are_no_lessons_and_no_error() {
    let mut nats = Nats::start().await;
    let bus = Bus::connect(&nats.url(), "test").await.unwrap();
    let lessons = Lessons::open(&bus).await.unwrap();
    assert!(lessons.add(&pin(1), lesson(1)).await);
    let jetstream = nats.jetstream().await;
    jetstream.delete_stream("KV_LESSONS").await.unwrap();
    let none = within("no lessons", PATIENCE, lessons.newest(&pin(1), 5)).await;
    assert!(none.is_empty(), "{none:?}");
    let noted = within("not noted", PATIENCE, lessons.add(&pin(1), lesson(2))).await;
    assert!(!noted);
    nats.stop().await;
    let none = within("no lessons", PATIENCE, lessons.newest(&pin(1), 5)).await;
    assert!(none.is_empty(), "{none:?}");
}
