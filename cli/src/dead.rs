//! `dead`: what nobody could handle, by its causes; handled again, or dropped.

mod words;

use std::{process::ExitCode, time::Duration};

use anyhow::bail;
use flotilla_common::{
    definition::percent_encoded,
    io::redrives::{Job, JobState, SettledLetter},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    client::{Client, print},
    events::json_of,
    output::Output,
    progress::Progress,
    signals::By,
};
pub(crate) use words::{Letter, in_list, waits};
use words::{Listed, Shown, letter, lines, of_job, told};

const PATH: &str = "/v1/dead";
/// Pause between two looks at letters that are settled together.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Looks at them before it is left to itself: longer than any job that makes sense to wait for.
const LOOKS_MAX: u32 = 7_200;

/// What to do with dead letters.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Dead {
    /// List them by cause, or those of one cause
    List {
        /// The letters of this cause
        #[arg(long)]
        fingerprint: Option<String>,
        /// At most so many letters
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
        /// Go on where an earlier list ended
        #[arg(long)]
        cursor: Option<u64>,
        #[command(flatten)]
        output: Output,
    },
    /// Show a letter: where it comes from, why it is one, what is in it
    Show {
        /// Its number
        seq: u64,
        #[command(flatten)]
        output: Output,
    },
    /// Redrive an event with another payload; what is on a run's journal cannot be edited
    Edit {
        /// Its number
        seq: u64,
        /// The data, or the whole event: JSON, or @FILE
        #[arg(long)]
        payload: String,
        #[command(flatten)]
        why: Why,
    },
    /// Have what a letter is about handled again
    Redrive {
        #[command(flatten)]
        which: Which,
        /// Of a cause: how many a second at most, such as 50/s
        #[arg(long, requires = "fingerprint")]
        rate: Option<String>,
        /// Of a cause: do not wait until all are settled
        #[arg(long, requires = "fingerprint")]
        detach: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Give a letter up for good; a run that waits for it fails
    Drop {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        why: Why,
    },
}

/// One letter, or all of a cause.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// Its number
    seq: Option<u64>,
    /// All of this cause
    #[arg(long)]
    fingerprint: Option<String>,
}

/// Who wants it, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Why {
    /// Why: it is kept, and a run's journal says so
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    output: Output,
}

impl Why {
    fn query(&self) -> String {
        let part = |name: &str, value: Option<String>| {
            let value = value.map(|value| format!("{name}={}", percent_encoded(&value)));
            value.unwrap_or_default()
        };
        let parts = [
            part("by", self.by.name()),
            part("reason", self.reason.clone()),
        ];
        parts.join("&")
    }

    fn body(&self) -> Value {
        json!({"by": self.by.name(), "reason": self.reason})
    }
}

pub(crate) async fn run(client: &Client, command: Dead) -> anyhow::Result<ExitCode> {
    match command {
        Dead::List {
            fingerprint,
            limit,
            cursor,
            output,
        } => {
            let print_ = fingerprint.as_deref().map(percent_encoded);
            let mut query = format!("limit={limit}&fingerprint={}", print_.unwrap_or_default());
            if let Some(cursor) = cursor {
                query += &format!("&cursor={cursor}");
            }
            let listed = client.get(&format!("{PATH}?{query}")).await?;
            print(output.json(), listed, |listed: Listed| {
                lines(&listed, fingerprint.as_deref())
            })?;
        }
        Dead::Show { seq, output } => {
            let shown = client.get(&format!("{PATH}/{seq}")).await?;
            print(output.json(), shown, |shown: Shown| letter(&shown))?;
        }
        Dead::Edit { seq, payload, why } => {
            let mut body = why.body();
            body["payload"] = json_of("--payload", &payload)?;
            redrive_one(client, seq, &body, why.output.json()).await?;
        }
        Dead::Redrive {
            which: Which { seq: Some(seq), .. },
            why,
            ..
        } => redrive_one(client, seq, &why.body(), why.output.json()).await?,
        Dead::Redrive {
            which,
            rate,
            detach,
            why,
        } => {
            let mut body = why.body();
            body["fingerprint"] = json!(which.fingerprint);
            body["rate"] = json!(rate);
            let path = format!("{PATH}/redrive");
            let job = client.send_json(Method::POST, &path, &body).await?;
            return followed(client, job, detach, why.output).await;
        }
        Dead::Drop {
            which: Which { seq: Some(seq), .. },
            why,
        } => {
            let path = format!("{PATH}/{seq}?{}", why.query());
            let settled = client.delete(&path).await?;
            print(why.output.json(), settled, |settled: SettledLetter| {
                told(&settled)
            })?;
        }
        Dead::Drop { which, why } => {
            let fingerprint = which.fingerprint.unwrap_or_default();
            let fingerprint = percent_encoded(&fingerprint);
            let path = format!("{PATH}?fingerprint={fingerprint}&{}", why.query());
            let job = client.delete(&path).await?;
            return followed(client, job, false, why.output).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn redrive_one(client: &Client, seq: u64, body: &Value, json: bool) -> anyhow::Result<()> {
    let path = format!("{PATH}/{seq}/redrive");
    let settled = client.send_json(Method::POST, &path, body).await?;
    print(json, settled, |settled: SettledLetter| told(&settled))
}

/// Waits until all letters of a job are settled. The status says whether all could be.
async fn followed(
    client: &Client,
    mut job: Job,
    detach: bool,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let progress = Progress::of(job.total, "letters", output);
    for _ in 0..LOOKS_MAX {
        progress.at(job.done + job.refused);
        if detach || job.state == JobState::Done {
            drop(progress);
            if output.json() {
                println!("{}", serde_json::to_value(&job)?);
            } else {
                of_job(&job).iter().for_each(|line| println!("{line}"));
            }
            let all = job.refused == 0;
            return Ok(if all {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        sleep(LOOK_EVERY).await;
        job = client.get(&format!("{PATH}/redrives/{}", job.id)).await?;
    }
    bail!(
        "it goes on by itself: curl …/v1/dead/redrives/{} says how far it is",
        job.id
    )
}
