//! Every metric: its name, what is counted or measured, in what, by which labels. `docs/metrics.md` is held against this.
//!
//! No label is an id, or a text that somebody outside chooses. What is the fleet's own and not a process's (backlog, queues, workers,
//! runs, ceilings) is told by every gateway: take the largest.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from 0 at the process's start.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Measured values, counted in buckets.
    Histogram,
}

impl Kind {
    /// As Prometheus writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What is known of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// As it is exposed.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What its value counts, or is in.
    pub unit: &'static str,
    help: &'static str,
}

impl Metric {
    /// What it is, in words.
    #[must_use]
    pub fn help(&self) -> &'static str {
        self.help.trim()
    }

    fn describe(&self) {
        let unit = Unit::from_string(self.unit).unwrap_or(Unit::Count);
        match self.kind {
            Kind::Counter => describe_counter!(self.name, unit, self.help()),
            Kind::Gauge => describe_gauge!(self.name, unit, self.help()),
            Kind::Histogram => describe_histogram!(self.name, unit, self.help()),
        }
    }
}

/// Tells the recorder of all of them. A rate over a counter misses its first increment, unless it was 0 before: those without labels
/// begin here, the others where their labels are known.
pub(super) fn begin() {
    for metric in ALL {
        metric.describe();
        match metric.kind {
            Kind::Counter if metric.labels.is_empty() => counter!(metric.name).increment(0),
            Kind::Gauge if metric.labels.is_empty() => gauge!(metric.name).set(0.0),
            Kind::Counter | Kind::Gauge | Kind::Histogram => {}
        }
    }
}

/// A constant for each name, and all of them in [`ALL`]; the comment is the help text, too.
macro_rules! metrics {
    ($(
        $(#[doc = $help:literal])+
        $constant:ident: $kind:ident $name:literal {$($label:ident),*} in $unit:literal;
    )+) => {
        $(
            $(#[doc = $help])+
            pub const $constant: &str = $name;
        )+

        /// All metrics.
        pub const ALL: &[Metric] = &[$(
            Metric {
                name: $name,
                kind: Kind::$kind,
                labels: &[$(stringify!($label)),*],
                unit: $unit,
                help: concat!($($help),+),
            },
        )+];
    };
}

metrics! {
    /// Events taken in, ignored, refused, there already, or not taken for now.
    EVENTS: Counter "flotilla_events_ingested_total" {source, outcome} in "events";
    /// What is used of a limit, where there is one (events_bytes, events_messages, runs_bytes, storage, pending). Above 0.9 of any,
    /// gateways take no events.
    BACKLOG: Gauge "flotilla_backlog_used_ratio" {kind} in "0 to 1";
    /// What all streams take on the disk of NATS, as a gateway saw it last.
    STORED: Gauge "flotilla_nats_stored_bytes" {} in "bytes";
    /// Due times of a workflow's cron expression that were handled.
    CRON_FIRED: Counter "flotilla_cron_fired_total" {workflow} in "due times";
    /// When a workflow with a cron expression falls due next, as far as a gateway knows; 0: not at all. The largest of all gateways
    /// is right.
    CRON_NEXT: Gauge "flotilla_cron_next_due_timestamp_seconds" {workflow} in "seconds since 1970";
    /// The version that new runs get, those of a candidate left aside, as far as this process knows; 0: none.
    ACTIVE_VERSION: Gauge "flotilla_workflow_active_version" {workflow} in "version";
    /// The part of new runs that gets a candidate; 0: there is none.
    CANDIDATE_PERCENT: Gauge "flotilla_workflow_candidate_percent" {workflow} in "percent";
    /// Tools and steps that are switched off, as far as this process knows (tool, step).
    SWITCHED_OFF: Gauge "flotilla_switched_off" {kind} in "switches";
    /// Definitions that this process cannot use: a newer flotilla has applied them.
    DEFINITIONS_UNREADABLE: Counter "flotilla_definitions_unreadable_total" {} in "definitions";

    /// Runs begun.
    RUNS_STARTED: Counter "flotilla_runs_started_total" {workflow} in "runs";
    /// Runs ended.
    RUNS_FINISHED: Counter "flotilla_runs_finished_total" {workflow, outcome} in "runs";
    /// Runs that began to wait, by what keeps them (ceiling, unavailable, blocked, batch).
    RUNS_PARKED: Counter "flotilla_runs_parked_total" {workflow, by} in "runs";
    /// Runs that have not ended (running, waiting, parked, paused), as a gateway saw it last.
    RUNS_ACTIVE: Gauge "flotilla_runs_active" {status} in "runs";
    /// Parked runs that somebody should look at, by what keeps them (ceiling, unavailable, blocked), as a gateway saw it last: of the
    /// newest 500 that are parked. Those that wait for a batch are not among them.
    RUNS_STUCK: Gauge "flotilla_runs_stuck" {by} in "runs";
    /// From a run's start to its end.
    RUN_DURATION: Histogram "flotilla_run_duration_seconds" {workflow, outcome} in "seconds";
    /// From the moment that an event was on disk to the end of a run that it started, all waiting included.
    RUN_END_TO_END: Histogram "flotilla_run_end_to_end_seconds" {workflow, outcome} in "seconds";
    /// From the moment that an event was on disk to the first decision of a run that it started.
    FIRST_DECISION: Histogram "flotilla_run_first_decision_seconds" {workflow} in "seconds";

    /// Decisions appended to the journal.
    DECISIONS: Counter "flotilla_decisions_total" {workflow, kind} in "decisions";
    /// Model replies that were not taken.
    DECISIONS_REJECTED: Counter "flotilla_decision_rejected_total" {reason} in "replies";
    /// Decisions that Claude was asked for, by whether its first reply was taken as it was (as_given), a later one (repaired), or
    /// none (given_up).
    ADHERENCE: Counter "flotilla_plan_adherence_total" {workflow, outcome} in "decisions";

    /// Claude calls (ok, rate_limited, overloaded, error, timeout, connection, malformed, parked, refused).
    CLAUDE_CALLS: Counter "flotilla_llm_calls_total" {model, outcome} in "calls";
    /// One Claude call that was answered.
    CLAUDE_DURATION: Histogram "flotilla_llm_call_duration_seconds" {model} in "seconds";
    /// Tokens (input, output, cache_read, cache_write).
    CLAUDE_TOKENS: Counter "flotilla_llm_tokens_total" {model, kind} in "tokens";
    /// Tokens of replies that were not taken, of all kinds together.
    CLAUDE_TOKENS_WASTED: Counter "flotilla_llm_tokens_wasted_total" {model} in "tokens";
    /// Spent on Claude.
    CLAUDE_COST: Counter "flotilla_llm_cost_nanousd_total" {workflow, model} in "nano-dollars";
    /// Spent on Claude for nothing: replies that were not taken (rejected), and what lost calls may have cost at most (lost).
    CLAUDE_COST_WASTED: Counter "flotilla_llm_cost_wasted_nanousd_total" {workflow, reason} in "nano-dollars";
    /// Claude calls that may have been paid and came to nothing: lost with their planner or on the way.
    CLAUDE_WASTED: Counter "flotilla_llm_calls_wasted_total" {} in "calls";
    /// Batches created, or tried to (ok, and as calls).
    BATCHES: Counter "flotilla_llm_batches_total" {outcome} in "batches";
    /// Items of batches (sent, succeeded, errored, canceled, expired, gone, unreadable, left).
    BATCH_ITEMS: Counter "flotilla_llm_batch_items_total" {model, outcome} in "items";
    /// From the creation of an item's batch to its end.
    BATCH_WAIT: Histogram "flotilla_llm_batch_wait_seconds" {model} in "seconds";
    /// A model's breaker in this process: 0 closed, 0.5 half-open, 1 open.
    CLAUDE_BREAKER: Gauge "flotilla_llm_breaker" {model} in "0, 0.5, 1";
    /// Claude calls in flight in this process.
    CLAUDE_IN_FLIGHT: Gauge "flotilla_llm_calls_in_flight" {model} in "calls";
    /// What is left at this moment of a limit of Claude (requests, input, output), as a gateway saw it last; below 0: in debt.
    LIMIT_REMAINING: Gauge "flotilla_llm_ratelimit_remaining" {model, kind} in "requests or tokens";
    /// What a workflow may spend on Claude today (UTC), as a gateway saw it last; 0: nothing, or there is no ceiling any more.
    BUDGET_LIMIT: Gauge "flotilla_budget_limit_nanousd" {workflow} in "nano-dollars";
    /// What is left of that.
    BUDGET_REMAINING: Gauge "flotilla_budget_remaining_nanousd" {workflow} in "nano-dollars";

    /// Actions run (ok, failed, unknown).
    ACTIONS: Counter "flotilla_steps_total" {tool, outcome} in "actions";
    /// One run of a tool.
    ACTION_DURATION: Histogram "flotilla_step_duration_seconds" {tool} in "seconds";
    /// Waiting for the tool's rate limit or bulkhead.
    ACTION_QUEUE_WAIT: Histogram "flotilla_step_queue_wait_seconds" {tool} in "seconds";
    /// Tries of a tool that are followed by another (timeout, status, exit, …).
    ACTION_RETRIES: Counter "flotilla_step_retries_total" {tool, reason} in "tries";
    /// Actions that were put off (retry, breaker).
    ACTIONS_PUT_OFF: Counter "flotilla_steps_put_off_total" {tool, reason} in "actions";
    /// Runs of a tool in work, or waiting for its rate, in this process.
    BULKHEAD_IN_USE: Gauge "flotilla_bulkhead_in_use" {tool} in "runs of the tool";
    /// Runs of a tool at once that this process lets through.
    BULKHEAD_LIMIT: Gauge "flotilla_bulkhead_limit" {tool} in "runs of the tool";
    /// The breaker of a tool in this process, of the version that stands worst: 0 closed, 0.5 half-open, 1 open.
    TOOL_BREAKER: Gauge "flotilla_tool_breaker_state" {tool} in "0, 0.5, 1";
    /// Changes of a tool's breakers in this process, by what they became (closed, half_open, open).
    TOOL_BREAKER_CHANGES: Counter "flotilla_tool_breaker_transitions_total" {tool, outcome} in "changes";
    /// Runs whose blobs were removed.
    BLOBS_REMOVED: Counter "flotilla_blobs_removed_total" {} in "runs";

    /// Messages settled (done, retried, dead).
    MESSAGES: Counter "flotilla_messages_total" {consumer, outcome} in "messages";
    /// Messages in work in this process.
    IN_WORK: Gauge "flotilla_messages_in_work" {consumer} in "messages";
    /// Messages that a durable consumer has not handed out, as a gateway saw it last.
    CONSUMER_PENDING: Gauge "flotilla_consumer_pending" {consumer} in "messages";
    /// Messages that it has handed out and nobody has settled.
    CONSUMER_ACK_PENDING: Gauge "flotilla_consumer_ack_pending" {consumer} in "messages";
    /// How long the oldest of what it has not handed out has been there; 0: nothing waits.
    CONSUMER_OLDEST: Gauge "flotilla_consumer_oldest_seconds" {consumer} in "seconds";
    /// Workers that are there, as a gateway hears them.
    WORKERS: Gauge "flotilla_workers" {role} in "workers";
    /// Dead letters that nobody has settled, as a gateway saw them last.
    DEAD_LETTERS: Gauge "flotilla_dead_letters" {role, kind} in "dead letters";
    /// Dead letters that came.
    DEAD_LETTERS_CAME: Counter "flotilla_dead_letters_total" {role, kind} in "dead letters";
    /// Dead letters that people settled (redriven, dropped, refused).
    DEAD_LETTERS_SETTLED: Counter "flotilla_dead_letters_settled_total" {outcome} in "dead letters";
    /// Work that was taken up again after somebody died or gave up: messages that somebody had been given before (message), claims
    /// of who was lost (claim), replies and results that were saved already, and are not paid or done again (saved).
    RECOVERIES: Counter "flotilla_recoveries_total" {role, kind} in "recoveries";
    /// Run states folded from the journal again (missing, stale, redelivered, conflict).
    REBUILDS: Counter "flotilla_state_rebuilds_total" {reason} in "states";
    /// Claims found held by somebody else.
    CLAIMS_HELD: Counter "flotilla_claims_held_total" {role} in "claims";

    /// Waiting for a fleet-wide limit (granted, stopping, deadline). `model` is the family, or `tool:<name>`.
    LIMIT_WAIT: Histogram "flotilla_limit_wait_seconds" {model, outcome} in "seconds";
    /// Answers to who asked a fleet-wide limit (granted or later; why).
    LIMIT_ANSWERS: Counter "flotilla_limit_answers_total" {model, outcome, reason} in "answers";
    /// 1 while this process cannot reach the fleet's limits and goes by its part of what it last knew.
    LIMITER_DEGRADED: Gauge "flotilla_limiter_degraded" {} in "0 or 1";
    /// A limit per minute as the provider's headers told it (requests, input, output).
    LIMIT_LEARNED: Gauge "flotilla_limit_learned_per_minute" {model, kind} in "requests or tokens a minute";
    /// The cap on the fleet's calls a second while it ramps up or recovers; 0: none.
    LIMIT_CAP: Gauge "flotilla_limit_cap_per_second" {model} in "calls a second";

    /// Who watches runs live by this gateway (run, list).
    WATCHERS: Gauge "flotilla_watchers" {kind} in "watchers";
    /// Watchers that were too slow, and were told to look again (run, list).
    WATCHERS_LAGGED: Counter "flotilla_watchers_lagged_total" {kind} in "watchers";
    /// Requests that a gateway answered.
    REQUESTS: Counter "flotilla_http_requests_total" {route, method, status} in "requests";
    /// Until a request's answer began.
    REQUEST_DURATION: Histogram "flotilla_http_request_duration_seconds" {route} in "seconds";
    /// Changes that are not in the audit, because it could not be written.
    AUDIT_LOST: Counter "flotilla_audit_lost_total" {} in "changes";
    /// Spans of traces (exported, failed: the collector did not take them, dropped: the queue was full).
    TRACE_SPANS: Counter "flotilla_trace_spans_total" {outcome} in "spans";
    /// Always 1; the version is a label.
    BUILD_INFO: Gauge "flotilla_build_info" {version} in "1";
}
