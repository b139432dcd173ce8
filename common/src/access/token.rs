//! Tokens: a secret that people and programs show, and what is kept of it, which is never the secret itself.

use std::{collections::BTreeSet, fmt, num::NonZeroU32, str::FromStr, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Caller, Scope};
use crate::{
    ids::{Name, hex},
    units::Rate,
};

/// How every token begins, for people and for scanners of secrets.
pub const PREFIX: &str = "flt_";
/// Bits of chance in a token, in bytes.
pub const RANDOM_BYTES: usize = 32;
/// Characters of base64 that these bytes make, without padding.
const BODY_LENGTH: usize = 43;
/// Characters of a checksum: a scanner that finds a text of this shape is wrong once in 2^36 times.
const CHECKSUM_LENGTH: usize = 6;
/// Digits of a token's hash that are its id: 64 bits, far more than one fleet has tokens.
const ID_LENGTH: usize = 16;
/// Which shape of [`Token`] this is.
const VERSION: u32 = 1;
/// Most requests a second that a token can be given.
const RATE_MAX: NonZeroU32 = NonZeroU32::MIN.saturating_add(999_999);
/// How many seconds' worth may come at once.
const BURST_SECONDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
const SECOND: Duration = Duration::from_secs(1);
/// Requests that send something in, for a token that says no rate of its own.
pub const ALLOWANCE: Allowance = Allowance {
    per_second: NonZeroU32::MIN.saturating_add(199),
    burst: NonZeroU32::MIN.saturating_add(399),
};

/// A token as its bearer shows it: `flt_`, 43 characters of base64url, 6 of a checksum. Nothing prints it but
/// [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// A text that is no token. It does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no token of Flotilla: it begins with `flt_`, and has 53 characters, the last ones a checksum"
)]
pub struct NoSecret;

impl Secret {
    /// The token that these bytes of chance make.
    #[must_use]
    pub fn of(bytes: &[u8; RANDOM_BYTES]) -> Self {
        let body = URL_SAFE_NO_PAD.encode(bytes);
        let checksum = checksum(&body);
        Self(format!("{PREFIX}{body}{checksum}"))
    }

    /// The token itself, for who is to have it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// SHA-256 of it, as hex: what is kept.
    #[must_use]
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(self.0.as_bytes()))
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> TokenId {
        TokenId::of(&self.hash())
    }
}

/// SHA-256 over the characters, with a word before them so that nobody takes it for the hash that is kept.
fn checksum(body: &str) -> String {
    let digest = Sha256::new()
        .chain_update("flotilla token ")
        .chain_update(body)
        .finalize();
    let mut text = URL_SAFE_NO_PAD.encode(digest);
    text.truncate(CHECKSUM_LENGTH);
    text
}

impl FromStr for Secret {
    type Err = NoSecret;

    fn from_str(text: &str) -> Result<Self, NoSecret> {
        let rest = text.strip_prefix(PREFIX).ok_or(NoSecret)?;
        let (body, end) = rest.split_at_checked(BODY_LENGTH).ok_or(NoSecret)?;
        if checksum(body) == end {
            Ok(Self(text.to_owned()))
        } else {
            Err(NoSecret)
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Which token: the first 16 digits of its hash. No secret; it is in audits and lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(String);

impl TokenId {
    /// The id of the token with this hash.
    #[must_use]
    pub fn of(hash: &str) -> Self {
        Self(hash.get(..ID_LENGTH).unwrap_or(hash).to_owned())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// How many requests a token may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// Every second.
    pub per_second: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

impl Allowance {
    /// What a rate may be, for people.
    pub const MUST: &str = "requests a second, such as 50/s: from 1/s to 1000000/s";

    /// What a rate a second allows, with two seconds' worth at once; `None`: it is not [`Allowance::MUST`].
    #[must_use]
    pub fn of(rate: Rate) -> Option<Self> {
        let per_second = rate.count;
        let fits = rate.per == SECOND && per_second <= RATE_MAX;
        let burst = per_second.saturating_mul(BURST_SECONDS);
        fits.then_some(Self { per_second, burst })
    }
}

/// What is kept of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Which shape this is.
    v: u32,
    /// SHA-256 of the secret, as hex.
    hash: String,
    /// What people call it.
    pub name: Name,
    /// What it may.
    pub scopes: BTreeSet<Scope>,
    /// The one tenant that it sees and sends for; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The name of the token that made it, or how else it was made.
    pub created_by: String,
    /// From when on it is refused; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Since when it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// How much it may send in; `None`: [`ALLOWANCE`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Allowance>,
}

/// A token as people see it: neither its secret nor its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Its id.
    pub id: TokenId,
    /// What people call it.
    pub name: Name,
    /// What it may.
    pub scopes: BTreeSet<Scope>,
    /// The one tenant that it sees and sends for; null: all.
    pub tenant: Option<Name>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The name of the token that made it, or how else it was made.
    pub created_by: String,
    /// From when on it is refused; null: never.
    pub expires_at: Option<Timestamp>,
    /// Since when it is refused.
    pub revoked_at: Option<Timestamp>,
    /// How much it may send; null: the usual.
    pub rate: Option<Allowance>,
    /// Whether it is neither expired nor revoked.
    pub holds: bool,
}

/// Why what was kept cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Another shape.
    #[error("not a token: {0}")]
    Shape(#[from] serde_json::Error),
    /// Of a newer flotilla.
    #[error("it has version {0}, this flotilla reads version {VERSION}")]
    Version(u32),
}

impl Token {
    /// A token for this secret that never expires, with the usual rate.
    #[must_use]
    pub fn new(
        secret: &Secret,
        name: Name,
        scopes: BTreeSet<Scope>,
        created_by: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            v: VERSION,
            hash: secret.hash(),
            name,
            scopes,
            tenant: None,
            created_at: now,
            created_by: created_by.to_owned(),
            expires_at: None,
            revoked_at: None,
            rate: None,
        }
    }

    /// What a bucket holds.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn read(value: &[u8]) -> Result<Self, TokenError> {
        let token: Self = serde_json::from_slice(value)?;
        if token.v == VERSION {
            Ok(token)
        } else {
            Err(TokenError::Version(token.v))
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> TokenId {
        TokenId::of(&self.hash)
    }

    /// Whether this is its secret's hash, found out in a time that does not tell how much of it is right.
    #[must_use]
    pub fn has_hash(&self, hash: &str) -> bool {
        self.hash.as_bytes().ct_eq(hash.as_bytes()).into()
    }

    /// Whether it is neither revoked nor expired.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|until| now < until)
    }

    /// Whether it may make others: what a fleet must not be without.
    #[must_use]
    pub fn rules(&self, now: Timestamp) -> bool {
        self.holds(now) && self.tenant.is_none() && self.scopes.contains(&Scope::Admin)
    }

    /// As people see it.
    #[must_use]
    pub fn shown(&self, now: Timestamp) -> Shown {
        Shown {
            id: self.id(),
            name: self.name.clone(),
            scopes: self.scopes.clone(),
            tenant: self.tenant.clone(),
            created_at: self.created_at,
            created_by: self.created_by.clone(),
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            rate: self.rate,
            holds: self.holds(now),
        }
    }

    /// Whoever shows it.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller {
            id: self.id().to_string(),
            name: self.name.to_string(),
            scopes: self.scopes.clone(),
            tenant: self.tenant.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
