//! What a planner's work looks like in traces: see docs/telemetry.md. Nothing of what is said to Claude or by it is in them.

use std::time::Duration;

use flotilla_common::{
    claude::{Model, Usage},
    entry::{Body, Decision, Entry, Judged, Kind, Outcome, Signalled},
    io::{
        telemetry::{
            attribute::{self as named, operation},
            span::{self, Notes, Span, SpanKind},
        },
        worker::{Disposition, Incoming},
    },
    names::{consumer, stream},
    run::{Approval, Run, StepState},
    trace::TraceContext,
};
use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;

use crate::{
    caller::Question,
    claude::{Answer, CallError},
    handle::Planner,
    observe,
};

/// How long the end of a run waits for who sent its event: that is a courtesy.
const SENDER_PATIENCE: Duration = Duration::from_secs(1);

/// The work on one entry.
pub(crate) fn plan(entry: &Entry, incoming: &Incoming) -> Span {
    let run = &entry.address.run;
    let mut span = Span::of_run(run, SpanKind::Consumer, || {
        let workflow = (entry.address.kind == Kind::Started).then_some(&entry.address.name);
        named_plan(workflow.map(|name| name.as_str()).unwrap_or_default())
    });
    span.note(|notes| {
        notes.set(named::GEN_AI_OPERATION, operation::PLAN);
        notes.set(named::GEN_AI_CONVERSATION, run.to_string());
        notes.set(named::ENTRY, entry.address.kind.to_string());
        let consumer = consumer::PLANNER.to_owned();
        notes.message(stream::RUNS, consumer, incoming.seq, incoming.delivered);
        if let Some(publisher) = incoming.trace {
            notes.link(publisher, "publisher");
        }
    });
    span
}

fn named_plan(workflow: &str) -> String {
    format!("plan {workflow}").trim_end().to_owned()
}

/// The work is over, for good or for now.
pub(crate) fn planned(mut span: Span, disposition: &Disposition) {
    span.note(|notes| match disposition {
        Disposition::Ack => {}
        Disposition::Retry { .. } => notes.failed("handed_back"),
        Disposition::Dead { .. } => notes.failed("dead_letter"),
    });
    span.end();
}

/// What its entry has found: whose run it is, and the wait that is over. `rested`: when the entry before it was written.
pub(crate) fn opened(run: &Run, entry: &Entry, rested: Option<Timestamp>) {
    span::note(|notes| {
        if let Some(begun) = &run.begun {
            notes.name(named_plan(begun.pin.name.as_str()));
        }
        if let Some(wait) = Wait::ended_by(run, entry, rested) {
            let began = TraceContext::of_decision(&run.id, wait.decided, true);
            let took = wait.since.map(|since| seconds(since, entry.at));
            notes.link_wait(began, wait.kind, took);
        }
    });
}

/// A wait that an entry ends.
struct Wait {
    kind: &'static str,
    /// The decision that it began with.
    decided: u64,
    since: Option<Timestamp>,
}

impl Wait {
    fn ended_by(run: &Run, entry: &Entry, rested: Option<Timestamp>) -> Option<Self> {
        let woken = run.parked.iter().any(|parked| parked.awake);
        let kind = match &entry.body {
            Body::Signalled(Signalled {
                approval: Some(judged),
                ..
            }) => {
                if let Some(approval) = approval(run, judged) {
                    return Some(Self {
                        kind: "approval",
                        decided: approval.decided,
                        since: Some(approval.at),
                    });
                }
                "approval"
            }
            Body::Signalled(_) | Body::Fired(_) if woken => "parked",
            Body::Signalled(_) => "signal",
            Body::Fired(_) => "timer",
            Body::Started(_) | Body::Decided(_) | Body::Resulted(_) => return None,
        };
        // On a second delivery something may have been decided since.
        let before = run.chain > 0 && run.chain < entry.seq;
        before.then_some(Self {
            kind,
            decided: run.chain,
            since: rested,
        })
    }
}

/// What a verdict is on.
fn approval<'r>(run: &'r Run, judged: &Judged) -> Option<&'r Approval> {
    let branch = usize::try_from(judged.branch).ok()?;
    let found = match run.steps.get(&judged.step.place())? {
        StepState::Approval(approval) => Some(&**approval),
        StepState::Tool(act) => act.hold.as_ref(),
        StepState::Agent(agent) => {
            let turn = usize::try_from(judged.step.turn?).ok()?.checked_sub(1)?;
            agent.turns.get(turn)?.acts.get(branch)?.hold.as_ref()
        }
        StepState::Answer { .. }
        | StepState::Branch { .. }
        | StepState::Skipped
        | StepState::Each { .. }
        | StepState::Sleep { .. }
        | StepState::Run(_) => None,
    };
    found.filter(|approval| approval.hash == judged.hash)
}

fn seconds(since: Timestamp, until: Timestamp) -> f64 {
    until
        .duration_since(since)
        .max(SignedDuration::ZERO)
        .as_secs_f64()
}

/// A decision that is on the journal now.
pub(crate) fn decided(entry: &Entry) {
    let Body::Decided(decided) = &entry.body else {
        return;
    };
    let run = &entry.address.run;
    let span = Span::below(SpanKind::Producer, || format!("decide {}", decided.step));
    let known = TraceContext::of_decision(run, entry.seq, true);
    let mut span = span.known_as(known).since(entry.at);
    span.note(|notes| {
        notes.set(named::STEP, decided.step.to_string());
        notes.set(named::DECISION, observe::label(&decided.decision));
        notes.set(named::MESSAGING_SYSTEM, named::NATS);
        notes.set(named::MESSAGING_DESTINATION, stream::RUNS);
        notes.set(named::MESSAGING_OPERATION, "send");
        notes.set(named::MESSAGING_ID, entry.seq.to_string());
        if let Decision::Act { tool, .. } = &decided.decision {
            notes.set(named::GEN_AI_TOOL, tool.to_string());
        }
        if let Decision::Run { child, .. } = &decided.decision {
            notes.link(
                TraceContext::of_run(child, span::is_sampled(child)),
                "child",
            );
        }
    });
    span.end();
}

impl Planner {
    /// The run itself, which has ended: the root of its trace.
    pub(crate) async fn trace_end(&self, run: &Run) {
        let (Some(begun), Some(end)) = (&run.begun, &run.end) else {
            return;
        };
        if span::current().is_none() {
            return;
        }
        let asking = self.journal.sender(&run.id, &begun.pin.name);
        let sender = timeout(SENDER_PATIENCE, asking).await;
        let sender = sender.ok().and_then(Result::ok).flatten();
        let span = Span::below(SpanKind::Internal, || {
            format!("{} {}", operation::RUN, begun.pin.name)
        });
        let span = span.known_as(TraceContext::of_run(&run.id, true)).as_root();
        let mut span = span.since(begun.at);
        span.note(|notes| {
            notes.set(named::GEN_AI_OPERATION, operation::RUN);
            notes.set(named::GEN_AI_WORKFLOW, begun.pin.name.to_string());
            notes.set(named::GEN_AI_CONVERSATION, run.id.to_string());
            notes.set(named::VERSION, i64::from(begun.pin.version));
            notes.set(named::OUTCOME, end.outcome.to_string());
            notes.set(named::COST, run.spent.usd.nano() as f64 / 1e9);
            used(notes, &run.spent.usage);
            if let Some(sender) = sender {
                notes.link(sender, "sender");
            }
            if let Some(parent) = &begun.parent {
                let sampled = span::is_sampled(&parent.run);
                let began = TraceContext::of_decision(&parent.run, parent.decided, sampled);
                notes.link(began, "parent");
            }
            if end.outcome == Outcome::Failed {
                notes.failed("failed");
            }
        });
        span.end_at(end.at);
    }
}

fn used(notes: &mut Notes, usage: &Usage) {
    let (read, written) = (
        usage.cache_read_input_tokens,
        usage.cache_creation_input_tokens,
    );
    let input = usage.input_tokens.saturating_add(read);
    let mut tokens = |key, count: u64| notes.set(key, i64::try_from(count).unwrap_or(i64::MAX));
    tokens(named::GEN_AI_INPUT_TOKENS, input.saturating_add(written));
    tokens(named::GEN_AI_CACHE_READ_TOKENS, read);
    tokens(named::GEN_AI_CACHE_WRITE_TOKENS, written);
    tokens(named::GEN_AI_OUTPUT_TOKENS, usage.output_tokens);
}

/// One try of a question to Claude, from 1.
pub(crate) fn chat(question: &Question<'_>, model: &Model, max_tokens: u32, attempt: u32) -> Span {
    let mut span = Span::below(SpanKind::Client, || {
        format!("{} {}", operation::CHAT, model.id)
    });
    span.note(|notes| {
        notes.set(named::GEN_AI_OPERATION, operation::CHAT);
        notes.set(named::GEN_AI_PROVIDER, named::PROVIDER);
        notes.set(named::GEN_AI_REQUEST_MODEL, model.id.clone());
        notes.set(named::GEN_AI_REQUEST_MAX_TOKENS, i64::from(max_tokens));
        notes.set(named::GEN_AI_CONVERSATION, question.ask.run.to_string());
        notes.set(named::STEP, question.ask.step.to_string());
        notes.set(named::ATTEMPT, i64::from(attempt));
    });
    span
}

/// What came of it.
pub(crate) fn chatted(mut span: Span, called: &Result<Answer, Box<CallError>>) {
    span.note(|notes| match called {
        Ok(answer) => {
            let reply = &answer.reply;
            notes.set(named::GEN_AI_RESPONSE_MODEL, reply.model.clone());
            notes.set(named::GEN_AI_RESPONSE_ID, reply.id.clone());
            notes.list(
                named::GEN_AI_FINISH_REASONS,
                String::from(reply.stop_reason.clone()),
            );
            used(notes, &reply.usage);
        }
        Err(error) => {
            notes.failed(error.kind.label());
            if let Some(status) = error.status {
                notes.set(named::HTTP_STATUS, i64::from(status));
            }
        }
    });
    span.end();
}
