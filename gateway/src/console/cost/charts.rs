//! From what was used each day to charts.

use std::collections::BTreeMap;

use jiff::{civil::Date, tz::TimeZone};

use super::range::Range;
use crate::{
    console::chart::{Data, Markup, Series, Step, Times, Unit, columns},
    usage::view::{By, Usage, Used},
};

const NOTHING: &str = "Claude was not asked in these days";

/// What was spent, by the day.
pub(super) fn spent(usage: &Usage, range: &Range) -> Markup {
    let days = range.days();
    let mut by_name: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
    for line in &usage.rows {
        let name = match range.by {
            By::Model => &line.of.model,
            By::Day | By::Workflow | By::Tenant => &line.of.workflow,
        };
        let values = by_name.entry(name.clone().unwrap_or_default());
        let values = values.or_insert_with(|| vec![None; days.len()]);
        if let Some(place) = place(&days, line.of.day).and_then(|index| values.get_mut(index)) {
            *place = Some(line.used.usd_nano.dollars());
        }
    }
    let series = by_name.into_iter();
    let series = series.map(|(name, values)| Series::new(name, values));
    let title = match range.by {
        By::Model => "Spent by model",
        By::Day | By::Workflow | By::Tenant => "Spent by workflow",
    };
    columns(&data(
        "spent",
        title,
        Unit::Dollars,
        range,
        series.collect(),
    ))
}

/// Tokens by what they were, by the day.
pub(super) fn tokens(usage: &Usage, range: &Range) -> Markup {
    let days = range.days();
    let of = |name: &str, tokens: fn(&Used) -> u64| {
        let mut sums = vec![0_u64; days.len()];
        for line in &usage.rows {
            if let Some(sum) = place(&days, line.of.day).and_then(|index| sums.get_mut(index)) {
                *sum = sum.saturating_add(tokens(&line.used));
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "counts, drawn")]
        let values = sums.into_iter().map(|sum| Some(sum as f64));
        Series::new(name, values.collect())
    };
    let series = vec![
        of("read from the cache", |used| used.cache_read_tokens),
        of("written to the cache", |used| used.cache_write_tokens),
        of("input besides", |used| used.input_tokens),
        of("output", |used| used.output_tokens),
    ];
    columns(&data(
        "tokens",
        "Tokens",
        Unit::Count("tokens"),
        range,
        series,
    ))
}

fn place(days: &[Date], day: Option<Date>) -> Option<usize> {
    days.binary_search(&day?).ok()
}

fn data(id: &'static str, title: &str, unit: Unit, range: &Range, series: Vec<Series>) -> Data {
    let begins = range.from.to_zoned(TimeZone::UTC);
    Data {
        id,
        title: title.to_owned(),
        span: format!("{}, by the day", range.in_words()),
        nothing: NOTHING,
        unit,
        times: Times {
            from: begins.map(|zoned| zoned.timestamp()).unwrap_or_default(),
            step: Step::Day,
            count: range.days().len(),
        },
        series,
    }
}
