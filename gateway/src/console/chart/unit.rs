//! What values are counted in, and how they are written on an axis and in a table.

/// What a chart's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// So many of something: runs, messages, tokens.
    Count(&'static str),
    /// US dollars.
    Dollars,
    /// Seconds.
    Seconds,
}

/// Values beyond it are drawn and written as it: nothing that is measured here comes near, and sums of it stay finite.
pub(super) const VALUE_MAX: f64 = 1e15;

/// Thousands and more are written short on an axis.
const SHORT: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
/// Shorter durations are written in milliseconds, longer ones in minutes or hours.
const MINUTE: f64 = 60.0;
const HOUR: f64 = 3_600.0;

/// A value as it can be drawn: neither below nothing nor beyond [`VALUE_MAX`], and a number.
pub(super) fn clean(value: f64) -> f64 {
    if value.is_nan() {
        return 0.0;
    }
    value.clamp(0.0, VALUE_MAX)
}

impl Unit {
    /// The smallest step between two gridlines that makes sense.
    pub(super) fn step_min(self) -> f64 {
        match self {
            Self::Count(_) => 1.0,
            Self::Dollars => 1e-6,
            Self::Seconds => 1e-3,
        }
    }

    /// What ticks up to `top` are round multiples of.
    pub(super) fn base(self, top: f64) -> f64 {
        match self {
            Self::Seconds if top > 3.0 * HOUR => HOUR,
            Self::Seconds if top > 3.0 * MINUTE => MINUTE,
            Self::Seconds | Self::Count(_) | Self::Dollars => 1.0,
        }
    }

    /// A gridline's label, where gridlines are `step` apart up to `top`.
    pub(super) fn tick(self, value: f64, step: f64, top: f64) -> String {
        match self {
            Self::Count(_) => short(value, step),
            Self::Dollars => format!("${}", even(value, step)),
            Self::Seconds if top > 3.0 * HOUR => format!("{} h", short(value / HOUR, step / HOUR)),
            Self::Seconds if top > 3.0 * MINUTE => {
                format!("{} min", short(value / MINUTE, step / MINUTE))
            }
            Self::Seconds if top < 1.0 => {
                format!("{} ms", short(value * 1_000.0, step * 1_000.0))
            }
            Self::Seconds => format!("{} s", short(value, step)),
        }
    }

    /// A value in full, with its unit.
    pub(crate) fn value(self, value: f64) -> String {
        let value = clean(value);
        match self {
            Self::Count("") => grouped(value),
            Self::Count(noun) => format!("{} {noun}", grouped(value)),
            Self::Dollars if value == 0.0 => "$0".to_owned(),
            Self::Dollars if value < 0.1 => format!("${value:.5}"),
            Self::Dollars => {
                let cents = (value * 100.0).round();
                let whole = (cents / 100.0).floor();
                format!("${}.{:02.0}", grouped(whole), cents - whole * 100.0)
            }
            Self::Seconds if value < 1.0 => format!("{:.0} ms", value * 1_000.0),
            Self::Seconds if value < 10.0 => format!("{value:.2} s"),
            Self::Seconds if value < 2.0 * MINUTE => format!("{value:.1} s"),
            Self::Seconds if value < 2.0 * HOUR => format!("{:.1} min", value / MINUTE),
            Self::Seconds => format!("{} h", grouped_tenths(value / HOUR)),
        }
    }
}

/// As [`short`], with as many decimals for all multiples of `step`.
fn even(value: f64, step: f64) -> String {
    if value == 0.0 || step >= 1.0 || value >= 1_000.0 {
        return short(value, step);
    }
    let decimals = decimals(step).max(2);
    format!("{value:.decimals$}")
}

fn short(value: f64, step: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let fits = SHORT.iter().find(|(size, _)| value >= *size);
    let (size, letter) = fits.copied().unwrap_or((1.0, ""));
    let decimals = decimals(step / size);
    let text = format!("{:.decimals$}", value / size);
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{letter}")
}

/// Decimals that tell multiples of `step` apart.
fn decimals(step: f64) -> usize {
    (0..9)
        .find(|decimals| step * 10_f64.powi(*decimals) >= 0.999)
        .and_then(|decimals| usize::try_from(decimals).ok())
        .unwrap_or(9)
}

/// With narrow spaces between thousands, as everywhere in the console.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", clean(value));
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

fn grouped_tenths(value: f64) -> String {
    let tenths = (clean(value) * 10.0).round();
    let whole = (tenths / 10.0).floor();
    format!("{}.{:.0}", grouped(whole), tenths - whole * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_with_their_unit_and_as_few_figures_as_say_it() {
        let runs = Unit::Count("runs");
        assert_eq!(runs.value(1_234_567.0), "1\u{202f}234\u{202f}567 runs");
        assert_eq!(Unit::Dollars.value(0.0042), "$0.00420");
        assert_eq!(Unit::Dollars.value(1_234.999), "$1\u{202f}235.00");
        assert_eq!(Unit::Dollars.value(0.0), "$0");
        assert_eq!(Unit::Seconds.value(0.042), "42 ms");
        assert_eq!(Unit::Seconds.value(3.1449), "3.14 s");
        assert_eq!(Unit::Seconds.value(600.0), "10.0 min");
        assert_eq!(Unit::Seconds.value(36_000_000.0), "10\u{202f}000.0 h");
        assert_eq!(runs.value(f64::NAN), "0 runs");
        assert_eq!(runs.value(-1.0), "0 runs");
    }

    #[test]
    fn labels_of_an_axis_are_short_and_tell_its_lines_apart() {
        let runs = Unit::Count("runs");
        assert_eq!(runs.tick(0.0, 500.0, 2_000.0), "0");
        assert_eq!(runs.tick(1_500.0, 500.0, 2_000.0), "1.5k");
        assert_eq!(runs.tick(2_000.0, 500.0, 2_000.0), "2k");
        assert_eq!(Unit::Dollars.tick(0.05, 0.05, 0.2), "$0.05");
        assert_eq!(Unit::Dollars.tick(0.1, 0.05, 0.2), "$0.10");
        assert_eq!(Unit::Dollars.tick(100.0, 50.0, 200.0), "$100");
        assert_eq!(Unit::Seconds.tick(0.2, 0.2, 0.8), "200 ms");
        assert_eq!(Unit::Seconds.tick(300.0, 300.0, 1_200.0), "5 min");
        assert_eq!(Unit::Seconds.tick(7_200.0, 3_600.0, 14_400.0), "2 h");
    }
}
