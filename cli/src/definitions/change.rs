//! `activate`, `deactivate`, `rollout`, `rollback`: which version new runs get. Runs that have begun keep theirs.

use std::process::ExitCode;

use anyhow::bail;
use flotilla_common::ids::Name;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{DEFINITIONS, Standing, version};
use crate::{
    client::{Client, print},
    exit::Usage,
    signals::Why,
    style::{bold, dim},
};

/// What to activate.
#[derive(Debug, clap::Args)]
pub(crate) struct Activate {
    /// The workflow
    name: Name,
    /// The version
    #[arg(id = "number", value_name = "VERSION", value_parser = version)]
    version: u32,
    #[command(flatten)]
    why: Why,
}

/// What to deactivate.
#[derive(Debug, clap::Args)]
pub(crate) struct Deactivate {
    /// The workflow
    name: Name,
    #[command(flatten)]
    why: Why,
}

/// What to roll out.
#[derive(Debug, clap::Args)]
pub(crate) struct Rollout {
    /// The workflow
    name: Name,
    /// The version
    #[arg(id = "number", value_name = "VERSION", value_parser = version, required_unless_present = "end", conflicts_with = "end")]
    version: Option<u32>,
    /// How many of the new runs get it, such as 10% or 0.5%; 100% is all of them
    #[arg(value_parser = percent, required_unless_present = "end")]
    percent: Option<f64>,
    /// No part of the new runs gets another version any more
    #[arg(long)]
    end: bool,
    #[command(flatten)]
    why: Why,
}

/// What to roll back.
#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    /// The workflow
    name: Name,
    #[command(flatten)]
    why: Why,
}

#[derive(Debug, Deserialize)]
struct Changed {
    workflow: Name,
    #[serde(flatten)]
    standing: Standing,
}

pub(crate) async fn activate(client: &Client, args: Activate) -> anyhow::Result<ExitCode> {
    let mut body = args.why.body();
    body["version"] = json!(args.version);
    change(client, Method::PUT, &args.name, "active", &args.why, body).await
}

pub(crate) async fn deactivate(client: &Client, args: Deactivate) -> anyhow::Result<ExitCode> {
    let body = args.why.body();
    change(
        client,
        Method::DELETE,
        &args.name,
        "active",
        &args.why,
        body,
    )
    .await
}

pub(crate) async fn rollout(client: &Client, args: Rollout) -> anyhow::Result<ExitCode> {
    let mut body = args.why.body();
    let method = match (args.version, args.percent) {
        (Some(version), Some(percent)) => {
            body["version"] = json!(version);
            body["percent"] = json!(percent);
            Method::PUT
        }
        (None, None) => Method::DELETE,
        (Some(_), None) | (None, Some(_)) => bail!(Usage(
            "give a version and a percentage, or --end".to_owned()
        )),
    };
    change(client, method, &args.name, "rollout", &args.why, body).await
}

pub(crate) async fn rollback(client: &Client, args: Rollback) -> anyhow::Result<ExitCode> {
    let body = args.why.body();
    change(
        client,
        Method::POST,
        &args.name,
        "rollback",
        &args.why,
        body,
    )
    .await
}

async fn change(
    client: &Client,
    method: Method,
    name: &Name,
    what: &str,
    why: &Why,
    body: Value,
) -> anyhow::Result<ExitCode> {
    let path = format!("{DEFINITIONS}/{name}/{what}");
    let changed = client.send_json(method, &path, &body).await?;
    print(why.output.json(), changed, |changed: Changed| {
        told(&changed)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn told(changed: &Changed) -> Vec<String> {
    let (name, standing) = (&changed.workflow, &changed.standing);
    let (now, next) = match (&standing.active, &standing.candidate) {
        (None, _) => (
            "no new runs are started; those that have begun go on".to_owned(),
            format!("to start some again: flotilla rollback {name}"),
        ),
        (Some(_), None) => (
            format!("new runs get {}", standing.versions()),
            format!("to go back: flotilla rollback {name}"),
        ),
        (Some(_), Some(candidate)) => {
            let tried = candidate.version.version;
            (
                format!("new runs get {}", standing.versions()),
                format!(
                    "to give it to all: flotilla activate {name} {tried}; to end it: flotilla rollout {name} --end"
                ),
            )
        }
    };
    vec![format!("{}: {now}", bold(name)), dim(next)]
}

/// A part of the runs as people type it. Whether it can be had, the gateway says.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim_end();
    let percent = number.parse().ok().filter(|p| (0.0..=100.0).contains(p));
    percent.ok_or_else(|| "a percentage from 0% to 100%, such as 10%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_says_what_new_runs_get_and_how_to_go_on() {
        let v = |version: u32| json!({"version": version, "digest": "d"});
        let lines = |active: Value, candidate: Value| {
            let changed = json!({"workflow": "w", "active": active, "candidate": candidate, "at": "2026-11-21T10:00:00Z"});
            told(&serde_json::from_value(changed).unwrap()).join("\n")
        };
        assert_eq!(
            lines(v(2), Value::Null),
            "w: new runs get v2\nto go back: flotilla rollback w"
        );
        assert_eq!(
            lines(v(2), json!({"version": 3, "digest": "d", "percent": 0.5})),
            "w: new runs get v2, 0.5 % of them v3\nto give it to all: flotilla activate w 3; to end it: flotilla rollout w --end"
        );
        assert_eq!(
            lines(Value::Null, Value::Null),
            "w: no new runs are started; those that have begun go on\nto start some again: flotilla rollback w"
        );
    }

    #[test]
    fn a_percentage_is_typed_with_or_without_its_sign() {
        assert_eq!(
            (percent("10%"), percent("0.5"), percent("100 %")),
            (Ok(10.0), Ok(0.5), Ok(100.0))
        );
        for wrong in ["", "%", "-1", "101%", "NaN", "ten"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }
}
