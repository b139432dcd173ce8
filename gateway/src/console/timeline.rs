//! A run's journal as rows that people read: one for each decision, with what came of it, and one for each thing that the run was told.

mod decided;
mod row;

use std::collections::BTreeMap;

use flotilla_common::{
    entry::{Body, Decided, Decision, Entry, RESERVED_RUN, Resulted, Signalled, Started},
    ids::{Slot, StepKey},
    run::Status,
};
use jiff::Timestamp;

pub(crate) use decided::parked;
pub(crate) use row::Row;
use row::{Shape, Span, Tone};

use super::{
    axis::{Axis, Mark},
    text,
    words::{Badge, Sign, span, usd},
};

/// Rows of one page.
const ROWS_MAX: usize = 500;

/// Rows, and the axis that their bars share.
#[derive(Debug)]
pub(crate) struct Timeline {
    pub(crate) rows: Vec<Row>,
    pub(crate) ticks: Vec<Mark>,
    pub(crate) folds: Vec<Mark>,
    /// Those of them that there is room to tell of.
    pub(crate) told_folds: Vec<Mark>,
    /// How many rows are before these, and the sequence to ask for them with.
    pub(crate) older: Option<(usize, u64)>,
    /// Whether there are rows after these.
    pub(crate) is_cut: bool,
}

/// Takes entries in the order of the journal.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    began: Option<Timestamp>,
    rows: Vec<Row>,
    /// Rows of actions and runs that have no result yet, by their decisions.
    open: BTreeMap<u64, usize>,
    /// Rows of questions that nobody has answered, by where they stand, and when it is too late to.
    asked: BTreeMap<Slot, (usize, i64)>,
    /// Rows of steps that the run waits at.
    parked: BTreeMap<StepKey, usize>,
}

impl Builder {
    /// One more entry.
    pub(crate) fn add(&mut self, entry: &Entry) {
        match &entry.body {
            Body::Started(started) => self.started(entry, started),
            Body::Decided(decided) => self.decided(entry, decided),
            Body::Resulted(resulted) => self.resulted(entry, resulted),
            Body::Signalled(signalled) => self.signalled(entry, signalled),
            Body::Fired(_) => {
                let mut row = self.row(entry, Sign::Clock, Tone::Calm);
                row.what = format!("timer {} fired", entry.address.name);
                row.is_minor = true;
                self.rows.push(row);
            }
        }
    }

    /// All of it as of a time, the newest rows of those before `before`.
    pub(crate) fn end(
        mut self,
        end: Option<Timestamp>,
        now: Timestamp,
        before: Option<u64>,
    ) -> Timeline {
        let last = self.ms(end.unwrap_or(now)).max(0);
        // That it is too late is not on the journal: what is done then is.
        for (row, until) in std::mem::take(&mut self.asked).into_values() {
            if until <= last {
                self.close(row, until);
            }
        }
        for row in &mut self.rows {
            row.settle(last, end.is_none());
        }
        let mut rows = self.rows;
        let total = rows.len();
        rows.retain(|row| before.is_none_or(|before| row.seq < before));
        let is_cut = rows.len() < total;
        let hidden = rows.len().saturating_sub(ROWS_MAX);
        let rows = rows.split_off(hidden);
        // What comes after the end changes nothing, and is not worth room.
        let busy = rows.iter().flat_map(Row::busy);
        let busy: Vec<_> = busy.filter(|(from, _)| *from <= last).collect();
        let from = if is_cut {
            busy.iter().map(|(_, to)| *to).max().unwrap_or(last)
        } else {
            last
        };
        let axis = Axis::new(&busy, from);
        let mut rows = rows;
        for row in &mut rows {
            row.draw(&axis);
        }
        Timeline {
            older: rows
                .first()
                .filter(|_| hidden > 0)
                .map(|row| (hidden, row.seq)),
            rows,
            ticks: axis.ticks(),
            folds: axis.folds(),
            told_folds: axis.told_folds(),
            is_cut,
        }
    }

    fn ms(&self, at: Timestamp) -> i64 {
        let since = self.began.map(|began| at.duration_since(began).as_millis());
        i64::try_from(since.unwrap_or_default()).unwrap_or(i64::MAX)
    }

    fn row(&self, entry: &Entry, sign: Sign, tone: Tone) -> Row {
        Row::new(entry, self.ms(entry.at), sign, tone)
    }

    fn started(&mut self, entry: &Entry, started: &Started) {
        self.began = Some(entry.at);
        let event = &started.event;
        let mut row = self.row(entry, Sign::Event, Tone::Calm);
        row.what = format!("began with the event {}", event.kind);
        let subject = event
            .subject
            .iter()
            .map(|subject| ("about", text::line(subject, 200)));
        let from = [
            ("from", text::line(&event.source, 200)),
            ("id", text::line(&event.id, 120)),
        ];
        row.facts = from.into_iter().chain(subject).collect();
        row.detail("Event data", text::shown(&event.data));
        if !started.lessons.is_empty() {
            row.detail(
                "Lessons of earlier runs",
                text::words(&started.lessons.join("\n")),
            );
        }
        self.rows.push(row);
    }

    fn decided(&mut self, entry: &Entry, decided: &Decided) {
        let slot = Slot {
            step: decided.step.clone(),
            branch: decided.branch,
        };
        let at = self.ms(entry.at);
        if let Some(parked) = self.parked.remove(&decided.step) {
            self.close(parked, at);
        }
        let (sign, tone) = decided::sign(&decided.decision);
        let mut row = self.row(entry, sign, tone);
        row.step = slot.to_string();
        row.key = Some(decided.step.to_string());
        decided::describe(&mut row, decided);
        let index = self.rows.len();
        match &decided.decision {
            Decision::Act { .. } | Decision::Run { .. } => {
                let shape = if matches!(decided.decision, Decision::Act { .. }) {
                    Shape::Queue
                } else {
                    Shape::Run
                };
                row.spans.push(Span::open(shape, at));
                self.open.insert(entry.seq, index);
            }
            Decision::Approve(approve) => {
                row.spans.push(Span::open(Shape::Wait, at));
                let until = approve.until.map_or(i64::MAX, |until| self.ms(until));
                if let Some((before, until)) = self.asked.insert(slot, (index, until)) {
                    self.close(before, until.min(at));
                }
            }
            Decision::Park { .. } => {
                row.spans.push(Span::open(Shape::Wait, at));
                self.parked.insert(decided.step.clone(), index);
            }
            Decision::Sleep { until } => {
                row.spans.push(Span::new(Shape::Wait, at, self.ms(*until)));
            }
            Decision::End { outcome, .. } => row.badge = Some(Badge(Status::from(*outcome))),
            Decision::Answer { .. }
            | Decision::Finish { .. }
            | Decision::Abandon {}
            | Decision::Branch { .. }
            | Decision::Skip {}
            | Decision::Begin { .. }
            | Decision::Each { .. }
            | Decision::Review { .. }
            | Decision::Fail { .. }
            | Decision::Again { .. }
            | Decision::Undo { .. } => {}
        }
        self.rows.push(row);
    }

    fn close(&mut self, index: usize, at: i64) {
        if let Some(row) = self.rows.get_mut(index) {
            row.close(at);
        }
    }

    fn resulted(&mut self, entry: &Entry, resulted: &Resulted) {
        let at = self.ms(entry.at);
        let index = self.open.remove(&resulted.decided);
        let Some(row) = index.and_then(|index| self.rows.get_mut(index)) else {
            let mut row = self.row(entry, Sign::Tool, Tone::Calm);
            row.step = resulted.slot().to_string();
            row.what = format!("another result of {}: the first one counts", resulted.tool);
            row.is_minor = true;
            self.rows.push(row);
            return;
        };
        let took = i64::try_from(resulted.took_ms).unwrap_or(i64::MAX);
        row.close(at);
        if resulted.tool.as_str() != RESERVED_RUN {
            row.split(at.saturating_sub(took).max(row.at_ms), at);
        }
        row.result(resulted);
    }

    fn signalled(&mut self, entry: &Entry, signalled: &Signalled) {
        let by = signalled.by.as_deref().unwrap_or("somebody");
        let by = text::line(by, 80);
        let at = self.ms(entry.at);
        if let Some(judged) = &signalled.approval {
            let slot = Slot {
                step: judged.step.clone(),
                branch: judged.branch,
            };
            if let Some(row) = self
                .asked
                .remove(&slot)
                .and_then(|(index, _)| self.rows.get_mut(index))
            {
                row.close(at);
                row.judged(entry, signalled, &by);
                return;
            }
        }
        let mut row = self.row(entry, Sign::Person, Tone::Ask);
        row.what = format!("{} by {by}", entry.address.name);
        let words = [&signalled.text, &signalled.reason];
        let words: Vec<String> = words
            .into_iter()
            .flatten()
            .map(|words| text::words(words))
            .collect();
        row.reasoning = (!words.is_empty()).then(|| words.join("\n"));
        let step = signalled.step.iter().map(|step| ("step", step.to_string()));
        let money = signalled.usd_nano.iter().map(|amount| ("to", usd(*amount)));
        let from = signalled
            .from
            .iter()
            .map(|from| ("from", text::line(from, 60)));
        let letter = signalled
            .letter
            .iter()
            .map(|letter| ("dead letter", letter.letter.to_string()));
        row.facts = step.chain(money).chain(letter).chain(from).collect();
        self.rows.push(row);
    }
}

#[cfg(test)]
mod tests;
