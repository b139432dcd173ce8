//! `approvals`, `approve`, `reject`, `message`, `feedback`: what waits for people, and what they say.

use std::process::ExitCode;

use anyhow::bail;
use flotilla_common::ids::{Name, RunId, Slot};
use serde_json::{Value, json};

use crate::{
    client::Client,
    events::json_of,
    exit::{NotFound, Usage},
    output::Output,
    signals::{By, say},
    style::{bold, dim},
    waiting::Waiting,
};

/// Which questions to list.
#[derive(Debug, clap::Args)]
pub(crate) struct Approvals {
    /// At most so many, those of the newest runs first
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=100))]
    limit: u16,
    /// Only of this workflow
    #[arg(long)]
    workflow: Option<Name>,
    /// Go on where an earlier list ended
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// What to allow.
#[derive(Debug, clap::Args)]
pub(crate) struct Approve {
    /// The run
    run: RunId,
    /// The step or action, as `show` names it; may be left out where only one waits
    step: Option<Slot>,
    /// Other parameters than those that were asked for: JSON, or @FILE
    #[arg(long)]
    with: Option<String>,
    /// Only if this is still what waits there
    #[arg(long)]
    hash: Option<String>,
    /// Why, for its journal
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    output: Output,
}

/// What to refuse.
#[derive(Debug, clap::Args)]
pub(crate) struct Reject {
    /// The run
    run: RunId,
    /// The step or action, as `show` names it; may be left out where only one waits
    step: Option<Slot>,
    /// Only if this is still what waits there
    #[arg(long)]
    hash: Option<String>,
    /// Why: whoever asked is told, Claude too
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    output: Output,
}

/// What to tell agents.
#[derive(Debug, clap::Args)]
pub(crate) struct Message {
    /// The run
    run: RunId,
    /// What to tell its agents with their next turn
    text: String,
    /// Only this agent
    #[arg(long)]
    step: Option<Name>,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    output: Output,
}

/// What to think of a run.
#[derive(Debug, clap::Args)]
pub(crate) struct Feedback {
    /// The run, ended or not
    run: RunId,
    /// What you think of it: later runs are told, where their workflow says `lessons`
    text: String,
    /// It was good
    #[arg(long)]
    good: bool,
    /// It was bad
    #[arg(long, conflicts_with = "good")]
    bad: bool,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn list(client: &Client, args: Approvals) -> anyhow::Result<ExitCode> {
    let mut query = format!("limit={}", args.limit);
    let mut filters = String::new();
    if let Some(workflow) = &args.workflow {
        query += &format!("&workflow={workflow}");
        filters = format!(" --workflow {workflow}");
    }
    if let Some(cursor) = &args.cursor {
        query += &format!("&cursor={cursor}");
    }
    let page = client.approvals(&query).await?;
    if args.output.json() {
        println!("{page}");
        return Ok(ExitCode::SUCCESS);
    }
    let waiting: Vec<Waiting> = serde_json::from_value(page["approvals"].clone())?;
    let more = page["next"].as_str();
    if waiting.is_empty() && more.is_none() {
        println!("nothing waits for a person");
        return Ok(ExitCode::SUCCESS);
    }
    for one in &waiting {
        let until = one.until().map(|until| format!(" · {until}"));
        println!(
            "{} {} {}",
            one.run,
            bold(&one.step),
            dim(format!(
                "{} · since {:.0}{}",
                one.workflow,
                one.since,
                until.unwrap_or_default()
            ))
        );
        println!("    {}", one.what(200));
    }
    println!(
        "{}",
        dim("answer: flotilla approve RUN STEP, or flotilla reject RUN STEP --reason WHY")
    );
    if let Some(next) = more {
        let limit = args.limit;
        let more = format!("more: flotilla approvals --limit {limit}{filters} --cursor {next}");
        println!("{}", dim(more));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn approve(client: &Client, args: Approve) -> anyhow::Result<ExitCode> {
    let with = args.with.as_deref();
    let with = with.map(|text| json_of("--with", text)).transpose()?;
    let mut body = json!({"with": with, "reason": args.reason, "by": args.by.name()});
    let what = name(client, &args.run, args.step, args.hash, &mut body).await?;
    let answer = client.signal(&args.run, "approve", &body).await?;
    let run = &args.run;
    let words =
        format!("{what} of {run} is allowed; `flotilla show {run} --follow` shows how it goes on");
    say(args.output, &answer, &words);
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn reject(client: &Client, args: Reject) -> anyhow::Result<ExitCode> {
    let mut body = json!({"reason": args.reason, "by": args.by.name()});
    let what = name(client, &args.run, args.step, args.hash, &mut body).await?;
    let answer = client.signal(&args.run, "reject", &body).await?;
    let run = &args.run;
    let words =
        format!("{what} of {run} is refused; `flotilla show {run} --follow` shows how it goes on");
    say(args.output, &answer, &words);
    Ok(ExitCode::SUCCESS)
}

/// Says which question a verdict is on: the one that is named, or the only one there is.
async fn name(
    client: &Client,
    run: &RunId,
    step: Option<Slot>,
    hash: Option<String>,
    body: &mut Value,
) -> anyhow::Result<Slot> {
    let (step, hash) = match step {
        Some(step) => (step, hash),
        None => {
            let only = only(client, run).await?;
            (only.step, Some(hash.unwrap_or(only.hash)))
        }
    };
    body["step"] = json!(step);
    body["hash"] = json!(hash);
    Ok(step)
}

async fn only(client: &Client, run: &RunId) -> anyhow::Result<Waiting> {
    // After the last entry there can be: only how it stands is wanted.
    let Some(shown) = client.run(run, u64::MAX).await? else {
        bail!(NotFound(format!("there is no run {run}")))
    };
    let steps: Vec<String> = shown.approvals.iter().map(Waiting::argument).collect();
    let mut waiting = shown.approvals.into_iter();
    match (waiting.next(), waiting.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => bail!(NotFound(format!("nothing of {run} waits for a person"))),
        (Some(_), Some(_)) => bail!(Usage(format!(
            "several wait, so say which: {}",
            steps.join(", ")
        ))),
    }
}

pub(crate) async fn message(client: &Client, args: Message) -> anyhow::Result<ExitCode> {
    let run = &args.run;
    let body = json!({"text": args.text, "step": args.step, "by": args.by.name()});
    let answer = client.signal(run, "message", &body).await?;
    let words = match &args.step {
        Some(step) => format!("{step} of {run} is told with its next turn"),
        None => format!("the agents of {run} are told with their next turn"),
    };
    say(args.output, &answer, &words);
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn feedback(client: &Client, args: Feedback) -> anyhow::Result<ExitCode> {
    let run = &args.run;
    let verdict = match (args.good, args.bad) {
        (true, _) => Some("good"),
        (false, true) => Some("bad"),
        (false, false) => None,
    };
    let body = json!({"text": args.text, "verdict": verdict, "by": args.by.name()});
    let sent = client.signal(run, "feedback", &body).await?;
    if sent["noted"] == true {
        println!("it is on the journal of {run}, and kept for later runs");
    } else {
        println!("it is on the journal of {run}, but could not be kept for later runs");
    }
    Ok(ExitCode::SUCCESS)
}
