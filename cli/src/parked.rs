//! A run that waits: why, since when, until when, and what to type.

use flotilla_common::{
    entry::ParkedBy,
    event::TENANT_DEFAULT,
    ids::StepKey,
    run::{Status, Summary},
};
use jiff::Timestamp;

use crate::style::{bold, dim, one_line, warn, width, wrap};

const MARGIN: &str = "          ";

/// A decision to wait.
#[derive(Debug, Clone)]
pub(crate) struct Park {
    pub(crate) at: Timestamp,
    pub(crate) step: StepKey,
    pub(crate) by: ParkedBy,
    pub(crate) until: Option<Timestamp>,
}

impl Park {
    /// As a line of the run's timeline, after the time.
    pub(crate) fn line(&self, why: &str) -> String {
        format!(
            "{} {}; {}",
            warn(format!("parked ({})", self.by)),
            one_line(why, 400),
            self.until()
        )
    }

    fn until(&self) -> String {
        self.until.map_or_else(
            || "until it is told to go on".to_owned(),
            |until| format!("looks again at {until:.0}"),
        )
    }
}

/// What to know about a parked run, and what to type; nothing when it is not parked.
pub(crate) fn lines(run: &Summary, park: Option<&Park>) -> Vec<String> {
    let (Status::Parked, Some(park)) = (run.status, park) else {
        return Vec::new();
    };
    let since = format!(
        "at step {}, since {:.0}; {}",
        park.step,
        park.at,
        park.until()
    );
    let mut lines = vec![format!("{} {}, {since}", warn("  parked "), bold(park.by))];
    let why = one_line(run.reason.as_deref().unwrap_or_default(), 600);
    lines.extend(
        wrap(&why, width() - MARGIN.len())
            .iter()
            .map(|line| format!("{MARGIN}{line}")),
    );
    let mut head = dim("  to do  ");
    for (command, what) in advice(run, &park.step, &why, park.by) {
        lines.push(format!("{head} {command}  {}", dim(format!("# {what}"))));
        head = MARGIN[1..].to_owned();
    }
    lines
}

fn advice(run: &Summary, step: &StepKey, why: &str, by: ParkedBy) -> Vec<(String, &'static str)> {
    // The words of the planner; without them, the advice is about the run.
    let step = if why.contains("the step's `usd`") {
        format!(" --step {}", step.step)
    } else {
        String::new()
    };
    let resume = |what| (format!("flotilla resume {}", run.id), what);
    match by {
        // It has lines of its own.
        ParkedBy::Dead => Vec::new(),
        ParkedBy::Batch => vec![resume("look at its batch now")],
        ParkedBy::Unavailable => vec![resume("try again now")],
        ParkedBy::Blocked => vec![resume("try again, once it is set right")],
        ParkedBy::Ceiling => {
            let mut advice = vec![
                resume("look again now"),
                (
                    format!("flotilla raise {} --usd USD{step}", run.id),
                    "what it may spend",
                ),
                (
                    format!("flotilla ceiling set workflow {} USD", run.workflow),
                    "what its workflow may spend in a day",
                ),
            ];
            if run.tenant != TENANT_DEFAULT {
                advice.push((
                    format!(
                        "flotilla ceiling set tenant {} USD",
                        one_line(&run.tenant, 64)
                    ),
                    "what its tenant may spend in a day",
                ));
            }
            advice
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(status: &str, tenant: &str) -> Summary {
        serde_json::from_value(json!({
            "id": format!("run_{}", "0".repeat(32)), "workflow": "w", "version": 1, "tenant": tenant,
            "status": status, "reason": "it could cost more", "started_at": "2026-11-21T10:00:00Z", "steps": 1,
            "model_calls": 0, "wasted_calls": 0, "input_tokens": 0, "cache_read_tokens": 0, "output_tokens": 0,
            "usd_nano": 0,
        }))
        .unwrap()
    }

    fn park(by: ParkedBy) -> Park {
        Park {
            at: "2026-11-21T10:00:01.5Z".parse().unwrap(),
            step: "triage/3".parse().unwrap(),
            by,
            until: Some("2026-11-22T00:00:00Z".parse().unwrap()),
        }
    }

    #[test]
    fn a_parked_run_says_why_since_when_until_when_and_what_to_type() {
        let text = lines(&run("parked", "acme"), Some(&park(ParkedBy::Ceiling))).join("\n");
        for part in [
            "ceiling",
            "triage/3",
            "since 2026-11-21T10:00:01Z",
            "looks again at 2026-11-22T00:00:00Z",
            "it could cost more",
            "flotilla resume run_0",
            "--usd USD",
            "flotilla ceiling set workflow w USD",
            "flotilla ceiling set tenant acme USD",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        let text = lines(&run("parked", "default"), Some(&park(ParkedBy::Blocked))).join("\n");
        assert!(
            text.contains("flotilla resume") && !text.contains("raise"),
            "{text}"
        );
        assert!(lines(&run("running", "acme"), Some(&park(ParkedBy::Ceiling))).is_empty());
    }
}
