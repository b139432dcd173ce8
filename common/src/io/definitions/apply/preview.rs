//! What an apply would do.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Applied, Apply, ApplyError, Definitions, after, key_of, newest, not_applied, outcomes,
    refusals, tools_of,
};
use crate::{
    definition::{Active, Bundle, VersionRef},
    io::{
        clock,
        definitions::{active, change::ChangeError},
    },
    names::bucket,
};

impl Definitions {
    /// What would become of these versions if they were applied now. Nothing is written.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn preview(
        &self,
        bundles: &[Bundle],
        apply: &Apply,
    ) -> Result<Vec<Applied>, ApplyError> {
        let look = self.look(&tools_of(bundles, apply)?).await?;
        let refused = refusals(bundles, &look, apply)?;
        if refused.iter().any(Option::is_some) {
            return Ok(not_applied(bundles, refused));
        }
        let is_new = |bundle: &&Bundle| !look.keys.contains(&key_of(bundle));
        let created: BTreeSet<VersionRef> =
            bundles.iter().filter(is_new).map(Bundle::version).collect();
        let at = clock::now();
        let mut then = BTreeMap::new();
        for (name, version) in newest(bundles) {
            let entry = self.entry(&bucket::active(name)).await?;
            let current = entry.as_ref().map(active).transpose();
            let current: Option<Active> = current
                .map_err(|problem| ChangeError::Unreadable {
                    name: name.clone(),
                    problem,
                })?
                .flatten();
            let is_new = created.contains(&version);
            let changed = after(current.as_ref(), &version, is_new, apply, at);
            then.insert(name.clone(), changed.or(current));
        }
        Ok(outcomes(bundles, &created, &then))
    }
}
