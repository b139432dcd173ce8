//! Several planner processes against a Claude that enforces rate limits: how much of the allowance they use, how often they are
//! told 429, and what one tenant's load does to another's.

use std::time::Duration;

use anyhow::Context as _;
use flotilla_common::units::Span;
use serde_json::{Value, json};

use super::{Limits, fleet::BenchFleet, traffic::Tenant};
use crate::settings::Settings;

pub(super) const DEFINITION: &str = "workflow: bench\nversion: 1\non: {event: bench.go}\nmodel: haiku\nsteps:\n\
- {id: only, claude: {max_tokens: 300, prompt: 'Is {{ event.data.n }} a number?', output: {type: object, properties: {ok: {type: boolean}}, required: [ok]}}}\n";
const PLANNERS: [&str; 8] = [
    "planner-1",
    "planner-2",
    "planner-3",
    "planner-4",
    "planner-5",
    "planner-6",
    "planner-7",
    "planner-8",
];

/// `flotilla bench limits`.
pub(super) async fn run(settings: &Settings, options: &Limits) -> anyhow::Result<()> {
    let latency = Span(Duration::from_millis(400));
    let mut fleet = BenchFleet::start(settings, "limits", DEFINITION, latency).await?;
    fleet.output = options.output;
    let control = json!({
        "limits": [{"requests": options.per_minute, "input_tokens": options.per_minute * 2_000, "output_tokens": options.per_minute * 500, "output": "reserve"}],
        "latency_ms": {"p50": 300, "p95": 900},
    });
    fleet.control(&control).await?;
    let planners = PLANNERS
        .get(..options.planners)
        .context("at most 8 planners")?;
    for name in planners {
        fleet.role("planner", name).await?;
    }
    let second = options.per_minute / 60;
    let span = options.span.0;

    // More than fits, until the ramp-up is over; then measured.
    let heavy = Tenant::new(&fleet, "heavy").await?;
    let light = Tenant::new(&fleet, "light").await?;
    heavy.sends(second * 3 / 2, Duration::from_secs(25)).await?;
    let before = fleet.ledger("summary").await?;
    heavy.sends(second * 3 / 2, span).await?;
    let after = fleet.ledger("summary").await?;
    let use_of = used(&before, &after, options.per_minute)?;
    heavy.ends().await?;

    light.sends(second / 5, span).await?;
    let alone = light.ends().await?;
    tokio::try_join!(heavy.sends(second * 2, span), light.sends(second / 5, span),)?;
    let beside = light.ends().await?;
    let heavy_waits = heavy.ends().await?;
    let totals = fleet.ledger("summary").await?;
    drop((heavy, light));
    fleet.stop().await;

    let told = json!({
        "planners": options.planners,
        "requests_per_minute": options.per_minute,
        "calls": totals["calls"],
        "share_429": totals["share_429"],
        "use": use_of,
        "p95_alone_seconds": alone,
        "p95_beside_seconds": beside,
        "p95_heavy_seconds": heavy_waits,
        "ratio": beside / alone,
    });
    if options.output.json() {
        println!("{told}");
        return Ok(());
    }
    println!(
        "{} planner processes, {} requests a minute enforced, {} calls",
        options.planners, options.per_minute, told["calls"]
    );
    println!(
        "share of calls answered 429: {:.3} %",
        100.0 * told["share_429"].as_f64().unwrap_or(0.0)
    );
    println!(
        "use of the allowance under more load than fits: {:.1} %",
        100.0 * use_of
    );
    println!(
        "a tenant that wants a fifth of the allowance: p95 {alone:.2} s alone, {beside:.2} s beside one with ten times its load (whose p95 is {heavy_waits:.2} s)"
    );
    println!(
        "ratio {:.3} (1 = the other tenant is not noticed)",
        beside / alone
    );
    Ok(())
}

/// The share of the allowance that was used between two looks at the ledger.
fn used(before: &Value, after: &Value, per_minute: u64) -> anyhow::Result<f64> {
    let look = |summary: &Value| {
        let requests = summary["limits"].as_object()?.values().next()?;
        Some((
            requests["requests"]["granted"].as_f64()?,
            requests["elapsed_ms"].as_f64()?,
        ))
    };
    let (first, from) = look(before).context("the simulated Claude tells no limits")?;
    let (last, to) = look(after).context("the simulated Claude tells no limits")?;
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let allowed = (to - from) / 60_000.0 * per_minute as f64;
    Ok((last - first) / allowed)
}
