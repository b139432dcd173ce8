//! What a person should look at, as pages show it: how bad it is in a word, and the page where something can be done about it.

use jiff::Timestamp;

use super::words::Sign;
use crate::fleet::attention::{Attention, Kind, Severity};

/// A line.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) since: Option<Timestamp>,
    pub(crate) href: &'static str,
    severity: Severity,
}

impl From<Attention> for Line {
    fn from(one: Attention) -> Self {
        Self {
            href: href(one.kind),
            text: one.text,
            since: one.since,
            severity: one.severity,
        }
    }
}

impl Line {
    pub(crate) fn tone(&self) -> &'static str {
        match self.severity {
            Severity::Critical => "bad",
            Severity::Warning => "warn",
            Severity::Info => "busy-still",
        }
    }

    pub(crate) fn word(&self) -> &'static str {
        match self.severity {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Info => "to know",
        }
    }

    pub(crate) fn sign(&self) -> Sign {
        match self.severity {
            Severity::Critical => Sign::Cross,
            Severity::Warning => Sign::Up,
            Severity::Info => Sign::Event,
        }
    }
}

/// The page that says more.
fn href(kind: Kind) -> &'static str {
    match kind {
        Kind::Health | Kind::NoPlanner | Kind::Lost => "/fleet",
        Kind::NoExecutor | Kind::Breaker => "/fleet#tools",
        Kind::Waiting => "/fleet#queues",
        Kind::Limiter => "/fleet#limits",
        Kind::DeadLetters => "/dlq",
        Kind::Budget => "/cost#ceilings",
        Kind::Parked => "/runs?status=parked",
        Kind::SwitchedOff => "/tools",
        Kind::Rollout => "/workflows",
    }
}
