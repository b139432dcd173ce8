//! One row of a timeline.

use flotilla_common::entry::{Entry, Resulted, Signalled, ToolOutcome};
use jiff::Timestamp;

use super::{Axis, Badge, Sign, span, text, usd};
use crate::console::words::exact;

/// What a colour says beside a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing in particular.
    Calm,
    /// It worked.
    Good,
    /// It did not.
    Bad,
    /// Somebody should look.
    Warn,
    /// A person is in it.
    Ask,
    /// A model spoke.
    Busy,
}

impl Tone {
    /// The class of elements in this tone.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Ask => "ask",
            Self::Busy => "busy",
        }
    }
}

/// What a part of a bar stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Claude was asked.
    Call,
    /// It waited for an executor.
    Queue,
    /// It was done.
    Run,
    /// The run waited for a person or a time.
    Wait,
}

impl Shape {
    fn class(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Queue => "queue",
            Self::Run => "run",
            Self::Wait => "wait",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Call => "asked Claude",
            Self::Queue => "waited for an executor",
            Self::Run => "ran",
            Self::Wait => "waited",
        }
    }
}

/// A stretch of time in a row, in milliseconds since the run began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    shape: Shape,
    from: i64,
    /// `None`: it goes on.
    to: Option<i64>,
    goes_on: bool,
}

impl Span {
    pub(super) fn new(shape: Shape, from: i64, to: i64) -> Self {
        let to = Some(to.max(from));
        Self {
            shape,
            from,
            to,
            goes_on: false,
        }
    }

    pub(super) fn open(shape: Shape, from: i64) -> Self {
        Self {
            shape,
            from,
            to: None,
            goes_on: false,
        }
    }
}

/// A part of a bar, as it is drawn: places in percent of the width.
#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) class: &'static str,
    pub(crate) x: String,
    pub(crate) width: String,
    pub(crate) goes_on: bool,
    pub(crate) label: String,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) tone: Tone,
    pub(crate) sign: Sign,
    pub(crate) word: String,
    pub(crate) message: Option<String>,
}

/// A text to be opened.
#[derive(Debug)]
pub(crate) struct Detail {
    pub(crate) label: &'static str,
    pub(crate) text: String,
}

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    /// The entry's sequence.
    pub(crate) seq: u64,
    pub(super) at_ms: i64,
    /// When it was written, in full.
    pub(crate) exact: String,
    pub(crate) iso: Timestamp,
    pub(crate) sign: Sign,
    pub(crate) tone: Tone,
    /// Where in the definition: `triage/2#1`; empty for what is of the whole run.
    pub(crate) step: String,
    /// What to ask for how it was decided with; there where Claude was asked.
    pub(crate) key: Option<String>,
    /// What was decided, or happened.
    pub(crate) what: String,
    /// The tool with its version, or the workflow, in what was decided.
    pub(crate) name: Option<String>,
    /// Its parameters in a line.
    pub(crate) with: Option<String>,
    /// Another run: its id.
    pub(crate) child: Option<String>,
    /// The end of the run.
    pub(crate) badge: Option<Badge>,
    /// In the words of a model, or a person.
    pub(crate) reasoning: Option<String>,
    /// What was wrong with replies that were not taken.
    pub(crate) faults: Vec<String>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) details: Vec<Detail>,
    /// Of little interest beside the others.
    pub(crate) is_minor: bool,
    pub(super) spans: Vec<Span>,
    pub(crate) bars: Vec<Bar>,
    /// Where its time is on the axis, in percent, where it has no bar.
    pub(crate) point: Option<String>,
}

impl Row {
    pub(super) fn new(entry: &Entry, at_ms: i64, sign: Sign, tone: Tone) -> Self {
        Self {
            seq: entry.seq,
            at_ms,
            exact: exact(entry.at),
            iso: entry.at,
            sign,
            tone,
            step: String::new(),
            key: None,
            what: String::new(),
            name: None,
            with: None,
            child: None,
            badge: None,
            reasoning: None,
            faults: Vec::new(),
            outcome: None,
            facts: Vec::new(),
            details: Vec::new(),
            is_minor: false,
            spans: Vec::new(),
            bars: Vec::new(),
            point: None,
        }
    }

    /// Since the run began.
    pub(crate) fn clock(&self) -> String {
        format!("+{}", ms(self.at_ms))
    }

    /// The sequence before its own.
    pub(crate) fn before(&self) -> u64 {
        self.seq.saturating_sub(1)
    }

    /// How long it took in all; nothing for what is a moment.
    pub(crate) fn took(&self) -> Option<String> {
        let first = self.spans.iter().map(|span| span.from).min()?;
        let last = self.spans.iter().filter_map(|span| span.to).max()?;
        Some(ms(last - first))
    }

    pub(super) fn detail(&mut self, label: &'static str, text: String) {
        self.details.push(Detail { label, text });
    }

    /// What goes on in it ends.
    pub(super) fn close(&mut self, at: i64) {
        if let Some(span) = self.spans.iter_mut().find(|span| span.to.is_none()) {
            span.to = Some(at.max(span.from));
        }
    }

    /// Its last stretch was a wait until `began`, and work from there on.
    pub(super) fn split(&mut self, began: i64, ended: i64) {
        if let Some(last) = self.spans.last_mut() {
            last.to = Some(began.max(last.from));
        }
        self.spans.push(Span::new(Shape::Run, began, ended));
    }

    /// What has no end yet goes on until now, or until the run has ended.
    pub(super) fn settle(&mut self, last: i64, goes_on: bool) {
        for span in &mut self.spans {
            if span.to.is_none_or(|to| to > last) {
                span.to = Some(last.max(span.from));
                span.goes_on = goes_on;
            }
        }
    }

    /// When something was done in it: a fold of the axis must not hide that.
    pub(super) fn busy(&self) -> Vec<(i64, i64)> {
        let spans = self.spans.iter().filter(|span| span.shape != Shape::Wait);
        let spans = spans.map(|span| (span.from, span.to.unwrap_or(span.from)));
        spans.chain([(self.at_ms, self.at_ms)]).collect()
    }

    pub(super) fn draw(&mut self, axis: &Axis) {
        let bars = self.spans.iter().map(|span| {
            let to = span.to.unwrap_or(span.from);
            let words = span.shape.words();
            let mark = axis.stretch(span.from, to, format!("{words} {}", ms(to - span.from)));
            // What is too short to be seen is drawn as a line.
            let width = mark.width.max(0.35);
            Bar {
                class: span.shape.class(),
                x: percent(mark.x.min(100.0 - width)),
                width: percent(width),
                goes_on: span.goes_on,
                label: mark.label,
            }
        });
        self.bars = bars.collect();
        if self.bars.is_empty() {
            self.point = Some(percent(axis.x(self.at_ms)));
        }
    }

    /// What a tool, or another run, gave.
    pub(super) fn result(&mut self, resulted: &Resulted) {
        let (tone, sign, word, message) = match &resulted.outcome {
            ToolOutcome::Ok { .. } => (Tone::Good, Sign::Check, "done".to_owned(), None),
            ToolOutcome::Failed { error, message, .. } => (
                Tone::Bad,
                Sign::Cross,
                format!("failed: {error}"),
                Some(text::words(message)),
            ),
            ToolOutcome::Unknown { message } => (
                Tone::Warn,
                Sign::Unknown,
                "outcome unknown".to_owned(),
                Some(text::words(message)),
            ),
        };
        self.outcome = Some(Outcome {
            tone,
            sign,
            word,
            message,
        });
        if self.child.is_none() {
            if resulted.attempts != 1 {
                self.facts.push(("attempts", resulted.attempts.to_string()));
            }
            self.facts.push(("by", text::line(&resulted.worker, 60)));
        }
        if let Some(amount) = resulted.usd_nano {
            self.facts.push(("cost", usd(amount)));
        }
        if let Some(output) = resulted.outcome.output() {
            self.detail("Output", text::shown(output));
        }
        if let Some(reconciled) = &resulted.reconciled {
            let found = serde_json::to_value(reconciled).unwrap_or_default();
            self.detail("What was found out", text::shown(&found));
        }
    }

    /// What a person said to it.
    pub(super) fn judged(&mut self, entry: &Entry, signalled: &Signalled, by: &str) {
        let approved = entry.address.name.as_str() == flotilla_common::run::SIGNAL_APPROVE;
        let (tone, sign, word) = if approved {
            (Tone::Good, Sign::Check, "approved")
        } else {
            (Tone::Bad, Sign::Cross, "rejected")
        };
        self.outcome = Some(Outcome {
            tone,
            sign,
            word: format!("{word} by {by}"),
            message: signalled.reason.as_deref().map(text::words),
        });
        let with = signalled
            .approval
            .as_ref()
            .and_then(|judged| judged.with.as_ref());
        if let Some(with) = with {
            self.detail("With these parameters instead", text::shown(with));
        }
    }
}

/// Milliseconds for people.
fn ms(ms: i64) -> String {
    span(std::time::Duration::from_millis(
        u64::try_from(ms).unwrap_or(0),
    ))
}

fn percent(x: f64) -> String {
    format!("{:.3}%", x.clamp(0.0, 100.0))
}
