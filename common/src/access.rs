//! Who may ask what: scopes, and whoever a request speaks for.

pub mod token;

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::ids::Name;

/// What a token lets its bearer do. Each is a right of its own, but [`Scope::Admin`] contains all, and [`Scope::Approve`] reading:
/// who decides must see what about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Send events and webhooks.
    Ingest,
    /// Look at runs, journals, costs, the fleet.
    Read,
    /// Decide what waits for a person, and tell runs something.
    Approve,
    /// Everything: definitions, ceilings, tools, dead letters, tokens.
    Admin,
}

/// A word that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no scope; there are ingest, read, approve and admin")]
pub struct NoScope(pub String);

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Read, Self::Approve, Self::Admin];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Approve => "approve",
            Self::Admin => "admin",
        }
    }

    /// Whether who has this one has the other.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        match self {
            Self::Admin => true,
            Self::Approve => matches!(other, Self::Approve | Self::Read),
            Self::Ingest | Self::Read => self == other,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = NoScope;

    fn from_str(word: &str) -> Result<Self, NoScope> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == word);
        found.ok_or_else(|| NoScope(word.to_owned()))
    }
}

/// Whoever a request speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Of the token, for the audit; never the token itself.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it may.
    pub scopes: BTreeSet<Scope>,
    /// The one tenant that it sees and sends for; `None`: all.
    pub tenant: Option<Name>,
}

impl Caller {
    /// Everybody, where no tokens are asked for.
    #[must_use]
    pub fn anyone() -> Self {
        Self {
            id: "-".to_owned(),
            name: "anyone".to_owned(),
            scopes: BTreeSet::from([Scope::Admin]),
            tenant: None,
        }
    }

    /// A webhook that shows by itself who it is from.
    #[must_use]
    pub fn hook(name: &str) -> Self {
        Self {
            id: "-".to_owned(),
            name: format!("hook {name}"),
            scopes: BTreeSet::from([Scope::Ingest]),
            tenant: None,
        }
    }

    /// Whether it may do what needs this scope.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|mine| mine.contains(scope))
    }

    /// Whether what belongs to this tenant is there for it. What is not is not there at all: 404, not 403.
    #[must_use]
    pub fn sees(&self, tenant: &str) -> bool {
        self.tenant
            .as_ref()
            .is_none_or(|mine| mine.as_str() == tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(scopes: &[Scope], tenant: Option<&str>) -> Caller {
        Caller {
            scopes: scopes.iter().copied().collect(),
            tenant: tenant.map(|name| name.parse().unwrap()),
            ..Caller::anyone()
        }
    }

    #[test]
    fn a_scope_gives_what_it_says_and_no_more() {
        let may = |scopes: &[Scope]| {
            let caller = caller(scopes, None);
            Scope::ALL.map(|scope| caller.may(scope))
        };
        assert_eq!(may(&[]), [false; 4]);
        assert_eq!(may(&[Scope::Ingest]), [true, false, false, false]);
        assert_eq!(may(&[Scope::Read]), [false, true, false, false]);
        assert_eq!(may(&[Scope::Approve]), [false, true, true, false]);
        assert_eq!(
            may(&[Scope::Ingest, Scope::Read]),
            [true, true, false, false]
        );
        assert_eq!(may(&[Scope::Admin]), [true; 4]);
    }

    #[test]
    fn a_tenants_caller_sees_its_tenant_alone() {
        assert!(caller(&[], Some("acme")).sees("acme"));
        assert!(!caller(&[], Some("acme")).sees("acme2"));
        assert!(caller(&[], None).sees("acme"));
    }

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for scope in Scope::ALL {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        assert!("root".parse::<Scope>().is_err());
    }
}
