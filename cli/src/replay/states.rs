//! `replay RUN`, `replay FILE`: every state of a run, folded again from its journal, and whether its hash chain is whole.

use std::{fs::File, io::BufReader, process::ExitCode, sync::Arc};

use anyhow::{Context as _, bail};
use flotilla_common::{
    definition::Workflow,
    entry::Entry,
    ids::RunId,
    io::journal::Raw,
    run::{Folded, Replay as Fold, Standing, changes, standing},
};
use serde_json::{Value, json};

use super::{
    arguments::Replay,
    definitions::{OfFleet, compiled, models},
    file,
    journal::{Journal, Unreadable},
    words::in_words,
};
use crate::{
    client::Client,
    exit::{Exit, NotFound},
    settings::Settings,
    style::{bad, bold, dim, good, one_line, warn},
};

const INDENT: &str = "    ";
/// Longest line about one entry, in characters.
const WORDS_MAX: usize = 200;

/// A run to be folded.
struct Recorded {
    run: RunId,
    raws: Vec<Raw>,
    /// Its definition, or why there is none.
    definition: Result<Arc<Workflow>, String>,
}

/// `flotilla replay`, without `--since`.
pub(super) async fn run(settings: &Settings, args: &Replay) -> anyhow::Result<ExitCode> {
    if args.output.json() {
        // Words are part of it, and no terminal reads them.
        owo_colors::set_override(false);
    }
    let target = args.target.as_deref().unwrap_or_default();
    let recorded = match target.parse::<RunId>() {
        Ok(run) => vec![from_gateway(settings, run).await?],
        Err(_) => from_file(settings, target)?,
    };
    let shown = recorded.into_iter().map(|one| show(one, args));
    let shown: Vec<Shown> = shown.collect::<Result<_, _>>()?;
    if shown.contains(&Shown::Broken) {
        return Ok(Exit::NotDone.into());
    }
    if let Some(at) = args.at.filter(|_| !shown.contains(&Shown::Found)) {
        bail!(NotFound(format!(
            "there is no entry {at} in it; `flotilla replay {target}` shows which there are"
        )));
    }
    Ok(ExitCode::SUCCESS)
}

async fn from_gateway(settings: &Settings, run: RunId) -> anyhow::Result<Recorded> {
    let client = Client::of(settings)?;
    let Some(raws) = client.journal(&run).await? else {
        bail!(NotFound(format!("there is no run {run}")))
    };
    let fleet = OfFleet::new(models(settings)?);
    let definition = match Journal::of(&raws).pin() {
        Some(pin) => fleet.of_run(&client, &run, pin).await,
        None => Err("the journal has no `started`".to_owned()),
    };
    Ok(Recorded {
        run,
        raws,
        definition,
    })
}

fn from_file(settings: &Settings, path: &str) -> anyhow::Result<Vec<Recorded>> {
    let opened = File::open(path)
        .with_context(|| format!("`{path}` is no run, and no file that can be read"))?;
    let exported = file::read(BufReader::new(opened)).with_context(|| path.to_owned())?;
    let models = models(settings)?;
    let mut recorded = Vec::new();
    for one in exported {
        let definition = match one.files {
            None => Err("it was exported without its definition".to_owned()),
            Some(files) => compiled(&one.workflow, files, &models)
                .map_err(|error| format!("the definition in the file does not work here: {error}")),
        };
        recorded.push(Recorded {
            run: one.run,
            raws: one
                .entries
                .into_iter()
                .filter_map(file::RawLine::raw)
                .collect(),
            definition,
        });
    }
    Ok(recorded)
}

/// What came of showing a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// All of it is as it was written.
    Whole,
    /// The entry was there whose state was asked for.
    Found,
    /// Something was changed, or cannot be read.
    Broken,
}

fn show(recorded: Recorded, args: &Replay) -> anyhow::Result<Shown> {
    let Recorded {
        run,
        raws,
        definition,
    } = recorded;
    let journal = Journal::of(&raws);
    let out = Out {
        json: args.output.json(),
        at: args.at,
    };
    let workflow = definition.as_ref().map(AsRef::as_ref);
    out.head(&run, &workflow, &journal.unreadable);
    let workflow = workflow.as_ref().ok().copied();
    let fault = journal.fault().map(|fault| fault.seq);
    let mut fold = Fold::new(&run, journal.entries);
    let mut before = Standing::default();
    let mut count = 0;
    loop {
        match fold.fold_next() {
            Ok(None) => break,
            Ok(Some((entry, folded))) => {
                count += 1;
                let after = standing(fold.run(), workflow);
                if out.entry(&entry, folded, (&before, &after), &fold)? {
                    return Ok(Shown::Found);
                }
                before = after;
            }
            Err(error) => {
                out.broken(&run, &error.to_string(), fold.unvouched());
                return Ok(Shown::Broken);
            }
        }
    }
    if let Some(seq) = fault {
        out.broken(&run, &format!("entry {seq} cannot be read"), &[seq]);
        return Ok(Shown::Broken);
    }
    if args.at.is_none() {
        out.whole(&run, count, fold.unvouched());
    }
    Ok(Shown::Whole)
}

/// How it is shown.
struct Out {
    json: bool,
    /// Only the state after this entry.
    at: Option<u64>,
}

impl Out {
    fn head(&self, run: &RunId, workflow: &Result<&Workflow, &String>, unreadable: &[Unreadable]) {
        for Unreadable { seq, why, .. } in unreadable {
            eprintln!("entry {seq} cannot be read: {}", one_line(why, 300));
        }
        if let Err(why) = workflow {
            eprintln!("what would be next is not shown: {}", one_line(why, 600));
        }
        if !self.json {
            println!("{}", bold(run));
        }
    }

    /// Shows what an entry did; says whether that is all that was asked for.
    fn entry(
        &self,
        entry: &Entry,
        folded: Folded,
        (before, after): (&Standing, &Standing),
        fold: &Fold,
    ) -> anyhow::Result<bool> {
        if let Some(at) = self.at {
            let here = entry.seq == at;
            if here {
                self.state(entry, after, fold)?;
            }
            return Ok(here);
        }
        if self.json {
            let object = object(entry, folded, before, after, &fold.run().digest);
            println!("{object}");
        } else {
            lines(entry, folded, before, after, &fold.run().digest)
                .iter()
                .for_each(|line| println!("{line}"));
        }
        Ok(false)
    }

    /// The whole state.
    fn state(&self, entry: &Entry, after: &Standing, fold: &Fold) -> anyhow::Result<()> {
        let run = serde_json::to_value(fold.run())?;
        if self.json {
            println!(
                "{}",
                json!({"seq": entry.seq, "standing": after, "run": run})
            );
            return Ok(());
        }
        println!("{}", head(entry));
        let none = Standing::default();
        for change in changes(&none, after) {
            println!("{INDENT}{}", line(&change.what, &change.to));
        }
        println!("{}", serde_json::to_string_pretty(&run)?);
        Ok(())
    }

    fn broken(&self, run: &RunId, problem: &str, suspects: &[u64]) {
        if self.json {
            println!(
                "{}",
                json!({"run": run, "chain": "broken", "problem": problem, "suspects": suspects})
            );
            return;
        }
        println!("{} {problem}", bad("the hash chain is broken:"));
        if !suspects.is_empty() {
            let suspects = list(suspects);
            println!("{INDENT}what was changed, if anything was, is one of {suspects}");
        }
    }

    fn whole(&self, run: &RunId, count: usize, unvouched: &[u64]) {
        if self.json {
            println!(
                "{}",
                json!({"run": run, "chain": "whole", "entries": count, "unvouched": unvouched})
            );
            return;
        }
        let last = list(unvouched);
        println!(
            "{} {}",
            good("the hash chain is whole"),
            dim(format!(
                "· {count} entries; no later decision vouches for {last} yet"
            ))
        );
    }
}

fn list(seqs: &[u64]) -> String {
    let seqs: Vec<String> = seqs.iter().map(u64::to_string).collect();
    format!("entry {}", seqs.join(", "))
}

fn object(
    entry: &Entry,
    folded: Folded,
    before: &Standing,
    after: &Standing,
    digest: &str,
) -> Value {
    json!({
        "seq": entry.seq,
        "at": entry.at,
        "kind": entry.address.kind,
        "name": entry.address.name,
        "words": in_words(entry, WORDS_MAX),
        "new": folded == Folded::New,
        "changes": changes(before, after),
        "standing": after,
        "digest": digest,
    })
}

fn head(entry: &Entry) -> String {
    let Entry { seq, at, .. } = entry;
    let kind = entry.address.kind.to_string();
    let words = in_words(entry, WORDS_MAX);
    format!(
        "{} {} {kind:<9} {words}",
        bold(format!("{seq:>7}")),
        dim(at)
    )
}

fn lines(
    entry: &Entry,
    folded: Folded,
    before: &Standing,
    after: &Standing,
    digest: &str,
) -> Vec<String> {
    let mut lines = vec![head(entry)];
    if folded == Folded::Old {
        let why = "changes nothing: it was there already, or came too late";
        lines.push(format!("{INDENT}{}", warn(why)));
        return lines;
    }
    for change in changes(before, after) {
        let to = match change.to.as_str() {
            "" => dim("nothing any more"),
            to => one_line(to, WORDS_MAX),
        };
        lines.push(format!("{INDENT}{}", line(&change.what, &to)));
    }
    lines.push(format!("{INDENT}{}", line("digest", &dim(digest))));
    lines
}

fn line(what: &str, words: &str) -> String {
    format!("{} {words}", dim(format!("{what:<8}")))
}
