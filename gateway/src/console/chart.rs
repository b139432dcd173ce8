//! Charts, drawn as SVG by pure functions: data in, markup out. Colours are the style sheet's, by class; every chart says in words what
//! it shows, has its legend as a list beside it and its numbers as a table below it.

mod bars;
mod columns;
mod figure;
mod lines;
mod markup;
mod scale;
#[cfg(test)]
mod tests;
mod unit;

pub(crate) use bars::{Bar, bar, budget, progress, used};
pub(crate) use columns::columns;
pub(crate) use lines::lines;
pub(crate) use markup::Markup;
pub(crate) use scale::{Step, Times};
pub(crate) use unit::Unit;

use self::unit::clean;

/// Series that a chart tells apart; what is beyond them is drawn together.
const SERIES_MAX: usize = 7;

/// What a chart shows.
#[derive(Debug, Clone)]
pub(crate) struct Data {
    /// Its id on the page: a word of this program's own.
    pub(crate) id: &'static str,
    /// What it is about.
    pub(crate) title: String,
    /// The time that it spans, in words: "last 60 min".
    pub(crate) span: String,
    /// What is said when there is nothing.
    pub(crate) nothing: &'static str,
    /// What its values are.
    pub(crate) unit: Unit,
    /// From left to right.
    pub(crate) times: Times,
    /// What is drawn, the most important first.
    pub(crate) series: Vec<Series>,
}

/// One thing that changes over time.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// What it is called; may come from anywhere.
    pub(crate) name: String,
    /// How it is drawn.
    pub(crate) tone: Tone,
    /// A value per column; `None`: nothing is known of that time.
    pub(crate) values: Vec<Option<f64>>,
}

/// How a series is drawn: with a meaning, or one of the colours that stay apart also for who sees few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// To be looked at.
    Warn,
    /// Not as it should be.
    Bad,
    /// Neither.
    Muted,
    /// The next colour.
    Next,
}

/// How series that are not drawn by themselves are drawn as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Together {
    /// Of what adds up.
    Sum,
    /// Of what does not.
    Most,
}

impl Series {
    /// A series without a meaning of its own.
    pub(crate) fn new(name: impl Into<String>, values: Vec<Option<f64>>) -> Self {
        Self {
            name: name.into(),
            tone: Tone::Next,
            values,
        }
    }

    /// The same, drawn with a meaning.
    pub(crate) fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    fn at(&self, index: usize) -> Option<f64> {
        self.values.get(index).copied().flatten().map(clean)
    }

    fn total(&self, len: usize) -> f64 {
        (0..len).filter_map(|index| self.at(index)).sum()
    }

    fn most(&self, len: usize) -> f64 {
        (0..len)
            .filter_map(|index| self.at(index))
            .fold(0.0, f64::max)
    }

    fn last(&self, len: usize) -> Option<f64> {
        (0..len).rev().find_map(|index| self.at(index))
    }
}

impl Data {
    /// The series that are drawn, each with its class: those with the most in them, and the others as one.
    fn drawn(&self, together: Together) -> Vec<(Series, String)> {
        let len = self.times.len();
        let mut order: Vec<usize> = (0..self.series.len()).collect();
        let total = |index: &usize| self.series.get(*index).map_or(0.0, |one| one.total(len));
        order.sort_by(|a, b| total(b).total_cmp(&total(a)));
        let (shown, others) = order.split_at(order.len().min(SERIES_MAX));
        let mut shown = shown.to_vec();
        // What was given first is drawn first.
        shown.sort_unstable();
        let mut next = 0;
        let kept = shown.into_iter().filter_map(|index| self.series.get(index));
        let mut drawn: Vec<_> = kept
            .map(|one| {
                let class = match one.tone {
                    Tone::Good => "good".to_owned(),
                    Tone::Warn => "warn".to_owned(),
                    Tone::Bad => "bad".to_owned(),
                    Tone::Muted => "muted".to_owned(),
                    Tone::Next => {
                        next += 1;
                        format!("hue{next}")
                    }
                };
                (one.clone(), class)
            })
            .collect();
        let others: Vec<_> = others.iter().filter_map(|i| self.series.get(*i)).collect();
        if !others.is_empty() {
            let all = |index| {
                let known = others.iter().filter_map(|one| one.at(index));
                match together {
                    Together::Sum => known.reduce(|sum, value| sum + value),
                    Together::Most => known.reduce(f64::max),
                }
            };
            let values = (0..len).map(all).collect();
            let name = match together {
                Together::Sum => format!("{} others", others.len()),
                Together::Most => format!("most of {} others", others.len()),
            };
            drawn.push((Series::new(name, values), "muted".to_owned()));
        }
        drawn
    }

    fn is_empty(&self) -> bool {
        let len = self.times.len();
        self.series.iter().all(|one| one.total(len) == 0.0)
    }
}
