//! `diff`: what changes from one version of a workflow to another.

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use anyhow::{Context as _, bail};
use flotilla_common::{
    definition::{
        VersionRef,
        diff::{self, Changed},
    },
    ids::Name,
    unseen::is_unseen,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{DEFINITIONS, in_words, send, version};
use crate::{
    client::Client,
    exit::NotFound,
    output::Output,
    settings::Settings,
    style::{accent, bad, bold, dim, good},
};

/// What to compare.
#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    /// The workflow
    name: Name,
    /// A version [default: the active one]
    #[arg(value_parser = version)]
    old: Option<u32>,
    /// Another version [default: what the folder of --workflows has]
    #[arg(value_parser = version)]
    new: Option<u32>,
    #[command(flatten)]
    output: Output,
}

/// Texts of a version.
#[derive(Debug, Deserialize)]
struct Texts {
    workflow: Name,
    version: u32,
    digest: String,
    files: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Standing {
    active: Option<VersionRef>,
}

pub(crate) async fn run(
    client: &Client,
    settings: &Settings,
    args: Diff,
) -> anyhow::Result<ExitCode> {
    let name = &args.name;
    let old = match args.old {
        Some(version) => version,
        None => active(client, name).await?,
    };
    let old = kept(client, name, old).await?;
    let (new, called) = match args.new {
        Some(version) => (kept(client, name, version).await?, format!("v{version}")),
        None => {
            let folder = settings.workflows();
            let new = in_folder(client, name, &folder).await?;
            (new, "folder".to_owned())
        }
    };
    let changed = compare(&old, &new, &called);
    if args.output.json() {
        let files = changed.iter();
        let files = files.map(|one| json!({"path": one.path, "diff": one.diff}));
        let side = |side: &Texts| json!({"version": side.version, "digest": side.digest});
        let files: Vec<Value> = files.collect();
        let same = old.digest == new.digest;
        println!(
            "{}",
            json!({"workflow": name, "old": side(&old), "new": side(&new), "same": same, "files": files})
        );
    } else {
        told(&old, &new, &called, &changed)
            .iter()
            .for_each(|line| println!("{line}"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn active(client: &Client, name: &Name) -> anyhow::Result<u32> {
    let standing: Standing = client.get(&format!("{DEFINITIONS}/{name}")).await?;
    match standing.active {
        Some(active) => Ok(active.version),
        None => bail!(NotFound(format!(
            "no version of `{name}` is active; say which one to compare: flotilla diff {name} VERSION"
        ))),
    }
}

async fn kept(client: &Client, name: &Name, version: u32) -> anyhow::Result<Texts> {
    client.get(&format!("{DEFINITIONS}/{name}/{version}")).await
}

/// The newest version in a folder, as the fleet would keep it: the gateway checks it with what the fleet has.
async fn in_folder(client: &Client, name: &Name, folder: &Path) -> anyhow::Result<Texts> {
    let answer = send(client, folder, json!({"dry_run": true})).await;
    let mut answer = answer.map_err(in_words)?;
    let all: Vec<Texts> = serde_json::from_value(answer["workflows"].take())
        .context("the gateway's answer is not understood; is it another version?")?;
    let of_name = all.into_iter().filter(|one| one.workflow == *name);
    let newest = of_name.max_by_key(|one| one.version);
    let none = || {
        NotFound(format!(
            "there is no workflow `{name}` in {}",
            folder.display()
        ))
    };
    Ok(newest.ok_or_else(none)?)
}

fn compare(old: &Texts, new: &Texts, called: &str) -> Vec<Changed> {
    let before = format!("v{}", old.version);
    diff::compare((&old.files, &before), (&new.files, called))
}

fn told(old: &Texts, new: &Texts, called: &str, changed: &[Changed]) -> Vec<String> {
    let name = &old.workflow;
    if changed.is_empty() {
        return vec![format!(
            "{name} v{} and {called}: no difference",
            old.version
        )];
    }
    let mut lines: Vec<String> = changed
        .iter()
        .flat_map(|one| one.diff.lines())
        .map(coloured)
        .collect();
    if called == "folder" && old.version == new.version {
        let next = new.version.saturating_add(1);
        lines.push(dim(format!(
            "versions do not change: to apply these texts, give {name} `version: {next}` in the folder"
        )));
    }
    lines
}

fn coloured(line: &str) -> String {
    let shown = visible(line);
    match line.as_bytes() {
        [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => bold(shown),
        [b'+', ..] => good(shown),
        [b'-', ..] => bad(shown),
        [b'@', ..] => accent(shown),
        _ => shown,
    }
}

/// A line as it is, but what could move the cursor, or cannot be seen, is spelt out.
fn visible(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for character in line.chars() {
        if (character.is_control() && character != '\t') || is_unseen(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use flotilla_common::definition::TOOLS_FILE;

    use super::*;

    fn texts(version: u32, files: &[(&str, &str)]) -> Texts {
        let files = files.iter();
        Texts {
            workflow: "w".parse().unwrap(),
            version,
            digest: version.to_string(),
            files: files
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        }
    }

    fn shown(old: &Texts, new: &Texts, called: &str) -> String {
        told(old, new, called, &compare(old, new, called)).join("\n")
    }

    #[test]
    fn versions_are_compared_line_by_line_and_tools_are_made_readable() {
        let old = texts(
            1,
            &[
                ("workflow.yaml", "workflow: w\nversion: 1\nsteps: []\n"),
                ("prompts/old.md", "Ask.\n"),
                (
                    TOOLS_FILE,
                    "tools:\n- {\"tool\":\"a\",\"version\":1,\"command\":[\"ls\"]}\n",
                ),
            ],
        );
        let new = texts(
            2,
            &[
                ("workflow.yaml", "workflow: w\nversion: 2\nsteps: []\n"),
                ("prompts/new.md", "Ask\u{1b}[2J\u{202e}.\n"),
                (
                    TOOLS_FILE,
                    "tools:\n- {\"tool\":\"a\",\"version\":1,\"command\":[\"df\"]}\n",
                ),
            ],
        );
        let expected = r#"--- /dev/null
+++ v2/prompts/new.md
@@ -0,0 +1 @@
+Ask\u{1b}[2J\u{202e}.
--- v1/prompts/old.md
+++ /dev/null
@@ -1 +0,0 @@
-Ask.
--- v1/tools.yaml/a@1
+++ v2/tools.yaml/a@1
@@ -2,6 +2,6 @@
   "tool": "a",
   "version": 1,
   "command": [
-    "ls"
+    "df"
   ]
 }
--- v1/workflow.yaml
+++ v2/workflow.yaml
@@ -1,3 +1,3 @@
 workflow: w
-version: 1
+version: 2
 steps: []"#;
        assert_eq!(shown(&old, &new, "v2"), expected);
    }

    #[test]
    fn a_folder_that_changed_a_version_is_told_to_count_on() {
        let old = texts(1, &[("workflow.yaml", "a\n")]);
        assert_eq!(
            shown(&old, &old, "folder"),
            "w v1 and folder: no difference"
        );
        let edited = texts(1, &[("workflow.yaml", "b\n")]);
        let told = shown(&old, &edited, "folder");
        assert!(
            told.ends_with("give w `version: 2` in the folder"),
            "{told}"
        );
    }
}
