//! Twenty tools, three of which are in trouble: what the other seventeen keep of their throughput.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use async_nats::Subscriber;
use axum::{
    Json, Router,
    http::StatusCode,
    routing::{any, post},
};
use flotilla_common::{event::Event, ids::EventType, units::Span};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    Tools,
    fleet::{BenchFleet, EVENT},
};
use crate::settings::Settings;

/// Tools that are well.
const WELL: usize = 17;
/// One never answers, one always fails, one may be used ten times a second.
const ILL: [&str; 3] = ["hanging", "failing", "limited"];
/// How long a tool that is well takes. With [`SLOTS`] it is this that bounds what is measured, not the machine.
const TAKES: Duration = Duration::from_millis(200);
/// Calls of a tool at once.
const SLOTS: u32 = 2;
/// How long no answer is waited for: longer than anybody waits for one.
const NEVER: Duration = Duration::from_secs(3_600);
/// Longest pause between two results before the bench gives up.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Events being published at once.
const PUBLISHING: usize = 64;

/// `flotilla bench tools`.
pub(super) async fn run(settings: &Settings, options: &Tools) -> anyhow::Result<()> {
    let (sink, serving) = serve().await?;
    let mut fleet =
        BenchFleet::start(settings, "tools", &definitions(&sink), Span(Duration::ZERO)).await?;
    fleet.role("planner", "planner").await?;
    fleet.role("executor", "executor").await?;
    fleet.warm_up().await?;
    let well: Vec<String> = (0..WELL).map(well).collect();
    let ill = ILL.map(str::to_owned);
    let alone = measured(&fleet, options.runs, "alone", &well, &[]).await?;
    let beside = measured(&fleet, options.runs, "beside", &well, &ill).await?;
    let breakers = breakers(&fleet).await?;
    fleet.stop().await;
    serving.abort();
    let ratio = beside / alone;
    if options.output.json() {
        println!(
            "{}",
            json!({"tools": WELL, "runs": options.runs, "alone_per_second": alone, "beside_per_second": beside, "ratio": ratio, "breakers": breakers})
        );
        return Ok(());
    }
    println!(
        "{WELL} tools, {} runs of each: {alone:.1} steps/s",
        options.runs
    );
    println!(
        "the same beside one that hangs, one that fails and one of 10 calls a second: {beside:.1} steps/s"
    );
    for ill in ILL {
        println!("  {ill}: its breaker is {}", breakers[ill]);
    }
    println!("ratio {ratio:.3}");
    Ok(())
}

fn well(number: usize) -> String {
    format!("well-{number:02}")
}

/// What the tools ask.
async fn serve() -> anyhow::Result<(String, tokio::task::JoinHandle<std::io::Result<()>>)> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let work = || async {
        tokio::time::sleep(TAKES).await;
        Json(json!({"done": true}))
    };
    let routes = Router::new()
        .route("/{tool}", post(work))
        .route("/limited", any(|| async { Json(json!({"done": true})) }))
        .route(
            "/failing",
            any(|| async { StatusCode::SERVICE_UNAVAILABLE }),
        )
        .route("/hanging", any(|| tokio::time::sleep(NEVER)));
    Ok((
        url,
        tokio::spawn(axum::serve(listener, routes).into_future()),
    ))
}

/// A workflow of one step for every tool.
fn definitions(sink: &str) -> String {
    let workflow = |name: &str, event: &str, tool: &str| {
        format!(
            "workflow: {name}\nversion: 1\non: {{event: {event}}}\nsteps:\n- {{id: act, tool: {tool}}}\n"
        )
    };
    let tool = |name: &str, more: &str| {
        format!(
            "- {{tool: {name}, version: 1, description: Works., input: {{type: object}}, effect: idempotent, {more}, http: {{method: POST, url: '{sink}/{name}'}}}}\n"
        )
    };
    let mut tools = "tools:\n".to_owned();
    let mut documents = vec![workflow("bench", EVENT, &well(0))];
    for name in (0..WELL).map(well) {
        tools += &tool(&name, &format!("concurrency: {SLOTS}"));
        documents.push(workflow(&name, &format!("bench.{name}"), &name));
    }
    for (name, more) in ILL.into_iter().zip([
        "timeout: 2s",
        "timeout: 2s",
        "rate: {limit: 10/s, per: fleet}",
    ]) {
        tools += &tool(name, more);
        documents.push(workflow(name, &format!("bench.{name}"), name));
    }
    documents.push(tools);
    documents.join("\n---\n")
}

/// Starts so many runs of every tool at once; gives how many steps a second those that are well have done.
async fn measured(
    fleet: &BenchFleet,
    runs: usize,
    source: &str,
    well: &[String],
    ill: &[String],
) -> anyhow::Result<f64> {
    let client = &fleet.journal.bus().client;
    let mut results = client.subscribe("runs.*.resulted.*").await?;
    client.flush().await?;
    let begun = Instant::now();
    let all: Vec<&String> = ill.iter().chain(well).collect();
    let count = runs * well.len();
    let (published, heard) = tokio::join!(
        publish(fleet, runs, source, &all),
        hear(&mut results, count)
    );
    published?;
    heard?;
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// Round and round, so that no tool's load comes before another's.
async fn publish(
    fleet: &BenchFleet,
    runs: usize,
    source: &str,
    tools: &[&String],
) -> anyhow::Result<()> {
    let each = (0..runs).flat_map(|index| tools.iter().map(move |tool| (index, *tool)));
    futures_util::stream::iter(each)
        .map(Ok)
        .try_for_each_concurrent(PUBLISHING, |(index, tool)| async move {
            let kind: EventType = format!("bench.{tool}").parse()?;
            let id = format!("{tool}/{index}");
            let event = Event::new(kind, source.into(), id, json!({"n": index}));
            fleet.journal.publish_event(&event, None).await?;
            anyhow::Ok(())
        })
        .await
}

/// Waits until the tools that are well have given so many results.
async fn hear(results: &mut Subscriber, count: usize) -> anyhow::Result<()> {
    let mut heard = 0;
    let mut last = Instant::now();
    while heard < count {
        let left = SILENCE_MAX.saturating_sub(last.elapsed());
        match timeout(left, results.next()).await {
            Ok(Some(result)) => {
                let tool = result.subject.rsplit('.').next();
                if tool.is_some_and(|tool| tool.starts_with("well-")) {
                    heard += 1;
                    last = Instant::now();
                }
            }
            Ok(None) => bail!("the connection to NATS closed"),
            Err(_) => bail!("{heard} of {count} results, then none for {SILENCE_MAX:?}"),
        }
    }
    Ok(())
}

/// Where the breakers of the tools in trouble stand.
async fn breakers(fleet: &BenchFleet) -> anyhow::Result<Value> {
    let url = format!("{}/v1/tools", fleet.gateway_url);
    let told: Value = reqwest::get(url).await?.error_for_status()?.json().await?;
    let tools = told["tools"].as_array().context("a list of tools")?;
    let of = |name: &str| {
        let tool = tools.iter().find(|tool| tool["name"] == name);
        tool.map_or(Value::Null, |tool| tool["breaker"].clone())
    };
    Ok(ILL.into_iter().map(|name| (name, of(name))).collect())
}
