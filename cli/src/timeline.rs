//! A run as people read it: one block per decision, with its reasoning, parameters, outcome, tokens, cost and durations.

use std::collections::BTreeMap;

use flotilla_common::{
    blob::Blob,
    entry::{
        Address, Body, Call, Decided, Decision, Entry, Outcome, RESERVED_RUN, Resulted, ToolOutcome,
    },
    ids::Slot,
    io::journal::{Raw, decode},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    client::Line,
    decision::in_words,
    figures::{millis, number, status},
    parked::Park,
    style::{bad, bold, dim, good, one_line, plain, warn, width, wrap},
    told,
};

const INDENT: &str = "     ";

/// Prints entries as they come; remembers what it needs to number and time them.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    began: Option<Timestamp>,
    decisions: u32,
    /// Tool decisions, to time their results: when decided.
    decided: BTreeMap<Slot, Timestamp>,
    /// Its last decision, if that was to wait.
    park: Option<Park>,
    last_seq: u64,
}

impl Timeline {
    /// The last decision, if that was to wait. The run may have been told to go on since.
    pub(crate) fn park(&self) -> Option<&Park> {
        self.park.as_ref()
    }

    /// The lines for one more entry of the journal.
    pub(crate) fn lines(&mut self, line: &Line) -> Vec<String> {
        self.last_seq = self.last_seq.max(line.seq);
        // Read as the fleet reads it, so that what people see is what the fleet sees.
        let payload = line.entry.to_string();
        let raw = Raw {
            seq: line.seq,
            subject: line.subject.clone(),
            payload: payload.into(),
        };
        match decode(&raw) {
            Ok(Some(entry)) => self.entry(&entry),
            Ok(None) => Vec::new(),
            Err(problem) => vec![format!(
                "{INDENT}{}",
                bad(one_line(&problem.to_string(), 300))
            )],
        }
    }

    fn entry(&mut self, entry: &Entry) -> Vec<String> {
        match &entry.body {
            Body::Started(started) => {
                self.began = Some(entry.at);
                let event = &started.event;
                let subject = event
                    .subject
                    .as_deref()
                    .map(|s| format!(" · {}", one_line(s, 60)))
                    .unwrap_or_default();
                let forked = started.forked.as_ref().map(|forked| {
                    let (run, step) = (&forked.run, &forked.step);
                    format!("{} {run} at {step}", dim("  forked from"))
                });
                let head = [
                    format!(
                        "{} {} {}",
                        bold(&entry.address.run),
                        bold(&started.workflow.name),
                        dim(format!("v{}", started.workflow.version))
                    ),
                    format!(
                        "{}{}{}",
                        dim("  event "),
                        event.kind,
                        dim(format!("{subject} · from {}", one_line(&event.source, 60)))
                    ),
                ];
                head.into_iter().chain(forked).collect()
            }
            Body::Decided(decided) => self.decided(entry.at, decided),
            Body::Resulted(resulted) => self.resulted(entry.at, resulted),
            Body::Signalled(signalled) => {
                let what = told::in_words(&entry.address.name, signalled);
                vec![format!("{} {}", self.clock(entry.at), warn(what))]
            }
            Body::Fired(_) => vec![self.timer(entry.at, &entry.address)],
        }
    }

    fn timer(&self, at: Timestamp, address: &Address) -> String {
        format!(
            "{} {}",
            self.clock(at),
            warn(format!("timer {} fired", address.name))
        )
    }

    fn clock(&self, at: Timestamp) -> String {
        let since = self
            .began
            .map_or(0.0, |began| at.duration_since(began).as_secs_f64());
        dim(format!("{since:>7.2}s"))
    }

    fn decided(&mut self, at: Timestamp, decided: &Decided) -> Vec<String> {
        let slot = Slot {
            step: decided.step.clone(),
            branch: decided.branch,
        };
        self.park = None;
        let decision = &decided.decision;
        if let Decision::Park { by, why, until, .. } = decision {
            let park = Park {
                at,
                step: decided.step.clone(),
                by: *by,
                until: *until,
            };
            let line = format!("{} {}", self.clock(at), park.line(why));
            self.park = Some(park);
            return vec![line];
        }
        if let Decision::End { outcome, reason } = decision {
            return self.ended(at, *outcome, reason.as_deref(), decided);
        }
        if matches!(decision, Decision::Act { .. } | Decision::Run { .. }) {
            self.decided.insert(slot.clone(), at);
        }
        self.decisions += 1;
        let sure = decided
            .confidence
            .map(|c| dim(format!(" · sure {c:.2}")))
            .unwrap_or_default();
        let mut lines = vec![format!("{} {}{sure}", self.clock(at), bold(&slot))];
        lines.extend(block(&in_words(decision, 300), ""));
        if let Some(reasoning) = &decided.reasoning {
            lines.extend(
                wrap(&one_line(reasoning, 600), width() - 12)
                    .into_iter()
                    .map(|line| format!("{INDENT}    {}", dim(line))),
            );
        }
        lines.extend(decided.call.iter().flat_map(call));
        lines
    }

    fn ended(
        &self,
        at: Timestamp,
        outcome: Outcome,
        reason: Option<&str>,
        decided: &Decided,
    ) -> Vec<String> {
        let word = status(outcome.into());
        let mut lines = vec![format!("{} {} {word}", self.clock(at), bold("end"))];
        lines.extend(
            reason
                .into_iter()
                .flat_map(|reason| block(&one_line(reason, 600), "")),
        );
        lines.extend(decided.call.iter().flat_map(call));
        lines
    }

    fn resulted(&mut self, at: Timestamp, resulted: &Resulted) -> Vec<String> {
        let since = self
            .decided
            .get(&resulted.slot())
            .map(|decided| at.duration_since(*decided));
        let waited = since
            .map(|span| span.as_millis() - i128::from(resulted.took_ms))
            .filter(|ms| *ms > 1_000);
        let waited = waited
            .map(|ms| format!(" after waiting {}", millis(u64::try_from(ms).unwrap_or(0))))
            .unwrap_or_default();
        let took = match since {
            // Its worker is the run itself.
            Some(span) if resulted.tool.as_str() == RESERVED_RUN => {
                let took = millis(u64::try_from(span.as_millis()).unwrap_or(0));
                let cost = resulted.usd_nano.map(|usd| format!(" · {usd}"));
                format!("{} · {took}{}", resulted.worker, cost.unwrap_or_default())
            }
            Some(_) | None => format!("{}{waited}", millis(resulted.took_ms)),
        };
        // Results of several actions come in any order: each says whose it is.
        let alone = self
            .decided
            .keys()
            .filter(|slot| slot.step == resulted.step)
            .count()
            < 2;
        let whose = if alone {
            String::new()
        } else {
            format!("{} {} ", resulted.slot(), resulted.tool)
        };
        let took = dim(format!("{whose}{took}"));
        match &resulted.outcome {
            ToolOutcome::Ok { output } => {
                let mut lines = vec![format!("{INDENT}{} {took}", good("✓"))];
                lines.extend(excerpt(output));
                lines
            }
            ToolOutcome::Failed {
                error,
                message,
                output,
            } => {
                let mut lines = vec![format!(
                    "{INDENT}{} {error}: {} {took}",
                    bad("✗"),
                    one_line(message, 200)
                )];
                lines.extend(output.iter().flat_map(excerpt));
                lines
            }
            ToolOutcome::Unknown { message } => {
                vec![format!(
                    "{INDENT}{} outcome unknown: {} {took}",
                    warn("?"),
                    one_line(message, 200)
                )]
            }
        }
    }
}

/// The line about a Claude call, and what was wrong with replies that were not taken.
fn call(call: &Call) -> Vec<String> {
    let usage = &call.usage;
    let cached = match usage.cache_read_input_tokens {
        0 => String::new(),
        read => format!(" ({} cached)", number(read)),
    };
    let wasted = if call.wasted == 0 {
        String::new()
    } else {
        format!(" · {} call(s) lost before", call.wasted)
    };
    let batch = call.batch.as_ref();
    let batch = batch.map_or_else(String::new, |id| format!(" · batch {}", one_line(id, 80)));
    let mut lines: Vec<String> = call
        .attempts
        .iter()
        .filter_map(|attempt| attempt.complaint.as_ref())
        .map(|complaint| {
            format!(
                "{INDENT}{}",
                warn(format!("reply not taken: {}", one_line(complaint, 200)))
            )
        })
        .collect();
    lines.push(format!(
        "{INDENT}{}",
        dim(format!(
            "{} · {} → {} tokens{cached} · {} · {}{batch}{wasted}",
            call.model,
            number(usage.prompt_tokens()),
            number(usage.output_tokens),
            call.usd_nano,
            millis(call.took_ms)
        ))
    ));
    lines
}

/// The first lines of an output.
fn excerpt(output: &Value) -> Vec<String> {
    const LINES: usize = 6;
    let main = ["stdout", "body"].iter().find_map(|key| output.get(*key));
    let main = main.unwrap_or(output);
    let mut blobs = Vec::new();
    Blob::all_in(output, &mut blobs);
    let text = match main.get("begins").filter(|_| !blobs.is_empty()) {
        Some(begins) => plain(begins),
        None => plain(main),
    };
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let blobs = blobs.iter().map(|blob| {
        let Blob {
            id, bytes, kind, ..
        } = blob;
        format!(
            "{INDENT}  {} {id} {}",
            dim("│"),
            dim(format!("{bytes} bytes of {kind}"))
        )
    });
    let shown = lines.iter().take(LINES).map(|line| {
        format!(
            "{INDENT}  {} {}",
            dim("│"),
            dim(one_line(line, width().saturating_sub(12)))
        )
    });
    let mut shown: Vec<String> = blobs.chain(shown).collect();
    if lines.len() > LINES {
        shown.push(format!(
            "{INDENT}  {}",
            dim(format!("│ … {} more lines", lines.len() - LINES))
        ));
    }
    shown
}

fn block(text: &str, prefix: &str) -> Vec<String> {
    wrap(text, width() - 8)
        .into_iter()
        .map(|line| format!("{INDENT}{prefix}{line}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_end_of_a_run_within_a_run_says_which_what_it_cost_and_how_long_it_took() {
        let run = format!("run_{}", "0".repeat(32));
        let child = format!("run_{}", "1".repeat(32));
        let line = |seq: u64, subject: &str, entry: Value| Line {
            seq,
            subject: format!("runs.{run}.{subject}"),
            entry,
        };
        let decided = json!({"v": 1, "at": "2026-11-21T10:00:00Z", "step": "fix", "prev": "", "decision": {
            "kind": "run", "workflow": "repair", "with": {}, "child": child}});
        let failed = json!({"kind": "failed", "error": "escalated", "message": "no spare disk"});
        let resulted = json!({"v": 1, "at": "2026-11-21T10:00:03Z", "step": "fix", "decided": 2, "tool": "run",
            "outcome": failed, "took_ms": 0, "attempts": 1, "worker": child, "usd_nano": 12_000_000});
        let mut timeline = Timeline::default();
        let text = timeline.lines(&line(2, "decided.run", decided)).join("\n");
        assert!(text.contains(&format!("runs repair as {child}")), "{text}");
        let text = timeline
            .lines(&line(3, "resulted.run", resulted))
            .join("\n");
        for part in ["escalated: no spare disk", &child, "3.00 s", "$0.012"] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }
}
