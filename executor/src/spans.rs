//! What actions look like in traces: see docs/telemetry.md. No parameter and no output is in them.

use flotilla_common::{
    definition::Adapter,
    entry::{Resulted, ToolOutcome},
    io::{
        telemetry::{
            attribute::{self as named, operation},
            span::{self, Span, SpanKind},
        },
        worker::Incoming,
    },
    names::{consumer, stream},
};

use crate::{
    action::Action,
    adapter::{Call, Output},
    handle::Stop,
};

/// One delivery of an action.
pub(crate) fn act(action: &Action, incoming: &Incoming) -> Span {
    let mut span = Span::of_action(&action.run, &action.slot, || {
        format!("{} {}", operation::TOOL, action.tool)
    });
    span.note(|notes| {
        notes.set(named::GEN_AI_OPERATION, operation::TOOL);
        notes.set(named::GEN_AI_TOOL, action.tool.to_string());
        let call = action.slot.idempotency_key(&action.run);
        notes.set(named::GEN_AI_TOOL_CALL, call);
        notes.set(named::GEN_AI_CONVERSATION, action.run.to_string());
        notes.set(named::TOOL_VERSION, i64::from(action.version));
        notes.set(named::STEP, action.slot.to_string());
        let consumer = consumer::tool(&action.tool);
        notes.message(stream::RUNS, consumer, incoming.seq, incoming.delivered);
        if let Some(publisher) = incoming.trace {
            notes.link(publisher, "publisher");
        }
    });
    span
}

/// The delivery is over. Where the action has no result yet, its own span comes from whoever gets one.
pub(crate) fn acted(mut span: Span, action: &Action, incoming: &Incoming, done: &Result<(), Stop>) {
    if let Err(Stop::Retry { .. }) = done {
        span.note(|notes| notes.failed("put_off"));
        return span.end_as_attempt();
    }
    if incoming.is_redelivery() {
        // It covers the attempts before.
        span = span.since(action.at);
    }
    span.end();
}

/// Under which claim it is done.
pub(crate) fn claimed(fence: u64) {
    span::note(|notes| notes.set(named::CLAIM, fence.to_string()));
}

/// What came of the action.
pub(crate) fn resulted(resulted: &Resulted) {
    span::note(|notes| {
        notes.set(named::ATTEMPT, i64::from(resulted.attempts));
        match &resulted.outcome {
            ToolOutcome::Ok { .. } => {}
            ToolOutcome::Failed { error, .. } => notes.failed(error.to_string()),
            ToolOutcome::Unknown { .. } => notes.failed("unknown"),
        }
    });
}

/// One call of a tool.
pub(crate) fn call(call: &Call<'_>) -> Span {
    let mut span = Span::below(SpanKind::Client, || format!("call {}", call.tool.name));
    span.note(|notes| {
        notes.set(named::GEN_AI_TOOL, call.tool.name.to_string());
        notes.set(named::ADAPTER, adapter(&call.tool.adapter));
    });
    span
}

/// What came of it.
pub(crate) fn called(mut span: Span, output: &Output) {
    span.note(|notes| {
        if let Some(told) = output.told {
            notes.failed(told.class.as_str());
        }
    });
    span.end();
}

fn adapter(adapter: &Adapter) -> &'static str {
    match adapter {
        Adapter::Command { .. } => "command",
        Adapter::Http { .. } => "http",
        Adapter::Nats { .. } => "nats",
        Adapter::Builtin(_) => "builtin",
        Adapter::Mcp { .. } => "mcp",
    }
}
