//! The YAML of retries, breakers and rates.

use std::{collections::BTreeSet, fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_saphyr::{Location, Spanned};

use super::{
    super::{super::problem::Report, Effect},
    Fault, Retries,
};
use crate::{
    breaker::Settings,
    units::{Rate, Span},
};

/// Tries of one action, at most.
const TIMES_MAX: u32 = 100;
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The longest pause, cool-down or window that can be written.
const LONGEST: Duration = Duration::from_secs(86_400);
/// A probe is not taken for lost before it has had its tool's timeout and this much for all that it may wait for.
const PROBE_SPARE: Duration = Duration::from_secs(600);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RetriesYaml {
    times: Spanned<u32>,
    #[serde(default)]
    pause: Option<Spanned<Span>>,
    #[serde(default)]
    max_pause: Option<Spanned<Span>>,
    #[serde(default)]
    on: Option<Spanned<Vec<Spanned<Fault>>>>,
    #[serde(default)]
    within: Option<Spanned<Span>>,
}

impl RetriesYaml {
    pub(in super::super) fn compile(&self, report: &mut Report<'_>, effect: Effect) -> Retries {
        let times = self.times.value;
        if !(1..=TIMES_MAX).contains(&times) {
            let message = format!("`times` must be from 1 to {TIMES_MAX}");
            let help = "a tool that is not tried again has no `retry`";
            report.at(self.times.referenced, message, Some(help));
        }
        let pause = span(report, "pause", self.pause.as_ref(), PAUSE);
        let max_pause = span(
            report,
            "max_pause",
            self.max_pause.as_ref(),
            PAUSE_MAX.max(pause),
        );
        if let Some(given) = self.max_pause.as_ref().filter(|_| max_pause < pause) {
            let message = "`max_pause` is less than `pause`";
            report.at(given.referenced, message, None);
        }
        let within = self.within.as_ref();
        if let Some(given) = within.filter(|given| given.value.0.is_zero()) {
            report.at(given.referenced, "`within` must be more than 0", None);
        }
        Retries {
            times,
            pause,
            max_pause,
            on: self.on(report, effect),
            within: within.map(|given| given.value.0),
        }
    }

    fn on(&self, report: &mut Report<'_>, effect: Effect) -> BTreeSet<Fault> {
        let Some(given) = &self.on else {
            return Fault::usual(effect);
        };
        if given.value.is_empty() {
            let message = "`on` is empty: the tool would never be tried again";
            report.at(given.referenced, message, None);
        }
        for fault in &given.value {
            if effect == Effect::Once && !fault.value.is_harmless() {
                let message = format!(
                    "the tool is `once`, and after `{}` nobody knows whether it was done",
                    fault.value
                );
                let help = "what certainly did nothing can be tried again: connect, spawn, 429";
                report.at(fault.referenced, message, Some(help));
            }
        }
        given.value.iter().map(|fault| fault.value).collect()
    }
}

fn span(
    report: &mut Report<'_>,
    name: &str,
    given: Option<&Spanned<Span>>,
    usual: Duration,
) -> Duration {
    let Some(given) = given else {
        return usual;
    };
    if given.value.0.is_zero() || given.value.0 > LONGEST {
        let message = format!("`{name}` must be more than 0 and at most a day");
        report.at(given.referenced, message, None);
    }
    given.value.0
}

/// `off`, or when it opens and how it recovers.
#[derive(Debug)]
pub(in super::super) enum BreakerYaml {
    Off,
    On(Box<BreakerOn>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct BreakerOn {
    #[serde(default)]
    failures: Option<Spanned<u32>>,
    #[serde(default)]
    rate: Option<Spanned<f64>>,
    #[serde(default)]
    window: Option<Spanned<Span>>,
    #[serde(default)]
    cool: Option<CoolYaml>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CoolYaml {
    #[serde(default)]
    min: Option<Spanned<Span>>,
    #[serde(default)]
    max: Option<Spanned<Span>>,
}

impl<'de> Deserialize<'de> for BreakerYaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = BreakerYaml;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`off`, or `failures`, `rate`, `window` and `cool`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<BreakerYaml, E> {
                match text {
                    "off" => Ok(BreakerYaml::Off),
                    other => Err(E::custom(format!(
                        "`{other}` is no breaker: `off`, or `failures`, `rate`, `window` and `cool`"
                    ))),
                }
            }
            fn visit_bool<E: Error>(self, on: bool) -> Result<BreakerYaml, E> {
                Ok(if on {
                    BreakerYaml::On(Box::default())
                } else {
                    BreakerYaml::Off
                })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<BreakerYaml, A::Error> {
                BreakerOn::deserialize(MapAccessDeserializer::new(map))
                    .map(|on| BreakerYaml::On(Box::new(on)))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl BreakerYaml {
    /// The breaker of a tool that takes so long at most; `None` where it has none.
    pub(in super::super) fn compile(
        given: Option<&Self>,
        report: &mut Report<'_>,
        timeout: Duration,
    ) -> Option<Settings> {
        let usual = BreakerOn::default();
        let on = match given {
            Some(Self::Off) => return None,
            Some(Self::On(on)) => on,
            None => &usual,
        };
        let usual = Settings::default();
        let failures = on.failures.as_ref().map_or(usual.consecutive, |given| {
            if given.value == 0 {
                let help = Some("a tool without a breaker has `breaker: off`");
                report.at(given.referenced, "`failures` counts from 1", help);
            }
            given.value
        });
        let failure_rate = on.rate.as_ref().map_or(usual.failure_rate, |given| {
            if !(given.value > 0.0 && given.value <= 1.0) {
                let message = "`rate` must be a part of the calls: more than 0, at most 1";
                report.at(given.referenced, message, None);
            }
            given.value
        });
        let window = span(report, "window", on.window.as_ref(), usual.window);
        let cool = on.cool.as_ref();
        let (min, max) = (
            cool.and_then(|cool| cool.min.as_ref()),
            cool.and_then(|cool| cool.max.as_ref()),
        );
        let cool_min = span(report, "min", min, usual.cool_min);
        let cool_max = span(report, "max", max, usual.cool_max.max(cool_min));
        if let Some(given) = max.filter(|_| cool_max < cool_min) {
            report.at(given.referenced, "`max` is less than `min`", None);
        }
        Some(Settings {
            consecutive: failures,
            window,
            failure_rate,
            cool_min,
            cool_max,
            probe_max: timeout.saturating_add(PROBE_SPARE),
            ..usual
        })
    }
}

/// `10/s`, of one executor; or `{limit: 10/s, per: fleet}`.
#[derive(Debug)]
pub(in super::super) enum RateYaml {
    Short(Rate),
    Long(Box<LongRate>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct LongRate {
    limit: Spanned<Rate>,
    #[serde(default)]
    per: Per,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Per {
    #[default]
    Executor,
    Fleet,
}

impl<'de> Deserialize<'de> for RateYaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RateYaml;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate, such as 10/s, or `limit` and `per`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<RateYaml, E> {
                text.parse().map(RateYaml::Short).map_err(E::custom)
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<RateYaml, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RateYaml, A::Error> {
                LongRate::deserialize(MapAccessDeserializer::new(map))
                    .map(|long| RateYaml::Long(Box::new(long)))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl RateYaml {
    /// How often in one executor, and how often a minute in the whole fleet.
    pub(in super::super) fn compile(&self, report: &mut Report<'_>) -> (Option<Rate>, Option<u64>) {
        match self {
            Self::Short(rate) => (Some(*rate), None),
            Self::Long(long) if long.per == Per::Executor => (Some(long.limit.value), None),
            Self::Long(long) => (
                None,
                Some(per_minute(report, long.limit.referenced, long.limit.value)),
            ),
        }
    }
}

fn per_minute(report: &mut Report<'_>, place: Location, rate: Rate) -> u64 {
    let count = u64::from(rate.count.get()) * 60 / rate.per.as_secs().max(1);
    if count == 0 {
        let message = "the fleet's rates are counted by the minute: this is less than one";
        let help = "write 1/m or more, or leave `per: fleet` out";
        report.at(place, message, Some(help));
    }
    count
}
