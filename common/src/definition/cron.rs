//! Cron expressions as crontab(5) has them, in a time zone: when a workflow falls due.
//!
//! Zones are looked up in the machine's database (tzdata); `UTC` needs none.

mod field;
#[cfg(test)]
mod tests;

use jiff::{
    Timestamp, ToSpan as _, Zoned,
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, TimeZone},
};

use super::words::nearest;
use field::{DAY, HOUR, MINUTE, MONTH, SECOND, Values, WEEKDAY};

/// The zone of an expression that names none.
pub(super) const TIMEZONE_DEFAULT: &str = "UTC";
/// After so many years the Gregorian calendar repeats itself, weekdays included: what did not come by then never comes.
const CALENDAR_CYCLE_YEARS: i16 = 400;
const EXAMPLE: &str = "every weekday at nine is `0 9 * * 1-5`";

/// When a workflow falls due: an expression in a zone. It has a next time, as long as the calendar goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Cron {
    expression: String,
    timezone: String,
    zone: TimeZone,
    seconds: Values,
    minutes: Values,
    hours: Values,
    days: Values,
    months: Values,
    weekdays: Values,
    /// Where both the day of the month and the weekday are restricted, one of them is enough: crontab(5).
    either_day: bool,
}

/// What is wrong with an expression or a zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct CronError {
    /// What is wrong.
    pub(super) message: String,
    /// What to do.
    pub(super) help: String,
}

impl CronError {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: help.into(),
        }
    }
}

/// The zone of that name.
///
/// # Errors
/// When this machine knows none.
pub(super) fn timezone(name: &str) -> Result<TimeZone, CronError> {
    if name == TIMEZONE_DEFAULT {
        return Ok(TimeZone::UTC);
    }
    let found = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown());
    found.ok_or_else(|| {
        let database = jiff::tz::db();
        let names: Vec<_> = database.available().collect();
        let help = match nearest(name, names.iter().map(|known| known.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name one as the tz database does, such as `Europe/Berlin`; where that is right, tzdata is missing here".into(),
        };
        CronError::new(format!("there is no time zone `{name}`"), help)
    })
}

impl Cron {
    /// Reads five fields (minute, hour, day of the month, month, weekday), or six with seconds before them.
    ///
    /// # Errors
    /// What is wrong with them, or that they never come together.
    pub(super) fn new(expression: &str, timezone: &str, zone: TimeZone) -> Result<Self, CronError> {
        let texts: Vec<&str> = expression.split_whitespace().collect();
        let (second, [minute, hour, day, month, weekday]) = match texts[..] {
            [minute, hour, day, month, weekday] => ("0", [minute, hour, day, month, weekday]),
            [second, minute, hour, day, month, weekday] => {
                (second, [minute, hour, day, month, weekday])
            }
            _ => {
                let message = format!(
                    "a cron expression has five fields (minute, hour, day of the month, month, weekday), or six with seconds before them; this has {}",
                    texts.len()
                );
                return Err(CronError::new(message, EXAMPLE));
            }
        };
        let cron = Self {
            expression: texts.join(" "),
            timezone: timezone.to_owned(),
            zone,
            seconds: Values::parse(&SECOND, second)?,
            minutes: Values::parse(&MINUTE, minute)?,
            hours: Values::parse(&HOUR, hour)?,
            days: Values::parse(&DAY, day)?,
            months: Values::parse(&MONTH, month)?,
            weekdays: Values::parse(&WEEKDAY, weekday)?,
            either_day: !day.contains('*') && !weekday.contains('*'),
        };
        let any = DateTime::constant(2000, 1, 1, 0, 0, 0, 0);
        if cron.next_local(any).is_none() {
            let message = "no day is ever like that, so this would never fire";
            let help = "check the day of the month and the month";
            return Err(CronError::new(message, help));
        }
        Ok(cron)
    }

    /// The fields, with one space between.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The zone's name.
    #[must_use]
    pub fn timezone(&self) -> &str {
        &self.timezone
    }

    /// A time as the clocks of the zone show it.
    #[must_use]
    pub fn local(&self, time: Timestamp) -> Zoned {
        time.to_zoned(self.zone.clone())
    }

    /// The first due time after this one; `None` where the calendar ends (year 9999).
    ///
    /// A local time that the clocks jump over falls due at the first instant after the gap, one that they show twice at the
    /// first time they do.
    #[must_use]
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let now = self.zone.to_datetime(time);
        let whole = now.with().subsec_nanosecond(0).build().ok()?;
        // Later local times are never due earlier, so what is due later than now is shown later than now. The other way round
        // does not hold where clocks are set back: there the search goes on until it is past the hour that comes twice.
        let mut from = second_after(whole)?;
        loop {
            let local = self.next_local(from)?;
            let due = self.instant(local)?;
            if due > time {
                return Some(due);
            }
            from = second_after(local)?;
        }
    }

    /// Whether it is due at exactly this time.
    #[must_use]
    pub fn is_due(&self, time: Timestamp) -> bool {
        let before = time.checked_sub(1.second()).ok();
        before.and_then(|before| self.next_after(before)) == Some(time)
    }

    /// When the clocks show this for the first time, or jump over it.
    fn instant(&self, local: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(local);
        // In a gap: as far before it as the local time is behind its beginning.
        let earlier = ambiguous.earlier().ok()?;
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => Some(earlier),
            AmbiguousOffset::Gap { .. } => {
                let jump = self.zone.following(earlier).next();
                jump.map(|jump| jump.timestamp())
            }
        }
    }

    /// The first local time from this one on that the fields name, whether clocks ever show it or not.
    fn next_local(&self, from: DateTime) -> Option<DateTime> {
        let last = from.year().saturating_add(CALENDAR_CYCLE_YEARS);
        let (mut date, mut time) = (from.date(), from.time());
        while date.year() <= last {
            if !self.months.has(date.month()) {
                date = date.last_of_month().tomorrow().ok()?;
            } else if let Some(found) = self.next_time(time).filter(|_| self.has_day(date)) {
                return Some(date.to_datetime(found));
            } else {
                date = date.tomorrow().ok()?;
            }
            time = Time::midnight();
        }
        None
    }

    fn has_day(&self, date: Date) -> bool {
        let day = self.days.has(date.day());
        let weekday = self.weekdays.has(date.weekday().to_sunday_zero_offset());
        if self.either_day {
            day || weekday
        } else {
            day && weekday
        }
    }

    /// The first time of a day from this one on.
    fn next_time(&self, from: Time) -> Option<Time> {
        let (hour, minute) = (from.hour(), from.minute());
        let (hour, minute, second) = if self.hours.has(hour) {
            let in_minute = || self.seconds.at_least(from.second());
            let now = self.minutes.has(minute).then(in_minute).flatten();
            let later = || {
                Some((
                    hour,
                    self.minutes.at_least(minute + 1)?,
                    self.seconds.at_least(0)?,
                ))
            };
            now.map(|second| (hour, minute, second)).or_else(later)
        } else {
            None
        }
        .or_else(|| {
            let hour = self.hours.at_least(hour + 1)?;
            Some((hour, self.minutes.at_least(0)?, self.seconds.at_least(0)?))
        })?;
        Time::new(hour, minute, second, 0).ok()
    }
}

fn second_after(local: DateTime) -> Option<DateTime> {
    local.checked_add(1.second()).ok()
}
