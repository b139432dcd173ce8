//! A steady load, and a storm of 529s in the middle of it: what the fleet asks of Claude, second by second.

use std::time::Duration;

use anyhow::Context as _;
use flotilla_common::units::Span;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Storm, fleet::BenchFleet, limits::DEFINITION, traffic::Tenant};
use crate::settings::Settings;

/// Before the storm, and after it.
const CALM: Duration = Duration::from_secs(10);
const BAR_MAX: u64 = 60;

/// `flotilla bench storm`.
pub(super) async fn run(settings: &Settings, options: &Storm) -> anyhow::Result<()> {
    let latency = Span(Duration::from_millis(200));
    let mut fleet = BenchFleet::start(settings, "storm", DEFINITION, latency).await?;
    fleet.output = options.output;
    for name in ["planner-1", "planner-2"] {
        fleet.role("planner", name).await?;
    }
    let tenant = Tenant::new(&fleet, "steady").await?;
    let storm = options.span.0;
    let weather = async {
        sleep(CALM).await;
        fleet.control(&json!({"faults": [{"status": 529}]})).await?;
        sleep(storm).await;
        fleet.control(&json!({"faults": null})).await
    };
    tokio::try_join!(tenant.sends(options.per_second, CALM * 4 + storm), weather)?;
    let longest = tenant.ends().await?;
    let rate = fleet.ledger("rate?bucket_ms=1000").await?;
    let totals = fleet.ledger("summary").await?;
    drop(tenant);
    fleet.stop().await;
    let seconds = rate.as_array().context("the ledger's rate is a list")?;
    let calls = |second: &Value| second["calls"].as_u64().unwrap_or(0);
    let refused = |second: &Value| second["by_status"]["529"].as_u64().unwrap_or(0);
    let first = seconds.first().and_then(|second| second["at_ms"].as_i64());
    let asked: u64 = seconds.iter().map(refused).sum();
    if options.output.json() {
        println!(
            "{}",
            json!({"seconds": seconds, "refused": asked, "p95_seconds": longest, "summary": totals})
        );
        return Ok(());
    }
    println!(
        "{} runs a second; every call is answered 529 from second {} on, for {} s",
        options.per_second,
        CALM.as_secs(),
        storm.as_secs()
    );
    println!("second  calls  of them 529");
    for second in seconds {
        let at = second["at_ms"]
            .as_i64()
            .zip(first)
            .map_or(0, |(at, first)| (at - first) / 1_000);
        let bar = "#".repeat(usize::try_from(calls(second).min(BAR_MAX))?);
        println!("{at:>6} {:>6} {:>6}  {bar}", calls(second), refused(second));
    }
    println!("{asked} calls were refused; every run ended, 95 of 100 within {longest:.1} s");
    Ok(())
}
