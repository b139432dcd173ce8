//! `cancel`, `pause`, `resume`, `retry`, `raise`: what people tell a run.

use std::process::ExitCode;

use flotilla_common::{
    ids::{Name, RunId},
    money::Usd,
};
use serde_json::{Value, json};

use crate::{client::Client, output::Output};

/// Who says it.
#[derive(Debug, clap::Args)]
pub(crate) struct By {
    /// Who says so, for its journal [default: the user]
    #[arg(long)]
    by: Option<String>,
}

impl By {
    pub(crate) fn name(&self) -> Option<String> {
        let user = || std::env::var("USER").ok().filter(|user| !user.is_empty());
        self.by.clone().or_else(user)
    }
}

/// Who changes something of the fleet, and perhaps why.
#[derive(Debug, clap::Args)]
pub(crate) struct Why {
    /// Why
    #[arg(long)]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) by: By,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl Why {
    pub(crate) fn body(&self) -> Value {
        json!({"reason": self.reason, "by": self.by.name()})
    }
}

/// Which run to tell something.
#[derive(Debug, clap::Args)]
pub(crate) struct Tell {
    /// The run
    run: RunId,
    /// Why, for its journal
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    output: Output,
}

/// Prints what became of a signal: the gateway's answer, or words for people.
pub(crate) fn say(output: Output, answer: &Value, words: &str) {
    if output.json() {
        println!("{answer}");
    } else {
        println!("{words}");
    }
}

impl Tell {
    fn body(&self) -> Value {
        json!({"reason": self.reason, "by": self.by.name()})
    }
}

/// Which run to stop.
#[derive(Debug, clap::Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    tell: Tell,
    /// Undo what it did, where its definition says how
    #[arg(long)]
    compensate: bool,
}

/// Where to begin anew.
#[derive(Debug, clap::Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    tell: Tell,
    /// The step, wherever it stands: what is after it in the workflow is done anew too
    step: Name,
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

pub(crate) async fn cancel(client: &Client, args: Cancel) -> anyhow::Result<ExitCode> {
    let run = &args.tell.run;
    let mut body = args.tell.body();
    body["compensate"] = json!(args.compensate);
    let answer = client.signal(run, "cancel", &body).await?;
    let words = format!("{run} will stop; `flotilla show {run}` says when it has");
    say(args.tell.output, &answer, &words);
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn pause(client: &Client, args: Tell) -> anyhow::Result<ExitCode> {
    let run = &args.run;
    let answer = client.signal(run, "pause", &args.body()).await?;
    let words = format!("{run} begins nothing new until `flotilla resume {run}`");
    say(args.output, &answer, &words);
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn resume(client: &Client, args: Tell) -> anyhow::Result<ExitCode> {
    let run = &args.run;
    let answer = client.signal(run, "resume", &args.body()).await?;
    let words = format!("{run} looks again; `flotilla show {run} --follow` shows how it goes on");
    say(args.output, &answer, &words);
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn retry(client: &Client, args: Retry) -> anyhow::Result<ExitCode> {
    let (run, step) = (&args.tell.run, &args.step);
    let mut body = args.tell.body();
    body["step"] = json!(step);
    let answer = client.signal(run, "retry", &body).await?;
    let words = format!("{run} begins anew from step {step}, once what is in flight is done");
    say(args.tell.output, &answer, &words);
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn raise(client: &Client, args: Raise) -> anyhow::Result<ExitCode> {
    let run = &args.tell.run;
    let mut body = args.tell.body();
    body["usd"] = json!(args.usd.dollars());
    body["step"] = json!(args.step);
    let answer = client.signal(run, "raise", &body).await?;
    let words = match &args.step {
        Some(step) => format!("step {step} of {run} may spend {} in all", args.usd),
        None => format!("{run} may spend {} in all", args.usd),
    };
    say(args.tell.output, &answer, &words);
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
