//! Steps per second, end to end.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use axum::{Json, Router, routing::post};
use flotilla_common::units::Span;
use serde_json::json;

use super::{Steps, bare, fleet::BenchFleet};
use crate::settings::Settings;

const STEPS: usize = 4;

fn definitions(sink: &str) -> String {
    let schema = "{type: object, properties: {ok: {type: boolean}}, required: [ok]}";
    format!(
        "workflow: bench\nversion: 1\non: {{event: bench.go}}\nmodel: haiku\nsteps:\n\
         - {{id: first, claude: {{prompt: 'Is {{{{ event.data.n }}}} a number?', output: {schema}}}}}\n\
         - {{id: act, tool: note, with: {{n: '{{{{ event.data.n }}}}'}}}}\n\
         - {{id: second, claude: {{prompt: 'And now?', output: {schema}}}}}\n\
         - {{id: again, tool: note, with: {{n: '{{{{ event.data.n }}}}'}}}}\n\
         \n---\n\
         tools:\n- tool: note\n  version: 1\n  description: Takes a note.\n  input: {{type: object, properties: {{n: {{type: integer}}}}}}\n  \
         effect: idempotent\n  concurrency: 256\n  http: {{method: POST, url: '{sink}/note', body: {{n: '{{{{ input.n }}}}'}}}}\n"
    )
}

/// `flotilla bench steps`.
pub(super) async fn run(settings: &Settings, options: &Steps) -> anyhow::Result<()> {
    let effects = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let sink = format!("http://{}", listener.local_addr()?);
    let counted = Arc::clone(&effects);
    let note = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Json(json!({"noted": true})) }
    };
    let serving =
        tokio::spawn(axum::serve(listener, Router::new().route("/note", post(note))).into_future());
    let mut fleet =
        BenchFleet::start(settings, "steps", &definitions(&sink), Span(Duration::ZERO)).await?;
    fleet.output = options.output;
    for _ in 0..options.planners {
        fleet.role("planner", "planner").await?;
    }
    for _ in 0..options.executors {
        fleet.role("executor", "executor").await?;
    }
    fleet.warm_up().await?;
    let bare =
        bare::steps_per_second(&fleet.journal, &fleet.redis_url, options.runs * STEPS).await?;
    let begun = Instant::now();
    fleet.load(options.runs, || {}).await?;
    let took = begun.elapsed();
    fleet.stop().await;
    serving.abort();
    let done = effects.load(Ordering::Relaxed);
    // The warm-up's are among them.
    let due = (options.runs + 1) * 2;
    ensure!(done == due, "{done} effects for {due} tool steps");
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    let (per_second, runs_per_second) = {
        let seconds = took.as_secs_f64();
        (
            (options.runs * STEPS) as f64 / seconds,
            options.runs as f64 / seconds,
        )
    };
    let ratio = per_second / bare;
    if options.output.json() {
        println!(
            "{}",
            json!({"runs": options.runs, "seconds": took.as_secs_f64(), "steps_per_second": per_second,
            "runs_per_second": runs_per_second, "bare_steps_per_second": bare, "ratio": ratio})
        );
        return Ok(());
    }
    println!(
        "{} runs of {STEPS} steps in {:.2} s: {per_second:.0} steps/s, {runs_per_second:.0} runs/s",
        options.runs,
        took.as_secs_f64()
    );
    println!("the bare loop (two publishes, two acks, two Redis writes a step): {bare:.0} steps/s");
    println!("ratio {ratio:.3}");
    Ok(())
}
