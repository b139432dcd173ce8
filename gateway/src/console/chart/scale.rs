//! Where things are in a chart: its frame, gridlines at round values, marks at round times.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{
    markup::Markup,
    unit::{Unit, clean},
};

/// The size of every chart, in its own units. One that is shown about as wide as this has letters of their natural size; the style
/// sheet makes them larger in narrower charts.
pub(super) const WIDTH: f64 = 480.0;
pub(super) const HEIGHT: f64 = 160.0;
/// Room for the labels of values, and of times.
pub(super) const LEFT: f64 = 60.0;
const RIGHT: f64 = 8.0;
pub(super) const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;
/// Where the columns stand.
pub(super) const FLOOR: f64 = HEIGHT - BOTTOM;
const PLOT_WIDTH: f64 = WIDTH - LEFT - RIGHT;
const PLOT_HEIGHT: f64 = FLOOR - TOP;
/// Gridlines above the floor, about; marks of time at most.
const LINES: f64 = 4.0;
const MARKS_MAX: usize = 6;
/// How many columns a chart can have: a year of days.
pub(super) const COLUMNS_MAX: usize = 400;

/// How long a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A minute.
    Minute,
    /// A day in UTC.
    Day,
}

impl Step {
    fn length(self) -> SignedDuration {
        match self {
            Self::Minute => SignedDuration::from_mins(1),
            Self::Day => SignedDuration::from_hours(24),
        }
    }

    /// As one says "per ...".
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Day => "day",
        }
    }
}

/// The time from left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// When the first column begins.
    pub(crate) from: Timestamp,
    /// How long each is.
    pub(crate) step: Step,
    /// How many there are; more than [`COLUMNS_MAX`] are not drawn.
    pub(crate) count: usize,
}

impl Times {
    pub(super) fn len(&self) -> usize {
        self.count.min(COLUMNS_MAX)
    }

    fn at(&self, index: usize) -> Timestamp {
        let steps = i32::try_from(index).unwrap_or(i32::MAX);
        self.from
            .saturating_add(self.step.length() * steps)
            .unwrap_or(Timestamp::MAX)
    }

    /// A column's name, for tables and what is shown under a pointer.
    pub(super) fn name(&self, index: usize) -> String {
        self.written(index, "%H:%M", "%Y-%m-%d")
    }

    fn mark(&self, index: usize) -> String {
        self.written(index, "%H:%M", "%b %-d")
    }

    fn written(&self, index: usize, minute: &str, day: &str) -> String {
        let at = self.at(index).to_zoned(TimeZone::UTC);
        let format = match self.step {
            Step::Minute => minute,
            Step::Day => day,
        };
        at.strftime(format).to_string()
    }

    /// The columns that have a mark: at round minutes, or every so many days.
    fn marks(&self) -> Vec<usize> {
        let rounds: &[usize] = match self.step {
            Step::Minute => &[1, 2, 5, 10, 15, 30, 60, 120, 180, 360],
            Step::Day => &[1, 2, 7, 14, 28, 56, 84],
        };
        let fits = |round: &&usize| self.len().div_ceil(**round) <= MARKS_MAX;
        let round = rounds.iter().find(fits).or(rounds.last());
        let round = round.copied().unwrap_or(1).max(1);
        let is_round = |index: &usize| match self.step {
            Step::Minute => {
                let minutes = self.at(*index).as_second().div_euclid(60);
                usize::try_from(minutes.rem_euclid(1_440)).is_ok_and(|m| m.is_multiple_of(round))
            }
            // The last day always has one.
            Step::Day => (self.len() - 1 - index).is_multiple_of(round),
        };
        (0..self.len()).filter(is_round).collect()
    }

    /// Where a column begins, and how wide it is.
    pub(super) fn column(&self, index: usize) -> (f64, f64) {
        let width = PLOT_WIDTH / real(self.len().max(1));
        (LEFT + width * real(index), width)
    }

    pub(super) fn middle(&self, index: usize) -> f64 {
        let (left, width) = self.column(index);
        left + width / 2.0
    }

    /// From when to when, in words.
    pub(super) fn in_words(&self) -> String {
        match self.len() {
            0 => "no time at all".to_owned(),
            len => format!(
                "one per {} from {} to {} UTC",
                self.step.noun(),
                self.name(0),
                self.name(len - 1)
            ),
        }
    }

    pub(super) fn draw(&self, svg: &mut Markup) {
        for index in self.marks() {
            let x = self.middle(index);
            // The first and the last one stay within the frame.
            let class = match x {
                x if x < LEFT + 20.0 => "mark first",
                x if x > WIDTH - 26.0 => "mark last",
                _ => "mark",
            };
            svg.raw("<text class=\"").plain(class).raw("\" x=\"");
            svg.plain(point(x))
                .raw("\" y=\"")
                .plain(point(HEIGHT - 7.0));
            svg.raw("\">").text(&self.mark(index)).raw("</text>");
        }
    }
}

/// The values from the floor up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Values {
    unit: Unit,
    step: f64,
    pub(super) top: f64,
}

impl Values {
    /// Gridlines at 1, 2 or 5 times a power of ten of the unit, the highest one not below `most`.
    pub(super) fn up_to(unit: Unit, most: f64) -> Self {
        let most = clean(most);
        let base = unit.base(most);
        let wanted = (most / base / LINES).max(unit.step_min());
        let power = 10_f64.powf(wanted.log10().floor());
        let round = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
        // A step is at least what is wanted, but for what powers and logarithms lose.
        let step = round.into_iter().find(|step| *step >= wanted * 0.999_999);
        let step = step.unwrap_or(power * 10.0) * base;
        let lines = (most / step * 0.999_999).ceil().max(1.0);
        Self {
            unit,
            step,
            top: step * lines,
        }
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        (FLOOR - PLOT_HEIGHT * (clean(value) / self.top)).clamp(TOP, FLOOR)
    }

    pub(super) fn draw(&self, svg: &mut Markup) {
        let lines = (self.top / self.step).round();
        let mut line = 0.0;
        while line <= lines {
            let value = self.step * line;
            let y = self.y(value);
            let class = if line == 0.0 { "floor" } else { "grid" };
            svg.raw("<line class=\"").plain(class).raw("\" x1=\"");
            svg.plain(point(LEFT))
                .raw("\" x2=\"")
                .plain(point(WIDTH - RIGHT));
            svg.raw("\" y1=\"")
                .plain(point(y))
                .raw("\" y2=\"")
                .plain(point(y));
            svg.raw("\"/><text class=\"tick\" x=\"")
                .plain(point(LEFT - 6.0));
            svg.raw("\" y=\"").plain(point(y + 3.5)).raw("\">");
            svg.text(&self.unit.tick(value, self.step, self.top));
            svg.raw("</text>");
            line += 1.0;
        }
    }
}

/// A coordinate: a tenth of a unit is finer than a pixel.
pub(super) fn point(at: f64) -> String {
    format!("{at:.1}")
}

/// A number of things, to calculate with.
#[expect(clippy::cast_precision_loss, reason = "at most a few hundred")]
pub(super) fn real(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gridlines_are_round_and_the_highest_is_not_below_the_most() {
        let runs = |most| {
            let values = Values::up_to(Unit::Count("runs"), most);
            (values.step, values.top)
        };
        assert_eq!(runs(0.0), (1.0, 1.0));
        assert_eq!(runs(1.0), (1.0, 1.0));
        assert_eq!(runs(7.0), (2.0, 8.0));
        assert_eq!(runs(8.0), (2.0, 8.0));
        assert_eq!(runs(100.0), (50.0, 100.0));
        assert_eq!(runs(101.0), (50.0, 150.0));
        let seconds = Values::up_to(Unit::Seconds, 500.0);
        assert_eq!((seconds.step, seconds.top), (300.0, 600.0));
    }

    #[test]
    fn times_are_marked_at_round_minutes() {
        let times = Times {
            from: "2026-11-01T23:07:00Z".parse().unwrap(),
            step: Step::Minute,
            count: 60,
        };
        let marks: Vec<_> = times.marks().into_iter().map(|i| times.mark(i)).collect();
        assert_eq!(
            marks,
            ["23:10", "23:20", "23:30", "23:40", "23:50", "00:00"]
        );
        let days = Times {
            step: Step::Day,
            count: 30,
            ..times
        };
        let marks: Vec<_> = days.marks().into_iter().map(|i| days.mark(i)).collect();
        assert_eq!(marks, ["Nov 2", "Nov 9", "Nov 16", "Nov 23", "Nov 30"]);
    }
}
