//! Which variables of ours there are: a misspelt one would else be passed over in silence.

use std::{collections::BTreeSet, fmt};

use clap::{Command, CommandFactory as _};
use flotilla_common::definition::nearest;

use super::{TOKEN, TOKEN_FILE};
use crate::{command::Cli, examples};

/// How ours begin.
const PREFIX: &str = "FLOTILLA_";

/// Variables that are read, and that no flag names: each with what it is.
pub(crate) const WITHOUT_FLAG: [(&str, &str); 9] = [
    (TOKEN, "The token that commands show the gateway"),
    (TOKEN_FILE, "File with that token; the same as --token-file"),
    (
        "FLOTILLA_NATS_URL_FILE",
        "File with the address of NATS, where that has a password",
    ),
    (
        "FLOTILLA_REDIS_URL_FILE",
        "File with the address of Redis, where that has a password",
    ),
    ("ANTHROPIC_API_KEY", "The Claude key; planners only"),
    (
        "ANTHROPIC_AUTH_TOKEN",
        "In place of the key: a bearer token for a gateway in front of Claude",
    ),
    (
        examples::VARIABLE,
        "Where the examples' tools leave their files; `up` sets it to a folder in its data",
    ),
    (
        "RUST_LOG",
        "Which log lines are written, such as debug or flotilla_planner=debug,info",
    ),
    ("NO_COLOR", "No colours, if it is not empty"),
];

/// Variables of this prefix that are right although no role reads them: of the compose files, of the demo's tools, and of tests.
const OF_OTHERS: [&str; 6] = [
    "FLOTILLA_PORT",
    "FLOTILLA_WORKFLOWS_DIR",
    "FLOTILLA_COMPOSE_REQUIRED",
    "FLOTILLA_BIN",
    "FLOTILLA_KILL_AT",
    "FLOTILLA_BREAK",
];

/// A variable that looks like one of ours, and is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unknown {
    /// Its name.
    pub(crate) name: String,
    /// What may have been meant.
    pub(crate) nearest: Option<String>,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the variable {} is no setting of flotilla", self.name)?;
        match &self.nearest {
            Some(near) => write!(f, ": did you mean {near}?"),
            None => Ok(()),
        }
    }
}

/// Those of this process.
pub(crate) fn unknown() -> Vec<Unknown> {
    let variables = std::env::vars_os();
    let variables = variables.filter_map(|(name, value)| {
        let value = value.to_string_lossy().into_owned();
        Some((name.into_string().ok()?, value))
    });
    among(variables)
}

fn among(variables: impl Iterator<Item = (String, String)>) -> Vec<Unknown> {
    let known = known();
    let mut found: Vec<Unknown> = variables
        .filter(|(name, value)| name.starts_with(PREFIX) && !is_of_kubernetes(name, value))
        .filter(|(name, _)| !known.contains(name))
        .map(|(name, _)| Unknown {
            nearest: nearest(&name, known.iter().map(String::as_str)).map(str::to_owned),
            name,
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// All names that are right.
fn known() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    of_flags(&Cli::command(), &mut names);
    let besides = WITHOUT_FLAG.into_iter().map(|(name, _)| name);
    names.extend(besides.chain(OF_OTHERS).map(str::to_owned));
    names
}

fn of_flags(command: &Command, names: &mut BTreeSet<String>) {
    let variables = command.get_arguments().filter_map(clap::Arg::get_env);
    names.extend(variables.map(|name| name.to_string_lossy().into_owned()));
    for command in command.get_subcommands() {
        of_flags(command, names);
    }
}

/// Where a Service is called `flotilla-…`, Kubernetes tells every pod its address, in variables of this prefix.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.contains("_TCP")
        || value.starts_with("tcp://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_told_with_what_was_meant_and_the_right_ones_are_not() {
        let given = [
            ("FLOTILLA_NATS_ULR", "nats://x"),
            ("FLOTILLA_TOKEN", "x"),
            ("FLOTILLA_NATS_URL_FILE", "/x"),
            ("FLOTILLA_ACK_WAIT", "1s"),
            ("FLOTILLA_PORT", "1"),
            ("FLOTILLA_SOMETHING_ELSE", "x"),
            ("FLOTILLA_GATEWAY_SERVICE_HOST", "10.0.0.1"),
            ("FLOTILLA_GATEWAY_PORT", "tcp://10.0.0.1:8080"),
            ("FLOTILLA_GATEWAY_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("HOME", "/"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let told: Vec<String> = among(given.into_iter())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            told,
            [
                "the variable FLOTILLA_NATS_ULR is no setting of flotilla: did you mean FLOTILLA_NATS_URL?",
                "the variable FLOTILLA_SOMETHING_ELSE is no setting of flotilla",
            ]
        );
    }
}
