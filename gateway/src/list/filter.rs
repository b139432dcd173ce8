//! Which runs are wanted.

use std::{fmt, str::FromStr};

use flotilla_common::{
    access::Caller,
    ids::{Name, RunId},
    io::{clock, http::Problem, store::Cursor},
    money::Usd,
    run::{Status, Summary},
    units::Span,
};
use jiff::Timestamp;

use crate::{problem::wrong_parameter, query::Fields};

/// Runs per page, when the request does not say.
const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 500;
/// Longest text to look for, in characters.
const TEXT_LENGTH_MAX: usize = 64;
const KNOWN: &str =
    "`status`, `workflow`, `tool`, `tenant`, `since`, `until`, `min_usd`, `q`, `limit`, `cursor`";

/// What a list is asked for.
#[derive(Debug, Default)]
pub(crate) struct Ask {
    /// Runs per page.
    pub(crate) limit: usize,
    pub(crate) after: Option<Cursor>,
    pub(crate) filter: Filter,
}

/// Which runs are wanted: those that pass all of it.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// Any of these; empty: any.
    pub(crate) statuses: Vec<Status>,
    /// Any of these; empty: any.
    pub(crate) workflows: Vec<Name>,
    /// It called any of these; empty: it may have called none.
    pub(crate) tools: Vec<Name>,
    pub(crate) tenant: Option<Name>,
    /// Of whoever asks: others' runs are not there.
    pub(crate) own: Option<Name>,
    /// Started then or later.
    pub(crate) since: Option<Timestamp>,
    /// Started before.
    pub(crate) until: Option<Timestamp>,
    pub(crate) min_usd: Option<Usd>,
    pub(crate) text: Option<Text>,
}

/// A text that somebody looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text(String);

impl Ask {
    /// What a query says.
    pub(crate) fn read(mut fields: Fields, caller: &Caller) -> Result<Self, Problem> {
        let now = clock::now();
        let ask = Self {
            limit: limit(&mut fields, LIMIT_DEFAULT, LIMIT_MAX)?,
            after: fields.one("cursor")?,
            filter: Filter {
                statuses: fields.all("status")?,
                workflows: fields.all("workflow")?,
                tools: fields.all("tool")?,
                tenant: fields.one("tenant")?,
                own: caller.tenant.clone(),
                since: fields.one("since")?.map(|when: When| when.at(now)),
                until: fields.one("until")?.map(|when: When| when.at(now)),
                min_usd: fields.one("min_usd")?.map(|Dollars(usd)| usd),
                text: fields.one("q")?,
            },
        };
        fields.end(KNOWN)?;
        Ok(ask)
    }
}

/// How many to list at most.
pub(crate) fn limit(fields: &mut Fields, default: usize, most: usize) -> Result<usize, Problem> {
    number(fields, "limit", default, most)
}

/// The same of another field.
pub(crate) fn number(
    fields: &mut Fields,
    name: &str,
    default: usize,
    most: usize,
) -> Result<usize, Problem> {
    let given: Option<usize> = match fields.one::<String>(name)? {
        None => return Ok(default),
        Some(text) => text.parse().ok(),
    };
    let given = given.filter(|number| (1..=most).contains(number));
    given.ok_or_else(|| wrong_parameter(name, format!("a number from 1 to {most}")))
}

impl Filter {
    /// Whether every line passes that is of a wanted status.
    pub(super) fn is_met_by_status(&self) -> bool {
        let Self {
            statuses: _,
            workflows,
            tools,
            tenant,
            own,
            since: _,
            until: _,
            min_usd,
            text,
        } = self;
        workflows.is_empty()
            && tools.is_empty()
            && tenant.is_none()
            && own.is_none()
            && min_usd.is_none()
            && text.is_none()
    }

    /// The one run that is looked for by its whole id.
    pub(super) fn run(&self) -> Option<RunId> {
        self.text.as_ref()?.0.parse().ok()
    }

    pub(super) fn passes(&self, run: &Summary) -> bool {
        let is_one = |names: &[Name], name: &Name| names.is_empty() || names.contains(name);
        let is_of = |tenant: &Option<Name>| {
            let tenant = tenant.as_ref();
            tenant.is_none_or(|tenant| tenant.as_str() == run.tenant)
        };
        (self.statuses.is_empty() || self.statuses.contains(&run.status))
            && is_one(&self.workflows, &run.workflow)
            && (self.tools.is_empty() || self.tools.iter().any(|tool| run.tools.has(tool)))
            && is_of(&self.tenant)
            && is_of(&self.own)
            && self.since.is_none_or(|since| run.started_at >= since)
            && self.until.is_none_or(|until| run.started_at < until)
            && self.min_usd.is_none_or(|usd| run.usd_nano >= usd)
            && self.text.as_ref().is_none_or(|text| text.is_in(run))
    }
}

impl Text {
    /// Whether a run's id begins so, or its workflow's name has it.
    fn is_in(&self, run: &Summary) -> bool {
        let id = run.id.as_str();
        let hex = id.strip_prefix("run_").unwrap_or(id);
        let Self(text) = self;
        id.starts_with(text) || hex.starts_with(text) || run.workflow.as_str().contains(text)
    }
}

impl FromStr for Text {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let is_fine = text.chars().count() <= TEXT_LENGTH_MAX && !text.contains(char::is_control);
        let must =
            || format!("at most {TEXT_LENGTH_MAX} characters, none of them a control character");
        is_fine.then(|| Self(text.to_owned())).ok_or_else(must)
    }
}

/// A time, or how long ago.
pub(crate) struct When(Result<Timestamp, Span>);

impl When {
    pub(crate) fn at(&self, now: Timestamp) -> Timestamp {
        match self.0 {
            Ok(at) => at,
            // A span is ten years at most.
            Err(Span(ago)) => now.checked_sub(ago).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }
}

impl FromStr for When {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self(Ok(at)));
        }
        let wrong =
            |_| "a time such as 2026-11-21T10:00:00Z, or how long ago, such as 24h".to_owned();
        text.parse().map(|ago| Self(Err(ago))).map_err(wrong)
    }
}

/// An amount as people write it.
struct Dollars(Usd);

impl FromStr for Dollars {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let dollars = text.trim_start_matches('$').parse().ok();
        let usd = dollars.and_then(Usd::from_dollars).map(Self);
        usd.ok_or("a number of dollars, 0 to 1000000")
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::Query;

    use super::*;
    use crate::sample::{Journal, act, name};

    fn read(query: &str) -> Result<Ask, Problem> {
        let uri = format!("/?{query}").parse().unwrap();
        Ask::read(Fields::read(Query::try_from_uri(&uri))?, &Caller::anyone())
    }

    #[test]
    fn an_empty_field_is_as_good_as_none_and_a_wrong_one_is_told_by_name() {
        let ask = read("limit=&status=&cursor=&q=").unwrap();
        assert_eq!(
            (ask.limit, ask.filter.is_met_by_status()),
            (LIMIT_DEFAULT, true)
        );
        for (wrong, name) in [
            ("limit=0", "limit"),
            ("limit=501", "limit"),
            ("limit=many", "limit"),
            ("status=ended", "status"),
            ("status=failed&status=ended", "status"),
            ("cursor=5", "cursor"),
            ("since=yesterday", "since"),
            ("until=1h&until=2h", "until"),
            ("min_usd=-1", "min_usd"),
            ("min_usd=NaN", "min_usd"),
            ("q=%00", "q"),
            ("tenant=a+b", "tenant"),
            ("workflow=%2F", "workflow"),
            ("tool=a+b", "tool"),
            ("sort=usd", "sort"),
        ] {
            let problem = read(wrong).unwrap_err();
            assert_eq!(problem.status, 400, "{wrong}");
            assert_eq!(problem.more["errors"][0]["parameter"], name);
        }
    }

    #[test]
    fn a_run_must_pass_every_filter_and_one_of_those_that_are_repeated() {
        let mut run = Journal::start("1", 1_000).run.summary().unwrap();
        run.usd_nano = Usd::from_nano(2_000_000_000);
        run.tools.take(&act());
        let id = run.id.to_string();
        for passed in [
            "status=failed&status=running",
            "workflow=w&workflow=v",
            "tool=df",
            "tool=rm&tool=df",
            "tenant=default",
            "since=1970-01-01T00:16:40Z",
            "until=1970-01-01T00:16:41Z",
            "until=24h",
            "min_usd=2",
            "min_usd=$1.99",
            "q=w",
            &format!("q={id}"),
            &format!("q={}", &id[..9]),
            &format!("q={}", &id[4..9]),
        ] {
            assert!(read(passed).unwrap().filter.passes(&run), "{passed}");
        }
        for other in [
            "status=failed",
            "workflow=v",
            "tool=rm",
            "tool=d",
            "tenant=acme",
            "since=24h",
            "until=1970-01-01T00:16:40Z",
            "min_usd=2.01",
            "q=x",
            "status=running&min_usd=3",
        ] {
            assert!(!read(other).unwrap().filter.passes(&run), "{other}");
        }
        let mut foreign = read("tenant=default").unwrap().filter;
        foreign.own = Some(name("acme"));
        assert!(
            !foreign.passes(&run),
            "what is another tenant's is not there"
        );
    }
}
