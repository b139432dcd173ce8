mod crowd;
mod fairness;
mod properties;
mod ramping;

use super::*;

/// Where the tests' time begins: late enough that nothing is before zero.
const START: u64 = 1_000_000;

fn flow(tenant: &str, workflow: &str) -> Flow {
    Flow {
        tenant: tenant.parse().unwrap(),
        workflow: workflow.parse().unwrap(),
    }
}

fn limits(requests: u64, input: u64, output: u64) -> Limits {
    let known = |limit| (limit > 0).then_some(limit);
    Limits {
        requests: known(requests),
        input: known(input),
        output: known(output),
    }
}

fn want(input_estimate: u64, output_max: u64) -> Want {
    Want {
        input_estimate,
        output_max,
    }
}

fn granted(answer: Answer) -> Grant {
    match answer {
        Answer::Granted(grant) => grant,
        Answer::Later { after_ms, why } => panic!("refused for {after_ms} ms: {why}"),
    }
}

fn refused(answer: &Answer) -> (u64, Reason) {
    match answer {
        Answer::Later { after_ms, why } => (*after_ms, *why),
        Answer::Granted(grant) => panic!("granted: {grant:?}"),
    }
}

/// A bucket that is warm: no cap is left from the start.
fn warm(learned: Limits) -> Bucket {
    Bucket::knowing(learned).in_use(START)
}

fn settled(flow: &Flow, want: Want, grant: Grant, used: Option<(u64, u64)>) -> Report {
    Report {
        settled: Some(Settled {
            flow: flow.clone(),
            want,
            grant,
            used,
        }),
        observed: Some(Observed::default()),
        ..Report::default()
    }
}

#[test]
fn before_the_first_reply_only_a_few_calls_are_out() {
    let (mut bucket, settings, flow) = (Bucket::new(), Settings::default(), flow("a", "w"));
    let wish = want(10, 10);
    let grants: Vec<Grant> = (0..64)
        .map(|_| granted(bucket.reserve(START, &settings, &flow, wish, 0)))
        .collect();
    refused(&bucket.reserve(START, &settings, &flow, wish, 0));
    let back = settled(&flow, wish, grants[0].clone(), None);
    let back = Report {
        observed: None,
        ..back
    };
    bucket.report(START, &settings, &back);
    granted(bucket.reserve(START, &settings, &flow, wish, 0));
    refused(&bucket.reserve(START + 1_000, &settings, &flow, wish, 0));
    // Calls that nobody ever settles come back in time.
    granted(bucket.reserve(START + 600_000, &settings, &flow, wish, 0));
}

#[test]
fn a_reply_without_limits_means_that_there_are_none() {
    let (mut bucket, settings, flow) = (Bucket::new(), Settings::default(), flow("a", "w"));
    let wish = want(10, 10);
    let grant = granted(bucket.reserve(START, &settings, &flow, wish, 0));
    assert_eq!(grant.from, Source::Unknown);
    bucket.report(START, &settings, &settled(&flow, wish, grant, Some((5, 5))));
    for _ in 0..10_000 {
        let grant = granted(bucket.reserve(START, &settings, &flow, wish, 0));
        assert_eq!(grant.from, Source::Unlimited);
    }
    assert!(bucket.standing(START, &settings, 1).unlimited);
}

#[test]
fn headers_teach_limits_and_the_configuration_caps_them() {
    let settings = Settings {
        configured: limits(0, 6_000, 1_000),
        ..Settings::default()
    };
    let mut bucket = Bucket::new();
    let seen = |limit, remaining| Seen {
        limit: Some(limit),
        remaining: Some(remaining),
    };
    let observed = Observed {
        requests: seen(120, 119),
        input: seen(12_000, 100),
        output: seen(500, 10_000),
    };
    let report = Report {
        observed: Some(observed),
        ..Report::default()
    };
    bucket.report(START, &settings, &report);
    let standing = bucket.standing(START, &settings, 1);
    assert_eq!(standing.limits, limits(120, 6_000, 500));
    assert_eq!(standing.learned, limits(120, 12_000, 500));
    // A twelfth of the minute at once; less if less is left, never more.
    let levels = standing.levels;
    assert_eq!(levels.requests, Some(10.0));
    assert_eq!(levels.input, Some(100.0));
    assert!(levels.output.is_some_and(|level| level < 42.0));
}

#[test]
fn what_a_call_did_not_use_goes_back_and_what_it_used_more_is_charged() {
    let settings = Settings::default();
    let mut bucket = warm(limits(600, 60_000, 12_000));
    let (flow, wish) = (flow("a", "w"), want(1_000, 500));
    let grant = granted(bucket.reserve(START, &settings, &flow, wish, 0));
    bucket.report(
        START,
        &settings,
        &settled(&flow, wish, grant, Some((1_200, 100))),
    );
    let levels = bucket.standing(START, &settings, 1).levels;
    assert_eq!(levels.requests, Some(49.0));
    assert_eq!(levels.input, Some(3_800.0));
    assert_eq!(levels.output, Some(900.0));
    assert_eq!(
        bucket.levels[3],
        Some(11_900.0),
        "max_tokens is reserved no more"
    );
}

#[test]
fn a_call_given_back_leaves_no_trace() {
    let settings = Settings::default();
    let mut bucket = warm(limits(60, 60_000, 12_000));
    let (flow, wish) = (flow("a", "w"), want(2_000, 500));
    for _ in 0..100 {
        let grant = granted(bucket.reserve(START, &settings, &flow, wish, 0));
        assert!(grant.in_share);
        bucket.report(START, &settings, &settled(&flow, wish, grant, None));
    }
    let levels = bucket.standing(START, &settings, 1).levels;
    assert_eq!(
        (levels.requests, levels.input, levels.output),
        (Some(5.0), Some(5_000.0), Some(1_000.0))
    );
}

#[test]
fn a_flow_is_charged_as_its_calls_were_before() {
    let settings = Settings::default();
    let mut bucket = warm(limits(0, 600_000, 60_000));
    let (cached, plain, wish) = (flow("a", "cached"), flow("b", "plain"), want(1_000, 100));
    for turn in 0..40 {
        let now = START + turn * 2_000;
        let grant = granted(bucket.reserve(now, &settings, &cached, wish, 0));
        bucket.report(
            now,
            &settings,
            &settled(&cached, wish, grant, Some((100, 50))),
        );
    }
    let now = START + 100_000;
    let grant = granted(bucket.reserve(now, &settings, &cached, wish, 0));
    assert!((99.0..110.0).contains(&grant.input), "{grant:?}");
    assert!((49.0..55.0).contains(&grant.output), "{grant:?}");
    let grant = granted(bucket.reserve(now, &settings, &plain, wish, 0));
    assert_eq!((grant.input, grant.output), (1_000.0, 100.0));
}

#[test]
fn a_call_without_a_reply_teaches_nothing() {
    let settings = Settings::default();
    let mut bucket = warm(limits(0, 600_000, 60_000));
    let (flow, wish) = (flow("a", "w"), want(1_000, 100));
    let grant = granted(bucket.reserve(START, &settings, &flow, wish, 0));
    let lost = Report {
        observed: None,
        ..settled(&flow, wish, grant, Some((4_000, 10)))
    };
    bucket.report(START, &settings, &lost);
    assert_eq!(bucket.shares.ratios(&flow), (1.0, 1.0));
    assert_eq!(
        bucket.standing(START, &settings, 1).levels.input,
        Some(46_000.0)
    );
}

#[test]
fn after_a_429_everybody_waits_as_long_as_it_says() {
    let settings = Settings::default();
    let mut bucket = warm(limits(600, 0, 0));
    let wish = want(1, 1);
    let limited = |after| Report {
        limited: Some(after),
        ..Report::default()
    };
    bucket.report(START, &settings, &limited(Some(7_000)));
    bucket.report(START + 1_000, &settings, &limited(None));
    for tenant in ["a", "b"] {
        let answer = bucket.reserve(START + 2_000, &settings, &flow(tenant, "w"), wish, 0);
        assert_eq!(refused(&answer), (5_000, Reason::Blocked));
    }
    granted(bucket.reserve(START + 7_000, &settings, &flow("a", "w"), wish, 0));
    bucket.report(START + 7_000, &settings, &limited(Some(86_400_000)));
    let until = bucket
        .standing(START + 7_000, &settings, 1)
        .blocked_until_ms;
    assert_eq!(until, Some(START + 7_000 + BLOCK_MAX_MS));
}

#[test]
fn a_call_larger_than_the_burst_goes_when_it_is_full_and_is_paid_for_afterwards() {
    let settings = Settings {
        output_reserved: false,
        ..Settings::default()
    };
    let mut bucket = warm(limits(0, 12_000, 0));
    let (flow, large, small) = (flow("a", "w"), want(5_000, 0), want(1, 0));
    granted(bucket.reserve(START, &settings, &flow, large, 0));
    // 4,000 in debt at 200 a second.
    let (after, why) = refused(&bucket.reserve(START, &settings, &flow, small, 0));
    assert_eq!(why, Reason::Rate);
    assert!((20_000..26_000).contains(&after), "{after}");
    refused(&bucket.reserve(START + after - 2, &settings, &flow, small, 0));
    granted(bucket.reserve(START + after, &settings, &flow, small, 0));
}

#[test]
fn a_part_of_the_fleet_takes_its_part_of_the_limits() {
    let settings = Settings {
        fraction: 0.25,
        ..Settings::default()
    };
    let bucket = warm(limits(480, 48_000, 4_800));
    let levels = bucket.standing(START, &settings, 4).levels;
    assert_eq!(
        (levels.requests, levels.input, levels.output),
        (Some(10.0), Some(1_000.0), Some(100.0))
    );
}

#[test]
fn a_clock_that_is_set_back_stops_nothing() {
    let settings = Settings::default();
    let mut bucket = warm(limits(60, 0, 0));
    let (flow, wish) = (flow("a", "w"), want(1, 1));
    for turn in 0..5 {
        let _ = bucket.reserve(START + turn, &settings, &flow, wish, 0);
    }
    let mut now = START / 2;
    let mut grants = 0;
    for _ in 0..60 {
        now += 1_000;
        grants += u32::from(matches!(
            bucket.reserve(now, &settings, &flow, wish, 0),
            Answer::Granted(_)
        ));
    }
    assert!(grants >= 55, "{grants}");
}
