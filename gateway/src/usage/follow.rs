//! Reads the journal for the ledger, one gateway at a time: who does says so in Redis, where the ledger is, and is followed by another
//! ten seconds after it said so last. If two should do it, one is refused: the ledger takes only what goes on where it stands.

use std::{collections::BTreeSet, time::Duration};

use flotilla_common::{
    entry::{Address, Entry, Kind},
    ids::RunId,
    io::{
        clock,
        journal::{Journal, JournalError, RawPage},
        store::StoreError,
        usage::Ledger,
    },
    names::subject,
    usage::{Batch, Fold, Keep},
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// Pause at the journal's end.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Pause of those who stand by, and after a failure.
const STAND_BY: Duration = Duration::from_secs(2);

/// Reads the journal for the ledger.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) journal: Journal,
    pub(crate) ledger: Ledger,
    /// What this process is called.
    pub(crate) who: String,
}

/// Why a step came to nothing.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far a step came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Another process does it.
    StoodBy,
    /// There is more.
    More,
    /// There was nothing more.
    AtEnd,
}

impl Follower {
    /// Reads on and on until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(Box::pin(self.follow())).await;
    }

    async fn follow(&self) {
        let (mut well, mut leads) = (true, false);
        loop {
            let began = Instant::now();
            match Box::pin(self.step()).await {
                Ok(step) => {
                    if leads != (step != Step::StoodBy) {
                        leads = !leads;
                        info!(leads, "who reads the journal for what is used has changed");
                    }
                    well = true;
                    match step {
                        Step::StoodBy => sleep(STAND_BY).await,
                        // At most half of one core, however much there is to read.
                        Step::More => sleep(began.elapsed()).await,
                        Step::AtEnd => sleep(LOOK_EVERY).await,
                    }
                }
                Err(problem) => {
                    if well {
                        warn!(%problem, "what is used is not summed up now; trying on");
                    }
                    well = false;
                    sleep(STAND_BY).await;
                }
            }
        }
    }

    /// Reads a page, and adds it.
    async fn step(&self) -> Result<Step, FollowError> {
        let Some(from) = self.ledger.lead(&self.who).await? else {
            return Ok(Step::StoodBy);
        };
        let page = self
            .journal
            .raw_page(subject::ALL_RUNS, from.saturating_add(1))
            .await?;
        let to = page.messages.last().map_or(from, |last| last.seq);
        let at_end = page.next.is_none();
        let batch = self.read(&page).await?;
        if !self.ledger.add(from, to, at_end, &batch).await? {
            debug!(from, "somebody else has added to the ledger");
            return Ok(Step::More);
        }
        Ok(if at_end { Step::AtEnd } else { Step::More })
    }

    async fn read(&self, page: &RawPage) -> Result<Batch, FollowError> {
        let entries: Vec<Entry> = page
            .messages
            .iter()
            .filter_map(|raw| entry(raw.seq, &raw.subject, &raw.payload))
            .collect();
        let runs: BTreeSet<&RunId> = entries.iter().map(|entry| &entry.address.run).collect();
        let runs: Vec<&RunId> = runs.into_iter().collect();
        let open = self.ledger.open(&runs).await?;
        let mut fold = Fold::new(open, Keep::at(clock::now()));
        for entry in &entries {
            fold.take(entry);
        }
        Ok(fold.finish())
    }
}

/// An entry that has a part in the ledger; what cannot be read has none.
fn entry(seq: u64, subject: &str, payload: &[u8]) -> Option<Entry> {
    let address = Address::parse(subject).ok().flatten()?;
    match address.kind {
        Kind::Started | Kind::Decided | Kind::Resulted => {}
        Kind::Signalled | Kind::Fired => return None,
    }
    let entry = Entry::decode(seq, address, payload);
    if let Err(problem) = &entry {
        debug!(subject, seq, %problem, "not readable; left out of the ledger");
    }
    entry.ok()
}
