//! A webhook: whose it is is seen by its signature, and what it becomes is a mapping.

use crate::{definition::template::Shape, ids::Name};

/// A webhook that is served at `/v1/hooks/<name>`.
#[derive(Debug, Clone)]
pub struct Hook {
    /// The last part of its address.
    pub name: Name,
    /// For people.
    pub description: String,
    /// Whether it is served.
    pub enabled: bool,
    /// How it is known to be from whom it says.
    pub verify: Verify,
    /// Which event it becomes.
    pub map: HookMap,
}

/// Where a secret is: never in the definition itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// In a variable of the gateway.
    Env(String),
    /// In a file of the gateway, an absolute path, read anew for every request.
    File(String),
}

/// How a request is known to be from whom it says. Of several secrets, any will do: so they are rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    /// Not at all: what lets a request in is the gateway's own tokens.
    Open,
    /// As standardwebhooks.com says: HMAC-SHA256 over id, time and body.
    Standard(Vec<Secret>),
    /// As GitHub does: HMAC-SHA256 over the body.
    GitHub(Vec<Secret>),
    /// A secret text in a header.
    Token {
        /// Which, in lower case.
        header: String,
        /// The text.
        secrets: Vec<Secret>,
    },
    /// The same as `Authorization: Bearer …`.
    Bearer(Vec<Secret>),
    /// HMAC over the body.
    Hmac {
        /// The header that the signature is in, in lower case.
        header: String,
        /// The hash.
        digest: Digest,
        /// How the signature is written.
        encoding: Encoding,
        /// What stands before it.
        prefix: String,
        /// The keys, as they are.
        secrets: Vec<Secret>,
    },
}

/// The hash of an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// In hexadecimal digits.
    Hex,
    /// In base64, with padding.
    Base64,
}

impl Verify {
    /// Whether it needs no token of the gateway's.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        !matches!(self, Self::Open)
    }

    /// The headers that prove who sends it: no mapping sees them.
    #[must_use]
    pub fn headers(&self) -> Vec<&str> {
        match self {
            Self::Open => Vec::new(),
            Self::Standard(_) => vec!["webhook-signature"],
            Self::GitHub(_) => vec!["x-hub-signature-256", "x-hub-signature"],
            Self::Bearer(_) => vec!["authorization"],
            Self::Token { header, .. } | Self::Hmac { header, .. } => vec![header],
        }
    }

    /// Where its secrets are.
    #[must_use]
    pub fn secrets(&self) -> &[Secret] {
        match self {
            Self::Open => &[],
            Self::Standard(secrets)
            | Self::GitHub(secrets)
            | Self::Bearer(secrets)
            | Self::Token { secrets, .. }
            | Self::Hmac { secrets, .. } => secrets,
        }
    }
}

/// Which event a request becomes. Holes see its `body`, its `headers` (in lower case, without those that are secret) and its `query`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HookMap {
    /// The event's type; `None`: what the kind of webhook says.
    pub kind: Option<Shape>,
    /// Its id, by which a request that comes again is known; `None`: what the kind of webhook says.
    pub id: Option<Shape>,
    /// Its source; `None`: `hook:<name>`.
    pub source: Option<Shape>,
    /// Its subject.
    pub subject: Option<Shape>,
    /// Its time.
    pub time: Option<Shape>,
    /// Its data; `None`: the body.
    pub data: Option<Shape>,
}
