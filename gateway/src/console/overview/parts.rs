//! The parts of the overview that change: numbers, charts, what to look at, the newest runs. They say nothing of who looks, so that
//! those of one tenant can share them.

use std::fmt;

use askama::{Template, filters::HtmlSafe};
use flotilla_common::{
    access::Caller,
    io::{clock, http::Problem},
    run::Summary,
};
use jiff::Timestamp;

use super::series::{charts, real};
use crate::{
    ceilings,
    console::{
        attention::Line as AttentionLine,
        chart::{Markup, Unit, budget},
        frame::fragment,
        ink,
        words::{Badge, Sign, between, short_id, span, usd},
    },
    fleet::view::Fleet,
    routes::App,
    stats::view::Stats,
};

/// Minutes that the page looks back.
const MINUTES: usize = 60;
/// The newest runs that it shows.
const NEWEST: usize = 10;

/// A part: an element with an id, rendered by a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(super) id: &'static str,
    pub(super) html: String,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.html)
    }
}

// Askama has escaped whatever came from outside when the part was rendered.
impl HtmlSafe for Part {}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(super) all: Vec<Part>,
    /// Whether there was never a run.
    pub(super) is_new: bool,
}

#[derive(Debug, Template)]
#[template(path = "overview_figures.html")]
struct Figures {
    /// `Err`: nobody can say now, and why.
    numbers: Result<Numbers, String>,
}

/// What one looks at first.
#[derive(Debug)]
struct Numbers {
    per_minute: String,
    ended: u64,
    active: Option<u64>,
    success: Option<String>,
    p95: Option<String>,
    p50: Option<String>,
    today: String,
    wasted: Option<String>,
    ceiling: Option<Ceiling>,
    lag: Option<String>,
    waiting: Option<u64>,
    complete: bool,
}

/// The ceiling that is used most.
#[derive(Debug)]
struct Ceiling {
    bar: Markup,
    words: String,
}

#[derive(Debug, Template)]
#[template(path = "overview_charts.html")]
struct Charts {
    charts: Vec<Markup>,
}

#[derive(Debug, Template)]
#[template(path = "overview_attention.html")]
struct Look {
    lines: Vec<AttentionLine>,
    now: Timestamp,
}

#[derive(Debug, Template)]
#[template(path = "overview_runs.html")]
struct Newest {
    rows: Vec<Row>,
    now: Timestamp,
}

#[derive(Debug)]
struct Row(Summary);

impl Row {
    fn badge(&self) -> Badge {
        Badge(self.0.status)
    }

    fn short(&self) -> String {
        short_id(&self.0.id)
    }

    fn took(&self, now: &Timestamp) -> String {
        span(between(self.0.started_at, self.0.ended_at.unwrap_or(*now)))
    }
}

impl Parts {
    /// As it is now, for a caller of this tenant.
    pub(super) async fn load(app: &App, caller: &Caller) -> Result<Self, Problem> {
        let stats = crate::stats::view::stats(app, caller, MINUTES);
        let fleet = crate::fleet::view::fleet(app, caller);
        let (stats, fleet, runs) =
            tokio::join!(Box::pin(stats), Box::pin(fleet), newest(app, caller));
        let now = clock::now();
        let minutes = stats.as_ref().map(|stats| charts(&stats.minutes));
        let numbers = match &stats {
            Ok(stats) => Ok(numbers(stats, &fleet)),
            Err(problem) => Err(problem.detail.clone()),
        };
        let lines = fleet.attention.into_iter().map(AttentionLine::from);
        let is_new = runs.as_ref().is_ok_and(Vec::is_empty);
        let part = |id, html: Result<String, Problem>| html.map(|html| Part { id, html });
        Ok(Self {
            all: vec![
                part("figures", fragment(&Figures { numbers }))?,
                part(
                    "attention",
                    fragment(&Look {
                        lines: lines.collect(),
                        now,
                    }),
                )?,
                part(
                    "charts",
                    fragment(&Charts {
                        charts: minutes.unwrap_or_default(),
                    }),
                )?,
                part(
                    "newest",
                    fragment(&Newest {
                        rows: runs.unwrap_or_default(),
                        now,
                    }),
                )?,
            ],
            is_new,
        })
    }
}

async fn newest(app: &App, caller: &Caller) -> Result<Vec<Row>, Problem> {
    let runs = crate::list::newest(app, caller, NEWEST).await?;
    Ok(runs.into_iter().map(Row).collect())
}

fn numbers(stats: &Stats, fleet: &Fleet) -> Numbers {
    let together = &stats.together;
    let runs = together.runs;
    let seconds = |value: Option<f64>| value.map(|value| Unit::Seconds.value(value));
    let active = stats.now.active;
    let queues = fleet.queues.iter();
    let is_known = !fleet.missing.contains_key("queues");
    let oldest = queues
        .clone()
        .filter_map(|queue| queue.oldest_seconds)
        .max();
    let wasted = stats.now.wasted_usd_nano;
    Numbers {
        per_minute: format!("{:.1}", together.runs_per_minute),
        ended: runs.completed + runs.escalated + runs.failed + runs.cancelled,
        active: active.map(|now| now.running + now.waiting + now.parked + now.paused),
        success: together.success.map(|part| format!("{:.1}", part * 100.0)),
        p95: seconds(together.p95_seconds),
        p50: seconds(together.p50_seconds),
        today: usd(stats.now.usd_nano),
        wasted: (wasted.nano() > 0).then(|| usd(wasted)),
        ceiling: most_used(&stats.now.ceilings),
        lag: is_known
            .then(|| oldest.map_or_else(|| "0 s".to_owned(), |age| Unit::Seconds.value(real(age)))),
        waiting: is_known.then(|| queues.map(|queue| queue.pending).sum()),
        complete: stats.complete,
    }
}

fn most_used(lines: &[ceilings::Line]) -> Option<Ceiling> {
    let known = lines.iter().filter_map(|line| {
        let (limit, spent) = (line.usd_nano?, line.spent_usd_nano?);
        Some((line, limit, spent))
    });
    let part = |limit: f64, spent: f64| if limit > 0.0 { spent / limit } else { 1.0 };
    let most = known.max_by(|(_, limit, spent), (_, other, of)| {
        let mine = part(limit.dollars(), spent.dollars());
        mine.total_cmp(&part(other.dollars(), of.dollars()))
    });
    let (line, limit, spent) = most?;
    let words = format!(
        "{} of {}, {} {}",
        usd(spent),
        usd(limit),
        line.scope,
        line.name
    );
    Some(Ceiling {
        bar: budget(spent.dollars(), limit.dollars(), &words),
        words,
    })
}
