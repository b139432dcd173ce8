//! One field of a cron expression.

use super::CronError;

/// What a field is about.
#[derive(Debug)]
pub(super) struct Unit {
    /// For people.
    name: &'static str,
    least: i8,
    /// What `*` goes to.
    most: i8,
    /// The largest number that can be written.
    written: i8,
    /// Short names, in order, from `least`.
    names: &'static [&'static str],
}

pub(super) const SECOND: Unit = numbers("second", 0, 59);
pub(super) const MINUTE: Unit = numbers("minute", 0, 59);
pub(super) const HOUR: Unit = numbers("hour", 0, 23);
pub(super) const DAY: Unit = numbers("day of the month", 1, 31);
pub(super) const MONTH: Unit = Unit {
    names: &[
        "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
    ],
    ..numbers("month", 1, 12)
};
/// Sunday is 0, and 7 too.
pub(super) const WEEKDAY: Unit = Unit {
    written: SUNDAY_AGAIN,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    ..numbers("weekday", 0, 6)
};
const SUNDAY_AGAIN: i8 = 7;

const fn numbers(name: &'static str, least: i8, most: i8) -> Unit {
    Unit {
        name,
        least,
        most,
        written: most,
        names: &[],
    }
}

impl Unit {
    fn value(&self, text: &str) -> Option<i8> {
        let named = |name: &&str| name.eq_ignore_ascii_case(text);
        let index = self.names.iter().position(named);
        let named = index.and_then(|index| i8::try_from(index).ok());
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = || text.parse().ok().filter(|_| digits);
        let value = named.map(|index| self.least + index).or_else(number);
        value.filter(|value| (self.least..=self.written).contains(value))
    }

    fn wrong(&self, text: &str) -> CronError {
        let (name, least, written) = (self.name, self.least, self.written);
        let named = match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!(", or {first} to {last}"),
            _ => String::new(),
        };
        CronError::new(
            format!("`{text}` is no {name}"),
            format!("write {least} to {written}{named}; `*` is each of them"),
        )
    }

    /// What one part of a list names: the first and the last value.
    fn range(&self, text: &str) -> Result<(i8, i8), CronError> {
        if text == "*" {
            return Ok((self.least, self.most));
        }
        let Some((first, last)) = text.split_once('-') else {
            let value = self.value(text).ok_or_else(|| self.wrong(text))?;
            return Ok((value, value));
        };
        // Of `5-` and `-5` the whole is shown.
        let wrong = |end: &str| self.wrong(if end.is_empty() { text } else { end });
        let begin = self.value(first).ok_or_else(|| wrong(first))?;
        let mut end = self.value(last).ok_or_else(|| wrong(last))?;
        // `FRI-SUN` goes on to the Sunday behind it.
        if self.written > self.most && end == self.least && end < begin {
            end = self.written;
        }
        if end < begin {
            let (least, most) = (self.least.to_string(), self.most.to_string());
            let (least, most) = match (self.names.first(), self.names.last()) {
                (Some(least), Some(most)) => (*least, *most),
                _ => (least.as_str(), most.as_str()),
            };
            return Err(CronError::new(
                format!("the range `{text}` runs backwards"),
                format!("write it as two: `{first}-{most},{least}-{last}`"),
            ));
        }
        Ok((begin, end))
    }

    fn step(&self, text: &str, range: &str) -> Result<usize, CronError> {
        if range != "*" && !range.contains('-') {
            return Err(CronError::new(
                format!("`{range}/{text}` has a step, but no range to walk over"),
                format!("from {range} on is `{range}-{}/{text}`", self.most),
            ));
        }
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let step = text.parse::<u8>().ok().filter(|step| digits && *step > 0);
        step.map(usize::from).ok_or_else(|| {
            CronError::new(
                format!("`{text}` is no step"),
                "a step is a whole number, 1 or more, such as `*/15`",
            )
        })
    }
}

/// Values of a unit, each a bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Values(u64);

impl Values {
    /// Reads a field: a list of values, ranges and `*`, the latter two with a step if wanted.
    pub(super) fn parse(unit: &Unit, text: &str) -> Result<Self, CronError> {
        let mut bits = 0_u64;
        for part in text.split(',') {
            if part.is_empty() {
                let message =
                    format!("there is nothing between two commas of `{text}`, or beside one");
                return Err(CronError::new(message, "remove a comma"));
            }
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, unit.step(step, range)?),
                None => (part, 1),
            };
            let (begin, end) = unit.range(range)?;
            for value in (begin..=end).step_by(step) {
                let sunday = unit.written > unit.most && value == SUNDAY_AGAIN;
                bits |= 1 << if sunday { 0 } else { value };
            }
        }
        Ok(Self(bits))
    }

    pub(super) fn has(self, value: i8) -> bool {
        self.at_least(value) == Some(value)
    }

    /// The first value from this one on.
    pub(super) fn at_least(self, least: i8) -> Option<i8> {
        let least = u32::try_from(least).ok()?;
        let rest = self.0.checked_shr(least)?;
        (rest != 0)
            .then(|| i8::try_from(least + rest.trailing_zeros()).ok())
            .flatten()
    }
}
