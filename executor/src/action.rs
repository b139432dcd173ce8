//! What a message asks for.

use flotilla_common::{
    entry::{Body, Decision},
    ids::{Name, RunId, Slot},
    io::{
        journal::{Raw, decode},
        worker::Incoming,
    },
};
use jiff::Timestamp;
use serde_json::Value;

/// One decided action.
#[derive(Debug)]
pub(crate) struct Action {
    /// The decision's sequence.
    pub(crate) seq: u64,
    /// When it was decided, by the planner's clock.
    pub(crate) at: Timestamp,
    pub(crate) run: RunId,
    pub(crate) slot: Slot,
    pub(crate) tool: Name,
    pub(crate) version: u32,
    pub(crate) with: Value,
}

impl Action {
    /// Reads a message of `runs.*.decided.<tool>`.
    ///
    /// # Errors
    /// Why it is none: it belongs into DEAD.
    pub(crate) fn read(incoming: &Incoming) -> Result<Self, String> {
        let raw = Raw {
            seq: incoming.seq,
            subject: incoming.subject.clone(),
            payload: incoming.payload.clone(),
        };
        let entry = decode(&raw).map_err(|problem| problem.to_string())?;
        let entry = entry.ok_or("a timer, not a decision")?;
        let Body::Decided(decided) = entry.body else {
            return Err("not a decision".into());
        };
        let Decision::Act {
            tool,
            version,
            with,
        } = decided.decision
        else {
            return Err("a decision that is not about a tool, on a tool's subject".into());
        };
        if tool != entry.address.name {
            return Err(format!(
                "the decision is about the tool `{tool}`, its subject says `{}`",
                entry.address.name
            ));
        }
        Ok(Self {
            seq: entry.seq,
            at: entry.at,
            run: entry.address.run,
            slot: Slot {
                step: decided.step,
                branch: decided.branch,
            },
            tool,
            version,
            with,
        })
    }
}
