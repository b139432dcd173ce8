//! `watch`: a run as it goes on, to its end.

use std::{process::ExitCode, time::Duration};

use flotilla_common::ids::RunId;
use serde_json::json;

use crate::{
    client::Client,
    events::{ending, exit_code},
    follow::follow,
    live::{Following, Heard},
    output::Output,
};

/// How long nothing is waited for at a time.
const QUIET: Duration = Duration::from_secs(1);

/// Which run to watch.
#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    /// The run
    run: RunId,
    #[command(flatten)]
    output: Output,
}

/// Ends with the run: well if that did what it should, or escalated.
pub(crate) async fn run(client: &Client, args: Watch) -> anyhow::Result<ExitCode> {
    let mut following = Following::known(client, &args.run);
    if args.output.json() {
        loop {
            match following.next(QUIET).await? {
                Heard::Entry(line) => {
                    let line =
                        json!({"seq": line.seq, "subject": line.subject, "entry": line.entry});
                    println!("{line}");
                }
                Heard::Quiet => {}
                Heard::Ended => break,
            }
        }
        return Ok(exit_code(
            following.state().await?.and_then(|shown| shown.run),
        ));
    }
    let shown = follow(following).await?;
    ending(&shown, None)?;
    Ok(exit_code(shown.run))
}
