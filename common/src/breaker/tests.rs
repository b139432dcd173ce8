use proptest::{collection::vec, prelude::*};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Duration {
    SECOND * u32::try_from(seconds).unwrap()
}

fn settings() -> Settings {
    Settings {
        consecutive: 3,
        window: at(10),
        calls_min: 10,
        failure_rate: 0.5,
        cool_min: at(4),
        cool_max: at(10),
        probes: 2,
        probe_max: at(60),
    }
}

fn pass(breaker: &mut Breaker, now: Duration) -> Pass {
    match breaker.admit(now) {
        Admit::Yes(pass) | Admit::Probe(pass) => pass,
        Admit::No { until } => panic!("refused at {now:?} until {until:?}"),
    }
}

fn call(breaker: &mut Breaker, now: Duration, outcome: Outcome) {
    let pass = pass(breaker, now);
    breaker.record(now, pass, outcome, 0.0);
}

fn tripped(now: Duration) -> Breaker {
    let mut breaker = Breaker::new(settings());
    for _ in 0..3 {
        call(&mut breaker, now, Outcome::Failure);
    }
    breaker
}

fn state(breaker: &mut Breaker, now: Duration) -> State {
    breaker.status(now).state
}

#[test]
fn failures_in_a_row_open_it_and_a_success_between_starts_the_count_again() {
    let mut breaker = Breaker::new(settings());
    for outcome in [
        Outcome::Failure,
        Outcome::Failure,
        Outcome::Success,
        Outcome::Failure,
        Outcome::Failure,
    ] {
        call(&mut breaker, at(1), outcome);
    }
    assert_eq!(state(&mut breaker, at(1)), State::Closed);
    call(&mut breaker, at(1), Outcome::Failure);
    assert_eq!(breaker.admit(at(1)), Admit::No { until: at(5) });
}

#[test]
fn a_limit_that_was_reached_says_nothing() {
    let mut breaker = Breaker::new(settings());
    for outcome in [Outcome::Failure, Outcome::Failure, Outcome::Neutral] {
        call(&mut breaker, at(1), outcome);
    }
    assert_eq!(breaker.status(at(1)).calls, 2);
    call(&mut breaker, at(1), Outcome::Failure);
    assert_eq!(state(&mut breaker, at(1)), State::Open);
}

#[test]
fn half_of_enough_calls_failing_opens_it_though_never_three_in_a_row() {
    let mut breaker = Breaker::new(settings());
    for turn in 0..9 {
        let outcome = if turn % 2 == 0 {
            Outcome::Failure
        } else {
            Outcome::Success
        };
        call(&mut breaker, at(1), outcome);
    }
    assert_eq!(
        state(&mut breaker, at(1)),
        State::Closed,
        "nine calls are too few"
    );
    call(&mut breaker, at(1), Outcome::Failure);
    assert_eq!(state(&mut breaker, at(1)), State::Open);
}

#[test]
fn what_failed_before_the_window_is_forgotten() {
    let mut breaker = Breaker::new(settings());
    for _ in 0..4 {
        call(&mut breaker, at(1), Outcome::Failure);
        call(&mut breaker, at(1), Outcome::Success);
    }
    let status = breaker.status(at(10));
    assert_eq!((status.calls, status.failures), (8, 4));
    assert_eq!(breaker.status(at(11)).calls, 0);
    call(&mut breaker, at(11), Outcome::Failure);
    call(&mut breaker, at(11), Outcome::Failure);
    assert_eq!(state(&mut breaker, at(11)), State::Closed);
}

#[test]
fn each_failed_probe_doubles_the_cool_down_up_to_its_limit() {
    let mut breaker = tripped(at(0));
    let mut now = at(0);
    for cool in [4, 8, 10, 10] {
        let until = now + at(cool);
        assert_eq!(
            breaker.admit(until - Duration::from_nanos(1)),
            Admit::No { until }
        );
        now = until;
        call(&mut breaker, now, Outcome::Failure);
    }
}

#[test]
fn enough_successful_probes_close_it_and_the_next_cool_down_is_short_again() {
    let mut breaker = tripped(at(0));
    call(&mut breaker, at(4), Outcome::Failure);
    call(&mut breaker, at(12), Outcome::Success);
    assert_eq!(state(&mut breaker, at(12)), State::HalfOpen);
    call(&mut breaker, at(12), Outcome::Success);
    assert_eq!(state(&mut breaker, at(12)), State::Closed);
    for _ in 0..3 {
        call(&mut breaker, at(13), Outcome::Failure);
    }
    assert_eq!(breaker.admit(at(13)), Admit::No { until: at(17) });
}

#[test]
fn a_probe_that_says_nothing_gives_its_place_back() {
    let mut breaker = tripped(at(0));
    let Admit::Probe(first) = breaker.admit(at(4)) else {
        panic!("no probe after the cool-down");
    };
    assert!(matches!(breaker.admit(at(4)), Admit::No { until } if until > at(4)));
    breaker.record(at(5), first, Outcome::Neutral, 0.0);
    assert_eq!(state(&mut breaker, at(5)), State::HalfOpen);
    assert!(matches!(breaker.admit(at(5)), Admit::Probe(_)));
}

#[test]
fn a_probe_that_is_never_recorded_loses_its_place_and_its_say() {
    let mut breaker = tripped(at(0));
    let lost = pass(&mut breaker, at(4));
    assert!(matches!(breaker.admit(at(63)), Admit::No { until } if until <= at(64)));
    let second = pass(&mut breaker, at(64));
    breaker.record(at(64), lost, Outcome::Failure, 0.0);
    assert_eq!(state(&mut breaker, at(64)), State::HalfOpen);
    breaker.record(at(64), second, Outcome::Failure, 0.0);
    assert_eq!(state(&mut breaker, at(64)), State::Open);
}

#[test]
fn late_results_of_calls_begun_before_it_opened_change_nothing() {
    let mut breaker = Breaker::new(settings());
    let (bad, good) = (pass(&mut breaker, at(0)), pass(&mut breaker, at(0)));
    for _ in 0..3 {
        call(&mut breaker, at(0), Outcome::Failure);
    }
    let probe = pass(&mut breaker, at(4));
    breaker.record(at(4), bad, Outcome::Failure, 0.0);
    breaker.record(at(4), good, Outcome::Success, 0.0);
    assert_eq!(state(&mut breaker, at(4)), State::HalfOpen);
    breaker.record(at(4), probe, Outcome::Success, 0.0);
    assert_eq!(
        state(&mut breaker, at(4)),
        State::HalfOpen,
        "one success of two"
    );
}

#[test]
fn nor_do_they_after_it_closed_again() {
    let mut breaker = Breaker::new(settings());
    let late: Vec<Pass> = (0..5).map(|_| pass(&mut breaker, at(0))).collect();
    for _ in 0..3 {
        call(&mut breaker, at(0), Outcome::Failure);
    }
    call(&mut breaker, at(4), Outcome::Success);
    call(&mut breaker, at(4), Outcome::Success);
    for pass in late {
        breaker.record(at(5), pass, Outcome::Failure, 0.0);
    }
    let status = breaker.status(at(5));
    assert_eq!((status.state, status.calls), (State::Closed, 0));
}

#[test]
fn a_person_has_the_last_word() {
    let mut breaker = Breaker::new(settings());
    breaker.force(Some(Forced::Open));
    assert!(matches!(breaker.admit(at(1)), Admit::No { .. }));
    assert_eq!(state(&mut breaker, at(1)), State::Open);
    breaker.force(Some(Forced::Closed));
    for _ in 0..20 {
        call(&mut breaker, at(1), Outcome::Failure);
    }
    assert_eq!(state(&mut breaker, at(1)), State::Closed);
    breaker.force(None);
    let status = breaker.status(at(1));
    assert_eq!(
        (status.state, status.calls, status.forced),
        (State::Closed, 0, None)
    );
}

#[test]
fn jitter_stretches_a_cool_down_by_at_most_a_quarter() {
    let mut breaker = Breaker::new(settings());
    for _ in 0..3 {
        let pass = pass(&mut breaker, at(0));
        breaker.record(at(0), pass, Outcome::Failure, 7.0);
    }
    assert_eq!(breaker.admit(at(0)), Admit::No { until: at(5) });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn while_open_nothing_passes_and_half_open_never_two_at_once(
        steps in vec((0_u64..3_000, 0_u8..6, 0_usize..8), 1..300),
    ) {
        let mut breaker = Breaker::new(Settings { probe_max: at(86_400), ..settings() });
        let (mut now, mut flying): (Duration, Vec<Pass>) = (Duration::ZERO, Vec::new());
        let mut shut_until = None;
        for (pause_ms, what, which) in steps {
            now += Duration::from_millis(pause_ms);
            if what < 3 {
                match breaker.admit(now) {
                    Admit::Yes(pass) => flying.push(pass),
                    Admit::Probe(pass) => {
                        let held = |other: &Pass| other.probe.is_some() && other.epoch == pass.epoch;
                        prop_assert!(!flying.iter().any(held));
                        flying.push(pass);
                    }
                    Admit::No { until } => {
                        prop_assert!(until > now);
                        continue;
                    }
                }
                prop_assert!(shut_until.is_none_or(|until| now >= until), "admitted at {now:?}, open until {shut_until:?}");
            } else if !flying.is_empty() {
                let pass = flying.swap_remove(which % flying.len());
                let outcome = [Outcome::Failure, Outcome::Success, Outcome::Neutral][usize::from(what - 3)];
                breaker.record(now, pass, outcome, 0.5);
            }
            shut_until = breaker.status(now).until;
        }
    }
}
