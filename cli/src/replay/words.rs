//! Entries in a line.

use flotilla_common::{
    entry::{Body, Entry, Resulted, ToolOutcome},
    ids::Slot,
};

use crate::{
    decision,
    style::{bad, good, one_line, plain, warn},
    told,
};

/// What an entry says, in one line of at most about `max` characters.
pub(super) fn in_words(entry: &Entry, max: usize) -> String {
    match &entry.body {
        Body::Started(started) => {
            let event = &started.event;
            let source = one_line(&event.source, 60);
            let pin = &started.workflow;
            let from = started.forked.as_ref();
            let from =
                from.map(|forked| format!(", forked from {} at {}", forked.run, forked.step));
            format!(
                "{} v{} begins: {} from {source}{}",
                pin.name,
                pin.version,
                event.kind,
                from.unwrap_or_default()
            )
        }
        Body::Decided(decided) => {
            let slot = Slot {
                step: decided.step.clone(),
                branch: decided.branch,
            };
            format!("{slot} {}", decision::in_words(&decided.decision, max))
        }
        Body::Resulted(resulted) => result(resulted, max),
        Body::Signalled(signalled) => told::in_words(&entry.address.name, signalled),
        Body::Fired(_) => format!("timer {} fired", entry.address.name),
    }
}

fn result(resulted: &Resulted, max: usize) -> String {
    let what = format!("{} {}", resulted.slot(), resulted.tool);
    match &resulted.outcome {
        ToolOutcome::Ok { output } => {
            format!("{what} {} {}", good("✓"), one_line(&plain(output), max))
        }
        ToolOutcome::Failed { error, message, .. } => {
            format!("{what} {} {error}: {}", bad("✗"), one_line(message, max))
        }
        ToolOutcome::Unknown { message } => {
            let message = one_line(message, max);
            format!("{what} {} outcome unknown: {message}", warn("?"))
        }
    }
}
