//! What was used, summed up as somebody asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use flotilla_common::{
    access::Caller,
    io::{
        http::Problem,
        usage::{Place, Sum},
    },
    money::Usd,
    usage::{Row, measure as m},
};
use jiff::{Timestamp, civil::Date};
use serde::Serialize;

use crate::{problem::ask_store, routes::App};

/// What rows are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    /// The day (UTC).
    Day,
    /// The workflow.
    Workflow,
    /// The model that spoke.
    Model,
    /// Who pays.
    Tenant,
}

impl By {
    /// As it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Workflow => "workflow",
            Self::Model => "model",
            Self::Tenant => "tenant",
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for By {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        [Self::Day, Self::Workflow, Self::Model, Self::Tenant]
            .into_iter()
            .find(|by| by.as_str() == word)
            .ok_or_else(|| format!("`{word}` is none of workflow, model, tenant, day"))
    }
}

/// What somebody wants to know.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// The first day (UTC).
    pub(crate) from: Date,
    /// The last day, itself included; not before the first, and at most [`DAYS_MAX`] after it.
    pub(crate) to: Date,
    /// What rows are told apart by; empty: there is one row.
    pub(crate) by: BTreeSet<By>,
    /// Only of this workflow.
    pub(crate) workflow: Option<String>,
    /// Only of this model; nothing is said of runs then, which have many.
    pub(crate) model: Option<String>,
    /// Only of this tenant.
    pub(crate) tenant: Option<String>,
}

/// Days in one question: as long as they are kept.
pub(crate) const DAYS_MAX: i32 = 400;

impl Ask {
    /// Of whole days, all together.
    pub(crate) fn of(from: Date, to: Date) -> Self {
        Self {
            from,
            to,
            by: BTreeSet::new(),
            workflow: None,
            model: None,
            tenant: None,
        }
    }

    /// The same as far as this caller may see: a tenant's sees its own.
    pub(crate) fn seen_by(mut self, caller: &Caller) -> Self {
        if let Some(tenant) = &caller.tenant {
            self.tenant = Some(tenant.to_string());
        }
        self
    }

    /// Its days, in order.
    pub(crate) fn days(&self) -> Vec<Date> {
        let days = self.from.series(jiff::Span::new().days(1));
        let count = usize::try_from(DAYS_MAX).unwrap_or(usize::MAX);
        days.take_while(|day| *day <= self.to).take(count).collect()
    }
}

/// What runs there were.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct RunSums {
    /// Runs that began.
    pub(crate) started: u64,
    /// Runs that ended so.
    pub(crate) completed: u64,
    /// The same.
    pub(crate) escalated: u64,
    /// The same.
    pub(crate) failed: u64,
    /// The same.
    pub(crate) cancelled: u64,
    /// Steps that were decided.
    pub(crate) steps: u64,
    /// Decisions of every kind.
    pub(crate) decisions: u64,
}

impl RunSums {
    pub(crate) fn add(&mut self, measure: &str, sum: u64) {
        let field = match measure {
            m::STARTED => &mut self.started,
            m::COMPLETED => &mut self.completed,
            m::ESCALATED => &mut self.escalated,
            m::FAILED => &mut self.failed,
            m::CANCELLED => &mut self.cancelled,
            m::STEPS => &mut self.steps,
            m::DECISIONS => &mut self.decisions,
            _ => return,
        };
        *field = field.saturating_add(sum);
    }
}

/// What was used, of one row.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Used {
    /// Replies of Claude's.
    pub(crate) calls: u64,
    /// Calls that may have been paid and came to nothing.
    pub(crate) wasted_calls: u64,
    /// Replies that were not taken: of no tool on the menu, or of a wrong shape.
    pub(crate) rejected: u64,
    /// Input tokens that were neither read from nor written to the prompt cache.
    pub(crate) input_tokens: u64,
    /// Output tokens.
    pub(crate) output_tokens: u64,
    /// Input tokens that were read from the prompt cache.
    pub(crate) cache_read_tokens: u64,
    /// Input tokens that were written to it.
    pub(crate) cache_write_tokens: u64,
    /// What the replies cost, in nano-dollars.
    pub(crate) usd_nano: Usd,
    /// What wasted calls may have cost, at most, in nano-dollars; not in `usd_nano`.
    pub(crate) wasted_usd_nano: Usd,
    /// Runs; missing where rows are told apart, or chosen, by model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runs: Option<RunSums>,
}

impl Used {
    pub(crate) fn add(&mut self, measure: &str, sum: u64) {
        let field = match measure {
            m::CALLS => &mut self.calls,
            m::WASTED_CALLS => &mut self.wasted_calls,
            m::REJECTED => &mut self.rejected,
            m::INPUT => &mut self.input_tokens,
            m::OUTPUT => &mut self.output_tokens,
            m::CACHE_READ => &mut self.cache_read_tokens,
            m::CACHE_WRITE => &mut self.cache_write_tokens,
            m::USD => {
                self.usd_nano = self.usd_nano + Usd::from_nano(sum);
                return;
            }
            m::WASTED_USD => {
                self.wasted_usd_nano = self.wasted_usd_nano + Usd::from_nano(sum);
                return;
            }
            _ => return,
        };
        *field = field.saturating_add(sum);
    }
}

/// What a row is told apart by: as far as was asked for.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Of {
    /// The day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) day: Option<Date>,
    /// The workflow; `(other)` stands for what a day had too many of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) workflow: Option<String>,
    /// The model that spoke.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// Who pays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// Of what.
    #[serde(flatten)]
    pub(crate) of: Of,
    /// How much.
    #[serde(flatten)]
    pub(crate) used: Used,
}

/// How far the journal was read for this.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Through {
    /// Up to this sequence.
    pub(crate) seq: u64,
    /// When that entry was written.
    pub(crate) at: Option<Timestamp>,
}

impl From<&Place> for Through {
    fn from(place: &Place) -> Self {
        Self {
            seq: place.seq,
            at: place.at,
        }
    }
}

/// What was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    /// The first day (UTC).
    pub(crate) from: Date,
    /// The last one, itself included.
    pub(crate) to: Date,
    /// What rows are told apart by.
    pub(crate) by: Vec<By>,
    /// In the order of what they are told apart by: day, workflow, model, tenant.
    pub(crate) rows: Vec<Line>,
    /// All of them together.
    pub(crate) total: Used,
    /// Whether that is all there is on the journal: false while it is being read, after Redis was emptied for one.
    pub(crate) complete: bool,
    /// How far it was read.
    pub(crate) through: Through,
}

/// What was used, as it is asked; who asks must have been looked at ([`Ask::seen_by`]).
///
/// # Errors
/// Redis does not answer.
pub(crate) async fn usage(app: &App, ask: &Ask) -> Result<Usage, Problem> {
    // The place first: what is added meanwhile is more than it says, never less.
    let place = ask_store(app.ledger.place()).await?;
    let days = ask_store(app.ledger.days(ask.days())).await?;
    Ok(sum_up(ask, &place, days))
}

fn sum_up(ask: &Ask, place: &Place, days: Vec<(Date, Vec<Sum>)>) -> Usage {
    let of_runs = ask.model.is_none() && !ask.by.contains(&By::Model);
    let mut rows: BTreeMap<Of, Used> = BTreeMap::new();
    let mut total = Used {
        runs: of_runs.then(RunSums::default),
        ..Used::default()
    };
    for (day, sums) in days {
        for (row, measure, sum) in sums {
            let Some(of) = of(ask, day, &row) else {
                continue;
            };
            let used = rows.entry(of).or_default();
            match row {
                Row::Claude { .. } => {
                    used.add(&measure, sum);
                    total.add(&measure, sum);
                }
                Row::Runs { .. } => {
                    used.runs.get_or_insert_default().add(&measure, sum);
                    total.runs.get_or_insert_default().add(&measure, sum);
                }
                Row::Pace { .. } | Row::Model { .. } | Row::Tool { .. } => {}
            }
        }
    }
    let rows = rows.into_iter().map(|(of, mut used)| {
        if of_runs {
            used.runs.get_or_insert_default();
        }
        Line { of, used }
    });
    Usage {
        from: ask.from,
        to: ask.to,
        by: ask.by.iter().copied().collect(),
        rows: rows.collect(),
        total,
        complete: place.current,
        through: place.into(),
    }
}

/// In which row of the answer a row of a day goes, if in any.
fn of(ask: &Ask, day: Date, row: &Row) -> Option<Of> {
    let (workflow, model, tenant) = match row {
        Row::Claude {
            workflow,
            model,
            tenant,
        } => (workflow, Some(model), tenant),
        Row::Runs { workflow, tenant } => (workflow, None, tenant),
        Row::Pace { .. } | Row::Model { .. } | Row::Tool { .. } => return None,
    };
    let is = |wanted: &Option<String>, found: &String| wanted.as_ref().is_none_or(|it| it == found);
    if !is(&ask.workflow, workflow) || !is(&ask.tenant, tenant) {
        return None;
    }
    let by_model = ask.by.contains(&By::Model);
    match model {
        Some(model) if !is(&ask.model, model) => return None,
        None if by_model || ask.model.is_some() => return None,
        Some(_) | None => {}
    }
    Some(Of {
        day: ask.by.contains(&By::Day).then_some(day),
        workflow: ask.by.contains(&By::Workflow).then(|| workflow.clone()),
        model: model.filter(|_| by_model).cloned(),
        tenant: ask.by.contains(&By::Tenant).then(|| tenant.clone()),
    })
}

#[cfg(test)]
mod tests;
