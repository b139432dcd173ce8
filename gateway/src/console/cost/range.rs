//! The days that the page is about, and by what they are told apart: both stand in its address.

use flotilla_common::io::http::Problem;
use jiff::{Span, civil::Date};
use serde::Deserialize;

use crate::{
    problem::bad_request,
    query,
    usage::view::{By, DAYS_MAX},
};

/// Days, when the address does not say.
const DAYS_DEFAULT: i64 = 7;

/// What an address says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    pub(super) did: Option<String>,
    days: Option<String>,
    from: Option<String>,
    to: Option<String>,
    by: Option<String>,
}

/// The days.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) from: Date,
    /// The last one, itself included.
    pub(super) to: Date,
    pub(super) by: By,
    /// Days up to today, where the address says so; `None`: it names them.
    last: Option<i64>,
}

impl Range {
    pub(super) fn read(asked: &Asked, today: Date) -> Result<Self, Problem> {
        let from: Option<Date> = query::value("from", asked.from.as_deref())?;
        let to: Option<Date> = query::value("to", asked.to.as_deref())?;
        let days: Option<i64> = query::value("days", asked.days.as_deref())?;
        let by = match asked.by.as_deref() {
            None | Some("" | "workflow") => By::Workflow,
            Some("model") => By::Model,
            Some(_) => return Err(bad_request("`by`: `workflow` or `model`")),
        };
        let most = i64::from(DAYS_MAX);
        let (from, to, last) = match (from, to) {
            (None, None) => {
                let days = days.unwrap_or(DAYS_DEFAULT).clamp(1, most);
                (before(today, days - 1)?, today, Some(days))
            }
            (from, to) => {
                let to = to.unwrap_or(today);
                (
                    from.map_or_else(|| before(to, DAYS_DEFAULT - 1), Ok)?,
                    to,
                    None,
                )
            }
        };
        let span = from.until(to).map_or(-1, |span| span.get_days());
        if !(0..DAYS_MAX).contains(&span) {
            return Err(bad_request(format!(
                "the first day must not be after the last one, nor more than {DAYS_MAX} days before it"
            )));
        }
        Ok(Self { from, to, by, last })
    }

    pub(super) fn is_last(&self, days: i64) -> bool {
        self.last == Some(days)
    }

    pub(super) fn is_by_model(&self) -> bool {
        self.by == By::Model
    }

    /// The days as an address says them.
    pub(super) fn address(&self) -> String {
        match self.last {
            Some(days) => format!("days={days}"),
            None => format!("from={}&to={}", self.from, self.to),
        }
    }

    /// The days in words.
    pub(super) fn in_words(&self) -> String {
        match self.last {
            Some(1) => "today (UTC)".to_owned(),
            Some(days) => format!("last {days} days (UTC)"),
            None => format!("{} to {} (UTC)", self.from, self.to),
        }
    }

    /// All of them, in order.
    pub(super) fn days(&self) -> Vec<Date> {
        let days = self.from.series(Span::new().days(1));
        days.take_while(|day| *day <= self.to).collect()
    }
}

fn before(day: Date, days: i64) -> Result<Date, Problem> {
    let first = day.checked_sub(Span::new().days(days));
    first.map_err(|problem| bad_request(problem.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: &str, to: &str, days: &str) -> Result<Range, u16> {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let asked = Asked {
            from: text(from),
            to: text(to),
            days: text(days),
            ..Asked::default()
        };
        Range::read(&asked, "2026-11-21".parse().unwrap()).map_err(|problem| problem.status)
    }

    #[test]
    fn days_are_the_last_ones_or_those_that_are_named() {
        let days = |range: Range| (range.from.to_string(), range.days().len(), range.in_words());
        assert_eq!(
            days(range("", "", "").unwrap()),
            ("2026-11-15".into(), 7, "last 7 days (UTC)".into())
        );
        assert_eq!(range("", "", "30").unwrap().days().len(), 30);
        let named = range("2026-11-01", "2026-11-03", "").unwrap();
        assert_eq!(
            days(named),
            (
                "2026-11-01".into(),
                3,
                "2026-11-01 to 2026-11-03 (UTC)".into()
            )
        );
        assert_eq!(named.address(), "from=2026-11-01&to=2026-11-03");
        assert_eq!(range("2026-11-03", "2026-11-01", "").unwrap_err(), 400);
        assert_eq!(range("2020-01-01", "", "").unwrap_err(), 400);
        assert_eq!(range("yesterday", "", "").unwrap_err(), 400);
        assert_eq!(range("", "", "x").unwrap_err(), 400);
    }
}
