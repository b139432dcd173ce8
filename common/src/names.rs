//! Every name that two processes must agree on is built here and nowhere else: subjects, streams, consumers, keys.

pub mod bucket;
pub mod object;
pub mod signal;

/// How the reason begins for which a message is ended that is a dead letter of ours already.
pub const BURIED: &str = "flotilla: dead letter";

/// JetStream streams.
pub mod stream {
    /// Every fact of every run; also the queue of planners and executors.
    pub const RUNS: &str = "RUNS";
    /// What users publish.
    pub const EVENTS: &str = "EVENTS";
    /// What could not be handled, with its reason.
    pub const DEAD: &str = "DEAD";
    /// When workflows with a cron expression fall due next, and that they have.
    pub const CRON: &str = "CRON";
    /// What JetStream says that it has given up on.
    pub const ADVISORIES: &str = "ADVISORIES";
}

/// Durable consumers.
pub mod consumer {
    use crate::ids::Name;

    /// Shared by all gateways: turns events into runs.
    pub const INTAKE: &str = "intake";
    /// Shared by all gateways: starts the workflows that have fallen due.
    pub const CRON: &str = "cron";
    /// Shared by all planners.
    pub const PLANNER: &str = "planner";
    /// Of stream DEAD, shared by all gateways: tells runs of their dead letters.
    pub const DEAD: &str = "dead";
    /// Shared by all gateways: makes dead letters of what JetStream gave up on.
    pub const ADVISORIES: &str = "advisories";
    /// Shared by all executors: dead letters of theirs that are to be handled again.
    pub const REDRIVE: &str = "redrive";

    /// The role whose messages a consumer of RUNS, EVENTS or CRON hands out; `None`: it is not one of ours.
    #[must_use]
    pub fn role(consumer: &str) -> Option<&'static str> {
        match consumer {
            INTAKE | CRON => Some("gateway"),
            PLANNER => Some("planner"),
            REDRIVE => Some("executor"),
            other => other.starts_with("tool-").then_some("executor"),
        }
    }

    /// Shared by all executors that run `tool`.
    #[must_use]
    pub fn tool(tool: &Name) -> String {
        format!("tool-{tool}")
    }
}

/// Subjects.
pub mod subject {
    use crate::{
        entry::Kind,
        ids::{EventType, Name, RunId},
    };

    /// First parts of subjects that no tool may ask: the fleet's own and the clients' inboxes.
    const RESERVED: [&str; 5] = ["runs", "events", "dead", "cron", "_INBOX"];

    /// Whether what begins so is the fleet's or the server's (`$…`) own.
    #[must_use]
    pub fn is_reserved(first: &str) -> bool {
        first.starts_with('$') || RESERVED.contains(&first)
    }

    /// How a run began.
    #[must_use]
    pub fn started(run: &RunId) -> String {
        format!("runs.{run}.{}.*", Kind::Started)
    }

    /// How a run ended.
    #[must_use]
    pub fn end(run: &RunId) -> String {
        format!("runs.{run}.{}.end", Kind::Decided)
    }

    /// All of stream RUNS.
    pub const ALL_RUNS: &str = "runs.>";
    /// All of stream EVENTS.
    pub const ALL_EVENTS: &str = "events.>";
    /// All of stream DEAD.
    pub const ALL_DEAD: &str = "dead.>";
    /// All of stream CRON.
    pub const ALL_CRON: &str = "cron.>";
    /// All of stream ADVISORIES: what was handed out too often, or ended without having been handled, of the streams that Flotilla
    /// works from. What is handed back for a while is no news.
    pub const ALL_ADVISORIES: [&str; 6] = [
        "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.RUNS.*",
        "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.EVENTS.*",
        "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.CRON.*",
        "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.RUNS.*",
        "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.EVENTS.*",
        "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.CRON.*",
    ];
    /// Of stream CRON, what is still to come.
    pub const ALL_CRON_TIMERS: &str = "cron.timer.*";
    /// Of stream CRON, what has fallen due.
    pub const ALL_CRON_DUE: &str = "cron.due.*";

    /// An entry: `runs.<run>.<kind>.<name>`.
    #[must_use]
    pub fn entry(run: &RunId, kind: Kind, name: &Name) -> String {
        format!("runs.{run}.{kind}.{name}")
    }

    /// Everything of one run.
    #[must_use]
    pub fn run(run: &RunId) -> String {
        format!("runs.{run}.>")
    }

    /// What planners wrote of one run: its chain.
    #[must_use]
    pub fn chain(run: &RunId) -> String {
        format!("runs.{run}.decided.>")
    }

    /// Entries of one kind, of every run.
    #[must_use]
    pub fn every(kind: Kind) -> String {
        format!("runs.*.{kind}.>")
    }

    /// Decisions for one tool, of every run.
    #[must_use]
    pub fn decided(tool: &Name) -> String {
        format!("runs.*.decided.{tool}")
    }

    /// The message schedule that fires `name`: it does not become an entry itself.
    #[must_use]
    pub fn timer(run: &RunId, name: &Name) -> String {
        format!("runs.{run}.timer.{name}")
    }

    /// Where events of a type are published.
    #[must_use]
    pub fn event(kind: &EventType) -> String {
        format!("events.{kind}")
    }

    /// The type of what was published on an `events.…` subject.
    #[must_use]
    pub fn event_type(subject: &str) -> Option<EventType> {
        subject.strip_prefix("events.")?.parse().ok()
    }

    /// The one message schedule of a workflow with a cron expression; it fires to [`cron_due`].
    #[must_use]
    pub fn cron_timer(workflow: &Name) -> String {
        format!("cron.timer.{workflow}")
    }

    /// The workflow of a [`cron_timer`] subject.
    #[must_use]
    pub fn cron_timer_workflow(subject: &str) -> Option<Name> {
        subject.strip_prefix("cron.timer.")?.parse().ok()
    }

    /// That a workflow has fallen due.
    #[must_use]
    pub fn cron_due(workflow: &Name) -> String {
        format!("cron.due.{workflow}")
    }

    /// A dead letter: the role that gave up, and the subject of what it gave up on.
    #[must_use]
    pub fn dead(role: &str, subject: &str) -> String {
        format!("dead.{role}.{subject}")
    }

    /// The role that gave up on a dead letter.
    #[must_use]
    pub fn dead_role(subject: &str) -> Option<&str> {
        subject.strip_prefix("dead.")?.split('.').next()
    }

    /// The dead letters of one run, whoever gave up.
    #[must_use]
    pub fn dead_of(run: &RunId) -> String {
        format!("dead.*.runs.{run}.>")
    }

    /// What is known of a message that JetStream gave up on and that is not there any more.
    #[must_use]
    pub fn lost(stream: &str, seq: u64) -> String {
        format!("lost.{stream}.{seq}")
    }

    /// Signals of one name, of every run.
    #[must_use]
    pub fn signals(name: &str) -> String {
        format!("runs.*.signalled.{name}")
    }
}

/// The events that Flotilla makes itself.
pub mod event {
    use crate::ids::Name;

    /// The type of what starts a workflow with a cron expression. No such event is taken from outside.
    pub const CRON: &str = "flotilla.cron";

    /// The source of those events.
    #[must_use]
    pub fn cron_source(workflow: &Name) -> String {
        format!("flotilla:cron/{workflow}")
    }
}

/// Message headers of our own.
pub mod header {
    /// On a dead letter: why.
    pub const REASON: &str = "Flotilla-Reason";
    /// On a dead letter: the subject it came from.
    pub const SUBJECT: &str = "Flotilla-Subject";
    /// On a dead letter that was too large to be kept whole: how large it was, and its digest.
    pub const CUT: &str = "Flotilla-Cut";
    /// On a dead letter: its sequence in the stream it came from.
    pub const SEQUENCE: &str = "Flotilla-Sequence";
    /// On a dead letter: what is wrong with it.
    pub const KIND: &str = "Flotilla-Kind";
    /// On a dead letter: how often it was handed out.
    pub const DELIVERIES: &str = "Flotilla-Deliveries";
    /// On a dead letter: its own message id in the stream it came from.
    pub const MESSAGE_ID: &str = "Flotilla-Message-Id";
    /// On an event that a gateway took in: which runs it promised (JSON). Any publisher on `events.>` could write it, and so start
    /// any workflow without its condition: NATS permissions must say who may publish there.
    pub const PROMISE: &str = "Flotilla-Promise";
    /// On a tool's request: the key that tells a repetition from a new one. HTTP has the same.
    pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
    /// On a tool's request: for which run.
    pub const RUN: &str = "Flotilla-Run";
    /// On a tool's request: for which of the run's steps.
    pub const STEP: &str = "Flotilla-Step";
    /// On a tool's request: the tool, as `name@version`.
    pub const TOOL: &str = "Flotilla-Tool";
    /// On a tool's request: W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
    /// On a service's reply: it failed, and how, as a name.
    pub const ERROR: &str = "Flotilla-Error";
    /// On a service's reply that it failed: `true` where the same request may go well later, `false` where it never will.
    pub const RETRYABLE: &str = "Flotilla-Retryable";
    /// On a reply that a service failed, as the frameworks for NATS services say it: for people.
    pub const SERVICE_ERROR: &str = "Nats-Service-Error";
    /// The same: a number, as HTTP's statuses.
    pub const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";
}

/// Redis keys. The run's id (or the limit's scope) in braces keeps all keys of one run (or scope) in one slot of a cluster.
pub mod key {
    use crate::{
        ids::{Name, RunId, Slot, StepKey},
        limit::{Flow, Scope},
        run::Status,
    };

    /// Hash {token, state}: the folded run, and what a save must bring. Lives 7 days after its last change; rebuilt from the journal.
    #[must_use]
    pub fn state(run: &RunId) -> String {
        format!("flotilla:{{{run}}}:state")
    }

    /// Hash: who may call Claude for this attempt (0 the first, 1 the repair) of a step, or the saved reply. Where batches
    /// answer: also what is held for an item to be sent (`held`), the item that was (`item`, `intent`), and the batch that has it.
    #[must_use]
    pub fn call(run: &RunId, step: &StepKey, attempt: usize) -> String {
        format!("flotilla:{{{run}}}:claim:call:{}:{attempt}", step.token())
    }

    /// Sorted set of ids of batches by when (ms) every one of their items had that id in its call's claim. Lives 8 days after its last
    /// change, its members 7 days: as long as a claim.
    pub const BATCHES_SAVED: &str = "flotilla:{batches}:saved";
    /// The `run_id` of the Redis process and since when (ms) it remembers every item that was sent: neither a flush nor a restart
    /// (which may lose the last second's writes) leaves it valid. No TTL.
    pub const BATCHES_MEMORY: &str = "flotilla:{batches}:memory";

    /// Hash: who may run this effect, or its result.
    #[must_use]
    pub fn effect(run: &RunId, slot: &Slot) -> String {
        format!(
            "flotilla:{{{run}}}:claim:effect:{}:{}",
            slot.step.token(),
            slot.branch
        )
    }

    /// Hash {process, token, since}: the memory that effects' claims are made under, and the journal's last sequence from before it.
    /// Claims are made with it in one script, so all of them must be on one Redis. No TTL.
    pub const EFFECTS_MEMORY: &str = "flotilla:{effects}:memory";

    /// Sorted set of run ids by start (milliseconds since 1970): the index that lists are read from.
    pub const RUNS: &str = "flotilla:{index}:runs";
    /// Hash run id -> summary (JSON).
    pub const SUMMARIES: &str = "flotilla:{index}:summaries";

    /// Sorted set of run ids by start (milliseconds since 1970): those that stand so, of the statuses in which runs rest. No TTL.
    #[must_use]
    pub fn resting(status: Status) -> String {
        format!("flotilla:{{index}}:{status}")
    }

    /// The `run_id` of the Redis process for which the index was built from the journal: neither a flush nor a restart (which may
    /// lose the last second's writes) leaves it valid. No TTL.
    pub const INDEX_READY: &str = "flotilla:{index}:built";

    /// What one try of a call may cost (nano-dollars), held under its ceilings, or `settled`. `id` is the call's claim, its fence
    /// and the try. Lives 7 days, and 2 once it is settled.
    #[must_use]
    pub fn hold(id: &str) -> String {
        format!("flotilla:{{money}}:hold:{id}")
    }

    /// Hash {spent, held}, in nano-dollars: of a run. Lives 7 days after its last change; the journal knows what is spent.
    #[must_use]
    pub fn spent_by_run(run: &RunId) -> String {
        format!("flotilla:{{money}}:run:{run}")
    }

    /// Hash {spent, held}, in nano-dollars: of a step of a run. Lives as [`spent_by_run`].
    #[must_use]
    pub fn spent_by_step(run: &RunId, step: &Name) -> String {
        format!("flotilla:{{money}}:step:{run}:{step}")
    }

    /// Hash {spent, held, base}, in nano-dollars: of a workflow in one day (UTC); `base` is what was spent when the day began to be
    /// summed up from the journal. Lives 3 days.
    #[must_use]
    pub fn spent_by_workflow(workflow: &str, day: &str) -> String {
        format!("flotilla:{{money}}:workflow:{workflow}:{day}")
    }

    /// Hash {spent, held, base}, in nano-dollars: of a tenant in one day (UTC). Lives as [`spent_by_workflow`].
    #[must_use]
    pub fn spent_by_tenant(tenant: &str, day: &str) -> String {
        format!("flotilla:{{money}}:tenant:{tenant}:{day}")
    }

    /// Sorted set of hold keys by when they lapse (ms since 1970): what is held of a counter. Lives as the counter.
    #[must_use]
    pub fn holds(counter: &str) -> String {
        format!("{counter}:holds")
    }

    /// Set of the counters of one day (UTC). Lives 3 days.
    #[must_use]
    pub fn spent_counters(day: &str) -> String {
        format!("flotilla:{{money}}:day:{day}")
    }

    /// `<run_id of the Redis process> <day>`: the day that was summed up from the journal last, since this Redis started. No TTL.
    pub const SPENT_READY: &str = "flotilla:{money}:ready";

    /// The `run_id` of the Redis process for which somebody began to sum up the day's costs.
    #[must_use]
    pub fn spent_build(token: &str) -> String {
        format!("flotilla:{{money}}:build:{token}")
    }

    /// The `run_id` of the Redis process for which a gateway began to build the index. Lives a day.
    #[must_use]
    pub fn index_build(token: &str) -> String {
        format!("flotilla:{{index}}:build:{token}")
    }

    /// Hash: a scope's limits, levels and cap. Written and read by whoever calls under it. Lives a day after its last use: then the
    /// limits may be others.
    #[must_use]
    pub fn limit(scope: &Scope) -> String {
        of_limit(scope, "bucket")
    }

    /// Sorted set of worker -> last asked (ms): the processes that share a scope. Lives an hour after its last change.
    #[must_use]
    pub fn limit_fleet(scope: &Scope) -> String {
        of_limit(scope, "fleet")
    }

    /// Sorted set of tenant -> last asked (ms). Lives an hour after its last change.
    #[must_use]
    pub fn limit_tenants(scope: &Scope) -> String {
        of_limit(scope, "tenants")
    }

    /// Sorted set of tenant/workflow -> last asked (ms). Lives an hour after its last change.
    #[must_use]
    pub fn limit_flows(scope: &Scope) -> String {
        of_limit(scope, "flows")
    }

    /// Hash {time}: how far ahead of its share a tenant is. Lives an hour after its last change: nobody is that far ahead.
    #[must_use]
    pub fn limit_tenant(scope: &Scope, tenant: &Name) -> String {
        of_limit(scope, &format!("tenant:{tenant}"))
    }

    /// Sorted set of workflow -> last asked (ms), of one tenant. Lives an hour after its last change.
    #[must_use]
    pub fn limit_tenant_flows(scope: &Scope, tenant: &Name) -> String {
        of_limit(scope, &format!("tenant:{tenant}:flows"))
    }

    /// Hash {time, input, output}: how far ahead of its share a flow is, and what was learned of its calls. Lives a day after its
    /// last change, so that a daily workflow need not be learned anew.
    #[must_use]
    pub fn limit_flow(scope: &Scope, flow: &Flow) -> String {
        of_limit(scope, &format!("flow:{flow}"))
    }

    fn of_limit(scope: &Scope, part: &str) -> String {
        format!("flotilla:{{limit:{scope}}}:{part}")
    }
}

#[cfg(test)]
mod tests;
