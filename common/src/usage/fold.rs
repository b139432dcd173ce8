//! From entries to sums.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::{Durations, Row, measure};
use crate::{
    entry::{
        Account, Body, Call, Decided, Decision, Entry, Outcome, RESERVED_RUN, Resulted, Started,
        ToolOutcome,
    },
    ids::RunId,
    money::Usd,
};

/// How long days are kept after they are over.
const DAYS: i64 = 400;
/// How long minutes are kept.
const MINUTES: i64 = 26 * 60;
/// What a call is put down to where nothing says which model it was.
const NO_MODEL: &str = "(unknown)";

/// A run that has begun and not ended, as far as the ledger has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// What runs.
    pub workflow: String,
    /// Who pays.
    pub tenant: String,
    /// When it began.
    pub started_at: Timestamp,
    /// What Claude cost so far.
    #[serde(default)]
    pub usd_nano: Usd,
}

/// What is not kept any more is not summed up either.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    now: Timestamp,
}

impl Keep {
    /// As of a time.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { now }
    }

    /// When what is known of a day goes.
    #[must_use]
    pub fn day_until(day: Date) -> Option<Timestamp> {
        let after = day.checked_add((DAYS + 1).days()).ok()?;
        let after = after.to_zoned(TimeZone::UTC).ok()?;
        Some(after.timestamp())
    }

    /// When what is known of a minute (since 1970) goes.
    #[must_use]
    pub fn minute_until(minute: i64) -> Option<Timestamp> {
        Timestamp::from_second((minute + MINUTES).checked_mul(60)?).ok()
    }

    fn day(self, at: Timestamp) -> Option<Date> {
        let day = at.to_zoned(TimeZone::UTC).date();
        Self::day_until(day)
            .is_some_and(|until| until > self.now)
            .then_some(day)
    }

    fn minute(self, at: Timestamp) -> Option<i64> {
        let minute = at.as_second().div_euclid(60);
        Self::minute_until(minute)
            .is_some_and(|until| until > self.now)
            .then_some(minute)
    }
}

/// Sums by row and measure.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sums(pub BTreeMap<Row, BTreeMap<&'static str, u64>>);

impl Sums {
    fn add(&mut self, row: Row, measures: impl IntoIterator<Item = (&'static str, u64)>) {
        let sums = self.0.entry(row).or_default();
        for (measure, amount) in measures.into_iter().filter(|(_, amount)| *amount > 0) {
            let sum = sums.entry(measure).or_default();
            *sum = sum.saturating_add(amount);
        }
    }
}

/// What some entries add to the ledger.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    /// By day (UTC).
    pub days: BTreeMap<Date, Sums>,
    /// By minute since 1970.
    pub minutes: BTreeMap<i64, Sums>,
    /// By day: what runs that were charged or ended then had cost by then, with who pays.
    pub dearest: BTreeMap<Date, BTreeMap<RunId, (String, Usd)>>,
    /// Runs that began.
    pub started: u64,
    /// Runs that ended.
    pub ended: u64,
    /// Runs that have changed and not ended.
    pub open: BTreeMap<RunId, Open>,
    /// Runs that were open before and are not any more.
    pub closed: BTreeSet<RunId>,
    /// When the last entry was written, by its writer's clock.
    pub at: Option<Timestamp>,
}

/// Reads entries in the journal's order.
#[derive(Debug)]
pub struct Fold {
    keep: Keep,
    /// Those known before, and those that began since.
    open: HashMap<RunId, Open>,
    batch: Batch,
}

impl Fold {
    /// Goes on where these runs are open; of those that the entries speak of, all that are must be among them.
    #[must_use]
    pub fn new(open: HashMap<RunId, Open>, keep: Keep) -> Self {
        Self {
            keep,
            open,
            batch: Batch::default(),
        }
    }

    /// Takes the next entry.
    pub fn take(&mut self, entry: &Entry) {
        self.batch.at = Some(entry.at);
        match &entry.body {
            Body::Started(started) => self.start(entry, started),
            Body::Decided(decided) => self.decide(entry, decided),
            Body::Resulted(resulted) => self.result(entry, resulted),
            Body::Signalled(_) | Body::Fired(_) => {}
        }
    }

    /// What they add.
    #[must_use]
    pub fn finish(self) -> Batch {
        self.batch
    }

    fn start(&mut self, entry: &Entry, started: &Started) {
        let run = &entry.address.run;
        if self.open.contains_key(run) {
            return;
        }
        let open = Open {
            workflow: started.workflow.name.to_string(),
            tenant: started.event.tenant().to_owned(),
            started_at: entry.at,
            usd_nano: Usd::default(),
        };
        let one = [(measure::STARTED, 1)];
        self.add(entry.at, of_runs(&open), pace(&open), one);
        self.batch.started += 1;
        self.open.insert(run.clone(), open.clone());
        self.batch.open.insert(run.clone(), open);
    }

    fn decide(&mut self, entry: &Entry, decided: &Decided) {
        let run = &entry.address.run;
        // What stands after the end, or before the beginning, counts nowhere: no run knows it.
        let Some(mut open) = self.open.remove(run) else {
            return;
        };
        let steps = u64::from(decided.decision.is_step());
        let mut measures = vec![(measure::DECISIONS, 1), (measure::STEPS, steps)];
        if let Some(call) = &decided.call {
            self.charge(entry, &open, call);
            open.usd_nano = open.usd_nano + call.usd_nano;
            measures.push((measure::USD, call.usd_nano.nano()));
            measures.push((measure::WASTED_USD, call.wasted_usd_nano.nano()));
        }
        let end = if let Decision::End { outcome, .. } = &decided.decision {
            Some(*outcome)
        } else {
            None
        };
        if let Some(outcome) = end {
            measures.push((outcome_measure(outcome), 1));
        }
        self.add(entry.at, of_runs(&open), pace(&open), measures);
        if (end.is_some() || decided.call.is_some())
            && let Some(day) = self.keep.day(entry.at)
        {
            let dearest = self.batch.dearest.entry(day).or_default();
            dearest.insert(run.clone(), (open.tenant.clone(), open.usd_nano));
        }
        if end.is_some() {
            self.end(entry, &open);
        } else {
            self.batch.open.insert(run.clone(), open.clone());
            self.open.insert(run.clone(), open);
        }
    }

    fn end(&mut self, entry: &Entry, open: &Open) {
        let run = &entry.address.run;
        self.batch.ended += 1;
        self.batch.open.remove(run);
        self.batch.closed.insert(run.clone());
        let took = entry.at.duration_since(open.started_at);
        let took = took.max(SignedDuration::ZERO).as_secs_f64();
        if let Some(minute) = self.keep.minute(entry.at) {
            let sums = self.batch.minutes.entry(minute).or_default();
            sums.add(pace(open), [(Durations::measure(took), 1)]);
        }
    }

    /// A call of a run; who is charged is what the call says.
    fn charge(&mut self, entry: &Entry, open: &Open, call: &Call) {
        let Account { tenant, workflow } = &call.account;
        // Those of before accounts were kept name no workflow.
        let (tenant, workflow) = if workflow.is_empty() {
            (&open.tenant, &open.workflow)
        } else {
            (tenant, workflow)
        };
        let model = [&call.model, &call.asked];
        let model = model.into_iter().find(|model| !model.is_empty());
        let model = model.map_or_else(|| NO_MODEL.to_owned(), Clone::clone);
        let row = Row::Claude {
            workflow: workflow.clone(),
            model: model.clone(),
            tenant: tenant.clone(),
        };
        if let Some(day) = self.keep.day(entry.at) {
            let sums = self.batch.days.entry(day).or_default();
            sums.add(row, of_call(call));
        }
        if let Some(minute) = self.keep.minute(entry.at) {
            let tenant = tenant.clone();
            let sums = self.batch.minutes.entry(minute).or_default();
            sums.add(Row::Model { model, tenant }, of_call(call));
        }
    }

    fn result(&mut self, entry: &Entry, resulted: &Resulted) {
        // How a run within a run ended is that run's own line.
        let is_run = resulted.tool.as_str() == RESERVED_RUN;
        let Some(open) = self.open.get(&entry.address.run).filter(|_| !is_run) else {
            return;
        };
        let Some(minute) = self.keep.minute(entry.at) else {
            return;
        };
        let outcome = match &resulted.outcome {
            ToolOutcome::Ok { .. } => measure::OK,
            ToolOutcome::Failed { .. } => measure::FAILED,
            ToolOutcome::Unknown { .. } => measure::UNKNOWN,
        };
        let row = Row::Tool {
            tool: resulted.tool.to_string(),
            tenant: open.tenant.clone(),
        };
        #[expect(clippy::cast_precision_loss, reason = "milliseconds, for a histogram")]
        let took = Durations::measure(resulted.took_ms as f64 / 1_000.0);
        let sums = self.batch.minutes.entry(minute).or_default();
        sums.add(row, [(outcome, 1), (took, 1)]);
    }

    /// Adds to a row of the day and one of the minute.
    fn add(
        &mut self,
        at: Timestamp,
        of_day: Row,
        of_minute: Row,
        measures: impl IntoIterator<Item = (&'static str, u64)> + Clone,
    ) {
        if let Some(day) = self.keep.day(at) {
            let sums = self.batch.days.entry(day).or_default();
            sums.add(of_day, measures.clone());
        }
        if let Some(minute) = self.keep.minute(at) {
            let sums = self.batch.minutes.entry(minute).or_default();
            sums.add(of_minute, measures);
        }
    }
}

fn of_runs(open: &Open) -> Row {
    Row::Runs {
        workflow: open.workflow.clone(),
        tenant: open.tenant.clone(),
    }
}

fn pace(open: &Open) -> Row {
    Row::Pace {
        tenant: open.tenant.clone(),
    }
}

fn of_call(call: &Call) -> [(&'static str, u64); 9] {
    let attempts = call.attempts.iter();
    let rejected = attempts.filter(|attempt| attempt.complaint.is_some() && !attempt.told);
    [
        (measure::CALLS, call.replies()),
        (measure::WASTED_CALLS, call.wasted),
        (measure::REJECTED, rejected.map(|_| 1).sum()),
        (measure::INPUT, call.usage.input_tokens),
        (measure::OUTPUT, call.usage.output_tokens),
        (measure::CACHE_READ, call.usage.cache_read_input_tokens),
        (measure::CACHE_WRITE, call.usage.cache_creation_input_tokens),
        (measure::USD, call.usd_nano.nano()),
        (measure::WASTED_USD, call.wasted_usd_nano.nano()),
    ]
}

fn outcome_measure(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => measure::COMPLETED,
        Outcome::Escalated => measure::ESCALATED,
        Outcome::Failed => measure::FAILED,
        Outcome::Cancelled => measure::CANCELLED,
    }
}
