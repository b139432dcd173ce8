//! Which runs are looked at again.

use std::path::{Path, PathBuf};

use anyhow::bail;
use flotilla_common::{ids::Name, run::Summary};
use jiff::Timestamp;

use super::arguments::Replay;
use crate::{client::Client, exit::Usage};

/// Lines of the list of runs in one answer.
const PAGE: usize = 500;
/// Pages, at most: more lines than the list of runs keeps.
const PAGES_MAX: usize = 1_000;

/// A span of time, its ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
}

impl Window {
    pub(super) fn of(args: &Replay, now: Timestamp) -> anyhow::Result<Self> {
        let since = args.since.map_or(Timestamp::MIN, |since| since.from(now));
        let until = args.until.map_or(now, |until| until.from(now));
        if since > until {
            bail!(Usage(format!(
                "--since is {since}, which is after --until, {until}"
            )));
        }
        Ok(Self { since, until })
    }

    /// Whether a run began or ended in it.
    fn has(&self, run: &Summary) -> bool {
        let within = |time: Timestamp| (self.since..=self.until).contains(&time);
        within(run.started_at) || run.ended_at.is_some_and(within)
    }
}

/// What `--workflow` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Only runs of this one.
    pub(super) name: Option<Name>,
    /// Where the candidate's definitions are.
    pub(super) folder: Option<PathBuf>,
}

impl Wanted {
    pub(super) fn of(args: &Replay) -> anyhow::Result<Self> {
        let mut wanted = Self::default();
        for text in &args.workflow {
            let twice = || Usage("--workflow takes one name and one folder".to_owned());
            // What can be a name is one, whatever lies in the folder that this is typed in.
            if let Ok(name) = text.parse::<Name>() {
                if Path::new(text).is_dir() {
                    eprintln!("`{text}` is taken for a workflow's name; the folder is ./{text}");
                }
                if wanted.name.replace(name).is_some() {
                    bail!(twice());
                }
            } else if Path::new(text).is_dir() {
                if wanted.folder.replace(PathBuf::from(text)).is_some() {
                    bail!(twice());
                }
            } else {
                bail!(Usage(format!(
                    "--workflow: `{text}` is no folder, and no name of a workflow"
                )));
            }
        }
        Ok(wanted)
    }
}

/// The runs that began or ended in a window, the newest first, and whether the list of runs had all of them.
pub(super) async fn runs(
    client: &Client,
    window: Window,
    name: Option<&Name>,
) -> anyhow::Result<(Vec<Summary>, bool)> {
    let mut found = Vec::new();
    let mut complete = true;
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let mut query = format!("limit={PAGE}");
        if let Some(name) = name {
            query += &format!("&workflow={name}");
        }
        if let Some(cursor) = &cursor {
            query += &format!("&cursor={cursor}");
        }
        let page = client.runs(&query).await?;
        complete &= page.complete;
        // One that began long ago may have ended just now, so that the list is read to its end.
        found.extend(page.runs.into_iter().filter(|run| window.has(run)));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok((found, complete)),
        }
    }
    Ok((found, false))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(started_at: &str, ended_at: Option<&str>) -> Summary {
        serde_json::from_value(json!({
            "id": format!("run_{}", "0".repeat(32)), "workflow": "w", "version": 1, "status": "completed",
            "started_at": started_at, "ended_at": ended_at, "steps": 1, "model_calls": 0, "wasted_calls": 0,
            "input_tokens": 0, "cache_read_tokens": 0, "output_tokens": 0, "usd_nano": 0,
        }))
        .unwrap()
    }

    #[test]
    fn a_run_counts_that_began_or_ended_in_time() {
        let at = |hour: u8| format!("2026-11-21T{hour:02}:00:00Z");
        let window = Window {
            since: at(10).parse().unwrap(),
            until: at(12).parse().unwrap(),
        };
        for (started, ended, expected) in [
            (9, None, false),
            (9, Some(10), true),
            (9, Some(13), false),
            (10, None, true),
            (11, Some(13), true),
            (13, None, false),
        ] {
            let run = run(&at(started), ended.map(at).as_deref());
            assert_eq!(window.has(&run), expected, "{started} {ended:?}");
        }
    }
}
