//! Decisions in a line.

use flotilla_common::entry::{Decision, Reviewed};
use serde_json::Value;

use crate::style::{accent, bold, dim, good, one_line, plain, warn};

/// What was decided, in one line of at most about `max` characters.
pub(crate) fn in_words(decision: &Decision, max: usize) -> String {
    let json = |value: &Value| one_line(&value.to_string(), max);
    match decision {
        Decision::Act {
            tool,
            version,
            with,
        } => format!("{} {}", accent(format!("{tool}@{version}")), json(with)),
        Decision::Answer { output } => {
            format!("{} {}", good("answers"), one_line(&plain(output), max))
        }
        Decision::Finish { end, summary } => {
            let end = if end.as_str() == "escalate" {
                warn(end)
            } else {
                good(end)
            };
            format!("{end} {}", one_line(summary, max))
        }
        Decision::Park { why, .. } => warn(one_line(why, max)),
        Decision::Abandon {} => dim("nobody waits for the answer any more"),
        Decision::Branch { to: Some(to), .. } => format!("goes to {}", bold(to)),
        Decision::Branch { end: true, .. } => "goes to the end".to_owned(),
        Decision::Branch { .. } => "goes on".to_owned(),
        Decision::Skip {} => warn("skipped"),
        Decision::Begin { until } => dim(format!("begins; its time is up at {until}")),
        Decision::Each { items } => format!("takes {items} items"),
        Decision::Sleep { until } => format!("sleeps until {until}"),
        Decision::Approve(approve) => {
            let what = match &approve.action {
                Some(action) => format!("{} {}", accent(&action.tool), json(&action.with)),
                None => one_line(&plain(&approve.show), max),
            };
            let until = approve.until.map(|until| dim(format!(" · until {until}")));
            let until = until.unwrap_or_default();
            format!("{} {what}{until}", warn("asks a person:"))
        }
        Decision::Run {
            workflow, child, ..
        } => format!("runs {} as {child}", accent(workflow)),
        Decision::Review { verdict, advice } => {
            let word = match verdict {
                Reviewed::GoOn => good("review: go on"),
                Reviewed::Change => warn("review: change"),
                Reviewed::Stop => warn("review: stop"),
            };
            format!("{word} {}", one_line(advice, max))
        }
        Decision::Fail {
            outcome, reason, ..
        } => format!("{} {}", warn(outcome), one_line(reason, max)),
        Decision::Again { resets, why, .. } => {
            let from = resets.first().map(|step| format!(" from {step}"));
            let from = from.unwrap_or_default();
            format!("{}{from}: {}", warn("begins anew"), one_line(why, max))
        }
        Decision::Undo { reason, .. } => {
            format!("{} {}", warn("winds up:"), one_line(reason, max))
        }
        Decision::End { outcome, reason } => {
            let reason = reason.as_deref().unwrap_or_default();
            format!("{} {}", bold(outcome), one_line(reason, max))
        }
    }
}
