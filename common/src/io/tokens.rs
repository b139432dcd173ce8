//! What is kept of tokens, in a key-value bucket: whoever may writes it, gateways follow it. All tokens change as one: a change is
//! written where nobody else has changed any since it was decided, so what must hold over all of them does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use async_nats::jetstream::kv::{Entry, Operation, Store, Watch};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    bus::Bus,
    clock,
    entries::{self, PATIENCE, Silent},
    journal::{Journal, JournalError, expecting},
    streams::{StreamError, ensure_tokens},
};
use crate::{
    access::{
        Scope,
        token::{RANDOM_BYTES, Secret, Token, TokenId},
    },
    ids::Name,
    names::bucket,
};

/// Looks at the tokens, where others change them at the same moment.
const LOOKS_MAX: usize = 10;

/// Why tokens can be neither read nor changed now.
#[derive(Debug, thiserror::Error)]
#[error("the tokens cannot be reached: {0}")]
pub struct Unreachable(String);

impl Unreachable {
    fn of(problem: impl fmt::Display) -> Self {
        Self(problem.to_string())
    }
}

impl From<Silent> for Unreachable {
    fn from(silent: Silent) -> Self {
        Self::of(silent)
    }
}

/// Why a token is not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// NATS.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// There is none of this id or name.
    #[error("there is no token `{0}`")]
    None(String),
    /// Several that hold have the name.
    #[error("several tokens are called `{0}`; say which by its id")]
    Several(String),
    /// One that holds has the name.
    #[error("there is a token `{0}` already; revoke it first, or take another name")]
    Taken(Name),
    /// Nobody could make tokens any more.
    #[error(
        "`{0}` is the last token with the scope admin; make another one first, or nobody can make tokens any more"
    )]
    Last(Name),
}

/// All that is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// By id.
    pub tokens: BTreeMap<TokenId, Token>,
    /// Keys of what this version does not understand: refused.
    unreadable: BTreeSet<String>,
}

impl Known {
    /// The token of this secret, if it holds.
    #[must_use]
    pub fn of(&self, secret: &Secret, now: Timestamp) -> Option<&Token> {
        let hash = secret.hash();
        let token = self.tokens.get(&TokenId::of(&hash))?;
        (token.has_hash(&hash) && token.holds(now)).then_some(token)
    }

    /// Whether there is a token of this id, whether or not it holds.
    #[must_use]
    pub fn knows(&self, id: &TokenId) -> bool {
        self.tokens.contains_key(id) || self.unreadable.contains(id.as_str())
    }

    /// Whether there never was a token.
    fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.unreadable.is_empty()
    }

    /// The one token of this id, or, of those that hold, of this name.
    fn find(&self, which: &str, now: Timestamp) -> Result<&Token, ChangeError> {
        let mut all = self.tokens.values();
        if let Some(token) = all.find(|token| token.id().as_str() == which) {
            return Ok(token);
        }
        let named = |token: &&Token| token.name.as_str() == which && token.holds(now);
        let mut named = self.tokens.values().filter(named);
        match (named.next(), named.next()) {
            (Some(token), None) => Ok(token),
            (Some(_), Some(_)) => Err(ChangeError::Several(which.to_owned())),
            (None, _) => Err(ChangeError::None(which.to_owned())),
        }
    }

    /// The token as it is when it is revoked.
    fn revoked(&self, which: &str, now: Timestamp, last_too: bool) -> Result<Token, ChangeError> {
        let token = self.find(which, now)?;
        if token.revoked_at.is_some() {
            return Ok(token.clone());
        }
        let others = || self.tokens.values().filter(|other| *other != token);
        if !last_too && token.rules(now) && !others().any(|other| other.rules(now)) {
            return Err(ChangeError::Last(token.name.clone()));
        }
        let mut revoked = token.clone();
        revoked.revoked_at = Some(now);
        Ok(revoked)
    }

    fn take(&mut self, entry: &Entry) {
        self.tokens.retain(|id, _| id.as_str() != entry.key);
        self.unreadable.remove(&entry.key);
        match entry.operation {
            Operation::Delete | Operation::Purge => {}
            Operation::Put => match Token::read(&entry.value) {
                Ok(token) if token.id().as_str() == entry.key => {
                    self.tokens.insert(token.id(), token);
                }
                read => {
                    let problem = read.err().map(|problem| problem.to_string());
                    warn!(
                        key = entry.key,
                        problem, "this token cannot be read: refused"
                    );
                    self.unreadable.insert(entry.key.clone());
                }
            },
        }
    }
}

/// The bucket. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Tokens {
    store: Store,
    journal: Journal,
}

impl Tokens {
    /// Opens the bucket: created when missing, checked when there.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn open(bus: &Bus) -> Result<Self, StreamError> {
        Ok(Self {
            store: ensure_tokens(bus).await?,
            journal: Journal::new(bus.clone()),
        })
    }

    /// All there is.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn list(&self) -> Result<Known, Unreachable> {
        let (known, ..) = Box::pin(self.load()).await?;
        Ok(known)
    }

    /// The token of this id, as it is in the bucket now.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn get(&self, id: &TokenId) -> Result<Option<Token>, Unreachable> {
        let entry = entries::patiently(self.store.entry(id.as_str())).await?;
        let mut known = Known::default();
        if let Some(entry) = &entry {
            known.take(entry);
        }
        Ok(known.tokens.remove(id))
    }

    /// Keeps a new token. No other one that holds has its name.
    ///
    /// # Errors
    /// [`ChangeError::Taken`], [`ChangeError::Unreachable`].
    pub async fn add(&self, token: &Token) -> Result<(), ChangeError> {
        let added = self.change(|known| {
            let same = |other: &&Token| other.name == token.name && other.id() != token.id();
            let mut same = known.tokens.values().filter(same);
            if same.any(|other| other.holds(token.created_at)) {
                return Err(ChangeError::Taken(token.name.clone()));
            }
            Ok(Some(token.clone()))
        });
        Box::pin(added).await.map(drop)
    }

    /// Keeps a token that may do everything, where there never was any; whether it was kept. Of all that try at once, one does.
    ///
    /// # Errors
    /// [`ChangeError::Unreachable`].
    pub async fn first(&self, token: &Token) -> Result<bool, ChangeError> {
        let added = self.change(|known| {
            let mine = known.tokens.contains_key(&token.id());
            Ok((mine || known.is_empty()).then(|| token.clone()))
        });
        Ok(Box::pin(added).await?.is_some())
    }

    /// Revokes a token, by its id or name, and gives it. The last one that may make others only where `last_too` says so.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn revoke(
        &self,
        which: &str,
        now: Timestamp,
        last_too: bool,
    ) -> Result<Token, ChangeError> {
        let revoked = self.change(revoking(which, now, last_too));
        let none = || ChangeError::None(which.to_owned());
        Box::pin(revoked).await?.ok_or_else(none)
    }

    /// Writes what is decided over all tokens, and gives it; `None`: nothing is to be written.
    async fn change(
        &self,
        mut decide: impl FnMut(&Known) -> Result<Option<Token>, ChangeError>,
    ) -> Result<Option<Token>, ChangeError> {
        for _ in 0..LOOKS_MAX {
            let (known, _, through) = Box::pin(self.load()).await?;
            let Some(token) = decide(&known)? else {
                return Ok(None);
            };
            // It is there where an answer was lost.
            let is_there = known.tokens.get(&token.id()) == Some(&token);
            if is_there || self.write(&token, through).await? {
                return Ok(Some(token));
            }
        }
        Err(Unreachable::of("others change them all the time").into())
    }

    /// Whether it was written: not where any token was changed after `through`.
    async fn write(&self, token: &Token, through: u64) -> Result<bool, Unreachable> {
        let value = serde_json::to_vec(token).map_err(Unreachable::of)?;
        let on = |key: &str| bucket::subject(bucket::TOKENS, key);
        let headers = expecting(through, &on(entries::ALL));
        let written = self
            .journal
            .publish(on(token.id().as_str()), headers, value.into());
        match written.await {
            Ok(_) => Ok(true),
            Err(JournalError::Conflict(_)) => Ok(false),
            Err(problem) => Err(Unreachable::of(problem)),
        }
    }

    /// All there is, kept current until `stop`. While NATS is away, what was known holds.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn watch(
        &self,
        stop: CancellationToken,
    ) -> Result<watch::Receiver<Arc<Known>>, Unreachable> {
        let (known, ..) = Box::pin(self.load()).await?;
        let (sender, receiver) = watch::channel(Arc::new(known));
        let tokens = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = Box::pin(tokens.follow(&sender)) => {}
            }
        });
        Ok(receiver)
    }

    async fn follow(&self, sender: &watch::Sender<Arc<Known>>) {
        let load = || async {
            let (known, changes, _) = Box::pin(self.load()).await?;
            Ok::<_, Unreachable>((known, changes))
        };
        let show = |known: &Known| {
            sender.send_if_modified(|shown| {
                let changed = **shown != *known;
                if changed {
                    *shown = Arc::new(known.clone());
                }
                changed
            });
        };
        entries::follow("the tokens are", load, Known::take, show).await;
    }

    /// All there is, what comes after it, and the sequence up to which that was all.
    async fn load(&self) -> Result<(Known, Watch, u64), Unreachable> {
        let (entries, changes) =
            Box::pin(entries::load(&self.store, entries::ALL, PATIENCE)).await?;
        let mut known = Known::default();
        let mut through = 0;
        for entry in &entries {
            known.take(entry);
            through = through.max(entry.revision);
        }
        Ok((known, changes, through))
    }
}

/// Decides that a token is revoked. Its name says which it is at the first look only: where the answer to a write was lost, the
/// next look finds the token revoked, and its name nobody's.
fn revoking(
    which: &str,
    now: Timestamp,
    last_too: bool,
) -> impl FnMut(&Known) -> Result<Option<Token>, ChangeError> {
    let mut found = None;
    move |known| {
        let id = match &found {
            Some(id) => id,
            None => &*found.insert(known.find(which, now)?.id()),
        };
        known.revoked(id.as_str(), now, last_too).map(Some)
    }
}

/// The system gives no chance.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes, so no token can be made")]
pub struct NoChance;

/// A new secret, of 256 bits that the operating system draws.
///
/// # Errors
/// [`NoChance`].
pub fn secret() -> Result<Secret, NoChance> {
    let mut bytes = [0; RANDOM_BYTES];
    let ring = rustls::crypto::ring::default_provider();
    let filled = ring.secure_random.fill(&mut bytes);
    filled.map(|()| Secret::of(&bytes)).map_err(|_| NoChance)
}

/// A new secret, and a token for it that may do everything.
///
/// # Errors
/// [`NoChance`].
pub fn admin(name: Name, created_by: &str) -> Result<(Secret, Token), NoChance> {
    let secret = secret()?;
    let scopes = BTreeSet::from([Scope::Admin]);
    let token = Token::new(&secret, name, scopes, created_by, clock::now());
    Ok((secret, token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(names: &[&str]) -> Known {
        let tokens = names.iter().map(|name| {
            let (_, token) = admin(name.parse().unwrap(), "test").unwrap();
            (token.id(), token)
        });
        Known {
            tokens: tokens.collect(),
            unreadable: BTreeSet::new(),
        }
    }

    #[test]
    fn two_secrets_are_never_the_same() {
        assert_ne!(secret().unwrap(), secret().unwrap());
    }

    #[test]
    fn the_last_token_that_may_make_others_stays_unless_that_is_wanted() {
        let now = Timestamp::now();
        let mut known = known(&["a", "b"]);
        let gone = known.revoked("a", now, false).unwrap();
        assert!(!gone.holds(now));
        known.tokens.insert(gone.id(), gone.clone());
        // Again, nothing changes.
        assert_eq!(known.revoked(gone.id().as_str(), now, false).unwrap(), gone);
        let last = known.revoked("b", now, false);
        assert!(matches!(last, Err(ChangeError::Last(name)) if name.as_str() == "b"));
        assert!(known.revoked("b", now, true).is_ok());
    }

    #[test]
    fn a_token_is_revoked_by_its_name_though_the_answer_to_that_was_lost() {
        let now = Timestamp::now();
        let mut known = known(&["a", "b"]);
        let mut decide = revoking("a", now, false);
        let gone = decide(&known).unwrap().unwrap();
        known.tokens.insert(gone.id(), gone.clone());
        assert_eq!(decide(&known).unwrap(), Some(gone));
        let again = revoking("a", now, false)(&known);
        assert!(matches!(again, Err(ChangeError::None(_))));
    }

    #[test]
    fn a_name_that_two_tokens_have_says_nothing() {
        let now = Timestamp::now();
        let known = known(&["a", "a", "b"]);
        assert!(matches!(known.find("a", now), Err(ChangeError::Several(_))));
        assert!(matches!(known.find("c", now), Err(ChangeError::None(_))));
        let one = known.find("b", now).unwrap();
        assert_eq!(known.find(one.id().as_str(), now).unwrap(), one);
    }
}
