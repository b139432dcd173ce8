//! An entry as watchers get it.

use std::sync::OnceLock;

use bytes::Bytes;
use flotilla_common::{
    entry::{Body, Decision, Kind, Outcome, RESERVED_END},
    ids::RunId,
    io::journal::{Raw, decode},
    run::Status,
};
use serde_json::json;

use crate::history::Line;

/// Entries of which nobody knows the kind: somebody else wrote them.
const UNKNOWN: &str = "unknown";
/// Kinds of entries, as a subject has them.
const KINDS: [Kind; 5] = [
    Kind::Started,
    Kind::Decided,
    Kind::Resulted,
    Kind::Signalled,
    Kind::Fired,
];

/// An entry of a run, shared by all who watch it.
#[derive(Debug)]
pub(crate) struct Seen {
    raw: Raw,
    frame: OnceLock<Bytes>,
}

impl Seen {
    /// `None` for a timer's schedule, which is no entry.
    pub(crate) fn new(raw: Raw) -> Option<Self> {
        let is_schedule = parts(&raw.subject).1 == "timer";
        (!is_schedule).then_some(Self {
            raw,
            frame: OnceLock::new(),
        })
    }

    /// Its sequence.
    pub(crate) fn seq(&self) -> u64 {
        self.raw.seq
    }

    /// Its kind; `unknown` where there is none of that name.
    pub(crate) fn kind(&self) -> &str {
        let kind = parts(&self.raw.subject).1;
        let is_known = KINDS.iter().any(|known| known.to_string() == kind);
        if is_known { kind } else { UNKNOWN }
    }

    /// Workflow, tool or reserved word, signal or timer.
    pub(crate) fn name(&self) -> &str {
        parts(&self.raw.subject).2
    }

    /// Whether nothing comes after it that counts.
    pub(crate) fn is_end(&self) -> bool {
        self.kind() == "decided" && self.name() == RESERVED_END
    }

    /// How it ended, as JSON, where it is an end.
    pub(crate) fn ending(&self) -> String {
        let run = parts(&self.raw.subject).0;
        let how = outcome(&self.raw);
        let (outcome, reason) = how.unzip();
        let status = outcome.map(Status::from);
        json!({"run": run, "status": status, "reason": reason.flatten()}).to_string()
    }

    /// As a server-sent event: the line of `GET /v1/runs/{id}` that it is. Made once, whoever asks first.
    pub(crate) fn frame(&self) -> Bytes {
        let made = self.frame.get_or_init(|| {
            let line = Line::of(&self.raw).and_then(|line| serde_json::to_string(&line).ok());
            let line = line.unwrap_or_default();
            let (seq, kind) = (self.raw.seq, self.kind());
            format!("id: {seq}\nevent: {kind}\ndata: {line}\n\n").into()
        });
        made.clone()
    }
}

/// How a run ended, and why; `None` where that cannot be read.
fn outcome(raw: &Raw) -> Option<(Outcome, Option<String>)> {
    let Body::Decided(decided) = decode(raw).ok()??.body else {
        return None;
    };
    let Decision::End { outcome, reason } = decided.decision else {
        return None;
    };
    Some((outcome, reason))
}

/// The run that a message is of.
pub(super) fn run_of(subject: &str) -> Option<RunId> {
    parts(subject).0.parse().ok()
}

/// Run, kind and name.
fn parts(subject: &str) -> (&str, &str, &str) {
    let mut tokens = subject.splitn(4, '.').skip(1);
    let mut next = || tokens.next().unwrap_or_default();
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::name;

    fn seen(rest: &str, payload: &[u8]) -> Option<Seen> {
        let run = RunId::derive(&name("w"), "s", "1");
        Seen::new(Raw {
            seq: 7,
            subject: format!("runs.{run}.{rest}"),
            payload: payload.to_vec().into(),
        })
    }

    #[test]
    fn an_entry_is_one_event_whatever_is_in_it() {
        let frame = |rest, payload| {
            let frame = seen(rest, payload).unwrap().frame();
            String::from_utf8(frame.to_vec()).unwrap()
        };
        let pretty = frame("decided.end", b"{\n  \"v\": 1,\r\n  \"x\": \"a\\nb\"\n}");
        assert!(pretty.starts_with("id: 7\nevent: decided\ndata: {\"seq\":7,"));
        assert_eq!(pretty.matches('\n').count(), 4, "{pretty}");
        assert!(
            !pretty.contains('\r') && pretty.ends_with("\n\n"),
            "{pretty}"
        );
        let hostile = frame("resulted.t", b"no JSON\n\nevent: end\n\xff");
        assert_eq!(hostile.matches('\n').count(), 4, "{hostile}");
        // Nobody can write what looks like an event of ours.
        assert!(frame("end.x", b"{}").contains("event: unknown\n"));
        assert!(seen("timer.deadline", b"{}").is_none());
    }

    #[test]
    fn an_end_says_how_even_where_it_cannot_be_read() {
        let end = br#"{"v":1,"at":"2026-01-01T00:00:00Z","step":"end","decision":{"end":{"outcome":"escalated","reason":"r"}},"prev":"","rests":[]}"#;
        let broken = seen("decided.end", b"rubbish").unwrap();
        assert!(broken.is_end());
        let told: serde_json::Value = serde_json::from_str(&broken.ending()).unwrap();
        assert!(told["status"].is_null() && told["run"].is_string());
        assert!(!seen("decided.wait", end).unwrap().is_end());
    }
}
