//! What processes say of themselves.

use crate::beat::Role;

/// The beats of all.
pub const ALL_BEATS: &str = "fleet.beat.*.*";

/// Where a role of a process says every two seconds that it is there. On no stream: what is missed is over.
#[must_use]
pub fn beat(role: Role, worker: &str) -> String {
    format!("fleet.beat.{role}.{}", token(worker))
}

/// The beats of all processes of a role.
#[must_use]
pub fn beats(role: Role) -> String {
    format!("fleet.beat.{role}.*")
}

/// A process's name as one part of a subject.
pub(super) fn token(worker: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    worker.chars().map(plain).collect()
}
