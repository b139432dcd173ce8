//! Decisions in words.

use flotilla_common::entry::{Call, Decided, Decision, Outcome, ParkedBy, Reviewed};

use super::{
    Row, Shape, Sign,
    row::{Span, Tone},
    span, text, usd,
};
use crate::console::words::{exact, short};

/// Longest words of one line, in characters.
const LINE_MAX: usize = 240;

/// What goes before a decision.
pub(super) fn sign(decision: &Decision) -> (Sign, Tone) {
    match decision {
        Decision::Act { .. } => (Sign::Tool, Tone::Calm),
        Decision::Answer { .. } | Decision::Finish { .. } => (Sign::Spark, Tone::Busy),
        Decision::Review { .. } => (Sign::Spark, Tone::Calm),
        Decision::Park { .. } => (Sign::Clock, Tone::Warn),
        Decision::Sleep { .. } | Decision::Begin { .. } => (Sign::Clock, Tone::Calm),
        Decision::Approve(_) => (Sign::Person, Tone::Ask),
        Decision::Run { .. } => (Sign::Nested, Tone::Calm),
        Decision::Branch { .. }
        | Decision::Each { .. }
        | Decision::Skip {}
        | Decision::Abandon {} => (Sign::Way, Tone::Calm),
        Decision::Fail { .. } => (Sign::Cross, Tone::Bad),
        Decision::Again { .. } | Decision::Undo { .. } => (Sign::Way, Tone::Warn),
        Decision::End { outcome, .. } => match outcome {
            Outcome::Completed => (Sign::Check, Tone::Good),
            Outcome::Escalated => (Sign::Up, Tone::Warn),
            Outcome::Failed => (Sign::Cross, Tone::Bad),
            Outcome::Cancelled => (Sign::Stop, Tone::Calm),
        },
    }
}

/// Says in a row what was decided, why, and what asking for it cost.
pub(super) fn describe(row: &mut Row, decided: &Decided) {
    what(row, &decided.decision);
    row.reasoning = row
        .reasoning
        .take()
        .or(decided.reasoning.as_deref().map(text::words));
    match &decided.call {
        Some(call) => asked(row, call),
        // How it was decided can be asked of Claude's decisions alone.
        None => row.key = None,
    }
    if let Some(confidence) = decided.confidence {
        row.facts.push(("confidence", format!("{confidence:.2}")));
    }
}

fn what(row: &mut Row, decision: &Decision) {
    let line = |words: &str| text::line(words, LINE_MAX);
    match decision {
        Decision::Act {
            tool,
            version,
            with,
        } => {
            row.name = Some(format!("{tool}@{version}"));
            row.with = Some(line(&with.to_string()));
            row.detail("Parameters", text::shown(with));
        }
        Decision::Answer { output } => {
            row.what = "answers".to_owned();
            row.with = Some(match output.as_str() {
                Some(words) => line(words),
                None => line(&output.to_string()),
            });
            row.detail("Answer", text::shown(output));
        }
        Decision::Finish { end, summary } => {
            row.what = "ends with".to_owned();
            row.name = Some(end.to_string());
            row.reasoning = Some(text::words(summary));
        }
        Decision::Park { by, why, until, .. } => {
            row.what = parked(*by).to_owned();
            row.reasoning = Some(text::words(why));
            let until = until.map_or("it is told to go on".to_owned(), exact);
            row.facts.push(("looks again", until));
        }
        Decision::Abandon {} => row.what = "nobody waits for the answer any more".to_owned(),
        Decision::Branch { to: Some(to), .. } => {
            row.what = "goes to".to_owned();
            row.name = Some(to.to_string());
        }
        Decision::Branch { end: true, .. } => row.what = "goes to the end".to_owned(),
        Decision::Branch { .. } => row.what = "goes on".to_owned(),
        Decision::Skip {} => row.what = "skipped: somebody has switched it off".to_owned(),
        Decision::Begin { until } => {
            row.what = format!("begins; its time is up at {}", exact(*until))
        }
        Decision::Each { items } => row.what = format!("takes {items} items"),
        Decision::Sleep { until } => row.what = format!("sleeps until {}", exact(*until)),
        Decision::Approve(approve) => {
            row.what = "asks a person".to_owned();
            if let Some(action) = &approve.action {
                row.what += " to allow";
                row.name = Some(format!("{}@{}", action.tool, action.version));
                row.with = Some(line(&action.with.to_string()));
                row.detail("Parameters", text::shown(&action.with));
            }
            if !approve.show.is_null() {
                row.detail("What is shown", text::shown(&approve.show));
            }
            row.facts
                .extend(approve.until.map(|until| ("until", exact(until))));
        }
        Decision::Run {
            workflow,
            with,
            child,
            usd_nano,
        } => {
            row.what = "runs".to_owned();
            row.name = Some(workflow.to_string());
            row.child = Some(child.to_string());
            row.detail("Event data", text::shown(with));
            row.facts
                .extend(usd_nano.map(|most| ("may cost", usd(most))));
        }
        Decision::Review { verdict, advice } => {
            row.what = match verdict {
                Reviewed::GoOn => "review: go on",
                Reviewed::Change => "review: change something",
                Reviewed::Stop => "review: stop",
            }
            .to_owned();
            row.reasoning = Some(text::words(advice));
        }
        Decision::Fail {
            outcome,
            error,
            reason,
        } => {
            row.what = format!("{outcome}: {error}");
            row.reasoning = Some(text::words(reason));
        }
        Decision::Again { resets, why, .. } => {
            row.what = "begins anew".to_owned();
            row.name = resets.first().map(ToString::to_string);
            row.reasoning = Some(text::words(why));
        }
        Decision::Undo { reason, .. } => {
            row.what = "winds up: what was done is undone".to_owned();
            row.reasoning = Some(text::words(reason));
        }
        Decision::End { reason, .. } => {
            row.what = "the run ends".to_owned();
            row.reasoning = reason.as_deref().map(text::words);
        }
    }
}

/// Why a run waits, in a few words.
pub(crate) fn parked(by: ParkedBy) -> &'static str {
    match by {
        ParkedBy::Ceiling => "waits: the next call could cost more than a ceiling leaves",
        ParkedBy::Unavailable => "waits: Claude does not answer",
        ParkedBy::Blocked => "waits: Claude refuses, and only a person can mend that",
        ParkedBy::Batch => "waits for its batch",
        ParkedBy::Dead => "waits: an entry of it is a dead letter",
    }
}

/// What was asked of Claude, and what it cost.
fn asked(row: &mut Row, call: &Call) {
    let took = i64::try_from(call.took_ms).unwrap_or(i64::MAX);
    let began = row.at_ms.saturating_sub(took).max(0);
    row.spans.push(Span::new(Shape::Call, began, row.at_ms));
    let usage = &call.usage;
    let cached = match usage.cache_read_input_tokens {
        0 => String::new(),
        read => format!(" ({} cached)", short(read)),
    };
    let tokens = format!(
        "{} in{cached}, {} out",
        short(usage.prompt_tokens()),
        short(usage.output_tokens)
    );
    let took = span(std::time::Duration::from_millis(call.took_ms));
    row.facts.extend([
        ("model", text::line(&call.model, 60)),
        ("took", took),
        ("tokens", tokens),
        ("cost", usd(call.usd_nano)),
    ]);
    if call.wasted > 0 {
        row.facts
            .push(("calls lost before", call.wasted.to_string()));
    }
    row.facts.extend(
        call.batch
            .as_deref()
            .map(|id| ("batch", text::line(id, 80))),
    );
    let complaints = call
        .attempts
        .iter()
        .filter_map(|attempt| attempt.complaint.as_deref());
    row.faults = complaints
        .map(|complaint| text::line(complaint, 400))
        .collect();
    if !call.menu.is_empty() {
        row.detail(
            "What it could choose from",
            text::words(&call.menu.join("\n")),
        );
    }
    if !call.fallbacks.is_empty() {
        row.detail(
            "Why it was not another model",
            text::words(&call.fallbacks.join("\n")),
        );
    }
    row.detail("SHA-256 of what was asked", call.prompt.clone());
}
