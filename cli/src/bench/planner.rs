//! One planner process with many Claude calls in flight: its memory, and whether it keeps them all going.

use std::time::Instant;

use serde_json::json;

use super::{Planner, fleet::BenchFleet, usage::Usage};
use crate::settings::Settings;

const DEFINITION: &str = "workflow: bench\nversion: 1\non: {event: bench.go}\nmodel: haiku\nsteps:\n\
- {id: only, claude: {prompt: 'Is {{ event.data.n }} a number?', output: {type: object, properties: {ok: {type: boolean}}, required: [ok]}}}\n";

/// `flotilla bench planner`.
pub(super) async fn run(settings: &Settings, options: &Planner) -> anyhow::Result<()> {
    let mut fleet = BenchFleet::start(settings, "planner", DEFINITION, options.latency).await?;
    fleet.output = options.output;
    fleet.slots(options.calls);
    let pid = fleet.role("planner", "planner").await?;
    fleet.warm_up().await?;
    let idle = Usage::of(pid)?;
    let mut highest = idle;
    let begun = Instant::now();
    fleet
        .load(options.calls, || {
            if let Ok(now) = Usage::of(pid) {
                highest.resident = highest.resident.max(now.resident);
                highest.cpu_ticks = now.cpu_ticks;
            }
        })
        .await?;
    let took = begun.elapsed().as_secs_f64();
    let ledger = fleet.ledger("summary").await?;
    fleet.stop().await;
    #[expect(clippy::cast_precision_loss, reason = "counts of calls and bytes")]
    let (mib, per_call, per_second, cpu) = (
        highest.resident_mib(),
        highest.resident.saturating_sub(idle.resident) as f64 / options.calls as f64 / 1024.0,
        options.calls as f64 / took,
        highest.cpu_seconds_since(idle),
    );
    let in_flight = ledger["max_in_flight"].as_u64().unwrap_or(0);
    let latency = options.latency.0.as_secs_f64();
    let ideal = latency / took;
    if options.output.json() {
        println!(
            "{}",
            json!({"calls": options.calls, "latency_seconds": latency, "seconds": took, "calls_per_second": per_second,
            "max_in_flight": in_flight, "resident_mib": mib, "kib_per_call": per_call, "cpu_seconds": cpu, "ratio": ideal})
        );
        return Ok(());
    }
    println!(
        "{} Claude calls of {latency} s, all at once, in one planner process",
        options.calls
    );
    println!("in flight at once, as the simulated Claude saw it: {in_flight}");
    println!("took {took:.2} s, {per_second:.0} calls/s, {cpu:.1} s of CPU");
    println!("planner memory at its highest: {mib:.0} MiB resident, {per_call:.1} KiB a call");
    println!("ratio {ideal:.3} (1 = no time lost besides the calls themselves)");
    Ok(())
}
