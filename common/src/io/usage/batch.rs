//! A batch as the script takes it: numbers as texts, because Lua's are not exact.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    ids::RunId,
    io::store::StoreError,
    money::Usd,
    names::usage as key,
    usage::{Batch, Keep, Sums},
};

#[derive(Serialize)]
struct Wire {
    hashes: Vec<Hash>,
    dearest: Vec<Dearest>,
    /// Run, its text, run, …
    open: Vec<String>,
    closed: Vec<String>,
    started: String,
    ended: String,
}

#[derive(Serialize)]
struct Hash {
    until_ms: String,
    rows: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    kind: String,
    name: String,
    other: String,
    /// Measure, amount, measure, …
    sums: Vec<String>,
}

#[derive(Serialize)]
struct Dearest {
    until_ms: String,
    /// Member, score, member, …
    runs: Vec<String>,
}

/// The keys that it changes besides the ledger's own two, in the order in which its parts speak of them, and the parts.
pub(super) fn encode(batch: &Batch) -> Result<(Vec<String>, String), StoreError> {
    let mut keys = Vec::new();
    let mut hashes = Vec::new();
    for (day, sums) in &batch.days {
        keys.push(key::day(&day.to_string()));
        hashes.push(hash(Keep::day_until(*day), sums));
    }
    for (minute, sums) in &batch.minutes {
        keys.push(key::minute(*minute));
        hashes.push(hash(Keep::minute_until(*minute), sums));
    }
    let mut all_dearest = Vec::new();
    for (day, runs) in &batch.dearest {
        keys.push(key::dearest(&day.to_string()));
        all_dearest.push(Dearest {
            until_ms: until_ms(Keep::day_until(*day)),
            runs: members(runs),
        });
    }
    let unreadable = |source| StoreError::Unreadable {
        key: key::RUNS.to_owned(),
        source,
    };
    let mut open = Vec::with_capacity(batch.open.len() * 2);
    for (run, state) in &batch.open {
        open.push(run.to_string());
        open.push(serde_json::to_string(state).map_err(unreadable)?);
    }
    let wire = Wire {
        hashes,
        dearest: all_dearest,
        open,
        closed: batch.closed.iter().map(ToString::to_string).collect(),
        started: batch.started.to_string(),
        ended: batch.ended.to_string(),
    };
    let text = serde_json::to_string(&wire).map_err(unreadable)?;
    Ok((keys, text))
}

fn hash(until: Option<Timestamp>, sums: &Sums) -> Hash {
    let rows = sums.0.iter().map(|(row, sums)| Line {
        kind: row.kind().to_owned(),
        name: row.name(),
        other: row.other().name(),
        sums: sums
            .iter()
            .flat_map(|(measure, amount)| [(*measure).to_owned(), amount.to_string()])
            .collect(),
    });
    Hash {
        until_ms: until_ms(until),
        rows: rows.collect(),
    }
}

fn members(runs: &BTreeMap<RunId, (String, Usd)>) -> Vec<String> {
    let members = runs
        .iter()
        .flat_map(|(run, (tenant, usd))| [format!("{tenant} {run}"), usd.nano().to_string()]);
    members.collect()
}

/// A time that cannot be is over at once.
fn until_ms(until: Option<Timestamp>) -> String {
    until.map_or(0, Timestamp::as_millisecond).to_string()
}
