//! Failed jobs of a build server, and what log, history, diffs and machine say about each.

use std::{collections::BTreeMap, fmt::Write as _};

use fastrand::Rng;
use serde_json::{Value, json};

use super::recording::{Answer, Recording, json as answer, one_of, text};

/// What is behind a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The likeliest file of the commit shows it.
    Change,
    /// The second one does.
    Deep,
    /// It was not built.
    Build,
    /// The test fails now and then.
    Flaky,
    /// The machine's disk is full.
    Machine,
}

const MIX: [Cause; 6] = [
    Cause::Change,
    Cause::Flaky,
    Cause::Deep,
    Cause::Build,
    Cause::Machine,
    Cause::Change,
];

const CRATES: [&str; 8] = [
    "pricing",
    "basket",
    "invoices",
    "stock",
    "shipping",
    "ledger",
    "catalogue",
    "accounts",
];
const TESTS: [&str; 8] = [
    "rounds_half_to_even",
    "a_discount_never_makes_a_price_negative",
    "totals_are_the_sum_of_their_lines",
    "two_currencies_do_not_mix",
    "an_empty_basket_costs_nothing",
    "the_last_item_is_reserved_once",
    "a_refund_gives_back_what_was_paid",
    "what_was_shipped_is_invoiced",
];
const CODE: [&str; 10] = [
    "    let lines = basket.lines().filter(|line| line.quantity > 0);",
    "    let rate = self.rates.find(currency).ok_or(Error::NoRate { currency })?;",
    "    /// The sum of all lines, before any discount.",
    "    pub fn total(&self, at: Timestamp) -> Result<Money, Error> {",
    "        let cents = line.price.cents() * i64::from(line.quantity);",
    "        sum = sum.checked_add(cents).ok_or(Error::TooMuch)?;",
    "    }",
    "    debug!(customer = %basket.customer, lines = basket.len(), \"priced\");",
    "    if let Some(discount) = self.discounts.for_customer(basket.customer, at) {",
    "        sum = discount.apply(sum).max(Money::ZERO);",
];

/// What a failure is about.
struct Scene {
    job: u32,
    commit: String,
    name: &'static str,
    test: String,
    runner: String,
    cause: Cause,
}

/// One failed job and what the tools say about it.
pub(super) fn recording(rng: &mut Rng, index: usize) -> Recording {
    let name = one_of(rng, &CRATES);
    let scene = Scene {
        job: 400_000 + u32::try_from(index).unwrap_or(0) * 37 + rng.u32(0..37),
        commit: format!(
            "{:016x}{:016x}{:08x}",
            rng.u64(..),
            rng.u64(..),
            rng.u32(..)
        ),
        name,
        test: format!("{name}::tests::{}", one_of(rng, &TESTS)),
        runner: format!(
            "build-{}-{:02}",
            one_of(rng, &["amd64", "arm64"]),
            rng.u8(1..25)
        ),
        cause: MIX.get(index % MIX.len()).copied().unwrap_or(Cause::Change),
    };
    Recording {
        path: "/v1/events",
        body: event(rng, &scene),
        programs: BTreeMap::new(),
        answers: answers(rng, &scene),
    }
}

fn answers(rng: &mut Rng, scene: &Scene) -> BTreeMap<&'static str, Vec<Answer>> {
    let mut all = BTreeMap::from([("job_log", vec![text(log_end(rng, scene))])]);
    match scene.cause {
        Cause::Machine => {
            all.insert("runner_state", vec![answer(200, machine(rng, scene))]);
        }
        Cause::Flaky => {
            all.insert("test_history", vec![answer(200, history(rng, scene))]);
            all.insert("changed_files", vec![text(changed(rng, scene))]);
        }
        Cause::Change | Cause::Deep | Cause::Build => {
            if scene.cause != Cause::Build {
                all.insert("test_history", vec![answer(200, history(rng, scene))]);
            }
            all.insert("changed_files", vec![text(changed(rng, scene))]);
            let mut diffs = Vec::new();
            if scene.cause == Cause::Deep {
                diffs.push(text(diff(rng, scene, "lib.rs", false)));
            }
            diffs.push(text(diff(rng, scene, "round.rs", true)));
            all.insert("show_diff", diffs);
            let around = text(log_around(rng, scene));
            all.entry("job_log").or_default().push(around);
        }
    }
    all
}

fn event(rng: &mut Rng, scene: &Scene) -> Value {
    let last = failure(scene);
    let last = last.lines().rev().take(6).collect::<Vec<_>>();
    let last: Vec<&str> = last.into_iter().rev().collect();
    let tested = !matches!(scene.cause, Cause::Build | Cause::Machine);
    json!({
        "type": "ci.job.failed",
        "id": scene.job.to_string(),
        "source": "ci:shop",
        "subject": format!("test-{}", scene.name),
        "data": {
            "job": scene.job.to_string(),
            "name": format!("test-{}", scene.name),
            "pipeline": (scene.job / 10).to_string(),
            "branch": one_of(rng, &["main", "main", "queue/4711", "feature/half-cents"]),
            "commit": scene.commit,
            "author": one_of(rng, &["amira", "jonas", "wei", "lucia"]),
            "runner": scene.runner,
            "seconds": rng.u32(90..1_500),
            "attempt": 1,
            "failed_test": tested.then(|| scene.test.clone()),
            "last_lines": last.join("\n"),
            "url": format!("https://ci.example.org/shop/jobs/{}", scene.job),
        },
    })
}

/// The words in which the job failed.
fn failure(scene: &Scene) -> String {
    let Scene { name, test, .. } = scene;
    match scene.cause {
        Cause::Machine => format!(
            "error: could not write output to /build/target/debug/deps/{name}.o: No space left on device (os error 28)\n\
error: could not compile `{name}` (lib test) due to 1 previous error\nwarning: build failed, waiting for other jobs to finish...\n\
==> job failed with exit code 101"
        ),
        Cause::Build => format!(
            "error[E0061]: this function takes 2 arguments but 1 argument was supplied\n   --> crates/{name}/src/round.rs:118:21\n    |\n\
118 |         let cents = half_even(amount);\n    |                     ^^^^^^^^^-------- argument #2 of type `Scale` is missing\n\
error: could not compile `{name}` (lib) due to 1 previous error\n==> job failed with exit code 101"
        ),
        Cause::Flaky => format!(
            "---- {test} stdout ----\nthread '{test}' panicked at crates/{name}/tests/wait.rs:88:9:\nno answer within 2s: the reservation is still `pending`\n\
failures:\n    {test}\ntest result: FAILED. 211 passed; 1 failed; 0 ignored\n==> job failed with exit code 101"
        ),
        Cause::Change | Cause::Deep => format!(
            "---- {test} stdout ----\nthread '{test}' panicked at crates/{name}/src/round.rs:231:9:\nassertion `left == right` failed: a half goes to the even neighbour\n  \
left: Money {{ cents: 1235, currency: EUR }}\n right: Money {{ cents: 1234, currency: EUR }}\nfailures:\n    {test}\n\
test result: FAILED. 211 passed; 1 failed; 0 ignored\n==> job failed with exit code 101"
        ),
    }
}

/// The log's last sixty lines, numbered.
fn log_end(rng: &mut Rng, scene: &Scene) -> String {
    let failure = failure(scene);
    let before = 60_usize.saturating_sub(failure.lines().count());
    let built = matches!(scene.cause, Cause::Build | Cause::Machine);
    let lines = (0..before).map(|_| if built { compiling(rng) } else { tested(rng) });
    let lines: Vec<String> = lines.chain(failure.lines().map(str::to_owned)).collect();
    numbered(rng.u32(900..4_000), &lines)
}

/// Forty lines around the failure.
fn log_around(rng: &mut Rng, scene: &Scene) -> String {
    let failure = failure(scene);
    let around = 40_usize.saturating_sub(failure.lines().count());
    let mut lines: Vec<String> = (0..around / 2).map(|_| tested(rng)).collect();
    lines.extend(failure.lines().map(str::to_owned));
    lines.extend((0..around / 2).map(|_| tested(rng)));
    numbered(rng.u32(400..900), &lines)
}

fn numbered(from: u32, lines: &[String]) -> String {
    let mut out = String::new();
    for (number, line) in (from..).zip(lines) {
        let _ = writeln!(out, "{number:>5}  {line}");
    }
    out
}

fn compiling(rng: &mut Rng) -> String {
    let name = one_of(rng, &CRATES);
    format!(
        "   Compiling shop-{name} v0.{}.{} (/build/crates/{name}) [{} of 214, {} ms, cache {}]",
        rng.u8(1..30),
        rng.u8(0..9),
        rng.u8(1..214),
        rng.u32(80..9_000),
        one_of(rng, &["hit", "hit", "miss"])
    )
}

fn tested(rng: &mut Rng) -> String {
    format!(
        "test {}::tests::{}_{} ... ok <{}.{:03}s>",
        one_of(rng, &CRATES),
        one_of(rng, &TESTS),
        one_of(
            rng,
            &[
                "with_tax",
                "in_euros",
                "twice",
                "at_midnight",
                "over_the_wire"
            ]
        ),
        rng.u8(0..3),
        rng.u16(0..1000)
    )
}

fn history(rng: &mut Rng, scene: &Scene) -> Value {
    let flaky = scene.cause == Cause::Flaky;
    let runs: Vec<Value> = (0..50)
        .map(|index| {
            let own = index < 2;
            let failed = own || (flaky && index % 7 == 3);
            let outcome = match (failed, own) {
                (false, _) => "ok",
                (true, true) => "failed",
                (true, false) => one_of(rng, &["flaky", "flaky", "failed"]),
            };
            let other = format!(
                "{:016x}{:016x}{:08x}",
                rng.u64(..),
                rng.u64(..),
                rng.u32(..)
            );
            json!({
                "commit": if own { scene.commit.clone() } else { other }.get(..12),
                "branch": one_of(rng, &["main", "main", "queue/4702", "feature/refunds"]),
                "runner": format!("build-amd64-{:02}", rng.u8(1..25)),
                "outcome": outcome,
                "ms": if failed && flaky { 2_000 + rng.u32(1..60) } else { rng.u32(3..400) },
            })
        })
        .collect();
    json!({"test": scene.test, "runs": runs})
}

fn changed(rng: &mut Rng, scene: &Scene) -> String {
    let name = if scene.cause == Cause::Flaky {
        "website"
    } else {
        scene.name
    };
    let mut files = vec![
        format!("crates/{name}/src/round.rs"),
        format!("crates/{name}/src/lib.rs"),
    ];
    if scene.cause == Cause::Deep {
        files.reverse();
    }
    for _ in 0..rng.u8(2..9) {
        let other = one_of(
            rng,
            &[
                "docs/pricing.md",
                "Cargo.lock",
                "web/src/basket.ts",
                "web/src/total.tsx",
                "deploy/shop.yaml",
                "CHANGELOG.md",
            ],
        );
        files.push(other.to_owned());
    }
    let mut out = String::new();
    for (index, file) in files.iter().enumerate() {
        let most = if index == 0 { 60 } else { 20 };
        let _ = writeln!(
            out,
            "{:>4} {:>4} | {file}",
            rng.u32(most / 2..most),
            rng.u32(1..20)
        );
    }
    out + "\nOne rule for halves everywhere\n\nWebsite and invoices rounded on their own, and customers saw totals that differed by a cent. Now there is one place\n\
that decides, and everybody asks it. Found by support in ticket 20417.\n"
}

fn diff(rng: &mut Rng, scene: &Scene, file: &str, shows: bool) -> String {
    let path = format!("crates/{}/src/{file}", scene.name);
    let mut out = format!("diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n");
    let hunks = rng.u32(2..4);
    for hunk in 0..hunks {
        let at = 20 + hunk * 90 + rng.u32(0..40);
        let _ = writeln!(out, "@@ -{at},23 +{at},24 @@ impl Prices {{");
        context(rng, &mut out, 10);
        if shows && hunk == 0 {
            out += "-    fn half_even(amount: Money) -> i64 {\n-        (amount.cents() + 5) / 10 * 10\n";
            out += "+    fn half_even(amount: Money, scale: Scale) -> i64 {\n+        let half = amount.cents() % scale.step() * 2 >= scale.step();\n+        amount.cents() / scale.step() + i64::from(half)\n";
        } else {
            let _ = writeln!(out, "-{}\n+{}", one_of(rng, &CODE), one_of(rng, &CODE));
            let _ = writeln!(out, "+{}", one_of(rng, &CODE));
        }
        context(rng, &mut out, 10);
    }
    out
}

fn context(rng: &mut Rng, out: &mut String, lines: usize) {
    for _ in 0..lines {
        let _ = writeln!(out, " {}", one_of(rng, &CODE));
    }
}

fn machine(rng: &mut Rng, scene: &Scene) -> Value {
    let jobs: Vec<Value> = (0..rng.u8(4..9))
        .map(|before| {
            json!({
                "job": (scene.job - u32::from(before) * 3).to_string(),
                "name": format!("test-{}", one_of(rng, &CRATES)),
                "outcome": if before < 3 { "failed" } else { "ok" },
                "minutes_before": before * 9,
                "seconds": rng.u32(90..1_500),
            })
        })
        .collect();
    json!({
        "runner": scene.runner,
        "at_failure": {"disk_used": "100%", "disk_free_mib": 0, "memory_free_mib": rng.u32(9_000..30_000), "load": rng.u8(12..40), "jobs_running": 2},
        "now": {"disk_used": "97%", "disk_free_mib": rng.u32(900..4_000), "memory_free_mib": rng.u32(9_000..30_000), "load": rng.u8(1..9), "jobs_running": 1},
        "largest": [
            {"path": "/build/cache/compiler", "gib": rng.u8(110..160)},
            {"path": "/build/target", "gib": rng.u8(40..70)},
            {"path": "/var/lib/containers", "gib": rng.u8(20..40)},
        ],
        "jobs": jobs,
        "kernel": [
            format!("[{}.{:06}] EXT4-fs warning (device nvme1n1p1): ext4_dx_add_entry: Directory index full!", rng.u32(400_000..900_000), rng.u32(0..999_999)),
            format!("[{}.{:06}] systemd-journald: Failed to write entry, ignoring: No space left on device", rng.u32(900_000..999_999), rng.u32(0..999_999)),
        ],
    })
}
