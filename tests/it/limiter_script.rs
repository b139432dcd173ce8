//! The script of fleet-wide limits, on a real redis-server, answers as the pure model does.

use std::collections::BTreeMap;

use flotilla_common::{
    io::{limiter::Shared, store::Store},
    limit::{
        Answer, Bucket, Flow, Grant, Limits, Observed, Report, Scope, Seen, Settings, Settled, Want,
    },
};
use flotilla_tests::Redis;

const START_MS: u64 = 1_795_000_000_000;
const STEPS: usize = 150;

fn flow(tenant: &str, workflow: &str) -> Flow {
    Flow {
        tenant: tenant.parse().unwrap(),
        workflow: workflow.parse().unwrap(),
    }
}

/// What happens next, drawn by seed.
struct Story {
    random: fastrand::Rng,
    now_ms: u64,
    settings: Settings,
    out: Vec<(Flow, Want, Grant)>,
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut limit = |most: u64| (random.u8(..4) == 0).then(|| random.u64(0..most));
        let configured = Limits {
            requests: limit(600),
            input: limit(60_000),
            output: limit(20_000),
        };
        let settings = Settings {
            configured,
            burst_ms: [5_000, 1_000, 60_000][random.usize(..3)],
            output_reserved: random.bool(),
            fraction: 1.0,
        };
        Self {
            now_ms: START_MS + random.u64(..5_000),
            random,
            settings,
            out: Vec::new(),
        }
    }

    fn pass_time(&mut self) {
        // Exact steps too: the edges are where the two would differ.
        let exact = [0, 1_000, 2_000, 5_000, 10_000, 60_000];
        let most = [1, 5, 50, 1_000, 20_000, 90_000][self.random.usize(..6)];
        self.now_ms += if self.random.u8(..4) == 0 {
            exact[self.random.usize(..exact.len())]
        } else {
            self.random.u64(0..most)
        };
    }

    fn flow(&mut self) -> Flow {
        let (tenant, workflow) = (self.random.u8(..3), self.random.u8(..3));
        flow(&format!("t{tenant}"), &format!("w{workflow}"))
    }

    fn want(&mut self) -> Want {
        let input = [10, 500, 8_000][self.random.usize(..3)];
        Want {
            input_estimate: self.random.u64(0..input),
            output_max: self.random.u64(0..2_000),
        }
    }

    fn observed(&mut self) -> Observed {
        let random = &mut self.random;
        let told = random.u8(..3) > 0;
        let mut seen = |most: u64| {
            let limit = random.u64(0..most);
            let remaining = random.u64(0..=limit);
            Seen {
                limit: (told && random.u8(..4) > 0).then_some(limit),
                remaining: (told && random.u8(..4) > 0).then_some(remaining),
            }
        };
        Observed {
            requests: seen(1_000),
            input: seen(80_000),
            output: seen(30_000),
        }
    }

    fn report(&mut self) -> Report {
        let settled = (!self.out.is_empty() && self.random.u8(..5) > 0).then(|| {
            let (flow, want, grant) = self.out.swap_remove(self.random.usize(..self.out.len()));
            let used = (self.random.u8(..5) > 0).then(|| {
                let input = self.random.u64(0..=want.input_estimate * 2);
                (input, self.random.u64(0..=want.output_max))
            });
            Settled {
                flow,
                want,
                grant,
                used,
            }
        });
        let observed = (self.random.u8(..3) > 0).then(|| self.observed());
        let limited = (self.random.u8(..12) == 0)
            .then(|| (self.random.bool()).then(|| self.random.u64(..30_000)));
        Report {
            settled,
            observed,
            overloaded: self.random.u8(..8) == 0,
            limited,
            unasked: u32::from(self.random.u8(..4) / 3) * self.random.u32(..100),
        }
    }
}

/// Says what differs, if anything does.
async fn compare(
    shared: &Shared,
    seed: u64,
    seen: &mut BTreeMap<String, u32>,
) -> Result<(), String> {
    let scope = Scope::claude(&format!("family-{seed}"));
    let (mut story, mut model) = (Story::new(seed), Bucket::new());
    for step in 0..STEPS {
        story.pass_time();
        let (now_ms, settings) = (story.now_ms, story.settings);
        if story.random.u8(..3) > 0 {
            let (flow, want) = (story.flow(), story.want());
            let (told, known) = shared
                .reserve(Some(now_ms), &scope, &settings, &flow, want, 0)
                .await
                .map_err(|e| e.to_string())?;
            let expected = model.reserve(now_ms, &settings, &flow, want, 0);
            if told != expected || known.fleet != 1 {
                return Err(format!(
                    "seed {seed}, step {step}: Redis {told:?}, model {expected:?}"
                ));
            }
            match told {
                Answer::Granted(grant) => {
                    let kind = format!("{:?} {}", grant.from, grant.in_share);
                    *seen.entry(kind).or_default() += 1;
                    story.out.push((flow, want, grant));
                }
                Answer::Later { why, .. } => *seen.entry(why.label().into()).or_default() += 1,
            }
        } else {
            let report = story.report();
            let told = shared
                .report(Some(now_ms), &scope, &settings, &report)
                .await
                .map_err(|e| e.to_string())?;
            model.report(now_ms, &settings, &report);
            let expected = model.standing(now_ms, &settings, told.fleet);
            if told != expected {
                return Err(format!(
                    "seed {seed}, step {step}: {report:?}: Redis {told:?}, model {expected:?}"
                ));
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_script_answers_exactly_as_the_model() {
    let redis = Redis::start().await;
    let shared = Shared::new(&Store::connect(&redis.url(), "a").await.unwrap());
    let first = std::env::var("FLOTILLA_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut seen = BTreeMap::new();
    for seed in first..first + 80 {
        compare(&shared, seed, &mut seen)
            .await
            .unwrap_or_else(|different| panic!("{different} (FLOTILLA_SEED={seed})"));
    }
    for kind in [
        "Levels true",
        "Levels false",
        "Unknown true",
        "Unlimited true",
        "rate",
        "share",
        "ramp",
        "blocked",
    ] {
        let times = seen.get(kind).copied().unwrap_or_default();
        assert!(times >= 5, "too few of {kind}: {seen:?}");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_is_taken_the_same_way() {
    let redis = Redis::start().await;
    let shared = Shared::new(&Store::connect(&redis.url(), "a").await.unwrap());
    let (scope, flow, mut model) = (Scope::claude("family"), flow("t", "w"), Bucket::new());
    let mut settings = Settings::default();
    settings.configured.requests = Some(600);
    let want = Want {
        input_estimate: 1,
        output_max: 1,
    };
    // It begins cold, under a cap, which an hour's step back ends; and nothing is filled for it.
    for (step, now_ms) in [0, 10, 20, 3_000].into_iter().enumerate() {
        for back_ms in [0, 3_600_000] {
            let now_ms = START_MS + now_ms - back_ms;
            let told = shared.reserve(Some(now_ms), &scope, &settings, &flow, want, 0);
            let (told, known) = told.await.unwrap();
            assert_eq!(
                told,
                model.reserve(now_ms, &settings, &flow, want, 0),
                "step {step}"
            );
            let standing = model.standing(now_ms, &settings, 1);
            assert_eq!(known.cap_per_s, standing.cap_per_s, "step {step}");
        }
    }
}

#[tokio::test]
async fn overloads_a_second_apart_are_taken_the_same_way() {
    let redis = Redis::start().await;
    let shared = Shared::new(&Store::connect(&redis.url(), "a").await.unwrap());
    let (scope, settings, mut model) =
        (Scope::claude("family"), Settings::default(), Bucket::new());
    let mut caps = Vec::new();
    for after_ms in [0, 999, 1_000, 1_999, 2_000] {
        let report = Report {
            overloaded: true,
            unasked: 10_000,
            ..Report::default()
        };
        let now_ms = START_MS + after_ms;
        let told = shared.report(Some(now_ms), &scope, &settings, &report);
        let told = told.await.unwrap();
        model.report(now_ms, &settings, &report);
        assert_eq!(told, model.standing(now_ms, &settings, told.fleet));
        caps.push(told.cap_per_s.unwrap());
    }
    assert_eq!(caps, [2_500.0, 2_500.0, 1_250.0, 1_250.0, 625.0]);
}
