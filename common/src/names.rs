//! Every name that two processes must agree on is built here and nowhere else: subjects, streams, consumers, keys.

pub mod bucket;
pub mod fleet;
pub mod key;
pub mod object;
pub mod signal;
pub mod subject;
pub mod usage;

/// How the reason begins for which a message is ended that is a dead letter of ours already.
pub const BURIED: &str = "flotilla: dead letter";

/// The webhook that is there without a definition: `/v1/hooks/alertmanager`.
pub const ALERTMANAGER_HOOK: &str = "alertmanager";

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
    /// Who changed what, and who was turned away.
    pub const AUDIT: &str = "AUDIT";
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
    /// On a dead letter that was an event: how it was written, where its payload alone does not say.
    pub const FORM: &str = "Flotilla-Form";
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
    /// W3C trace context: on a tool's request that of the action; on what the fleet publishes, that of the span in which it did.
    pub const TRACEPARENT: &str = "traceparent";
    /// On a run's `started`: the trace context of who sent its event.
    pub const SENDER: &str = "Flotilla-Sender-Traceparent";
    /// On a service's reply: it failed, and how, as a name.
    pub const ERROR: &str = "Flotilla-Error";
    /// On a service's reply that it failed: `true` where the same request may go well later, `false` where it never will.
    pub const RETRYABLE: &str = "Flotilla-Retryable";
    /// On a reply that a service failed, as the frameworks for NATS services say it: for people.
    pub const SERVICE_ERROR: &str = "Nats-Service-Error";
    /// The same: a number, as HTTP's statuses.
    pub const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";
}

#[cfg(test)]
mod tests;
