//! A run's state while it is worked on: loaded from Redis, or folded from the journal when Redis has none or an old one.

use flotilla_common::{
    entry::{Body, Entry},
    ids::RunId,
    io::{
        journal::{Journal, JournalError},
        store::{Loaded, Store, StoreError, Token},
        telemetry::metric,
    },
    run::{FoldError, Folded, Link, Run, Told},
};
use jiff::{SignedDuration, Timestamp};
use metrics::counter;

/// Why a run cannot be worked on now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// NATS.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Redis.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal does not fit together.
    #[error(transparent)]
    Fold(#[from] FoldError),
}

/// A beginning older than this may have been worked on in another life of the consumer.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

fn is_old(entry: &Entry, now: Timestamp) -> bool {
    now.duration_since(entry.at) > FRESH
}

/// A run in work.
#[derive(Debug)]
pub(crate) struct Session {
    /// The state.
    pub(crate) run: Run,
    /// When the last entry was written that it knew before its own, or the last decision.
    pub(crate) rested: Option<Timestamp>,
    /// Whether its entry came for the first time, and changed the state that the planners before it had left.
    pub(crate) fresh: bool,
    /// What a save must bring.
    token: Token,
    /// Whether the state is what Redis had, and not from the journal.
    loaded: bool,
    /// The digest of the state that Redis has, as far as this session knows.
    saved: Option<String>,
    /// What the journal tells; nothing where the state is what Redis had.
    pub(crate) told: Told,
    /// The first decision of an append that met others': it may have landed, and its answer been lost.
    pub(crate) tried: Option<Link>,
}

impl Session {
    /// The state with `entry` folded in. A redelivered entry may have been worked on by a planner that died before it saved:
    /// then only the journal knows.
    pub(crate) async fn open(
        journal: &Journal,
        store: &Store,
        entry: &Entry,
        redelivered: bool,
        now: Timestamp,
    ) -> Result<Self, SessionError> {
        let id = &entry.address.run;
        if redelivered {
            return Self::rebuild(journal, store, id, "redelivered").await;
        }
        let Loaded { run, token, .. } = store.load(id).await?;
        let saved = run.as_ref().map(|run| run.digest.clone());
        let mut run = match run {
            Some(run) => run,
            // A consumer that was made anew delivers every old beginning as if for the first time.
            None if matches!(entry.body, Body::Started(_)) && !is_old(entry, now) => {
                Run::new(id.clone())
            }
            None => return Self::rebuild(journal, store, id, "missing").await,
        };
        let rested = run.begun.is_some().then_some(run.at);
        match run.fold(entry) {
            Ok(folded) => Ok(Self {
                run,
                rested,
                fresh: folded == Folded::New,
                token,
                loaded: true,
                saved,
                told: Told::default(),
                tried: None,
            }),
            Err(_) => Self::rebuild(journal, store, id, "stale").await,
        }
    }

    /// The state from the journal alone.
    pub(crate) async fn rebuild(
        journal: &Journal,
        store: &Store,
        id: &RunId,
        reason: &'static str,
    ) -> Result<Self, SessionError> {
        counter!(metric::REBUILDS, "reason" => reason).increment(1);
        // The token first: whoever saves after this look makes our save fail, not the other way round.
        let loaded = store.load(id).await?;
        let saved = loaded.run.as_ref().map(|run| run.digest.clone());
        let token = loaded.read_anew();
        let entries = journal.read(id).await?;
        let told = Told::by(&entries);
        let decided = |entry: &&Entry| matches!(entry.body, Body::Decided(_));
        let rested = entries.iter().rfind(decided).map(|entry| entry.at);
        let run = Run::rebuild(id, entries)?;
        Ok(Self {
            run,
            rested,
            fresh: false,
            token,
            loaded: false,
            saved,
            told,
            tried: None,
        })
    }

    /// Whether the state may be an old copy, which lacks what was acknowledged since.
    pub(crate) async fn is_doubtful(&self, store: &Store) -> Result<bool, StoreError> {
        Ok(self.loaded && !store.is_whole(&self.token).await?)
    }

    /// Whether Redis has this very state, as far as this session knows.
    pub(crate) fn is_saved(&self) -> bool {
        self.saved.as_ref() == Some(&self.run.digest)
    }

    /// Saves the state. `false`: another planner saved in between, or Redis was emptied.
    pub(crate) async fn save(&mut self, store: &Store) -> Result<bool, StoreError> {
        // What is there already is current only if nobody has saved since.
        if self.is_saved() {
            return store.is_current(&self.run.id, &self.token).await;
        }
        let Some(token) = store.save(&self.run, &self.token).await? else {
            return Ok(false);
        };
        self.token = token;
        self.saved = Some(self.run.digest.clone());
        Ok(true)
    }

    /// Whether a save failed because Redis was emptied, and not because another planner saved.
    pub(crate) async fn was_emptied(&self, store: &Store) -> Result<bool, StoreError> {
        store.was_emptied(&self.run.id, &self.token).await
    }
}
