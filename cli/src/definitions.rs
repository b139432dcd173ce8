//! `apply`, `workflows`, `activate`, `deactivate`, `rollout`, `rollback`, `diff`, `switch`: the definitions of a running fleet.

mod apply;
mod change;
mod diff;
mod list;
mod switch;

use std::{path::Path, process::ExitCode};

use anyhow::anyhow;
use flotilla_common::{
    definition::{Candidate, Problem, Problems, VersionRef},
    io::definitions,
};
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    client::{Client, Refused},
    settings::Settings,
    style::one_line,
};

/// Where definitions are taken in and listed.
const DEFINITIONS: &str = "/v1/definitions";
/// Longest name of somebody in a line, in characters.
const NAME_MAX: usize = 60;
/// Longest reason in a line, in characters.
const REASON_MAX: usize = 120;

/// What to do with the definitions of a running fleet.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Definitions {
    /// Bring the definitions of a folder to the running fleet
    Apply(apply::Apply),
    /// List the workflows of the fleet, or the versions and the history of one
    Workflows(list::Workflows),
    /// Give all new runs of a workflow a version
    Activate(change::Activate),
    /// Start no new runs of a workflow, until a version is activated
    Deactivate(change::Deactivate),
    /// Give a part of the new runs of a workflow a version
    Rollout(change::Rollout),
    /// Go back to the version that new runs got before
    Rollback(change::Rollback),
    /// Compare versions of a workflow, or the active one with the folder's
    Diff(diff::Diff),
    /// Switch tools and steps off and on again
    #[command(subcommand)]
    Switch(switch::Switch),
}

pub(crate) async fn run(settings: Settings, command: Definitions) -> anyhow::Result<ExitCode> {
    let client = Client::of(&settings)?;
    match command {
        Definitions::Apply(args) => apply::run(&client, &settings, args).await,
        Definitions::Workflows(args) => list::run(&client, args).await,
        Definitions::Activate(args) => change::activate(&client, args).await,
        Definitions::Deactivate(args) => change::deactivate(&client, args).await,
        Definitions::Rollout(args) => change::rollout(&client, args).await,
        Definitions::Rollback(args) => change::rollback(&client, args).await,
        Definitions::Diff(args) => diff::run(&client, &settings, args).await,
        Definitions::Switch(command) => switch::run(&client, command).await,
    }
}

/// Which version new runs get.
#[derive(Debug, Clone, Deserialize)]
struct Standing {
    active: Option<VersionRef>,
    candidate: Option<Candidate>,
    by: Option<String>,
    reason: Option<String>,
    at: Timestamp,
}

impl Standing {
    /// What new runs get: `v2, 10 % of them v3`.
    fn versions(&self) -> String {
        let Some(active) = &self.active else {
            return "none".to_owned();
        };
        let stable = format!("v{}", active.version);
        match &self.candidate {
            None => stable,
            Some(candidate) => format!(
                "{stable}, {} of them v{}",
                candidate.percent, candidate.version.version
            ),
        }
    }

    fn said(&self) -> String {
        said(self.at, self.by.as_deref(), self.reason.as_deref())
    }
}

/// When, by whom and why.
fn said(at: Timestamp, by: Option<&str>, reason: Option<&str>) -> String {
    let mut text = format!("{at:.0}");
    if let Some(by) = by {
        text += &format!(" by {}", one_line(by, NAME_MAX));
    }
    if let Some(reason) = reason {
        text += &format!(": {}", one_line(reason, REASON_MAX));
    }
    text
}

/// A version as people type it: `2` or `v2`.
fn version(text: &str) -> Result<u32, String> {
    let number = text.strip_prefix('v').unwrap_or(text);
    let version = number.parse().ok().filter(|version| *version > 0);
    version.ok_or_else(|| "the number of a version, such as 2".to_owned())
}

/// Sends all definition files of a folder, with what else is said about them.
async fn send(client: &Client, folder: &Path, mut body: Value) -> anyhow::Result<Value> {
    let sources = definitions::read(folder)?;
    body["files"] = json!(sources.0);
    post(client, &body).await
}

/// Has a gateway look at definitions, or take them.
pub(crate) async fn post(client: &Client, body: &Value) -> anyhow::Result<Value> {
    client.send_json(Method::POST, DEFINITIONS, body).await
}

/// What is wrong with definitions, in the words that `check` has for it; any other refusal as it is.
fn in_words(error: anyhow::Error) -> anyhow::Error {
    let problems = error.downcast_ref::<Refused>().and_then(|refused| {
        let problems = refused.problem["problems"].clone();
        serde_json::from_value::<Vec<Problem>>(problems).ok()
    });
    match problems {
        Some(problems) => anyhow!(Problems(problems)),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_typed_with_or_without_its_letter() {
        assert_eq!((version("2"), version("v12")), (Ok(2), Ok(12)));
        for wrong in ["", "v", "0", "-1", "two", "1.5", "vv1"] {
            assert!(version(wrong).is_err(), "{wrong}");
        }
    }
}
