use proptest::{collection::vec, prelude::*};

use super::*;

#[derive(Debug, Clone)]
struct Ask {
    pause_ms: u64,
    tenant: usize,
    workflow: usize,
    want: Want,
}

fn ask() -> impl Strategy<Value = Ask> {
    let pause = prop_oneof![3 => 0_u64..5, 2 => 0_u64..500, 1 => 0_u64..20_000];
    (pause, 0_usize..3, 0_usize..3, 1_u64..3_000, 1_u64..400).prop_map(
        |(pause_ms, tenant, workflow, input, output)| Ask {
            pause_ms,
            tenant,
            workflow,
            want: want(input, output),
        },
    )
}

fn known() -> impl Strategy<Value = Limits> {
    let some = |most: u64| proptest::option::weighted(0.8, 5..most);
    (some(1_000), some(60_000), some(10_000)).prop_map(|(requests, input, output)| Limits {
        requests: requests.or(Some(600)),
        input,
        output,
    })
}

/// Grants with their time, in order.
fn grants(bucket: &mut Bucket, settings: &Settings, asks: &[Ask]) -> Vec<(u64, [f64; 3])> {
    let mut now = START;
    let mut granted = Vec::new();
    for ask in asks {
        now += ask.pause_ms;
        let flow = flow(&format!("t{}", ask.tenant), &format!("w{}", ask.workflow));
        if let Answer::Granted(grant) = bucket.reserve(now, settings, &flow, ask.want, 0) {
            granted.push((now, [1.0, grant.input, grant.output]));
        }
    }
    granted
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// All but the last call of any window fit into the burst and what came in since; the last may run into debt.
    #[test]
    fn no_window_has_more_than_the_burst_the_rate_and_one_call(
        known in known(), asks in vec(ask(), 1..200), cold in any::<bool>(),
    ) {
        let settings = Settings::default();
        let mut bucket = if cold { Bucket::knowing(known) } else { warm(known) };
        let granted = grants(&mut bucket, &settings, &asks);
        let limits = [known.requests, known.input, known.output];
        for (kind, limit) in limits.iter().enumerate() {
            let Some(limit) = limit.map(|limit| limit as f64) else { continue };
            for (first, (since, _)) in granted.iter().enumerate() {
                let mut sum = 0.0;
                for (now, costs) in &granted[first..] {
                    let most = limit / 12.0 + limit * (now - since) as f64 / 60_000.0;
                    prop_assert!(sum <= most + 1e-6, "kind {kind}: {sum} of {most} in {} ms", now - since);
                    sum += costs[kind];
                }
            }
        }
    }

    #[test]
    fn a_flow_within_its_share_is_never_refused_while_anything_is_left(
        known in known(), asks in vec(ask(), 1..200),
    ) {
        let settings = Settings::default();
        let mut bucket = warm(known);
        let mut now = START;
        for ask in asks {
            now += ask.pause_ms.min(5_000);
            let flow = flow(&format!("t{}", ask.tenant), &format!("w{}", ask.workflow));
            let place = bucket.shares.ask(now as f64, &flow);
            let answer = bucket.reserve(now, &settings, &flow, ask.want, 0);
            let Answer::Later { why, .. } = answer else { continue };
            // What is reserved may not run into debt.
            let reserved = bucket.levels[3].is_none_or(|level| level >= ask.want.output_max as f64);
            let left = |level: &Option<f64>| level.is_none_or(|level| level > 0.0);
            let capped = bucket.ramp.cap.is_some();
            prop_assert!(
                capped || place.headroom > 0.0 || !reserved || !bucket.levels.iter().all(left),
                "{why}"
            );
        }
    }

    /// Whoever asks again when told is granted, if nobody came between.
    #[test]
    fn the_answer_later_is_kept(
        known in known(), asks in vec(ask(), 1..60), last in ask(),
    ) {
        let settings = Settings::default();
        let mut bucket = warm(known);
        let _ = grants(&mut bucket, &settings, &asks);
        let mut now = START + asks.iter().map(|ask| ask.pause_ms).sum::<u64>();
        let flow = flow(&format!("t{}", last.tenant), &format!("w{}", last.workflow));
        let mut waited = 0;
        // The largest call at the smallest limit takes ten hours.
        for _ in 0..2_000 {
            match bucket.reserve(now, &settings, &flow, last.want, 0) {
                Answer::Granted(_) => return Ok(()),
                Answer::Later { after_ms, .. } => {
                    prop_assert!((1..=60_000).contains(&after_ms));
                    // Longer waits are told a minute at a time; and a rounded number may be a millisecond short.
                    waited += u32::from((2..60_000).contains(&after_ms));
                    now += after_ms;
                }
            }
            prop_assert!(waited <= 1, "told a time below a minute twice");
        }
        prop_assert!(false, "never granted");
    }

    /// Whatever is reported, in whatever order, levels stay at or below their capacity and nothing but debt is below zero.
    #[test]
    fn settling_never_makes_more_than_a_full_level(
        known in known(), asks in vec((ask(), 0_u8..4, 0_u64..5_000, 0_u64..600), 1..100),
    ) {
        let settings = Settings::default();
        let mut bucket = warm(known);
        let mut now = START;
        for (ask, what, input, output) in asks {
            now += ask.pause_ms;
            let flow = flow(&format!("t{}", ask.tenant), &format!("w{}", ask.workflow));
            let Answer::Granted(grant) = bucket.reserve(now, &settings, &flow, ask.want, 0) else { continue };
            let used = (what > 0).then_some((input, output));
            bucket.report(now, &settings, &settled(&flow, ask.want, grant, used));
            let limits = [known.requests, known.input, known.output];
            for (level, limit) in bucket.levels.iter().zip(limits) {
                let (Some(level), Some(limit)) = (level, limit) else { continue };
                prop_assert!(*level <= limit as f64 / 12.0 && level.is_finite());
            }
        }
    }
}
