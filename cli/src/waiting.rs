//! Runs that wait for a person: what is asked, since when, until when, and what to type.

use flotilla_common::{
    definition::OnTimeout,
    ids::{Name, RunId, Slot},
    run::{Status, Summary},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    client::Shown,
    dead,
    parked::{self, Park},
    style::{accent, bold, dim, one_line, plain, warn, width, wrap},
};

const MARGIN: &str = "          ";

/// A question to a person, as the gateway tells it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) run: RunId,
    pub(crate) workflow: Name,
    pub(crate) step: Slot,
    pub(crate) hash: String,
    #[serde(default)]
    pub(crate) tool: Option<Name>,
    #[serde(default)]
    version: Option<u32>,
    #[serde(default)]
    with: Value,
    #[serde(default)]
    show: Value,
    pub(crate) since: Timestamp,
    #[serde(default)]
    pub(crate) until: Option<Timestamp>,
    #[serde(default)]
    on_timeout: Option<OnTimeout>,
}

impl Waiting {
    /// What is asked for, in one line of at most about `max` characters.
    pub(crate) fn what(&self, max: usize) -> String {
        match &self.tool {
            Some(tool) => {
                let version = self.version.unwrap_or_default();
                let with = one_line(&self.with.to_string(), max);
                format!("{} {with}", accent(format!("{tool}@{version}")))
            }
            None => one_line(&plain(&self.show), max),
        }
    }

    /// When it is too late, and what then.
    pub(crate) fn until(&self) -> Option<String> {
        let then = serde_json::to_value(self.on_timeout).unwrap_or_default();
        let then = then.as_str().map(|then| format!(", then: {then}"));
        let until = self.until?;
        Some(format!("until {until:.0}{}", then.unwrap_or_default()))
    }

    /// Its step as an argument: brackets and marks mean something to shells.
    pub(crate) fn argument(&self) -> String {
        let step = self.step.to_string();
        if step.contains(['[', '#', '!']) {
            format!("'{step}'")
        } else {
            step
        }
    }

    fn lines(&self) -> Vec<String> {
        let verb = match self.tool {
            Some(_) => "a person must allow",
            None => "a person must decide",
        };
        let mut head = format!(
            "{} {}: {verb}, since {:.0}",
            warn("  waits  "),
            bold(&self.step),
            self.since
        );
        if let Some(until) = self.until() {
            head = format!("{head}, {until}");
        }
        let mut lines = vec![head];
        let what = wrap(&self.what(600), width() - MARGIN.len());
        lines.extend(what.iter().map(|line| format!("{MARGIN}{line}")));
        let (run, step) = (&self.run, self.argument());
        let mut advice = vec![
            (format!("approve {run} {step}"), "yes"),
            (format!("reject {run} {step} --reason WHY"), "no"),
        ];
        if self.tool.is_some() {
            let command = format!("approve {run} {step} --with JSON");
            advice.push((command, "yes, with other parameters"));
        }
        lines.extend(to_do(&advice));
        lines
    }
}

/// Commands to type, with what each does.
pub(crate) fn to_do(advice: &[(String, &'static str)]) -> Vec<String> {
    let heads = std::iter::once(dim("  to do  ")).chain(std::iter::repeat(MARGIN[1..].to_owned()));
    let lines = heads.zip(advice).map(|(head, (command, what))| {
        format!("{head} flotilla {command}  {}", dim(format!("# {what}")))
    });
    lines.collect()
}

/// What to know about a run that waits, whatever for, and what to type; nothing when it goes on by itself, or has ended.
pub(crate) fn lines(shown: &Shown, park: Option<&Park>) -> Vec<String> {
    let Some(run) = &shown.run else {
        return Vec::new();
    };
    let mut lines = paused(run);
    lines.extend(dead::waits(&shown.dead_letters));
    lines.extend(parked::lines(run, park));
    lines.extend(shown.approvals.iter().flat_map(Waiting::lines));
    lines
}

fn paused(run: &Summary) -> Vec<String> {
    if run.status != Status::Paused {
        return Vec::new();
    }
    let why = one_line(run.reason.as_deref().unwrap_or("paused"), 600);
    let mut lines = vec![format!("{} {why}", warn("  paused "))];
    let resume = format!("resume {}", run.id);
    lines.extend(to_do(&[(resume, "make it go on")]));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(status: &str, approvals: Value) -> Shown {
        let run = format!("run_{}", "0".repeat(32));
        serde_json::from_value(json!({
            "run": {
                "id": run, "workflow": "w", "version": 1, "status": status, "reason": "paused by ana: lunch",
                "started_at": "2026-11-21T10:00:00Z", "steps": 1, "model_calls": 0, "wasted_calls": 0, "input_tokens": 0,
                "cache_read_tokens": 0, "output_tokens": 0, "usd_nano": 0,
            },
            "approvals": approvals,
            "journal": [],
        }))
        .unwrap()
    }

    #[test]
    fn a_waiting_run_says_what_is_asked_until_when_and_the_exact_commands() {
        let run = format!("run_{}", "0".repeat(32));
        let action = json!({"run": run, "workflow": "w", "step": "fetch[3]/2#1", "hash": "ab", "tool": "restart",
            "version": 2, "with": {"host": "a"}, "since": "2026-11-21T10:00:01Z", "until": "2026-11-21T14:00:00Z",
            "on_timeout": "escalate"});
        let question = json!({"run": run, "workflow": "w", "step": "check", "hash": "cd", "show": "fine?",
            "since": "2026-11-21T10:00:01Z"});
        let text = lines(&shown("waiting", json!([action, question])), None).join("\n");
        for part in [
            r#"restart@2 {"host":"a"}"#.to_owned(),
            "until 2026-11-21T14:00:00Z, then: escalate".to_owned(),
            format!("flotilla approve {run} 'fetch[3]/2#1'  #"),
            format!("flotilla approve {run} 'fetch[3]/2#1' --with JSON"),
            "fine?".to_owned(),
            format!("flotilla approve {run} check  #"),
            format!("flotilla reject {run} check --reason WHY"),
        ] {
            assert!(text.contains(&part), "no {part:?} in {text}");
        }
        assert_eq!(
            text.matches("--with").count(),
            1,
            "a question has no parameters"
        );
    }

    #[test]
    fn a_paused_run_says_how_it_goes_on_and_a_running_one_says_nothing() {
        let text = lines(&shown("paused", json!([])), None).join("\n");
        assert!(text.contains("paused by ana: lunch"), "{text}");
        assert!(text.contains("flotilla resume run_0"), "{text}");
        assert!(lines(&shown("running", json!([])), None).is_empty());
    }
}
