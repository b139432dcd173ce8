//! Dead letters, as people read them.

use flotilla_common::{
    dead::{DeadLetter, LetterKind},
    entry::ParkedBy,
    io::redrives::{Action, Job, JobState, SettledLetter},
    run::Summary,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    style::{bold, dim, one_line, plain, warn, width, wrap},
    waiting::to_do,
};

#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    groups: Option<Vec<Group>>,
    letters: Option<Vec<DeadLetter>>,
    next: Option<String>,
    complete: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Group {
    fingerprint: String,
    role: String,
    kind: LetterKind,
    count: u64,
    last: Timestamp,
    seq: u64,
    reason: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    letter: DeadLetter,
    payload: Value,
    truncated: bool,
    waits: bool,
    #[serde(default)]
    goes_on: Option<String>,
}

/// A letter that a run has, as the gateway tells it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Letter {
    seq: u64,
    reason: String,
}

pub(super) fn lines(listed: &Listed, fingerprint: Option<&str>) -> Vec<String> {
    let mut lines = match (&listed.groups, &listed.letters) {
        (Some(groups), _) if !groups.is_empty() => by_cause(groups),
        (_, Some(letters)) if !letters.is_empty() => {
            letters.iter().flat_map(one_of_a_cause).collect()
        }
        _ => vec!["no dead letters".to_owned()],
    };
    if !listed.complete {
        lines.push(warn("there are more letters than one look goes through"));
    }
    if let (Some(next), Some(print)) = (&listed.next, fingerprint) {
        lines.push(dim(format!(
            "more: flotilla dead list --fingerprint {print} --cursor {next}"
        )));
    }
    lines
}

fn by_cause(groups: &[Group]) -> Vec<String> {
    let head = format!(
        "{:<13} {:>7} {:<9} {:<12} {:<21} {:>7}  reason",
        "fingerprint", "letters", "role", "kind", "last", "number"
    );
    let room = width().saturating_sub(77).max(40);
    let rows = groups.iter().map(|group| {
        format!(
            "{:<13} {:>7} {:<9} {:<12} {:<21} {:>7}  {}",
            group.fingerprint,
            group.count,
            one_line(&group.role, 9),
            group.kind,
            format!("{:.0}", group.last),
            group.seq,
            one_line(&group.reason, room)
        )
    });
    std::iter::once(bold(head)).chain(rows).collect()
}

fn one_of_a_cause(letter: &DeadLetter) -> Vec<String> {
    let head = format!("{:>7} {:.0}", letter.seq, letter.at);
    vec![
        format!("{} {}", bold(head), one_line(&letter.subject, 200)),
        format!("        {}", dim(one_line(&letter.reason, 300))),
    ]
}

pub(super) fn letter(shown: &Shown) -> Vec<String> {
    let Shown { letter, .. } = shown;
    let seq = letter.seq;
    let mut lines = vec![
        format!(
            "{} {}, given up by the {} at {:.0}",
            bold(format!("dead letter {seq}")),
            letter.kind,
            one_line(&letter.role, 20),
            letter.at
        ),
        format!(
            "  from     {} {} of {}",
            one_line(&letter.subject, 300),
            letter.stream_seq,
            letter
                .stream
                .as_deref()
                .unwrap_or("a stream that is not known")
        ),
        format!("  cause    {}", letter.fingerprint),
    ];
    let reason = one_line(&letter.reason, 1_000);
    let reason = wrap(&reason, width().saturating_sub(11));
    let heads = std::iter::once("  reason   ").chain(std::iter::repeat("           "));
    lines.extend(
        heads
            .zip(reason)
            .map(|(head, line)| format!("{head}{line}")),
    );
    if let Some(deliveries) = letter.deliveries {
        lines.push(format!("  handed out {deliveries} times"));
    }
    if let Some(cut) = &letter.cut {
        lines.push(warn(format!("  cut      it had {}", one_line(cut, 120))));
    }
    let payload = one_line(&plain(&shown.payload), 4_000);
    let more = if shown.truncated { " …" } else { "" };
    lines.push(format!("  payload  {payload}{more}"));
    match (&letter.run, &shown.goes_on) {
        (Some(run), None) if shown.waits => lines.push(format!("  run      {run} waits for it")),
        (Some(run), Some(why)) => lines.push(format!("  run      {run}: {why}")),
        (_, _) => {}
    }
    let mut advice = vec![
        (format!("dead redrive {seq}"), "have it handled again"),
        (format!("dead drop {seq} --reason WHY"), "give it up"),
    ];
    if letter.run.is_none() {
        let edit = format!("dead edit {seq} --payload @FILE");
        advice.push((edit, "the same with another payload"));
    }
    lines.extend(to_do(&advice));
    lines
}

pub(super) fn told(settled: &SettledLetter) -> Vec<String> {
    let seq = settled.seq;
    let subject = one_line(&settled.subject, 200);
    vec![match settled.action {
        Action::Redrive => {
            format!("dead letter {seq} is handled again: {subject}; if that fails, it is a new one")
        }
        Action::Drop => format!("dead letter {seq} is gone: {subject}"),
    }]
}

pub(super) fn of_job(job: &Job) -> Vec<String> {
    let Job {
        done,
        total,
        refused,
        action,
        ..
    } = job;
    let mut lines = vec![format!("{done} of {total} dead letters are {action}")];
    if job.state == JobState::Running {
        lines.push(dim(format!("it goes on: /v1/dead/redrives/{}", job.id)));
    }
    if *refused > 0 {
        let why = one_line(job.problem.as_deref().unwrap_or_default(), 400);
        lines.push(warn(format!("{refused} could not be: {why}")));
    }
    lines
}

/// What a list of runs says below it of one that waits on a dead letter.
pub(crate) fn in_list(run: &Summary) -> Option<String> {
    if run.parked_by != Some(ParkedBy::Dead) {
        return None;
    }
    let why = one_line(run.reason.as_deref().unwrap_or_default(), 200);
    Some(format!("{} {} {why}", warn("waits"), run.id))
}

/// What to know about a run that waits on dead letters, and what to type.
pub(crate) fn waits(letters: &[Letter]) -> Vec<String> {
    let of_one = |letter: &Letter| {
        let seq = letter.seq;
        let why = one_line(&letter.reason, 600);
        let mut lines = vec![format!("{} letter {seq}: {why}", warn("  dead   "))];
        lines.extend(to_do(&[
            (format!("dead show {seq}"), "what it is"),
            (format!("dead redrive {seq}"), "have it handled again"),
            (format!("dead drop {seq} --reason WHY"), "the run fails"),
        ]));
        lines
    };
    letters.iter().flat_map(of_one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shown(run: Option<&str>) -> Value {
        json!({"seq": 7, "fingerprint": "0123456789ab", "role": "planner", "kind": "exhausted", "subject": "runs.x",
            "stream": "RUNS", "stream_seq": 12, "run": run, "reason": "given\u{1b}up", "at": "2026-11-21T10:00:00Z",
            "deliveries": 20, "bytes": 3, "payload": {"a": 1}, "truncated": false, "waits": run.is_some()})
    }

    #[test]
    fn a_letter_says_where_it_is_from_what_waits_for_it_and_what_to_type() {
        let run = format!("run_{}", "0".repeat(32));
        let text = letter(&serde_json::from_value(shown(Some(&run))).unwrap()).join("\n");
        for part in [
            "exhausted, given up by the planner",
            "runs.x 12 of RUNS",
            "given up",
            r#"{"a":1}"#,
            "waits for it",
            "flotilla dead redrive 7",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        assert!(!text.contains("dead edit"), "an entry is not edited");
        let event = letter(&serde_json::from_value(shown(None)).unwrap()).join("\n");
        assert!(event.contains("dead edit 7 --payload @FILE"), "{event}");
    }

    #[test]
    fn causes_are_listed_with_how_many_there_are() {
        let group = json!({"fingerprint": "0123456789ab", "role": "gateway", "kind": "unplaceable", "count": 300,
            "first": "2026-11-21T10:00:00Z", "last": "2026-11-21T10:01:00Z", "seq": 9, "subject": "events.a",
            "reason": "no workflow is for it"});
        let listed = json!({"groups": [group], "next": null, "complete": true});
        let text = lines(&serde_json::from_value(listed).unwrap(), None).join("\n");
        assert!(
            text.contains("300") && text.contains("no workflow is for it"),
            "{text}"
        );
        let none = json!({"groups": [], "next": null, "complete": true});
        let none = lines(&serde_json::from_value(none).unwrap(), None);
        assert_eq!(none, ["no dead letters"]);
    }
}
