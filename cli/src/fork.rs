//! `fork`: a new run from another one's state.

use std::process::ExitCode;

use flotilla_common::ids::{Name, RunId};
use serde_json::{Value, json};

use crate::{client::Client, events::json_of, output::Output, signals::By};

/// Where a new run begins.
#[derive(Debug, clap::Args)]
pub(crate) struct Fork {
    /// The run, ended or not
    run: RunId,
    /// The step of its workflow at which the new run begins; what the steps before it gave is brought along
    #[arg(long)]
    at: Name,
    /// Other data of the event than it had: JSON, or @FILE
    #[arg(long)]
    with: Option<String>,
    /// Another version of the workflow, with the same steps before that one
    #[arg(long)]
    workflow_version: Option<u32>,
    /// Which request it is: the same one again is the same new run [default: one that nobody else has]
    #[arg(long)]
    id: Option<String>,
    /// Why, for its journal
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(client: &Client, args: Fork) -> anyhow::Result<ExitCode> {
    let data = args.with.as_deref();
    let data = data.map(|text| json_of("--with", text)).transpose()?;
    let body = json!({
        "step": args.at, "with": data, "version": args.workflow_version, "id": args.id,
        "reason": args.reason, "by": args.by.name(),
    });
    let given: Value = client.signal(&args.run, "fork", &body).await?;
    if args.output.json() {
        println!("{given}");
        return Ok(ExitCode::SUCCESS);
    }
    let run = given["run"].as_str().unwrap_or_default();
    let before = if given["duplicate"] == true {
        " (it was there already)"
    } else {
        ""
    };
    println!("{run} goes on from {} at {}{before}", args.run, args.at);
    println!("`flotilla show {run} --follow` shows how");
    Ok(ExitCode::SUCCESS)
}
