//! Events per second that one gateway takes in over HTTP, beside what a bare publisher gets from the same nats-server.

use std::{
    ffi::OsString,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use async_nats::jetstream::{
    Context,
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
};
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use flotilla_common::{names, units::Span};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{net::TcpListener, process::Command, time::timeout};

use super::{Ingest, fleet::BenchFleet};
use crate::{child::find, settings::Settings};

/// Declared, and nothing waits for it.
const SEEN: &str = "bench.seen";
/// Starts a run each, which no planner goes on with.
const STARTING: &str = "bench.go";
const STREAM: &str = "BENCH_BARE";
const SUBJECT: &str = "bench_bare.event";
/// Bytes of an event.
const EVENT_BYTES: usize = 512;
/// Threads of wrk.
const THREADS: usize = 2;
/// How long the intake may take for what came, once nothing more comes.
const DRAINED_WITHIN: Duration = Duration::from_secs(300);
/// How long a request may take: on a slow machine, batches of all connections wait for each other.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);
/// How much longer than it was told wrk may take.
const WRK_GRACE: Duration = Duration::from_secs(30);

const DEFINITIONS: &str = "workflow: bench\nversion: 1\non: {event: bench.go}\nsteps: [{id: done, end: completed}]\n\n---\nevent: bench.seen\nversion: 1\nschema: {type: object}\n";

/// Events of a batch.
const BATCH: usize = 100;

/// What wrk runs: each request has other events, whichever of its threads sends it.
const SCRIPT: &str = r#"
local threads = 0
function setup(thread)
  thread:set("own", threads)
  threads = threads + 1
end
local sent = 0
local function event()
  sent = sent + 1
  local head = string.format('{"specversion":"1.0","type":"@TYPE@","source":"wrk","id":"@ID@-%d-%d","data":{"text":"', own, sent)
  return head .. string.rep("x", @BYTES@ - #head - 3) .. '"}}'
end
function request()
  if @BATCH@ == 1 then
    return wrk.format("POST", nil, {["Content-Type"] = "application/cloudevents+json"}, event())
  end
  local events = {}
  for i = 1, @BATCH@ do events[i] = event() end
  return wrk.format("POST", nil, {["Content-Type"] = "application/cloudevents-batch+json"}, "[" .. table.concat(events, ",") .. "]")
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('\n{"events":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f,"errors":%d}\n', summary.requests * @BATCH@, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"#;

/// What one way of sending gave.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Measured {
    events: u64,
    seconds: f64,
    /// Of a request
    p50_ms: f64,
    p99_ms: f64,
    #[serde(default)]
    errors: u64,
    /// Until the intake, too, had done with all of them; what nobody reads has none.
    #[serde(skip)]
    dealt_with: Option<f64>,
}

impl Measured {
    fn per_second(&self) -> f64 {
        self.events_in(self.seconds)
    }

    fn dealt_with_per_second(&self) -> Option<f64> {
        self.dealt_with.map(|seconds| self.events_in(seconds))
    }

    fn events_in(&self, seconds: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a count of events")]
        let events = self.events as f64;
        events / seconds
    }
}

/// One way of sending over HTTP.
struct Way<'a> {
    url: &'a str,
    kind: &'static str,
    batch: usize,
    /// By the intake
    is_read: bool,
}

/// What was measured, in this order.
struct Figures {
    bare: Measured,
    server: Measured,
    seen: Measured,
    batches: Measured,
    starting: Measured,
}

/// `flotilla bench ingest`.
pub(super) async fn run(settings: &Settings, options: &Ingest) -> anyhow::Result<()> {
    let Some(wrk) = find("wrk") else {
        bail!(
            "wrk is not there, and nothing was measured: it is what sends (Debian: apt-get install wrk)"
        );
    };
    let zero = Span(Duration::ZERO);
    let fleet = BenchFleet::start(settings, "ingest", DEFINITIONS, zero).await?;
    let measured = Box::pin(measure(&fleet, options, &wrk)).await;
    fleet.stop().await;
    show(options, &measured?);
    Ok(())
}

fn show(options: &Ingest, figures: &Figures) {
    let Figures {
        bare,
        server,
        seen,
        batches,
        starting,
    } = figures;
    let of = |one: &Measured, other: &Measured| one.per_second() / other.per_second();
    if options.output.json() {
        let shown = |one: &Measured| {
            json!({"events_per_second": one.per_second(), "p50_ms": one.p50_ms, "p99_ms": one.p99_ms, "events": one.events,
            "dealt_with_per_second": one.dealt_with_per_second()})
        };
        println!(
            "{}",
            json!({"connections": options.connections, "event_bytes": EVENT_BYTES, "bare": shown(bare), "bare_server": shown(server),
                "http": shown(seen), "http_batches": shown(batches), "http_starting_runs": shown(starting), "ratio": of(seen, bare),
                "ratio_batches": of(batches, bare), "ratio_server": of(seen, server)})
        );
        return;
    }
    let line = |what: &str, one: &Measured| {
        let dealt_with = one.dealt_with_per_second();
        let dealt_with = dealt_with.map_or_else(String::new, |rate| {
            format!("   through the intake {rate:.0}/s")
        });
        println!(
            "{what:<52} {:>8.0} events/s   p50 {:>7.2} ms   p99 {:>7.2} ms{dealt_with}",
            one.per_second(),
            one.p50_ms,
            one.p99_ms
        );
    };
    println!(
        "{} connections, events of {EVENT_BYTES} bytes, each acknowledged by JetStream; times are of a request",
        options.connections
    );
    line("a bare publisher", bare);
    line("a server that only publishes the body of a request", server);
    line("POST /v1/events, nothing starts", seen);
    line(
        &format!("POST /v1/events, batches of {BATCH}, nothing starts"),
        batches,
    );
    line("POST /v1/events, each starts a run", starting);
    println!(
        "ratio to the bare publisher {:.3}, in batches {:.3}; to the bare server {:.3}",
        of(seen, bare),
        of(batches, bare),
        of(seen, server)
    );
}

async fn measure(fleet: &BenchFleet, options: &Ingest, wrk: &Path) -> anyhow::Result<Figures> {
    let url = format!("{}/v1/events", fleet.gateway_url);
    let way = |kind, batch| Way {
        url: &url,
        kind,
        batch,
        is_read: true,
    };
    let before = bare(fleet, options).await?;
    let seen = over_http(fleet, options, wrk, &way(SEEN, 1)).await?;
    let server = bare_server(fleet, options, wrk).await?;
    let batches = over_http(fleet, options, wrk, &way(SEEN, BATCH)).await?;
    let after = bare(fleet, options).await?;
    let starting = over_http(fleet, options, wrk, &way(STARTING, 1)).await?;
    // Whatever else the machine did meanwhile, it did to both.
    let bare = Measured {
        events: before.events + after.events,
        seconds: before.seconds + after.seconds,
        p50_ms: f64::midpoint(before.p50_ms, after.p50_ms),
        p99_ms: before.p99_ms.max(after.p99_ms),
        errors: 0,
        dealt_with: None,
    };
    Ok(Figures {
        bare,
        server,
        seen,
        batches,
        starting,
    })
}

async fn over_http(
    fleet: &BenchFleet,
    options: &Ingest,
    wrk: &Path,
    way: &Way<'_>,
) -> anyhow::Result<Measured> {
    let id = format!("{}-{}", way.kind, way.batch);
    let script = [
        ("@TYPE@", way.kind),
        ("@ID@", &id),
        ("@BYTES@", &EVENT_BYTES.to_string()),
        ("@BATCH@", &way.batch.to_string()),
    ];
    let script = script
        .into_iter()
        .fold(SCRIPT.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        });
    let file = fleet.workflows().with_file_name(format!("{id}.lua"));
    fs::write(&file, script).with_context(|| format!("cannot write {}", file.display()))?;
    let args: [OsString; 8] = [
        format!("-t{THREADS}").into(),
        format!("-c{}", options.connections.max(THREADS)).into(),
        format!("-d{}s", options.span.0.as_secs().max(1)).into(),
        "--latency".into(),
        format!("--timeout={}s", ANSWERED_WITHIN.as_secs()).into(),
        "-s".into(),
        file.into(),
        way.url.into(),
    ];
    let mut wrk = Command::new(wrk);
    let sending = wrk.args(args).kill_on_drop(true).output();
    let sent = timeout(options.span.0 + WRK_GRACE, sending).await;
    let sent = sent.context("wrk does not end")?.context("wrk")?;
    let text = String::from_utf8_lossy(&sent.stdout);
    let line = text.lines().find(|line| line.starts_with('{'));
    let Some(line) = line else {
        bail!(
            "wrk gives no figures: {text}{}",
            String::from_utf8_lossy(&sent.stderr)
        );
    };
    let mut measured: Measured = serde_json::from_str(line)?;
    ensure!(
        measured.errors == 0 && measured.events > 0,
        "{} requests of {} events failed: {text}",
        measured.errors,
        measured.events
    );
    let more = drained(fleet).await?;
    if way.is_read {
        measured.dealt_with = Some(measured.seconds + more.as_secs_f64());
    }
    Ok(measured)
}

/// Waits until everything that came was dealt with, so that it does not take part in what is measured next; how long that took.
async fn drained(fleet: &BenchFleet) -> anyhow::Result<Duration> {
    let jetstream = &fleet.journal.bus().jetstream;
    let begun = Instant::now();
    while begun.elapsed() < DRAINED_WITHIN {
        let stream = jetstream.get_stream(names::stream::EVENTS).await?;
        if stream.cached_info().state.messages == 0 {
            return Ok(begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("the intake does not get done with what came")
}

/// A stream as EVENTS is, which nobody reads.
async fn make_stream(jetstream: &Context) -> anyhow::Result<()> {
    let config = Config {
        name: STREAM.into(),
        subjects: vec!["bench_bare.>".into()],
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        ..Config::default()
    };
    let made = jetstream.create_stream(config).await;
    made.context("cannot make the bare publisher's stream")?;
    Ok(())
}

async fn publish(jetstream: &Context, payload: Bytes) -> anyhow::Result<()> {
    jetstream.publish(SUBJECT, payload).await?.await?;
    Ok(())
}

/// What HTTP alone costs on this machine: a server in this process that reads nothing and asks nobody, but publishes what it is sent.
async fn bare_server(fleet: &BenchFleet, options: &Ingest, wrk: &Path) -> anyhow::Result<Measured> {
    let jetstream = fleet.journal.bus().jetstream.clone();
    make_stream(&jetstream).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let take = async |State(jetstream): State<Context>, body: Bytes| match publish(&jetstream, body)
        .await
    {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let app = Router::new()
        .route("/", post(take))
        .with_state(jetstream.clone());
    let serving = tokio::spawn(axum::serve(listener, app).into_future());
    let way = Way {
        url: &url,
        kind: SEEN,
        batch: 1,
        is_read: false,
    };
    let measured = over_http(fleet, options, wrk, &way).await;
    serving.abort();
    jetstream.delete_stream(STREAM).await?;
    measured
}

/// As many messages in flight as wrk has connections, of the same size, to a stream of the same kind.
async fn bare(fleet: &BenchFleet, options: &Ingest) -> anyhow::Result<Measured> {
    let jetstream = &fleet.journal.bus().jetstream;
    make_stream(jetstream).await?;
    let payload = Bytes::from("x".repeat(EVENT_BYTES));
    let (begun, span) = (Instant::now(), options.span.0);
    let more = stream::repeat(()).take_while(|()| std::future::ready(begun.elapsed() < span));
    let took: Vec<Duration> = more
        .map(|()| {
            let payload = payload.clone();
            async move {
                let sent = Instant::now();
                publish(jetstream, payload).await?;
                anyhow::Ok(sent.elapsed())
            }
        })
        .buffer_unordered(options.connections)
        .try_collect()
        .await?;
    let seconds = begun.elapsed().as_secs_f64();
    jetstream.delete_stream(STREAM).await?;
    let mut took: Vec<f64> = took.iter().map(|took| took.as_secs_f64() * 1e3).collect();
    took.sort_by(f64::total_cmp);
    let at = |percent: usize| took.get(took.len().saturating_sub(1) * percent / 100);
    Ok(Measured {
        events: took.len() as u64,
        seconds,
        p50_ms: at(50).copied().unwrap_or_default(),
        p99_ms: at(99).copied().unwrap_or_default(),
        errors: 0,
        dealt_with: None,
    })
}
