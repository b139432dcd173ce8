//! Versions as they are kept.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::{Definitions, Unreachable, value, written};
use crate::{
    definition::{Bundle, VersionRef},
    entry::Pin,
    ids::Name,
    names::bucket,
};

/// Texts asked for at once.
const TEXTS_AT_ONCE: usize = 16;

/// A version of a workflow that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub version: VersionRef,
    /// Who applied it first.
    pub by: Option<String>,
    /// When that was, by nats-server's clock.
    pub at: Timestamp,
}

impl Definitions {
    /// Every version of a workflow that was applied, by number; texts of one number in the order they came. One that was written
    /// by another flotilla is left out.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn versions(&self, name: &Name) -> Result<Vec<Kept>, Unreachable> {
        let keys = self.keys(&bucket::workflow_versions(name)).await?;
        let entries = stream::iter(keys)
            .map(|key| async move { self.entry(&key).await })
            .buffered(TEXTS_AT_ONCE);
        let kept = entries.try_filter_map(|entry| async move {
            let Some(entry) = entry else {
                return Ok(None);
            };
            let bundle = value(&entry).map(Bundle::read).and_then(Result::ok);
            Ok(bundle.map(|bundle| Kept {
                version: bundle.version(),
                by: bundle.by,
                at: written(&entry),
            }))
        });
        let mut kept: Vec<Kept> = kept.try_collect().await?;
        kept.sort_by_key(|kept| (kept.version.version, kept.at));
        Ok(kept)
    }

    /// Exactly the texts that a run is pinned to; `None`: they were never applied.
    ///
    /// # Errors
    /// [`Unreachable`]: also where the texts were written by another flotilla.
    pub async fn of(&self, pin: &Pin) -> Result<Option<Bundle>, Unreachable> {
        let key = bucket::workflow(&pin.name, pin.version, &pin.digest);
        let entry = self.entry(&key).await?;
        let bundle = entry.as_ref().and_then(value).map(Bundle::read);
        let bundle = bundle.transpose().map_err(Unreachable::of)?;
        Ok(bundle.filter(|bundle| bundle.digest == pin.digest))
    }
}
