//! Figures, times and outcomes as pages show them: always with their unit, and never by colour alone. What is given here as HTML is
//! made of our own words and numbers.

use std::{fmt, time::Duration};

use askama::filters::HtmlSafe;
use flotilla_common::{ids::RunId, money::Usd, run::Status};
use jiff::{Timestamp, fmt::strtime};

/// Digits of a run's id in a list: enough to tell those of a page apart.
const SHORT: usize = 8;

/// A time: how long ago, with the exact one behind it. The page's script keeps it up to date.
#[derive(Debug, Clone, Copy)]
pub(crate) struct When {
    at: Timestamp,
    now: Timestamp,
}

impl When {
    /// As seen from now.
    pub(crate) fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { at, now }
    }
}

impl HtmlSafe for When {}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = exact(self.at);
        let words = relative(self.at, self.now);
        write!(
            f,
            r#"<time datetime="{:.3}" title="{exact}" data-relative>{words}</time>"#,
            self.at
        )
    }
}

/// A time in full, in UTC.
pub(crate) fn exact(at: Timestamp) -> String {
    strtime::format("%Y-%m-%d %H:%M:%S UTC", at).unwrap_or_else(|_| at.to_string())
}

/// How long ago, or in how long.
fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs();
    let amount = match seconds.unsigned_abs() {
        0..5 => {
            return if seconds < 0 {
                "in a moment"
            } else {
                "just now"
            }
            .to_owned();
        }
        s @ 5..60 => format!("{s} s"),
        s @ 60..3_600 => format!("{} min", s / 60),
        s @ 3_600..172_800 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    };
    if seconds < 0 {
        format!("in {amount}")
    } else {
        format!("{amount} ago")
    }
}

/// A length of time: two parts at most, `1.3 s`, `4 min 12 s`.
pub(crate) fn span(length: Duration) -> String {
    let millis = length.as_millis();
    let seconds = length.as_secs();
    match seconds {
        0 if millis < 1_000 => format!("{millis} ms"),
        0..10 => format!("{:.2} s", length.as_secs_f64()),
        10..60 => format!("{:.1} s", length.as_secs_f64()),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {:02} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// The time between two moments; nothing when they are the wrong way round, as clocks of two machines may be.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// Dollars: at least cents, and as many digits as tell small amounts apart.
pub(crate) fn usd(amount: Usd) -> String {
    let dollars = amount.dollars();
    match amount.nano() {
        0 => "$0".to_owned(),
        1..10_000 => "<$0.00001".to_owned(),
        10_000..10_000_000 => format!("${dollars:.5}"),
        10_000_000..1_000_000_000 => format!("${dollars:.4}"),
        _ => format!("${}", grouped(&format!("{dollars:.2}"))),
    }
}

/// A count, its thousands apart.
pub(crate) fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// A large count in three digits: `12.3k`.
pub(crate) fn short(number: u64) -> String {
    const STEPS: [(u64, &str); 3] = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    let step = STEPS.into_iter().find(|(step, _)| number >= *step);
    let Some((step, unit)) = step else {
        return number.to_string();
    };
    let (whole, tenths) = (number / step, number % step * 10 / step);
    if whole < 100 {
        format!("{whole}.{tenths}{unit}")
    } else {
        format!("{whole}{unit}")
    }
}

fn grouped(digits: &str) -> String {
    let whole = digits.find('.').unwrap_or(digits.len());
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index < whole && (whole - index).is_multiple_of(3) {
            // A narrow space that does not break.
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// The part of a run's id that tells it apart from others of a page.
pub(crate) fn short_id(run: &RunId) -> String {
    let id = run.to_string();
    let digits = id.strip_prefix("run_").unwrap_or(&id);
    digits.chars().take(SHORT).collect()
}

/// How a run stands: a sign and a word, and the colour that goes with them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Badge(pub(crate) Status);

impl Badge {
    /// What the colour says.
    fn tone(self) -> &'static str {
        match self.0 {
            Status::Running => "busy",
            Status::Parked | Status::Escalated => "warn",
            Status::Waiting => "ask",
            Status::Paused | Status::Cancelled => "calm",
            Status::Completed => "good",
            Status::Failed => "bad",
        }
    }

    /// Its drawing.
    pub(crate) fn sign(self) -> Sign {
        match self.0 {
            Status::Running => Sign::Running,
            Status::Parked => Sign::Clock,
            Status::Waiting => Sign::Person,
            Status::Paused => Sign::Pause,
            Status::Completed => Sign::Check,
            Status::Escalated => Sign::Up,
            Status::Failed => Sign::Cross,
            Status::Cancelled => Sign::Stop,
        }
    }
}

impl HtmlSafe for Badge {}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tone, sign, word) = (self.tone(), self.sign(), self.0);
        write!(f, r#"<span class="badge {tone}">{sign}{word}</span>"#)
    }
}

/// A small drawing beside a word, which says it all.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sign {
    /// Goes on.
    Running,
    /// Waits for a time.
    Clock,
    /// Waits for a person.
    Person,
    /// Is held.
    Pause,
    /// Is done.
    Check,
    /// Was handed over.
    Up,
    /// Went wrong.
    Cross,
    /// Was stopped.
    Stop,
    /// A model spoke.
    Spark,
    /// A tool was used.
    Tool,
    /// The definition itself decided.
    Way,
    /// Another run.
    Nested,
    /// An event.
    Event,
    /// Nobody knows.
    Unknown,
}

impl Sign {
    /// On a field of 16 by 16, drawn with lines.
    fn path(self) -> &'static str {
        match self {
            Self::Running => "M8 2.5a5.5 5.5 0 1 1-5.2 3.7",
            Self::Clock => "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11M8 5v3.2l2 1.6",
            Self::Person => {
                "M8 2.8a2.4 2.4 0 1 0 0 4.8a2.4 2.4 0 1 0 0-4.8M3.2 13.2c.5-2.6 2.3-3.8 4.8-3.8s4.3 1.2 4.8 3.8"
            }
            Self::Pause => "M5.5 3.5v9M10.5 3.5v9",
            Self::Check => "M3 8.6l3.2 3.2L13 4.6",
            Self::Up => "M8 13V3.4M3.8 7.4L8 3.2l4.2 4.2",
            Self::Cross => "M4 4l8 8M12 4l-8 8",
            Self::Stop => "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11M4.2 11.8l7.6-7.6",
            Self::Spark => {
                "M8 2v4M8 10v4M2 8h4M10 8h4M4.4 4.4l1.6 1.6M10 10l1.6 1.6M11.6 4.4L10 6M6 10l-1.6 1.6"
            }
            Self::Tool => "M2.8 13.2l5-5M9 2.8a3 3 0 0 0 4.2 4.2l-1.9-.4l-1.9-1.9z",
            Self::Way => "M4 13.5v-11M4 8h5l3-3M9.2 5H12v2.8",
            Self::Nested => "M2.8 2.8h6.4v6.4H2.8zM6.8 11.8v1.4h6.4V6.8h-1.4",
            Self::Event => "M9 2L4 9h4l-1 5l5-7H8z",
            Self::Unknown => "M5.6 5.6c0-3.4 5-3.2 5-.2c0 2-2.6 2-2.6 4.2M8 12.4v.6",
        }
    }
}

impl HtmlSafe for Sign {}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path();
        write!(
            f,
            r#"<svg class="sign" viewBox="0 0 16 16" aria-hidden="true"><path d="{path}"/></svg>"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_their_unit_and_as_many_digits_as_tell_them_apart() {
        let usd = |nano| usd(Usd::from_nano(nano));
        assert_eq!(usd(0), "$0");
        assert_eq!(usd(9), "<$0.00001");
        assert_eq!(usd(1_234_000), "$0.00123");
        assert_eq!(usd(12_345_678), "$0.0123");
        assert_eq!(usd(1_234_567_890_000), "$1\u{202f}234.57");
        assert_eq!(
            (short(999), short(1_000), short(54_321)),
            ("999".into(), "1.0k".into(), "54.3k".into())
        );
        assert_eq!(
            (short(123_456), short(2_500_000)),
            ("123k".into(), "2.5M".into())
        );
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
    }

    #[test]
    fn times_are_told_in_the_unit_that_people_would_use() {
        let span = |ms| span(Duration::from_millis(ms));
        assert_eq!(
            (span(0), span(999), span(1_500)),
            ("0 ms".into(), "999 ms".into(), "1.50 s".into())
        );
        assert_eq!(
            (span(61_000), span(3_700_000)),
            ("1 min 01 s".into(), "1 h 01 min".into())
        );
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let ago = |text: &str| relative(text.parse().unwrap(), now);
        assert_eq!(ago("2026-11-21T09:59:57Z"), "just now");
        assert_eq!(ago("2026-11-21T09:58:00Z"), "2 min ago");
        assert_eq!(ago("2026-11-19T10:00:00Z"), "2 days ago");
        assert_eq!(ago("2026-11-21T14:00:00Z"), "in 4 h");
        let early = "2026-11-21T10:00:01Z".parse().unwrap();
        assert_eq!(between(early, now), Duration::ZERO);
    }

    #[test]
    fn how_a_run_stands_is_said_in_a_word() {
        let badge = Badge(Status::Waiting).to_string();
        assert!(
            badge.contains("ask") && badge.contains("</svg>waiting</span>"),
            "{badge}"
        );
    }
}
