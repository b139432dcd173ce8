//! How long answers take: fixed, or spread as a real service's are.

use crate::dice::Dice;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The standard normal distribution's 95th percentile.
const Z95: f64 = 1.644_853_626_951_472_2;

/// The longest a single figure may be: a call is given up after ten minutes anyway.
const MAX_MS: f64 = 3_600_000.0;

/// The setting `latency_ms`: one for all models, or by model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Latency {
    All(Spread),
    Whole(Whole),
    ByModel(Vec<Whole>),
}

/// One answer's times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whole {
    /// The beginning of the model ids it is for; without it, for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Until the answer is whole.
    total: Spread,
    /// Until its first token; absent: a quarter of the total.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<Spread>,
}

/// Milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Spread {
    Fixed(u64),
    Uniform { uniform: [u64; 2] },
    LogNormal(LogNormal),
}

/// Half of all answers take at most `p50`, and 95 of 100 at most `p95`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogNormal {
    p50: u64,
    p95: u64,
}

/// When the answer of one call begins and ends, from the call's arrival.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Timing {
    pub(crate) first: Duration,
    pub(crate) total: Duration,
}

impl Timing {
    /// A total alone: a quarter of it passes before the first token.
    pub(crate) fn of(total: Duration) -> Self {
        Self {
            first: total / 4,
            total,
        }
    }

    /// So much later.
    pub(crate) fn after(self, delay: Duration) -> Self {
        Self {
            first: self.first + delay,
            total: self.total + delay,
        }
    }

    /// Which part of the answer is there after so long, 0 to 1.
    pub(crate) fn part_after(self, elapsed: Duration) -> f64 {
        if elapsed >= self.total {
            return 1.0;
        }
        let writing = self.total.saturating_sub(self.first).as_secs_f64();
        let written = elapsed.saturating_sub(self.first).as_secs_f64();
        if writing > 0.0 {
            written / writing
        } else {
            0.0
        }
    }
}

impl Latency {
    /// A latency that is always the same.
    pub(crate) fn fixed(latency: Duration) -> Self {
        Self::All(Spread::Fixed(
            u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
        ))
    }

    /// What is wrong with it, in the API's way of saying so.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let whole = |whole: &Whole| {
            let first = || whole.first.as_ref().and_then(Spread::problem);
            whole.total.problem().or_else(first)
        };
        match self {
            Self::All(spread) => spread.problem(),
            Self::Whole(one) => whole(one),
            Self::ByModel(list) => list.iter().find_map(whole),
        }
    }

    /// The times of one call.
    pub(crate) fn draw(&self, model: &str, dice: Dice) -> Timing {
        let drawn = |whole: &Whole| {
            let total = whole.total.draw(dice, "total");
            let first = whole.first.as_ref();
            let first = first.map_or(total / 4, |first| first.draw(dice, "first").min(total));
            Timing { first, total }
        };
        match self {
            Self::All(spread) => Timing::of(spread.draw(dice, "total")),
            Self::Whole(whole) => drawn(whole),
            Self::ByModel(list) => {
                let own = |whole: &&Whole| {
                    whole
                        .model
                        .as_deref()
                        .is_some_and(|own| model.starts_with(own))
                };
                let found = list
                    .iter()
                    .find(own)
                    .or_else(|| list.iter().find(|whole| whole.model.is_none()));
                found.map(drawn).unwrap_or_default()
            }
        }
    }
}

impl Spread {
    /// What is wrong with it, in the API's way of saying so.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        match self {
            Self::Fixed(_) => None,
            Self::Uniform {
                uniform: [low, high],
            } => (low > high)
                .then_some("a latency's uniform range goes from the smaller to the greater"),
            Self::LogNormal(LogNormal { p50, p95 }) => (*p50 == 0 || p50 > p95)
                .then_some("a latency's p50 is more than 0 and at most its p95"),
        }
    }

    pub(crate) fn draw(&self, dice: Dice, question: &str) -> Duration {
        let ms = match self {
            Self::Fixed(ms) => *ms as f64,
            Self::Uniform {
                uniform: [low, high],
            } => *low as f64 + (*high as f64 - *low as f64) * dice.throw(question),
            Self::LogNormal(LogNormal { p50, p95 }) => {
                let sigma = (*p95 as f64 / *p50 as f64).ln() / Z95;
                *p50 as f64 * (sigma * normal(dice, question)).exp()
            }
        };
        Duration::from_secs_f64(ms.min(MAX_MS) / 1000.0)
    }
}

/// A value of the standard normal distribution, by the method of Box and Muller.
fn normal(dice: Dice, question: &str) -> f64 {
    let radius = (-2.0 * (1.0 - dice.throw(question)).ln()).sqrt();
    let angle = std::f64::consts::TAU * dice.throw(&format!("{question} angle"));
    radius * angle.cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn latency(setting: Value) -> Latency {
        serde_json::from_value(setting).unwrap()
    }

    fn drawn(setting: Value, calls: u32) -> Vec<Timing> {
        let latency = latency(setting);
        let mut drawn: Vec<Timing> = (0..calls)
            .map(|attempt| latency.draw("claude-sonnet-5", Dice::new(1, &[3; 32], attempt)))
            .collect();
        drawn.sort_by_key(|timing| timing.total);
        drawn
    }

    #[test]
    fn a_lognormal_latency_has_the_percentiles_asked_for() {
        let drawn = drawn(json!({"p50": 1000, "p95": 4000}), 10_000);
        let at = |index: usize| drawn[index].total.as_millis();
        assert!((950..1050).contains(&at(5000)), "{}", at(5000));
        assert!((3600..4400).contains(&at(9500)), "{}", at(9500));
    }

    #[test]
    fn a_uniform_latency_stays_in_its_range_and_uses_it() {
        let drawn = drawn(json!({"uniform": [100, 200]}), 1000);
        let (low, high) = (drawn[0].total, drawn[999].total);
        assert!(low >= Duration::from_millis(100) && low < Duration::from_millis(110));
        assert!(high <= Duration::from_millis(200) && high > Duration::from_millis(190));
    }

    #[test]
    fn the_first_token_has_its_own_time_and_never_comes_after_the_last() {
        let ms = Duration::from_millis;
        let own = latency(json!({"total": 1000, "first": 400}));
        let dice = Dice::new(1, &[3; 32], 0);
        assert_eq!(
            own.draw("m", dice),
            Timing {
                first: ms(400),
                total: ms(1000)
            }
        );
        let late = latency(json!({"total": 100, "first": 400}));
        assert_eq!(late.draw("m", dice).first, ms(100));
        assert_eq!(latency(json!(400)).draw("m", dice).first, ms(100));
    }

    #[test]
    fn a_model_can_have_its_own() {
        let latency = latency(json!([{"total": 10}, {"model": "claude-opus", "total": 90}]));
        let dice = Dice::new(1, &[3; 32], 0);
        let total = |model| latency.draw(model, dice).total.as_millis();
        assert_eq!(
            (total("claude-opus-5"), total("claude-haiku-4-5")),
            (90, 10)
        );
    }

    #[test]
    fn an_answer_is_written_between_its_first_token_and_its_last() {
        let ms = Duration::from_millis;
        let timing = Timing {
            first: ms(100),
            total: ms(300),
        };
        let part = |after| timing.part_after(ms(after));
        assert_eq!([part(50), part(200), part(300)], [0.0, 0.5, 1.0]);
        assert!((Timing::default().part_after(ms(0)) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn spreads_that_mean_nothing_are_refused() {
        for wrong in [
            json!({"uniform": [2, 1]}),
            json!({"p50": 0, "p95": 1}),
            json!([{"total": {"p50": 5, "p95": 4}}]),
        ] {
            assert!(latency(wrong.clone()).problem().is_some(), "{wrong}");
        }
        assert!(serde_json::from_value::<Latency>(json!({"p50": 1})).is_err());
    }
}
