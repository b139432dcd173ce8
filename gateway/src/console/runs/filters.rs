//! What a list of runs is asked for: the query of its address, as the form above it writes it.

use std::collections::BTreeSet;

use axum::extract::Query;
use flotilla_common::{
    access::Caller,
    ids::{Name, RunId},
    io::http::Problem,
    run::Status,
};

use crate::{
    console::{
        form::encoded,
        words::{Badge, count},
    },
    list::{self, Ask, Listed},
    query::Fields,
    routes::App,
};

/// A status that can be asked for.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) status: Status,
    pub(crate) is_asked: bool,
    /// How many runs stand so; `None` where that is not known now.
    pub(crate) count: Option<String>,
}

impl Choice {
    /// Its sign and word.
    pub(crate) fn badge(&self) -> Badge {
        Badge(self.status)
    }
}

/// What is asked for.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    pairs: Vec<(String, String)>,
    /// Whether this is not the first page.
    pub(crate) is_later: bool,
    pub(crate) choices: Vec<Choice>,
    /// Workflows that there are.
    pub(crate) workflows: Vec<String>,
    /// Tools that there are.
    pub(crate) tools: Vec<String>,
}

impl Filters {
    /// Those of a query; fields that are empty are as good as none.
    pub(crate) fn read(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        let pairs: Vec<_> = pairs
            .filter(|(_, value)| !value.trim().is_empty())
            .collect();
        Self {
            is_later: pairs.iter().any(|(name, _)| name == "cursor"),
            pairs,
            ..Self::default()
        }
    }

    /// A field as it was typed.
    pub(crate) fn get(&self, name: &str) -> &str {
        let mut pairs = self.pairs.iter();
        pairs
            .find(|(field, _)| field == name)
            .map_or("", |(_, value)| value.as_str())
    }

    /// The one run that is asked for by its whole id.
    pub(crate) fn run(&self) -> Option<RunId> {
        self.get("q").trim().parse().ok()
    }

    /// Whether anything is asked for in particular.
    pub(crate) fn is_any(&self) -> bool {
        self.pairs
            .iter()
            .any(|(name, _)| name != "cursor" && name != "done")
    }

    /// Whether something is asked for that is not a status.
    pub(crate) fn has_more(&self) -> bool {
        let names = [
            "workflow", "tool", "since", "until", "min_usd", "q", "tenant",
        ];
        names.iter().any(|name| !self.get(name).is_empty())
    }

    /// The address of the next page.
    pub(crate) fn older(&self, cursor: &str) -> String {
        let kept = self
            .pairs
            .iter()
            .filter(|(name, _)| name != "cursor" && name != "done");
        let kept: String = kept
            .map(|(name, value)| format!("{}={}&", encoded(name), encoded(value)))
            .collect();
        format!("/runs?{kept}cursor={}", encoded(cursor))
    }

    /// The page of runs.
    pub(crate) async fn ask(&self, app: &App, caller: &Caller) -> Result<Listed, Problem> {
        let mut pairs = self.pairs.clone();
        pairs.retain(|(name, _)| name != "done");
        let fields = Fields::read(Ok(Query(pairs)))?;
        list::patiently(app, &Ask::read(fields, caller)?).await
    }

    /// Finds out what there is to choose from.
    pub(crate) async fn offer(&mut self, app: &App, caller: &Caller) {
        let counted = list::counted(app, caller, None).await.ok();
        let asked: Vec<&str> = self
            .pairs
            .iter()
            .filter(|(name, _)| name == "status")
            .map(|(_, value)| value.as_str())
            .collect();
        let choices = Status::ALL.into_iter().map(|status| Choice {
            is_asked: asked.contains(&status.to_string().as_str()),
            count: counted
                .as_ref()
                .and_then(|all| all.counts.get(&status))
                .map(|number| count(*number)),
            status,
        });
        self.choices = choices.collect();
        let catalogue = app.current.catalogue();
        self.workflows = catalogue.names().map(ToString::to_string).collect();
        let tools: BTreeSet<&Name> = catalogue.tools.iter().map(|tool| &tool.name).collect();
        self.tools = tools.into_iter().map(ToString::to_string).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_keeps_what_was_asked_for_and_nothing_gets_out_of_its_field() {
        let filters = Filters::read(
            "status=failed&status=parked&workflow=&q=a%26b%22%3E&cursor=1-x&done=approved",
        );
        assert!(filters.is_later && filters.is_any() && filters.has_more());
        assert_eq!(filters.get("q"), "a&b\">");
        assert_eq!(
            filters.older("2 y"),
            "/runs?status=failed&status=parked&q=a%26b%22%3E&cursor=2+y"
        );
        assert!(!Filters::read("done=approved&status=").is_any());
    }

    #[test]
    fn a_whole_id_is_one_run_and_a_part_of_it_a_filter() {
        let id = format!("run_{}", "a".repeat(32));
        assert!(Filters::read(&format!("q=+{id}+")).run().is_some());
        assert!(Filters::read("q=run_aaaa").run().is_none());
    }
}
