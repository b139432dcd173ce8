//! From what happened in each minute to charts.

use std::collections::BTreeMap;

use crate::{
    console::chart::{Data, Markup, Series, Step, Times, Tone, Unit, columns, lines},
    stats::view::Minute,
};

const NOTHING: &str = "Nothing in the last hour";

/// The charts of the overview, in order.
pub(super) fn charts(minutes: &[Minute]) -> Vec<Markup> {
    vec![
        columns(&throughput(minutes)),
        columns(&cost(minutes)),
        lines(&durations(minutes)),
        lines(&tools(minutes)),
    ]
}

fn data(
    id: &'static str,
    title: &str,
    unit: Unit,
    minutes: &[Minute],
    series: Vec<Series>,
) -> Data {
    Data {
        id,
        title: title.to_owned(),
        span: format!("last {} min, by the minute", minutes.len()),
        nothing: NOTHING,
        unit,
        times: Times {
            from: minutes.first().map(|minute| minute.at).unwrap_or_default(),
            step: Step::Minute,
            count: minutes.len(),
        },
        series,
    }
}

fn throughput(minutes: &[Minute]) -> Data {
    let of = |name: &str, tone, count: fn(&Minute) -> u64| {
        let values = minutes.iter().map(|minute| Some(real(count(minute))));
        Series::new(name, values.collect()).toned(tone)
    };
    let series = vec![
        of("completed", Tone::Good, |minute| minute.runs.completed),
        of("escalated", Tone::Warn, |minute| minute.runs.escalated),
        of("failed", Tone::Bad, |minute| minute.runs.failed),
        of("cancelled", Tone::Muted, |minute| minute.runs.cancelled),
    ];
    data(
        "ended",
        "Runs that ended",
        Unit::Count("runs"),
        minutes,
        series,
    )
}

fn cost(minutes: &[Minute]) -> Data {
    let by_model = by_name(minutes, |minute| {
        let each = minute.usd_nano.iter();
        each.map(|(model, usd)| (model.clone(), Some(usd.dollars())))
            .collect()
    });
    data("spent", "Cost by model", Unit::Dollars, minutes, by_model)
}

fn durations(minutes: &[Minute]) -> Data {
    let of = |name: &str, value: fn(&Minute) -> Option<f64>| {
        Series::new(name, minutes.iter().map(value).collect())
    };
    let series = vec![
        of("p50", |minute| minute.p50_seconds),
        of("p95", |minute| minute.p95_seconds),
    ];
    data("took", "How long runs took", Unit::Seconds, minutes, series)
}

fn tools(minutes: &[Minute]) -> Data {
    let by_tool = by_name(minutes, |minute| {
        let each = minute.tools.iter();
        each.map(|(tool, minute)| (tool.clone(), minute.p95_seconds))
            .collect()
    });
    data(
        "lag",
        "How long tools took, p95",
        Unit::Seconds,
        minutes,
        by_tool,
    )
}

/// A series for each name that comes up, by name.
fn by_name(minutes: &[Minute], of: impl Fn(&Minute) -> Vec<(String, Option<f64>)>) -> Vec<Series> {
    let mut series: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
    for (index, minute) in minutes.iter().enumerate() {
        for (name, value) in of(minute) {
            let values = series
                .entry(name)
                .or_insert_with(|| vec![None; minutes.len()]);
            if let Some(place) = values.get_mut(index) {
                *place = value;
            }
        }
    }
    let series = series.into_iter();
    series
        .map(|(name, values)| Series::new(name, values))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts, drawn")]
pub(super) fn real(count: u64) -> f64 {
    count as f64
}
