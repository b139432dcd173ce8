//! How the fleet does, by the minute, and how it stands now.

use std::collections::BTreeMap;

use flotilla_common::{
    access::Caller,
    io::{clock, http::Problem, usage::Sum},
    money::Usd,
    run::Status,
    usage::{Durations, Row, measure as m},
};
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use crate::{
    ceilings,
    problem::ask_store,
    routes::App,
    usage::view::{Ask, RunSums, Through, usage},
};

/// Minutes in an answer, when the request does not say.
pub(crate) const MINUTES_DEFAULT: usize = 60;
/// Minutes in an answer at most: as long as they are kept.
pub(crate) const MINUTES_MAX: usize = 26 * 60;

/// Results of a tool in a minute.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub(crate) struct ToolMinute {
    /// Results that are well.
    pub(crate) ok: u64,
    /// Results that are not.
    pub(crate) failed: u64,
    /// Results of which nobody knows whether it was done.
    pub(crate) unknown: u64,
    /// Seconds that half of them took at most; a guess within a bucket of a histogram.
    pub(crate) p50_seconds: Option<f64>,
    /// Seconds that 95 of 100 took at most.
    pub(crate) p95_seconds: Option<f64>,
    #[serde(skip)]
    took: Durations,
}

/// What happened in a minute.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Minute {
    /// When it began.
    pub(crate) at: Timestamp,
    /// Runs that began and ended in it, and what was decided.
    pub(crate) runs: RunSums,
    /// Seconds that half of the runs took at most that ended in it; a guess within a bucket of a histogram.
    pub(crate) p50_seconds: Option<f64>,
    /// Seconds that 95 of 100 of them took at most.
    pub(crate) p95_seconds: Option<f64>,
    /// What Claude cost, by model, in nano-dollars.
    pub(crate) usd_nano: BTreeMap<String, Usd>,
    /// By tool.
    pub(crate) tools: BTreeMap<String, ToolMinute>,
    #[serde(skip)]
    took: Durations,
}

impl Minute {
    fn new(minute: i64) -> Self {
        let at = minute
            .checked_mul(60)
            .and_then(|second| Timestamp::from_second(second).ok());
        Self {
            at: at.unwrap_or_default(),
            runs: RunSums::default(),
            p50_seconds: None,
            p95_seconds: None,
            usd_nano: BTreeMap::new(),
            tools: BTreeMap::new(),
            took: Durations::default(),
        }
    }

    fn add(&mut self, row: Row, measure: &str, sum: u64) {
        match row {
            Row::Pace { .. } => {
                self.runs.add(measure, sum);
                self.took.add(measure, sum);
            }
            Row::Model { model, .. } if measure == m::USD => {
                let cost = self.usd_nano.entry(model).or_default();
                *cost = *cost + Usd::from_nano(sum);
            }
            Row::Tool { tool, .. } => {
                let tool = self.tools.entry(tool).or_default();
                tool.took.add(measure, sum);
                match measure {
                    m::OK => tool.ok += sum,
                    m::FAILED => tool.failed += sum,
                    m::UNKNOWN => tool.unknown += sum,
                    _ => {}
                }
            }
            Row::Claude { .. } | Row::Runs { .. } | Row::Model { .. } => {}
        }
    }

    fn done(mut self) -> Self {
        self.p50_seconds = self.took.quantile(0.5);
        self.p95_seconds = self.took.quantile(0.95);
        for tool in self.tools.values_mut() {
            tool.p50_seconds = tool.took.quantile(0.5);
            tool.p95_seconds = tool.took.quantile(0.95);
        }
        self
    }
}

/// Runs that have not ended, by how they stand.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Active {
    /// Under way.
    pub(crate) running: u64,
    /// A person must allow or decide something.
    pub(crate) waiting: u64,
    /// They wait for Claude, money or a batch, or on a dead letter.
    pub(crate) parked: u64,
    /// Somebody wants them to do nothing for now.
    pub(crate) paused: u64,
}

/// How it stands now. What nobody can say now is missing; a tenant's caller is told of what is its own alone.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Now {
    /// Runs that have not ended; of all tenants, so missing for one's caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) active: Option<Active>,
    /// What Claude cost today (UTC), in nano-dollars.
    pub(crate) usd_nano: Usd,
    /// What wasted calls may have cost today besides, at most.
    pub(crate) wasted_usd_nano: Usd,
    /// The ceilings of today, and what is spent and held under each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ceilings: Vec<ceilings::Line>,
    /// Dead letters that nobody has settled; of all tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dead_letters: Option<u64>,
}

/// All of the minutes together.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub(crate) struct Together {
    /// Runs that began and ended, and what was decided.
    pub(crate) runs: RunSums,
    /// Runs that ended, a minute.
    pub(crate) runs_per_minute: f64,
    /// Steps a second.
    pub(crate) steps_per_second: f64,
    /// Of the runs that ended, the part (0 to 1) that completed; `None`: none ended.
    pub(crate) success: Option<f64>,
    /// Seconds that half of the runs took at most.
    pub(crate) p50_seconds: Option<f64>,
    /// Seconds that 95 of 100 took at most.
    pub(crate) p95_seconds: Option<f64>,
}

/// How the fleet does.
#[derive(Debug, Serialize)]
pub(crate) struct Stats {
    /// Oldest first, those in which nothing happened too; the last one is under way.
    pub(crate) minutes: Vec<Minute>,
    /// All of them together.
    pub(crate) together: Together,
    /// How it stands now.
    pub(crate) now: Now,
    /// Whether that is all there is on the journal.
    pub(crate) complete: bool,
    /// How far the journal was read.
    pub(crate) through: Through,
}

/// So many minutes up to now, as far as this caller may see.
///
/// # Errors
/// Redis does not answer.
pub(crate) async fn stats(app: &App, caller: &Caller, minutes: usize) -> Result<Stats, Problem> {
    let now = clock::now();
    let place = ask_store(app.ledger.place()).await?;
    let last = now.as_second().div_euclid(60);
    let count = i64::try_from(minutes.min(MINUTES_MAX)).unwrap_or(1);
    let range = (last - count + 1..=last).collect();
    let sums = ask_store(app.ledger.minutes(range)).await?;
    let (minutes, together) = series(sums, caller);
    let today = now.to_zoned(TimeZone::UTC).date();
    let ask = Ask::of(today, today).seen_by(caller);
    let used = usage(app, &ask).await?.total;
    let mut standing = Now {
        usd_nano: used.usd_nano,
        wasted_usd_nano: used.wasted_usd_nano,
        // Redis has answered; what NATS does not say now is left out.
        ceilings: ceilings::all(app, caller)
            .await
            .map_or_else(|_| Vec::new(), |listed| listed.ceilings),
        ..Now::default()
    };
    if caller.tenant.is_none() {
        let open = place.started.saturating_sub(place.ended);
        standing.active = Some(active(open, &ask_store(app.store.resting()).await?));
        standing.dead_letters = app.fleet.latest().await.dead_letters;
    }
    Ok(Stats {
        minutes,
        together,
        now: standing,
        complete: place.current,
        through: (&place).into(),
    })
}

/// By how they stand: what does not rest is under way.
pub(crate) fn active(open: u64, resting: &[(Status, u64)]) -> Active {
    let of = |wanted| {
        let found = resting.iter().find(|(status, _)| *status == wanted);
        found.map_or(0, |(_, count)| *count)
    };
    let (waiting, parked) = (of(Status::Waiting), of(Status::Parked));
    let paused = of(Status::Paused);
    Active {
        running: open.saturating_sub(waiting + parked + paused),
        waiting,
        parked,
        paused,
    }
}

fn series(sums: Vec<(i64, Vec<Sum>)>, caller: &Caller) -> (Vec<Minute>, Together) {
    let mut took = Durations::default();
    let mut together = Together::default();
    let count = sums.len();
    let minutes = sums.into_iter().map(|(minute, sums)| {
        let mut line = Minute::new(minute);
        for (row, measure, sum) in sums {
            if !caller.sees(tenant(&row)) {
                continue;
            }
            if let Row::Pace { .. } = &row {
                took.add(&measure, sum);
                together.runs.add(&measure, sum);
            }
            line.add(row, &measure, sum);
        }
        line.done()
    });
    let minutes: Vec<Minute> = minutes.collect();
    let RunSums {
        completed,
        escalated,
        failed,
        cancelled,
        steps,
        ..
    } = together.runs;
    let ended = completed + escalated + failed + cancelled;
    together.runs_per_minute = ratio(ended, count as u64).unwrap_or_default();
    together.steps_per_second = ratio(steps, 60 * count as u64).unwrap_or_default();
    together.success = ratio(completed, ended);
    together.p50_seconds = took.quantile(0.5);
    together.p95_seconds = took.quantile(0.95);
    (minutes, together)
}

fn tenant(row: &Row) -> &str {
    match row {
        Row::Claude { tenant, .. }
        | Row::Runs { tenant, .. }
        | Row::Pace { tenant }
        | Row::Model { tenant, .. }
        | Row::Tool { tenant, .. } => tenant,
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts, for people")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests;
