//! What Claude costs: a recorded set of runs, once with one model for every step and no caching, once as defined. Both bills come
//! from the simulated Claude's own ledger. Nothing of it depends on how fast the machine is: the same seed gives the same bills.

mod alerts;
mod bill;
mod builds;
mod definitions;
mod recording;
mod replay;
mod side;

use std::collections::BTreeMap;

use anyhow::ensure;
use flotilla_common::claude::Models;
use serde_json::{Value, json};

use super::Cost;
use crate::{figures::number, settings::Settings};
use bill::{Bill, Sum};
use replay::Replay;
use side::{Done, Set, Side};

/// `flotilla bench cost`.
pub(super) async fn run(settings: &Settings, options: &Cost) -> anyhow::Result<()> {
    ensure!(options.runs > 0, "--runs must be at least 1");
    // The simulated Claude has one price list, so a table of one's own would not fit its ledger.
    let models = Models::built_in()?;
    let recordings = recording::recordings(options.seed, options.runs);
    // One for both sides: where it is stands in what tools say of their failures.
    let replay = Replay::start(&settings.data().join("bench").join("cost-replay")).await?;
    let set = Set {
        recordings: &recordings,
        replay: &replay,
        models: &models,
        apart: options.apart,
    };
    let naive = Box::pin(side::play(settings, Side::Naive, set)).await?;
    let ours = Box::pin(side::play(settings, Side::Ours, set)).await?;
    ensure_same(&naive, &ours)?;
    let told = told(options, &naive, &ours);
    if options.output.json() {
        println!("{told}");
    } else {
        print(&naive, &ours, &told);
    }
    Ok(())
}

/// Whether both sides did the same, to the word.
///
/// # Errors
/// They did not: then their bills must not be compared.
fn ensure_same(naive: &Done, ours: &Done) -> anyhow::Result<()> {
    ensure!(
        naive.runs.len() == ours.runs.len(),
        "{} runs on the naive side, {} on ours",
        naive.runs.len(),
        ours.runs.len()
    );
    for (number, (one, other)) in naive.runs.iter().zip(&ours.runs).enumerate() {
        ensure!(
            one == other,
            "run {number} went another way on each side:\n{one:?}\n{other:?}"
        );
    }
    let calls = |bill: &Bill| -> BTreeMap<String, u64> {
        let steps = bill.by_step.iter();
        steps.map(|(step, sum)| (step.clone(), sum.calls)).collect()
    };
    let (one, other) = (calls(&naive.bill), calls(&ours.bill));
    ensure!(
        one == other,
        "not the same calls on both sides: {one:?}, {other:?}"
    );
    let cached = naive.bill.all.cache_write.tokens + naive.bill.all.cache_read.tokens;
    ensure!(cached == 0, "the naive side cached {cached} tokens");
    Ok(())
}

fn told(options: &Cost, naive: &Done, ours: &Done) -> Value {
    let mut runs: BTreeMap<&str, usize> = BTreeMap::new();
    for run in &naive.runs {
        *runs.entry(&run.workflow).or_default() += 1;
    }
    let workflows: BTreeMap<&str, Value> = runs
        .iter()
        .map(|(name, runs)| {
            let ratio = share(ours.bill.of_workflow(name), naive.bill.of_workflow(name));
            (*name, json!({"runs": runs, "ratio": ratio}))
        })
        .collect();
    let all = naive.bill.all.usd_nano;
    json!({
        "runs": options.runs,
        "seed": options.seed,
        "apart": options.apart,
        "calls": ours.bill.all.calls,
        "naive": naive.bill,
        "ours": ours.bill,
        "workflows": workflows,
        "output_share": share(ours.bill.all.output.usd_nano, all),
        "ratio": share(ours.bill.all.usd_nano, all),
    })
}

fn print(naive: &Done, ours: &Done, told: &Value) {
    println!(
        "{} runs, {} Claude calls on each side; every run decided the same on both",
        told["runs"], told["calls"]
    );
    println!(
        "\n{:<28} {:>6} {:>11} {:>11} {:>11} {:>9} {:>9}",
        "", "calls", "input", "cache write", "cache read", "output", "USD"
    );
    for (title, bill) in [
        ("naive: sonnet, no caching", &naive.bill),
        ("as defined", &ours.bill),
    ] {
        row(title, &bill.all);
        for (model, sum) in &bill.by_model {
            row(&format!("  {model}"), sum);
        }
        money("  in USD", &bill.all);
    }
    println!(
        "\n{:<28} {:>9} {:>9} {:>6}",
        "USD by step", "naive", "ours", "ratio"
    );
    for (step, sum) in &naive.bill.by_step {
        let own = ours.bill.by_step.get(step).map_or(0, |sum| sum.usd_nano);
        println!(
            "{step:<28} {:>9.4} {:>9.4} {:>6.3}",
            usd(sum.usd_nano),
            usd(own),
            share(own, sum.usd_nano)
        );
    }
    if let Some(workflows) = told["workflows"].as_object() {
        for (name, of) in workflows {
            let ratio = of["ratio"].as_f64().unwrap_or(0.0);
            println!("{name}: {} runs, ratio {ratio:.3}", of["runs"]);
        }
    }
    let part = |name: &str| told[name].as_f64().unwrap_or(0.0);
    println!(
        "ratio {:.3}; output alone is {:.3} of the naive bill, and no cache makes it less",
        part("ratio"),
        part("output_share")
    );
}

fn row(title: &str, sum: &Sum) {
    let [input, write, read, output] = sum.parts().map(|part| number(part.tokens));
    println!(
        "{title:<28} {:>6} {input:>11} {write:>11} {read:>11} {output:>9} {:>9.4}",
        sum.calls,
        usd(sum.usd_nano)
    );
}

fn money(title: &str, sum: &Sum) {
    let [input, write, read, output] = sum.parts().map(|part| usd(part.usd_nano));
    println!(
        "{title:<28} {:>6} {input:>11.4} {write:>11.4} {read:>11.4} {output:>9.4}",
        ""
    );
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn usd(nano: u64) -> f64 {
    nano as f64 / 1e9
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a ratio of amounts far below 2^53"
)]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
