use super::{
    crowd::{Caller, run},
    *,
};

fn part(callers: &[Caller], tenant: &str) -> f64 {
    let total: u64 = callers.iter().map(|caller| caller.granted).sum();
    let theirs = callers
        .iter()
        .filter(|caller| caller.flow.tenant.as_str() == tenant);
    theirs.map(|caller| caller.granted).sum::<u64>() as f64 / total as f64
}

#[test]
fn a_flow_alone_gets_everything_whatever_is_scarce() {
    let settings = Settings::default();
    for (limits, wish, per_minute) in [
        (limits(600, 0, 0), want(1, 1), 600.0),
        (limits(6_000, 60_000, 0), want(500, 1), 120.0),
        (limits(6_000, 60_000, 0), want(4_500, 1), 13.3),
        (limits(6_000, 60_000, 0), want(9_000, 1), 6.66),
        (limits(0, 0, 60_000), want(1, 300), 200.0),
    ] {
        let mut callers = [Caller::new(flow("a", "w"), wish, 0)];
        run(&mut warm(limits), &settings, &mut callers, 600_000);
        let used = callers[0].granted as f64 / (10.0 * per_minute);
        assert!((0.95..1.03).contains(&used), "{limits:?} {wish:?}: {used}");
    }
}

#[test]
fn a_tenant_with_ten_times_the_load_does_not_slow_another() {
    let settings = Settings::default();
    let mut callers: Vec<Caller> = (0..10)
        .map(|number| Caller::new(flow("heavy", &format!("w{number}")), want(800, 10), 0))
        .collect();
    // A quarter of the limit: within its half.
    callers.push(Caller::new(flow("light", "w"), want(800, 10), 240));
    let mut bucket = warm(limits(0, 800_000, 0));
    run(&mut bucket, &settings, &mut callers, 120_000);
    let light = callers.last().unwrap();
    assert!(light.granted >= 498, "{}", light.granted);
    assert!(light.waited_ms <= 20, "{}", light.waited_ms);
    let total: u64 = callers.iter().map(|caller| caller.granted).sum();
    assert!(total >= 1_950, "what is spare is used: {total} of 2,000");
}

#[test]
fn tenants_that_want_all_they_can_get_share_equally_whatever_their_number_of_flows() {
    let settings = Settings::default();
    let mut callers = vec![Caller::new(flow("one", "w"), want(2_000, 10), 0)];
    for number in 0..7 {
        callers.push(Caller::new(
            flow("seven", &format!("w{number}")),
            want(500, 10),
            0,
        ));
    }
    let mut bucket = warm(limits(0, 600_000, 0));
    run(&mut bucket, &settings, &mut callers, 300_000);
    let tokens = |tenant: &str| -> u64 {
        let theirs = callers
            .iter()
            .filter(|caller| caller.flow.tenant.as_str() == tenant);
        theirs
            .map(|caller| caller.granted * caller.want.input_estimate)
            .sum()
    };
    let (one, seven) = (tokens("one") as f64, tokens("seven") as f64);
    assert!((0.85..1.15).contains(&(one / seven)), "{one} to {seven}");
    assert!(
        one + seven >= 0.95 * 3_000_000.0,
        "{one} and {seven} of 3,000,000"
    );
    let counts: Vec<u64> = callers[1..].iter().map(|caller| caller.granted).collect();
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(*most as f64 <= 1.25 * *least as f64, "{counts:?}");
}

#[test]
fn a_flow_of_large_calls_is_not_starved_by_small_ones() {
    let settings = Settings::default();
    let mut callers: Vec<Caller> = (0..5)
        .map(|number| Caller::new(flow(&format!("small{number}"), "w"), want(50, 0), 0))
        .collect();
    // Each is nine tenths of the burst.
    callers.push(Caller::new(flow("large", "w"), want(9_000, 0), 0));
    let mut bucket = warm(limits(0, 120_000, 0));
    run(&mut bucket, &settings, &mut callers, 300_000);
    let tokens = callers.last().unwrap().granted * 9_000;
    assert!(
        (85_000..115_000).contains(&tokens),
        "{tokens} of a share of 100,000"
    );
}

#[test]
fn under_a_cap_without_any_limits_tenants_share_the_calls() {
    let settings = Settings::default();
    let mut bucket = Bucket::knowing(Limits::default());
    bucket.ramp.count(START as f64, 200.0);
    let report = Report {
        overloaded: true,
        ..Report::default()
    };
    bucket.report(START, &settings, &report);
    let mut callers: Vec<Caller> = (0..10)
        .map(|number| Caller::new(flow("heavy", &format!("w{number}")), want(1, 1), 0))
        .collect();
    callers.push(Caller::new(flow("light", "w"), want(1, 1), 0));
    // While the cap holds: it doubles after five seconds.
    run(&mut bucket, &settings, &mut callers, 9_900);
    let light = part(&callers, "light");
    assert!((0.4..0.6).contains(&light), "{light}");
}
