//! Key-value buckets as everybody reads them: every question in time, all there is with what comes after it, and views that are kept
//! current.

use std::{fmt::Display, time::Duration};

use async_nats::jetstream::kv::{Entry, Store, Watch};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::names::bucket;

/// How long one question to NATS may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// All keys.
pub(super) const ALL: &str = ">";
/// Pause after a watch that failed.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// A watch that says nothing for so long is begun anew: it bounds how long a lost one could keep an old view.
const ANEW_AFTER: Duration = Duration::from_secs(60);

/// NATS does not say what it was asked, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Silent(String);

impl Silent {
    pub(super) fn of(problem: impl Display) -> Self {
        Self(problem.to_string())
    }
}

/// What NATS answers, in time.
pub(super) fn patiently<T, E: Display>(
    question: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, Silent>> {
    within(PATIENCE, question)
}

/// The same with a patience of one's own.
pub(super) fn within<T, E: Display>(
    patience: Duration,
    question: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, Silent>> {
    // At once, so that nobody who asks carries it.
    let question = Box::pin(question);
    async move {
        match timeout(patience, question).await {
            Ok(answer) => answer.map_err(Silent::of),
            Err(_) => Err(Silent::of("NATS does not answer in time")),
        }
    }
}

/// The next entry of a watch.
pub(super) async fn next(changes: &mut Watch) -> Result<Entry, Silent> {
    match changes.next().await {
        Some(entry) => entry.map_err(Silent::of),
        None => Err(Silent::of("the watch ended")),
    }
}

/// All entries of these keys, each question and all of them in so long a time, and what comes after them.
pub(super) async fn load(
    store: &Store,
    keys: &str,
    patience: Duration,
) -> Result<(Vec<Entry>, Watch), Silent> {
    let mut changes = within(patience, store.watch_with_history(keys)).await?;
    // The watch does not tell that there is nothing from a slow server; what is set after this question comes as a change. The
    // bucket's own `status` would answer from when it was opened.
    let subjects = bucket::subject(&store.name, keys);
    let mut found = within(patience, store.stream.info_with_subjects(subjects)).await?;
    let mut entries = Vec::new();
    let first = within(patience, found.next().map(Ok::<_, Silent>)).await?;
    if first.is_none() {
        return Ok((entries, changes));
    }
    within(patience, async {
        loop {
            let entry = next(&mut changes).await?;
            let is_last = entry.delta == 0;
            entries.push(entry);
            if is_last {
                return Ok::<_, Silent>(());
            }
        }
    })
    .await?;
    Ok((entries, changes))
}

/// Keeps a view current for ever: loaded, shown, and shown again after every change that is taken into it. `what` begins a
/// sentence: "the ceilings are".
pub(super) async fn follow<K, E, F>(
    what: &str,
    load: impl Fn() -> F,
    take: impl Fn(&mut K, &Entry),
    show: impl Fn(&K),
) where
    E: Display + From<Silent>,
    F: Future<Output = Result<(K, Watch), E>>,
{
    let mut well = true;
    loop {
        let ended = match load().await {
            Ok((known, changes)) => {
                if !well {
                    info!("{what} watched again");
                }
                well = true;
                keep_current(known, changes, &take, &show)
                    .await
                    .map_err(E::from)
            }
            Err(problem) => Err(problem),
        };
        if let Err(problem) = ended {
            if well {
                warn!(%problem, "{what} not watched; what was known holds, and trying on");
            }
            well = false;
            sleep(FAILED_PAUSE).await;
        }
    }
}

/// Follows the changes until there are none for a while.
async fn keep_current<K>(
    mut known: K,
    mut changes: Watch,
    take: impl Fn(&mut K, &Entry),
    show: impl Fn(&K),
) -> Result<(), Silent> {
    loop {
        show(&known);
        match timeout(ANEW_AFTER, next(&mut changes)).await {
            Ok(entry) => take(&mut known, &entry?),
            Err(_) => return Ok(()),
        }
    }
}
