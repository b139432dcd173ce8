//! `/cost`: what was spent, on what, and what may be.

mod charts;
mod deeds;
mod range;

use std::{collections::BTreeSet, sync::Arc};

use askama::Template;
use axum::{
    Router,
    extract::{Query, State},
    response::Response,
    routing::{get, post},
};
use flotilla_common::io::{clock, http::Problem};
use jiff::{Timestamp, tz::TimeZone};

use self::range::{Asked, Range};
use super::{
    chart::{Bar, Markup, bar, budget},
    did,
    door::Door,
    frame::{Frame, Section, page as framed},
    ink,
    words::{Badge, count, short, usd},
};
use crate::{
    ceilings::{self, Origin},
    routes::App,
    usage::{
        dearest::{Dear, dearest},
        view::{Ask, By, Line, Usage, Used, usage},
    },
};

/// The dearest runs that are shown.
const DEAREST: usize = 10;

/// The page and its forms.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/cost", get(page))
        .route("/cost/ceiling", post(deeds::set))
        .route("/cost/ceiling/clear", post(deeds::clear))
}

#[derive(Debug, Template)]
#[template(path = "cost.html")]
struct Page {
    frame: Frame,
    range: Range,
    total: Used,
    spent: Markup,
    tokens: Markup,
    by_workflow: Vec<Spender>,
    by_model: Vec<Spender>,
    dearest: Vec<Dear>,
    ceilings: Vec<CeilingLine>,
    /// Why the ceilings are not there.
    no_ceilings: Option<String>,
    complete: bool,
    may: bool,
    now: Timestamp,
}

/// What a workflow or a model has used.
#[derive(Debug)]
struct Spender {
    name: String,
    used: Used,
    bar: Markup,
}

#[derive(Debug)]
struct CeilingLine {
    line: ceilings::Line,
    bar: Markup,
    words: String,
}

async fn page(
    State(app): State<Arc<App>>,
    door: Door,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let today = clock::now().to_zoned(TimeZone::UTC).date();
    let range = Range::read(&asked, today)?;
    let ask = |by: &[By]| {
        let by: BTreeSet<By> = by.iter().copied().collect();
        let ask = Ask::of(range.from, range.to).seen_by(door.caller());
        Ask { by, ..ask }
    };
    let (daily, models, workflows, all) = (
        ask(&[By::Day, range.by]),
        ask(&[By::Model]),
        ask(&[By::Workflow]),
        ask(&[]),
    );
    let (daily, models, workflows, dear, ceilings) = tokio::join!(
        usage(&app, &daily),
        usage(&app, &models),
        usage(&app, &workflows),
        Box::pin(dearest(&app, &all, DEAREST)),
        Box::pin(ceilings::all(&app, door.caller())),
    );
    let (daily, models, workflows) = (daily?, models?, workflows?);
    let (lines, no_ceilings) = match ceilings {
        Ok(listed) => (listed.ceilings, None),
        Err(problem) => (Vec::new(), Some(problem.detail)),
    };
    let may = door.may_for_all();
    let frame = Frame::load(&app, door, Section::Cost, "Cost").await;
    framed(&Page {
        frame: frame.notice(did::words(asked.did.as_deref())),
        spent: charts::spent(&daily, &range),
        tokens: charts::tokens(&daily, &range),
        total: workflows.total.clone(),
        by_workflow: spenders(workflows, |line| line.of.workflow.clone()),
        by_model: spenders(models, |line| line.of.model.clone()),
        dearest: dear?.runs,
        ceilings: lines.into_iter().map(ceiling).collect(),
        no_ceilings,
        complete: daily.complete,
        may,
        range,
        now: clock::now(),
    })
}

/// Who has used it, the dearest first.
fn spenders(mut usage: Usage, name: impl Fn(&Line) -> Option<String>) -> Vec<Spender> {
    let each = usage.rows.iter().map(|line| line.used.usd_nano.dollars());
    let most = each.fold(0.0, f64::max);
    usage
        .rows
        .sort_by_key(|line| std::cmp::Reverse(line.used.usd_nano));
    let lines = usage.rows.into_iter().map(|line| Spender {
        name: name(&line).unwrap_or_default(),
        bar: bar(Bar {
            value: line.used.usd_nano.dollars(),
            most,
        }),
        used: line.used,
    });
    lines.collect()
}

fn ceiling(line: ceilings::Line) -> CeilingLine {
    let spent = line.spent_usd_nano.unwrap_or_default();
    let limit = line.usd_nano;
    let words = match (limit, line.spent_usd_nano) {
        (Some(limit), Some(spent)) => format!("{} of {}", usd(spent), usd(limit)),
        (Some(limit), None) => format!("not known, of {}", usd(limit)),
        (None, Some(spent)) => format!("{}, no ceiling", usd(spent)),
        (None, None) => "not known".to_owned(),
    };
    CeilingLine {
        bar: budget(
            spent.dollars(),
            limit.map_or(0.0, flotilla_common::money::Usd::dollars),
            &words,
        ),
        words,
        line,
    }
}

impl CeilingLine {
    fn is_set(&self) -> bool {
        matches!(self.line.from, Origin::Set | Origin::Unreadable)
    }

    fn from(&self) -> &'static str {
        match self.line.from {
            Origin::Set => "set here",
            Origin::Definition => "definition",
            Origin::None => "none",
            Origin::Unreadable => "not readable: no call is made",
        }
    }
}

impl Spender {
    fn ended(&self) -> Option<u64> {
        self.used.runs.map(|runs| ended(&runs))
    }

    /// What a run cost that ended, on average.
    fn per_run(&self) -> Option<String> {
        per_run(&self.used)
    }

    /// The part of its replies that were not taken.
    fn rejected(&self) -> Option<String> {
        let of = self.used.calls.saturating_add(self.used.rejected);
        percent(self.used.rejected, of)
    }
}

impl Page {
    fn tokens_in_all(&self) -> String {
        short(
            self.total
                .input_tokens
                .saturating_add(self.total.cache_read_tokens)
                .saturating_add(self.total.cache_write_tokens)
                .saturating_add(self.total.output_tokens),
        )
    }

    /// The part of all input that was read from the prompt cache.
    fn cache_share(&self) -> Option<String> {
        let Used {
            input_tokens,
            cache_read_tokens,
            cache_write_tokens,
            ..
        } = &self.total;
        let all = input_tokens + cache_read_tokens + cache_write_tokens;
        percent(*cache_read_tokens, all)
    }

    fn ended(&self) -> String {
        count(self.total.runs.as_ref().map_or(0, ended))
    }

    fn per_run(&self) -> Option<String> {
        per_run(&self.total)
    }
}

fn ended(runs: &crate::usage::view::RunSums) -> u64 {
    runs.completed + runs.escalated + runs.failed + runs.cancelled
}

fn per_run(used: &Used) -> Option<String> {
    let ended = ended(used.runs.as_ref()?);
    let nano = used.usd_nano.nano().checked_div(ended)?;
    Some(usd(flotilla_common::money::Usd::from_nano(nano)))
}

/// `None`: part of nothing.
fn percent(part: u64, whole: u64) -> Option<String> {
    #[expect(clippy::cast_precision_loss, reason = "a share, for people")]
    let share = || part as f64 * 100.0 / whole as f64;
    (whole > 0).then(|| format!("{:.1} %", share()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_nothing_are_not_told() {
        assert_eq!(percent(0, 0), None);
        assert_eq!(percent(1, 3).as_deref(), Some("33.3 %"));
        assert_eq!(per_run(&Used::default()), None);
    }
}
