//! Event types and webhooks on their way into the bucket. A version of an event type does not change; a webhook has no versions, and
//! the last one that was applied holds.

use tracing::info;

use super::{Apply, ApplyError, Definitions, Outcome, Unreachable, value};
use crate::{
    definition::{InletKey, InletText},
    names::bucket,
};

/// What becomes of an event type or a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InletChange {
    /// Which.
    pub key: InletKey,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Where its last value is in the bucket; 0: it has none.
    revision: u64,
}

impl Definitions {
    /// What would become of these if they were applied now. Nothing is written.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn inlet_changes(
        &self,
        inlets: &[InletText],
        replace: bool,
    ) -> Result<Vec<InletChange>, Unreachable> {
        let mut changes = Vec::with_capacity(inlets.len());
        for text in inlets {
            let entry = self.entry(&bucket::inlet(&text.key)).await?;
            let there = entry.as_ref().and_then(value);
            // One that cannot be read is of a newer flotilla, and certainly another.
            let digest = there.map(|there| InletText::read(there).ok().map(|known| known.digest));
            let outcome = match (digest, &text.key) {
                (Some(Some(digest)), _) if digest == text.digest => Outcome::Unchanged,
                (Some(_), InletKey::Event { event, version }) if !replace => {
                    Outcome::Refused(format!(
                        "event type `{event}` version {version} is there with another text, and versions do not change; give this one `version: {}`",
                        version.saturating_add(1)
                    ))
                }
                (Some(_) | None, _) => Outcome::Created,
            };
            changes.push(InletChange {
                key: text.key.clone(),
                outcome,
                revision: entry.map_or(0, |entry| entry.revision),
            });
        }
        Ok(changes)
    }

    /// Writes what is new. `false`: somebody else was quicker with something.
    pub(super) async fn write_inlets(&self, apply: &Apply) -> Result<bool, ApplyError> {
        let changes = self.inlet_changes(&apply.inlets, apply.replace).await?;
        let refused = changes.iter().filter_map(|change| match &change.outcome {
            Outcome::Refused(why) => Some(why.as_str()),
            Outcome::Created | Outcome::Unchanged | Outcome::Withheld => None,
        });
        let refused: Vec<&str> = refused.collect();
        if !refused.is_empty() {
            return Err(ApplyError::Inlets(refused.join("; ")));
        }
        for (text, change) in apply.inlets.iter().zip(&changes) {
            if change.outcome != Outcome::Created {
                continue;
            }
            let key = bucket::inlet(&text.key);
            let mut kept = text.clone();
            kept.by.clone_from(&apply.said.by);
            let expecting = Some((change.revision, key.as_str()));
            if self.write(&key, kept.encode()?, expecting).await?.is_none() {
                return Ok(false);
            }
            info!(what = %text.key, "is there now");
        }
        Ok(true)
    }
}
