//! Logs and metrics: the names and units of every metric are here.

use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// Metric names. Labels: `workflow`, `tool`, `model`, `outcome`, `reason`, `consumer`, `role`, `kind`; never an id.
pub mod metric {
    /// Counter {source, outcome}: events taken in, refused or duplicate.
    pub const EVENTS: &str = "flotilla_events_ingested_total";
    /// Counter {workflow}: due times of a workflow's cron expression that were handled.
    pub const CRON_FIRED: &str = "flotilla_cron_fired_total";
    /// Gauge {workflow}, seconds since 1970: when a workflow with a cron expression falls due next, as far as this gateway knows. The
    /// largest of all gateways is right.
    pub const CRON_NEXT: &str = "flotilla_cron_next_due_timestamp_seconds";
    /// Gauge {workflow}: the version that new runs get, those of a candidate left aside, as far as this process knows; 0: none.
    pub const ACTIVE_VERSION: &str = "flotilla_workflow_active_version";
    /// Gauge {workflow}, percent: the part of new runs that gets a candidate; 0: there is none.
    pub const CANDIDATE_PERCENT: &str = "flotilla_workflow_candidate_percent";
    /// Gauge {kind}: tools and steps that are switched off, as far as this process knows (tool, step).
    pub const SWITCHED_OFF: &str = "flotilla_switched_off";
    /// Counter {}: definitions that this process cannot use: a newer flotilla has applied them.
    pub const DEFINITIONS_UNREADABLE: &str = "flotilla_definitions_unreadable_total";
    /// Counter {workflow}: runs begun.
    pub const RUNS_STARTED: &str = "flotilla_runs_started_total";
    /// Counter {workflow, outcome}: runs ended.
    pub const RUNS_FINISHED: &str = "flotilla_runs_finished_total";
    /// Counter {workflow, by}: runs that began to wait, by what keeps them (ceiling, unavailable, blocked, batch).
    pub const RUNS_PARKED: &str = "flotilla_runs_parked_total";
    /// Histogram {workflow, outcome}, seconds: from started to end.
    pub const RUN_DURATION: &str = "flotilla_run_duration_seconds";
    /// Counter {workflow, kind}: decisions appended.
    pub const DECISIONS: &str = "flotilla_decisions_total";
    /// Counter {reason}: model replies that were not taken.
    pub const DECISIONS_REJECTED: &str = "flotilla_decision_rejected_total";
    /// Counter {model, outcome}: Claude calls (ok, error, timeout, rate_limited, overloaded, …).
    pub const CLAUDE_CALLS: &str = "flotilla_llm_calls_total";
    /// Histogram {model}, seconds: one Claude call that was answered.
    pub const CLAUDE_DURATION: &str = "flotilla_llm_call_duration_seconds";
    /// Counter {model, kind}: tokens (input, output, cache_read, cache_write).
    pub const CLAUDE_TOKENS: &str = "flotilla_llm_tokens_total";
    /// Counter {workflow, model}: nano-dollars spent on Claude.
    pub const CLAUDE_COST: &str = "flotilla_llm_cost_nanousd_total";
    /// Counter {}: Claude calls that may have been paid and came to nothing: lost with their planner or on the way.
    pub const CLAUDE_WASTED: &str = "flotilla_llm_calls_wasted_total";
    /// Counter {outcome}: batches created, or tried to (ok, and as calls).
    pub const BATCHES: &str = "flotilla_llm_batches_total";
    /// Counter {model, outcome}: items of batches (sent, succeeded, errored, canceled, expired, gone, unreadable, left).
    pub const BATCH_ITEMS: &str = "flotilla_llm_batch_items_total";
    /// Histogram {model}, seconds: from the creation of an item's batch to its end.
    pub const BATCH_WAIT: &str = "flotilla_llm_batch_wait_seconds";
    /// Gauge {model}: a model's breaker in this process: 0 closed, 0.5 half-open, 1 open.
    pub const CLAUDE_BREAKER: &str = "flotilla_llm_breaker";
    /// Gauge {model}: Claude calls in flight in this process.
    pub const CLAUDE_IN_FLIGHT: &str = "flotilla_llm_calls_in_flight";
    /// Counter {tool, outcome}: actions run (ok, failed, unknown).
    pub const ACTIONS: &str = "flotilla_steps_total";
    /// Histogram {tool}, seconds: one run of a tool.
    pub const ACTION_DURATION: &str = "flotilla_step_duration_seconds";
    /// Histogram {tool}, seconds: waiting for the tool's rate limit or bulkhead.
    pub const ACTION_QUEUE_WAIT: &str = "flotilla_step_queue_wait_seconds";
    /// Counter {tool, reason}: tries of a tool that are followed by another (timeout, status, exit, …).
    pub const ACTION_RETRIES: &str = "flotilla_step_retries_total";
    /// Counter {tool, reason}: actions that were put off (retry, breaker).
    pub const ACTIONS_PUT_OFF: &str = "flotilla_steps_put_off_total";
    /// Gauge {tool}: the breaker of a tool in this process, of the version that stands worst: 0 closed, 0.5 half-open, 1 open.
    pub const TOOL_BREAKER: &str = "flotilla_tool_breaker_state";
    /// Counter {tool, outcome}: changes of a tool's breakers in this process, by what they became (closed, half_open, open).
    pub const TOOL_BREAKER_CHANGES: &str = "flotilla_tool_breaker_transitions_total";
    /// Counter: runs whose blobs were removed.
    pub const BLOBS_REMOVED: &str = "flotilla_blobs_removed_total";
    /// Counter {consumer, outcome}: messages settled (done, retried, dead).
    pub const MESSAGES: &str = "flotilla_messages_total";
    /// Gauge {consumer}: messages in work in this process.
    pub const IN_WORK: &str = "flotilla_messages_in_work";
    /// Gauge {role, kind}: dead letters on DEAD, as a gateway saw them last.
    pub const DEAD_LETTERS: &str = "flotilla_dead_letters";
    /// Counter {role, kind}: dead letters that came to DEAD.
    pub const DEAD_LETTERS_CAME: &str = "flotilla_dead_letters_total";
    /// Counter {outcome}: dead letters that people settled (redriven, dropped, refused).
    pub const DEAD_LETTERS_SETTLED: &str = "flotilla_dead_letters_settled_total";
    /// Counter {reason}: run states folded from the journal again (missing, stale, redelivered, conflict).
    pub const REBUILDS: &str = "flotilla_state_rebuilds_total";
    /// Counter {role}: claims found held by somebody else.
    pub const CLAIMS_HELD: &str = "flotilla_claims_held_total";
    /// Histogram {model, outcome}, seconds: waiting for a fleet-wide limit (granted, stopping, deadline). `model` is the family, or
    /// `tool:<name>`.
    pub const LIMIT_WAIT: &str = "flotilla_limit_wait_seconds";
    /// Counter {model, outcome, reason}: answers to who asked a fleet-wide limit (granted or later; why).
    pub const LIMIT_ANSWERS: &str = "flotilla_limit_answers_total";
    /// Gauge {}: 1 while this process cannot reach the fleet's limits and goes by its part of what it last knew.
    pub const LIMITER_DEGRADED: &str = "flotilla_limiter_degraded";
    /// Gauge {model, kind}: a limit per minute as the provider's headers told it (requests, input, output).
    pub const LIMIT_LEARNED: &str = "flotilla_limit_learned_per_minute";
    /// Gauge {model}: the cap on the fleet's calls a second while it ramps up or recovers; 0: none.
    pub const LIMIT_CAP: &str = "flotilla_limit_cap_per_second";
    /// Gauge {version}: always 1.
    pub const BUILD_INFO: &str = "flotilla_build_info";
}

/// Buckets of every `_seconds` histogram, in seconds.
const SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// Buckets of [`metric::BATCH_WAIT`], in seconds: up to a day.
const LONG_SECONDS: [f64; 10] = [
    1.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0,
];

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG` is wrong.
    #[error("RUST_LOG is not a filter: {0}")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// The metrics recorder.
    #[error("metrics cannot be set up: {0}")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
    /// Set up twice in one process.
    #[error("logging is set up already")]
    Logging,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text {
        /// With colours.
        colour: bool,
    },
    /// One JSON object a line.
    Json,
}

/// What a filter begins with. `rmcp` logs what MCP servers send as it is, what should be redacted included; whoever wants that for a
/// search asks for it in `RUST_LOG`.
const QUIET: &str = "rmcp=off";

/// Sets up logs on standard error. `filter` is `RUST_LOG`, with `default` when it is not set.
///
/// # Errors
/// [`TelemetryError`].
pub fn init_logs(
    filter: Option<&str>,
    default: &str,
    format: LogFormat,
) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder()
        .parse(format!("{QUIET},{}", filter.unwrap_or(default)))
        .map_err(TelemetryError::Filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text { colour } => builder.with_ansi(colour).with_target(false).try_init(),
    };
    set.map_err(|_| TelemetryError::Logging)
}

/// Sets up metrics for this process; the handle renders them as Prometheus text.
///
/// # Errors
/// [`TelemetryError`].
pub fn init_metrics(version: &str) -> Result<PrometheusHandle, TelemetryError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(|builder| {
            let wait = Matcher::Full(metric::BATCH_WAIT.into());
            builder.set_buckets_for_metric(wait, &LONG_SECONDS)
        })
        .map_err(TelemetryError::Metrics)?
        .install_recorder()
        .map_err(TelemetryError::Metrics)?;
    describe();
    metrics::gauge!(metric::BUILD_INFO, "version" => version.to_owned()).set(1.0);
    Ok(handle)
}

/// Keeps histograms small; call it every few seconds.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

fn describe() {
    use metric as m;
    describe_counter!(m::EVENTS, "Events taken in, refused, or there already");
    describe_counter!(m::CRON_FIRED, "Due times of cron expressions handled");
    describe_gauge!(
        m::CRON_NEXT,
        Unit::Seconds,
        "When a workflow with a cron expression falls due next, since 1970"
    );
    describe_gauge!(m::ACTIVE_VERSION, "The version that new runs get");
    describe_gauge!(
        m::CANDIDATE_PERCENT,
        "The part of new runs that gets a candidate"
    );
    describe_gauge!(m::SWITCHED_OFF, "What is switched off, by kind");
    describe_counter!(
        m::DEFINITIONS_UNREADABLE,
        "Definitions that this process cannot use"
    );
    describe_gauge!(m::DEAD_LETTERS, "Dead letters that nobody has settled");
    describe_counter!(m::DEAD_LETTERS_CAME, "Dead letters that came");
    describe_counter!(
        m::DEAD_LETTERS_SETTLED,
        "Dead letters that people redrove or dropped"
    );
    describe_counter!(m::RUNS_STARTED, "Runs begun");
    describe_counter!(m::RUNS_FINISHED, "Runs ended, by outcome");
    describe_counter!(
        m::RUNS_PARKED,
        "Runs that began to wait, by what keeps them"
    );
    describe_histogram!(
        m::RUN_DURATION,
        Unit::Seconds,
        "From a run's start to its end"
    );
    describe_counter!(m::DECISIONS, "Decisions appended to the journal");
    describe_counter!(m::DECISIONS_REJECTED, "Model replies that were not taken");
    describe_counter!(m::CLAUDE_CALLS, "Claude calls, by outcome");
    describe_histogram!(
        m::CLAUDE_DURATION,
        Unit::Seconds,
        "One Claude call that was answered"
    );
    describe_counter!(m::CLAUDE_TOKENS, "Tokens, by kind");
    describe_counter!(
        m::CLAUDE_COST,
        "Spent on Claude, in nano-dollars (1e-9 USD)"
    );
    describe_counter!(
        m::CLAUDE_WASTED,
        "Claude calls lost with their planner before the reply was saved"
    );
    describe_counter!(m::BATCHES, "Batches created, or tried to, by outcome");
    describe_counter!(m::BATCH_ITEMS, "Items of batches, by outcome");
    describe_histogram!(
        m::BATCH_WAIT,
        Unit::Seconds,
        "From the creation of an item's batch to its end"
    );
    describe_gauge!(
        m::CLAUDE_BREAKER,
        "Breakers: 0 closed, 0.5 half-open, 1 open"
    );
    describe_gauge!(
        m::CLAUDE_IN_FLIGHT,
        "Claude calls in flight in this process"
    );
    describe_counter!(m::ACTIONS, "Actions run, by outcome");
    describe_histogram!(m::ACTION_DURATION, Unit::Seconds, "One run of a tool");
    describe_histogram!(
        m::ACTION_QUEUE_WAIT,
        Unit::Seconds,
        "Waiting for a tool's rate limit or bulkhead"
    );
    describe_counter!(
        m::ACTION_RETRIES,
        "Tries of a tool that are followed by another"
    );
    describe_counter!(m::ACTIONS_PUT_OFF, "Actions put off, by reason");
    describe_gauge!(
        m::TOOL_BREAKER,
        "Breakers of tools: 0 closed, 0.5 half-open, 1 open"
    );
    describe_counter!(
        m::TOOL_BREAKER_CHANGES,
        "Changes of tools' breakers, by what they became"
    );
    describe_counter!(m::BLOBS_REMOVED, "Runs whose blobs were removed");
    describe_counter!(m::MESSAGES, "Messages settled, by outcome");
    describe_gauge!(m::IN_WORK, "Messages in work in this process");
    describe_counter!(
        m::REBUILDS,
        "Run states folded from the journal again, by reason"
    );
    describe_counter!(m::CLAIMS_HELD, "Claims found held by somebody else");
    describe_histogram!(
        m::LIMIT_WAIT,
        Unit::Seconds,
        "Waiting for a fleet-wide limit"
    );
    describe_counter!(
        m::LIMIT_ANSWERS,
        "Answers to who asked a fleet-wide limit, by reason"
    );
    describe_gauge!(
        m::LIMITER_DEGRADED,
        "1 while this process goes by its part of the limits alone"
    );
    describe_gauge!(
        m::LIMIT_LEARNED,
        "Limits per minute as the provider told them"
    );
    describe_gauge!(
        m::LIMIT_CAP,
        "Cap on the fleet's calls a second while it ramps up or recovers; 0: none"
    );
    describe_gauge!(m::BUILD_INFO, "Always 1; the version is a label");
}
