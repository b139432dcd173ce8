//! The ledger of what is used says what the runs say, wherever it was interrupted.

use std::collections::HashMap;

use super::{super::super::*, World};
use crate::usage::{Batch, Fold, Keep, Open, Row, measure as m};

/// Most entries that are read at once.
const PAGE: usize = 7;

/// What the ledger has, of all batches.
#[derive(Debug, Default, PartialEq, Eq)]
struct Total {
    calls: u64,
    wasted: u64,
    input: u64,
    cache_read: u64,
    output: u64,
    usd: u64,
    wasted_usd: u64,
    steps: u64,
    started: u64,
    ended: u64,
    open: usize,
    /// What each run had cost when it was charged last, or ended.
    dearest: BTreeMap<RunId, Usd>,
}

/// The whole journal, read in pages as a process would that is followed by another after each.
pub(super) fn as_runs_say(world: &World) -> Option<String> {
    let mut journal: Vec<&Entry> = world
        .tracks
        .values()
        .flat_map(|track| &track.journal)
        .collect();
    journal.sort_by_key(|entry| entry.seq);
    let mut total = Total::default();
    let mut open: HashMap<RunId, Open> = HashMap::new();
    for (number, page) in journal.chunks(1 + (world.seq as usize) % PAGE).enumerate() {
        let ids: BTreeSet<&RunId> = page.iter().map(|entry| &entry.address.run).collect();
        let known = open.iter().filter(|(run, _)| ids.contains(run));
        let known = known.map(|(run, open)| (run.clone(), open.clone()));
        let mut fold = Fold::new(known.collect(), Keep::at(Timestamp::UNIX_EPOCH));
        page.iter().for_each(|entry| fold.take(entry));
        let batch = fold.finish();
        open.extend(batch.open.clone());
        open.retain(|run, _| !batch.closed.contains(run));
        total.add(&batch);
        if number > journal.len() {
            return Some("the ledger does not come to the journal's end".into());
        }
    }
    total.open = open.len();
    let said = said(world)?;
    (total != said).then(|| format!("the ledger has {total:?}, and runs say {said:?}"))
}

impl Total {
    fn add(&mut self, batch: &Batch) {
        self.started += batch.started;
        self.ended += batch.ended;
        let of_days = batch.dearest.values().flatten();
        self.dearest
            .extend(of_days.map(|(run, (_, usd))| (run.clone(), *usd)));
        for (row, sums) in batch.days.values().flat_map(|sums| &sums.0) {
            let sum = |measure| sums.get(measure).copied().unwrap_or_default();
            match row {
                Row::Claude { .. } => {
                    self.calls += sum(m::CALLS);
                    self.wasted += sum(m::WASTED_CALLS);
                    self.input += sum(m::INPUT) + sum(m::CACHE_WRITE);
                    self.cache_read += sum(m::CACHE_READ);
                    self.output += sum(m::OUTPUT);
                    self.usd += sum(m::USD);
                    self.wasted_usd += sum(m::WASTED_USD);
                }
                Row::Runs { .. } => self.steps += sum(m::STEPS),
                Row::Pace { .. } | Row::Model { .. } | Row::Tool { .. } => {}
            }
        }
    }
}

/// What the runs' own summaries say, together; `None` where one cannot be folded, which is told elsewhere.
fn said(world: &World) -> Option<Total> {
    let mut total = Total::default();
    for (id, track) in &world.tracks {
        let run = Run::rebuild(id, track.journal.clone()).ok()?;
        let line = run.summary()?;
        total.calls += line.model_calls;
        total.wasted += line.wasted_calls;
        total.input += line.input_tokens;
        total.cache_read += line.cache_read_tokens;
        total.output += line.output_tokens;
        total.usd += line.usd_nano.nano();
        total.wasted_usd += run.spent.wasted_usd.nano();
        total.steps += u64::from(line.steps);
        total.started += 1;
        total.ended += u64::from(line.ended_at.is_some());
        total.open += usize::from(line.ended_at.is_none());
        total.dearest.insert(id.clone(), line.usd_nano);
    }
    Some(total)
}
