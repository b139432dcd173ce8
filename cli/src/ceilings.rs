//! `ceiling`: what workflows and tenants may spend in a day.

use std::process::ExitCode;

use flotilla_common::{ids::Name, io::ceilings::Payer, money::Usd};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::{
    client::{Client, print},
    output::Output,
    signals::dollars,
    style::{bold, dim, one_line, warn},
};

/// What to do with the ceilings.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Ceiling {
    /// List the ceilings, and what is spent of them today
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Set a ceiling; parked runs that it lets go on are resumed
    Set {
        #[command(flatten)]
        whose: Whose,
        /// Dollars a day (UTC); 0: no more calls
        #[arg(value_parser = dollars)]
        usd: Usd,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Go back to what the workflow's definition says; its parked runs are resumed
    Clear {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        output: Output,
    },
}

/// Whose ceiling.
#[derive(Debug, clap::Args)]
pub(crate) struct Whose {
    /// `workflow` or `tenant`
    scope: Payer,
    /// Its name
    name: Name,
}

#[derive(Debug, Deserialize)]
struct Listed {
    ceilings: Vec<Line>,
    day: String,
    complete: bool,
}

#[derive(Debug, Deserialize)]
struct Line {
    scope: Payer,
    name: Name,
    usd_nano: Option<Usd>,
    from: String,
    by: Option<String>,
    reason: Option<String>,
    at: Option<Timestamp>,
    spent_usd_nano: Option<Usd>,
    known: bool,
}

#[derive(Debug, Deserialize)]
struct Changed {
    ceiling: Line,
    resuming: usize,
    complete: bool,
}

pub(crate) async fn run(client: &Client, command: Ceiling) -> anyhow::Result<ExitCode> {
    match command {
        Ceiling::List { output } => {
            let listed = client.ceilings().await?;
            print(output.json(), listed, |listed: Listed| table(&listed))?;
        }
        Ceiling::Set {
            whose,
            usd,
            reason,
            output,
        } => {
            let body = json!({"usd": usd.dollars(), "reason": reason});
            let changed = client.set_ceiling(whose.scope, &whose.name, &body).await?;
            print(output.json(), changed, |changed: Changed| told(&changed))?;
        }
        Ceiling::Clear { whose, output } => {
            let changed = client.clear_ceiling(whose.scope, &whose.name).await?;
            print(output.json(), changed, |changed: Changed| told(&changed))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(listed: &Listed) -> Vec<String> {
    if listed.ceilings.is_empty() {
        return vec!["no ceilings; set one: flotilla ceiling set workflow NAME 20".to_owned()];
    }
    let head = format!(
        "{:<9} {:<28} {:>12} {:>12}  from",
        "scope", "name", "a day", "spent"
    );
    let mut lines = vec![bold(head)];
    for line in &listed.ceilings {
        lines.push(format!(
            "{:<9} {:<28} {:>12} {:>12}  {}",
            line.scope,
            line.name,
            amount(line.usd_nano),
            amount(line.spent_usd_nano),
            dim(origin(line))
        ));
    }
    if !listed.complete {
        lines.push(warn(format!(
            "what is spent on {} (UTC) is not known in full: Redis was emptied, or does not answer; it is summed up from the journal before the next call",
            listed.day
        )));
    }
    lines
}

fn amount(usd: Option<Usd>) -> String {
    usd.map_or_else(|| "-".to_owned(), |usd| usd.to_string())
}

fn origin(line: &Line) -> String {
    let mut text = one_line(&line.from, 20);
    if let Some(at) = line.at {
        text += &format!(" {at:.0}");
    }
    if let Some(by) = &line.by {
        text += &format!(" by {}", one_line(by, 60));
    }
    if let Some(reason) = &line.reason {
        text += &format!(": {}", one_line(reason, 120));
    }
    text
}

fn told(changed: &Changed) -> Vec<String> {
    let line = &changed.ceiling;
    let what = match line.usd_nano {
        Some(usd) => format!(
            "may spend {usd} a day (UTC), by {}",
            one_line(&line.from, 20)
        ),
        None => "has no ceiling of a day".to_owned(),
    };
    let mut lines = vec![format!("{} {} {what}", line.scope, bold(&line.name))];
    match changed.resuming {
        0 => {}
        1 => lines.push("1 parked run is told to look again".to_owned()),
        runs => lines.push(format!("{runs} parked runs are told to look again")),
    }
    if !changed.complete {
        lines.push(warn(
            "not all parked runs are known now; the others are told as they are found",
        ));
    }
    if !line.known {
        lines.push(warn(format!(
            "the gateway knows no workflow `{}`: is the name right?",
            line.name
        )));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn line(extra: &Value) -> Value {
        let mut line = json!({
            "scope": "workflow", "name": "w", "usd_nano": 20_000_000_000_u64, "from": "definition",
            "definition_usd_nano": 20_000_000_000_u64, "spent_usd_nano": 1_250_000_000_u64, "known": true,
        });
        for (field, value) in extra.as_object().unwrap() {
            line[field] = value.clone();
        }
        line
    }

    #[test]
    fn ceilings_are_listed_with_what_is_spent_and_who_set_them() {
        let set = line(
            &json!({"scope": "tenant", "name": "acme", "from": "set", "by": "me\u{1b}", "reason": "sale",
            "at": "2026-11-21T10:00:00.4Z", "spent_usd_nano": null}),
        );
        let listed =
            json!({"ceilings": [line(&json!({})), set], "day": "2026-11-21", "complete": false});
        let lines = table(&serde_json::from_value(listed).unwrap());
        assert!(
            lines[1].contains("$20.00") && lines[1].contains("$1.25"),
            "{lines:?}"
        );
        assert!(
            lines[2].contains("set 2026-11-21T10:00:00Z by me: sale"),
            "{lines:?}"
        );
        assert!(lines[3].contains("not known in full"), "{lines:?}");
    }

    #[test]
    fn a_change_says_what_holds_and_how_many_runs_it_is_for() {
        let changed = json!({"ceiling": line(&json!({"known": false, "usd_nano": null, "from": "none"})), "resuming": 3,
            "complete": true});
        let lines = told(&serde_json::from_value(changed).unwrap());
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(
            lines[0].contains("no ceiling") && lines[1].starts_with("3 parked runs"),
            "{lines:?}"
        );
        assert!(lines[2].contains("is the name right?"), "{lines:?}");
    }
}
