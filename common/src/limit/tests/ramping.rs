use super::*;

const SETTINGS: Settings = Settings {
    configured: Limits {
        requests: None,
        input: None,
        output: None,
    },
    burst_ms: 5_000,
    output_reserved: true,
    fraction: 1.0,
};

fn cap(bucket: &mut Bucket, now: u64) -> Option<f64> {
    bucket.standing(now, &SETTINGS, 1).cap_per_s
}

fn ask(bucket: &mut Bucket, now: u64) -> Answer {
    bucket.reserve(now, &SETTINGS, &flow("a", "w"), want(1, 1), 0)
}

fn overload(bucket: &mut Bucket, now: u64) {
    let report = Report {
        overloaded: true,
        ..Report::default()
    };
    bucket.report(now, &SETTINGS, &report);
}

/// Calls of one second, a hundred of them.
fn hundred(bucket: &mut Bucket, now: u64) -> u64 {
    (0..100)
        .map(|turn| ask(bucket, now + turn * 10))
        .filter(|answer| matches!(answer, Answer::Granted(_)))
        .count() as u64
}

#[test]
fn a_cold_scope_begins_at_a_quarter_and_is_warm_after_ten_seconds_of_use() {
    let mut bucket = Bucket::knowing(limits(2_400, 0, 0));
    assert!(matches!(ask(&mut bucket, START), Answer::Granted(_)));
    assert_eq!(cap(&mut bucket, START), Some(10.0));
    let first = hundred(&mut bucket, START);
    assert!((10..=16).contains(&first), "{first}");
    let _ = ask(&mut bucket, START + 5_000);
    assert_eq!(cap(&mut bucket, START + 5_000), Some(20.0));
    let _ = ask(&mut bucket, START + 10_000);
    assert_eq!(cap(&mut bucket, START + 10_000), None);
    let _ = ask(&mut bucket, START + 70_000);
    assert_eq!(cap(&mut bucket, START + 70_000), None);
    let _ = ask(&mut bucket, START + 130_001);
    assert_eq!(
        cap(&mut bucket, START + 130_001),
        Some(10.0),
        "it has gone cold"
    );
}

#[test]
fn an_overload_halves_the_rate_once_a_second_and_it_doubles_until_it_is_four_times_what_it_was() {
    let mut bucket = Bucket::knowing(Limits::default());
    // Windows of two seconds begin at even ones: 200 calls in this one.
    let _ = hundred(&mut bucket, START);
    let _ = hundred(&mut bucket, START + 1_000);
    overload(&mut bucket, START + 2_000);
    assert_eq!(cap(&mut bucket, START + 2_000), Some(50.0));
    overload(&mut bucket, START + 2_999);
    assert_eq!(
        cap(&mut bucket, START + 2_999),
        Some(50.0),
        "they were out together"
    );
    let mut now = START + 2_000;
    for expected in [Some(100.0), Some(200.0), None] {
        now += 5_000;
        let _ = ask(&mut bucket, now);
        assert_eq!(cap(&mut bucket, now), expected);
    }
}

#[test]
fn overloads_that_go_on_bring_the_rate_down_to_a_call_in_two_seconds_and_no_further() {
    let mut bucket = Bucket::knowing(limits(6_000, 0, 0));
    let mut now = START;
    for _ in 0..20 {
        let _ = ask(&mut bucket, now);
        overload(&mut bucket, now);
        now += 1_000;
    }
    assert_eq!(cap(&mut bucket, now), Some(0.5));
    let grants: u64 = (0..4)
        .map(|turn| hundred(&mut bucket, now + turn * 1_000))
        .sum();
    assert!((1..=4).contains(&grants), "{grants}");
}

#[test]
fn who_waits_for_the_ramp_is_told_so() {
    let mut bucket = Bucket::knowing(Limits::default());
    let _ = hundred(&mut bucket, START);
    overload(&mut bucket, START + 1_000);
    let (after, why) = refused(&ask(&mut bucket, START + 1_000));
    assert_eq!((after, why), (1, Reason::Ramp));
    assert!(matches!(
        ask(&mut bucket, START + 1_001),
        Answer::Granted(_)
    ));
}

/// What a flow beyond its share is told in a cold scope, after calls every 400 ms.
fn answered_at(last: u64) -> Answer {
    let mut bucket = Bucket::knowing(limits(600, 0, 0));
    let other = flow("b", "w");
    granted(bucket.reserve(START, &SETTINGS, &other, want(1, 1), 0));
    for turn in 1..=11 {
        granted(ask(&mut bucket, START + turn * 400));
    }
    ask(&mut bucket, START + last)
}

#[test]
fn a_cap_that_grows_makes_nobody_wait_longer() {
    let before = granted(answered_at(4_999));
    assert!(!before.in_share, "it must leave headroom");
    granted(answered_at(5_000));
}

#[test]
fn a_cap_nobody_used_for_a_minute_is_forgotten() {
    let mut bucket = Bucket::knowing(Limits::default());
    let _ = hundred(&mut bucket, START);
    overload(&mut bucket, START + 1_000);
    let _ = ask(&mut bucket, START + 61_001);
    assert_eq!(cap(&mut bucket, START + 61_001), None);
}

#[test]
fn calls_granted_without_asking_count_in_the_measured_rate() {
    let mut bucket = Bucket::knowing(Limits::default());
    let report = Report {
        overloaded: true,
        unasked: 400,
        ..Report::default()
    };
    bucket.report(START + 1_999, &SETTINGS, &report);
    assert_eq!(cap(&mut bucket, START + 1_999), Some(100.0));
}
