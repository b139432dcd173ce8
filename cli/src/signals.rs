//! `cancel`, `resume`, `raise`: what people tell a run.

use std::process::ExitCode;

use flotilla_common::{
    ids::{Name, RunId},
    money::Usd,
};
use serde_json::json;

use crate::client::Client;

/// Which run to tell something.
#[derive(Debug, clap::Args)]
pub(crate) struct Tell {
    /// The run
    run: RunId,
    /// Why, for its journal
    #[arg(long)]
    reason: Option<String>,
}

/// Which ceiling to raise.
#[derive(Debug, clap::Args)]
pub(crate) struct Raise {
    #[command(flatten)]
    tell: Tell,
    /// What it may spend in all, what it has spent included
    #[arg(long, value_parser = dollars)]
    usd: Usd,
    /// Not of the run but of this step
    #[arg(long)]
    step: Option<Name>,
}

pub(crate) async fn cancel(client: &Client, args: Tell) -> anyhow::Result<ExitCode> {
    let run = &args.run;
    let body = json!({"reason": args.reason});
    client.signal(run, "cancel", &body).await?;
    println!("{run} will stop; `flotilla show {run}` says when it has");
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn resume(client: &Client, args: Tell) -> anyhow::Result<ExitCode> {
    let run = &args.run;
    let body = json!({"reason": args.reason});
    client.signal(run, "resume", &body).await?;
    println!("{run} looks again; `flotilla show {run} --follow` shows how it goes on");
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn raise(client: &Client, args: Raise) -> anyhow::Result<ExitCode> {
    let Tell { run, reason } = &args.tell;
    let body = json!({"usd": args.usd.dollars(), "step": args.step, "reason": reason});
    client.signal(run, "raise", &body).await?;
    match &args.step {
        Some(step) => println!("step {step} of {run} may spend {} in all", args.usd),
        None => println!("{run} may spend {} in all", args.usd),
    }
    Ok(ExitCode::SUCCESS)
}

/// Dollars as people type them.
pub(crate) fn dollars(text: &str) -> Result<Usd, String> {
    let number = text.strip_prefix('$').unwrap_or(text);
    let dollars = number.parse().ok().and_then(Usd::from_dollars);
    dollars.ok_or_else(|| "a number of dollars from 0 to 1000000, such as 2.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_typed_with_or_without_their_sign() {
        let two_and_a_half = Ok(Usd::from_nano(2_500_000_000));
        assert_eq!(dollars("2.5"), two_and_a_half);
        assert_eq!(dollars("$2.50"), two_and_a_half);
        for wrong in ["", "-1", "2,5", "nan", "1e7", "$"] {
            assert!(dollars(wrong).is_err(), "{wrong}");
        }
    }
}
