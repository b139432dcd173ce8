//! `cost`: what was used, and what it cost.

use std::process::ExitCode;

use flotilla_common::{definition::percent_encoded, money::Usd, units::Span};
use jiff::{Timestamp, tz::TimeZone};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    client::{Client, print},
    output::Output,
    style::{bold, dim, one_line, warn},
};

/// What to sum up.
#[derive(Debug, clap::Args)]
pub(crate) struct Cost {
    /// What to tell apart: workflow, model, tenant, day; several with commas between
    #[arg(long, default_value = "workflow,model")]
    by: String,
    /// Since when: the days (UTC) that lie within this time
    #[arg(long, default_value = "7d")]
    since: Span,
    /// Only of this workflow
    #[arg(long)]
    workflow: Option<String>,
    /// Only of this model
    #[arg(long)]
    model: Option<String>,
    /// Only of this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Print CSV
    #[arg(long, conflicts_with_all = ["json", "output"])]
    csv: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Deserialize)]
struct Usage {
    from: String,
    to: String,
    by: Vec<String>,
    rows: Vec<Row>,
    total: Row,
    complete: bool,
}

/// A row, with what it is told apart by as it came.
#[derive(Debug, Deserialize)]
struct Row {
    #[serde(default)]
    day: Option<String>,
    #[serde(default)]
    workflow: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    tenant: Option<String>,
    calls: u64,
    wasted_calls: u64,
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
    usd_nano: Usd,
}

pub(crate) async fn run(client: &Client, args: Cost) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/usage?{}", query(&args, Timestamp::now())?);
    if args.csv {
        let answer = client.download(&format!("{path}&format=csv")).await?;
        print!("{}", answer.text().await?);
        return Ok(ExitCode::SUCCESS);
    }
    let usage: Value = client.get(&path).await?;
    print(args.output.json(), usage, |usage: Usage| table(&usage))?;
    Ok(ExitCode::SUCCESS)
}

fn query(args: &Cost, now: Timestamp) -> anyhow::Result<String> {
    let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
    // Whole days: seven days are today and the six before it.
    let since = now - args.since.0 + std::time::Duration::from_secs(86_400);
    let (from, to) = (day(since.min(now)), day(now));
    let mut query = format!("from={from}&to={to}&by={}", percent_encoded(&args.by));
    let filters = [
        ("workflow", &args.workflow),
        ("model", &args.model),
        ("tenant", &args.tenant),
    ];
    for (name, value) in filters {
        if let Some(value) = value {
            query += &format!("&{name}={}", percent_encoded(value));
        }
    }
    Ok(query)
}

fn table(usage: &Usage) -> Vec<String> {
    let columns: Vec<&str> = usage.by.iter().map(String::as_str).collect();
    let head: String = columns.iter().map(|name| cell(name, name)).collect();
    let mut lines = vec![bold(format!(
        "{head}{:>8} {:>11} {:>11} {:>11} {:>11} {:>12}",
        "calls", "input", "cached", "written", "output", "cost"
    ))];
    lines.extend(usage.rows.iter().map(|row| {
        let named: String = columns
            .iter()
            .map(|name| cell(name, row.named(name)))
            .collect();
        format!("{named}{}", row.figures())
    }));
    let all: String = columns
        .iter()
        .enumerate()
        .map(|(at, name)| cell(name, if at == 0 { "all" } else { "" }))
        .collect();
    lines.push(bold(format!("{all}{}", usage.total.figures())));
    lines.push(dim(format!("from {} to {} (UTC)", usage.from, usage.to)));
    if usage.total.wasted_calls > 0 {
        lines.push(dim(format!(
            "{} call(s) besides were lost and may have been paid",
            usage.total.wasted_calls
        )));
    }
    if !usage.complete {
        lines.push(warn(
            "the journal is being read: there is more than this; ask again",
        ));
    }
    lines
}

/// A cell of what rows are told apart by.
fn cell(column: &str, text: &str) -> String {
    match column {
        "day" => format!("{:<11}", one_line(text, 10)),
        _ => format!("{:<27}", one_line(text, 25)),
    }
}

impl Row {
    fn named(&self, column: &str) -> &str {
        let name = match column {
            "day" => &self.day,
            "workflow" => &self.workflow,
            "model" => &self.model,
            "tenant" => &self.tenant,
            _ => &None,
        };
        name.as_deref().unwrap_or("-")
    }

    fn figures(&self) -> String {
        format!(
            "{:>8} {:>11} {:>11} {:>11} {:>11} {:>12}",
            self.calls,
            self.input_tokens,
            self.cache_read_tokens,
            self.cache_write_tokens,
            self.output_tokens,
            self.usd_nano
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn seven_days_are_today_and_the_six_before() {
        let args = Cost {
            by: "day".into(),
            since: "7d".parse().unwrap(),
            workflow: Some("a b".into()),
            model: None,
            tenant: None,
            csv: false,
            output: Output::default(),
        };
        let now = "2026-11-21T23:59:00Z".parse().unwrap();
        let query = query(&args, now).unwrap();
        assert!(
            query.starts_with("from=2026-11-15&to=2026-11-21&by=day"),
            "{query}"
        );
        assert!(query.ends_with("&workflow=a%20b"), "{query}");
    }

    #[test]
    fn rows_are_shown_with_what_tells_them_apart_and_a_total() {
        let row = |workflow: Option<&str>, usd: u64| {
            json!({"workflow": workflow, "calls": 3, "wasted_calls": 1, "rejected": 0, "input_tokens": 10, "output_tokens": 5,
                "cache_read_tokens": 7, "cache_write_tokens": 2, "usd_nano": usd, "wasted_usd_nano": 0})
        };
        let usage = json!({"from": "2026-11-15", "to": "2026-11-21", "by": ["workflow"], "complete": false,
            "rows": [row(Some("triage\u{1b}[2J"), 1_500_000_000)], "total": row(None, 1_500_000_000)});
        let lines = table(&serde_json::from_value(usage).unwrap());
        assert!(
            lines[1].starts_with("triage [2J") && lines[1].contains("$1.50"),
            "{lines:?}"
        );
        assert!(lines[2].contains("all"), "{lines:?}");
        let rest = lines[3..].join("\n");
        for words in [
            "from 2026-11-15 to 2026-11-21",
            "1 call(s) besides",
            "being read",
        ] {
            assert!(rest.contains(words), "{rest}");
        }
    }
}
