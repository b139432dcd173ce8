//! Definitions on their way into the bucket. Tools are written first, then bundles, and what is active last, so a crash in between
//! leaves texts that nobody uses yet; applied again, the rest follows.

mod preview;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tracing::{debug, info};

use super::{
    Definitions, Unreachable,
    change::{ChangeError, Said},
};
use crate::{
    definition::{Active, Bundle, BundleError, InletText, ToolText, VersionRef},
    ids::Name,
    io::clock,
    names::bucket,
};

/// Looks at what is there: one more when somebody else applies something at the same moment.
const TRIES: u32 = 10;

/// How definitions are applied.
#[derive(Debug, Default, Clone)]
pub struct Apply {
    /// Who does it, and why.
    pub said: Said,
    /// What becomes active.
    pub activate: Activate,
    /// A version that is there with other texts gets these, too: runs that began with the others go on with those. For people who
    /// edit and start again.
    pub replace: bool,
    /// The tools that are deprecated, as [`Catalogue::deprecated`](crate::definition::Catalogue::deprecated) gives them; `None`:
    /// what is known of that stays.
    pub deprecated: Option<BTreeMap<(Name, u32), String>>,
    /// Event types and webhooks that come with the workflows.
    pub inlets: Vec<InletText>,
}

/// What becomes active when it is applied: of several versions of a workflow, only the newest is looked at.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Activate {
    /// What is new and higher than what is active. A version that was there before stays as people left it.
    #[default]
    Newer,
    /// Each.
    Always,
    /// None.
    Never,
}

/// What became of a version that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The workflow.
    pub workflow: Name,
    /// Its version.
    pub version: VersionRef,
    /// What became of it.
    pub outcome: Outcome,
    /// Which version new runs get now; `None` where nothing was written.
    pub active: Option<Active>,
}

/// What became of a version that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is new.
    Created,
    /// It was there already, exactly so.
    Unchanged,
    /// It cannot be taken; why, and what to do.
    Refused(String),
    /// It is fine, but others that came with it were refused, so nothing was written.
    Withheld,
}

/// Why definitions cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// NATS does not take them. What was written is right, and to be applied again is harmless.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// A bundle is too large, or wrong in itself.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// They are there, and what is active could not be changed; why.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// Event types that are there with other texts; nothing was written.
    #[error("{0}")]
    Inlets(String),
    /// Others kept writing.
    #[error("others change the definitions again and again; try again")]
    Busy,
}

/// What there is before anything is written.
#[derive(Debug, Default)]
struct Look {
    /// Every text of every version.
    keys: BTreeSet<String>,
    tools: BTreeMap<(Name, u32), ToolThere>,
}

/// A version of a tool that is there.
#[derive(Debug, Default)]
struct ToolThere {
    digest: String,
    deprecated: Option<String>,
    revision: u64,
}

impl Definitions {
    /// Takes in new versions, all of them or none; gives what became of each, in their order. The same again changes nothing.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn apply(
        &self,
        bundles: &[Bundle],
        apply: &Apply,
    ) -> Result<Vec<Applied>, ApplyError> {
        let tools = tools_of(bundles, apply)?;
        let mut created = BTreeSet::new();
        for _ in 0..TRIES {
            let look = self.look(&tools).await?;
            let refused = refusals(bundles, &look, apply)?;
            if refused.iter().any(Option::is_some) {
                return Ok(not_applied(bundles, refused));
            }
            // Before what they start: an event is never taken in by a workflow that knows more of it than the gateway.
            if self.write_inlets(apply).await?
                && self
                    .write_all(bundles, &tools, &look, apply, &mut created)
                    .await?
            {
                return self.activate_all(bundles, &created, apply).await;
            }
            debug!("somebody else applies definitions at this moment; looking again");
        }
        Err(ApplyError::Busy)
    }

    async fn look(&self, tools: &BTreeMap<(Name, u32), ToolText>) -> Result<Look, Unreachable> {
        let keys = self.keys(">").await?;
        let mut look = Look {
            keys: keys.into_iter().collect(),
            tools: BTreeMap::new(),
        };
        for (name, version) in tools.keys() {
            let key = bucket::tool(name, *version);
            if !look.keys.contains(&key) {
                continue;
            }
            if let Some(entry) = self.entry(&key).await? {
                let text = ToolText::read(&entry.value);
                // One that cannot be read is of a newer flotilla, and certainly another.
                let there = text.map_or_else(
                    |_| ToolThere::default(),
                    |text| ToolThere {
                        digest: text.digest,
                        deprecated: text.deprecated,
                        revision: entry.revision,
                    },
                );
                look.tools.insert((name.clone(), *version), there);
            }
        }
        Ok(look)
    }

    /// Writes what is missing. `false`: somebody else was quicker with something.
    async fn write_all(
        &self,
        bundles: &[Bundle],
        tools: &BTreeMap<(Name, u32), ToolText>,
        look: &Look,
        apply: &Apply,
        created: &mut BTreeSet<VersionRef>,
    ) -> Result<bool, ApplyError> {
        for (id, text) in tools {
            let key = bucket::tool(&id.0, id.1);
            let expecting = match look.tools.get(id) {
                None => Some((0, key.as_str())),
                // Others have this version with another text: only who replaces may change it.
                Some(there) if there.digest != text.digest && apply.replace => None,
                Some(there)
                    if there.digest == text.digest
                        && there.deprecated != text.deprecated
                        && apply.deprecated.is_some() =>
                {
                    Some((there.revision, key.as_str()))
                }
                Some(_) => continue,
            };
            if self.write(&key, text.encode()?, expecting).await?.is_none() {
                return Ok(false);
            }
            info!(tool = %text.tool, version = text.version, "a tool is there now");
        }
        for bundle in bundles {
            let key = key_of(bundle);
            if look.keys.contains(&key) {
                continue;
            }
            let of_version = bucket::workflow_version(&bundle.workflow, bundle.version);
            let alone = if apply.replace { &key } else { &of_version };
            let mut kept = bundle.clone();
            kept.by.clone_from(&apply.said.by);
            let written = self.write(&key, kept.encode()?, Some((0, alone))).await?;
            if written.is_none() {
                return Ok(false);
            }
            created.insert(bundle.version());
            info!(workflow = %bundle.workflow, version = bundle.version, digest = bundle.digest, "a version is there now");
        }
        Ok(true)
    }

    async fn activate_all(
        &self,
        bundles: &[Bundle],
        created: &BTreeSet<VersionRef>,
        apply: &Apply,
    ) -> Result<Vec<Applied>, ApplyError> {
        let mut active = BTreeMap::new();
        for (name, version) in newest(bundles) {
            let is_new = created.contains(&version);
            let at = clock::now();
            let change = |current: Option<&Active>| Ok(after(current, &version, is_new, apply, at));
            let now = self.change(name, change).await;
            active.insert(name.clone(), now?);
        }
        Ok(outcomes(bundles, created, &active))
    }
}

/// The tools of all of them. Each bundle is small enough to be kept.
fn tools_of(
    bundles: &[Bundle],
    apply: &Apply,
) -> Result<BTreeMap<(Name, u32), ToolText>, BundleError> {
    let mut tools = BTreeMap::new();
    for bundle in bundles {
        bundle.encode()?;
        for mut text in bundle.tools()? {
            let id = (text.tool.clone(), text.version);
            let deprecated = apply.deprecated.as_ref();
            text.deprecated = deprecated.and_then(|known| known.get(&id).cloned());
            tools.insert(id, text);
        }
    }
    Ok(tools)
}

/// The newest of several versions of a workflow.
fn newest(bundles: &[Bundle]) -> BTreeMap<&Name, VersionRef> {
    let mut newest: BTreeMap<&Name, VersionRef> = BTreeMap::new();
    for bundle in bundles {
        let known = newest
            .entry(&bundle.workflow)
            .or_insert_with(|| bundle.version());
        if known.version <= bundle.version {
            *known = bundle.version();
        }
    }
    newest
}

fn outcomes(
    bundles: &[Bundle],
    created: &BTreeSet<VersionRef>,
    active: &BTreeMap<Name, Option<Active>>,
) -> Vec<Applied> {
    let each = bundles.iter().map(|bundle| {
        let outcome = if created.contains(&bundle.version()) {
            Outcome::Created
        } else {
            Outcome::Unchanged
        };
        let active = active.get(&bundle.workflow).cloned().flatten();
        applied(bundle, outcome, active)
    });
    each.collect()
}

fn key_of(bundle: &Bundle) -> String {
    bucket::workflow(&bundle.workflow, bundle.version, &bundle.digest)
}

fn applied(bundle: &Bundle, outcome: Outcome, active: Option<Active>) -> Applied {
    Applied {
        workflow: bundle.workflow.clone(),
        version: bundle.version(),
        outcome,
        active,
    }
}

fn not_applied(bundles: &[Bundle], refused: Vec<Option<String>>) -> Vec<Applied> {
    let outcomes = refused.into_iter();
    let outcomes = outcomes.map(|why| why.map_or(Outcome::Withheld, Outcome::Refused));
    let each = bundles.iter().zip(outcomes);
    each.map(|(bundle, outcome)| applied(bundle, outcome, None))
        .collect()
}

/// Why each of these versions cannot be taken.
fn refusals(
    bundles: &[Bundle],
    look: &Look,
    apply: &Apply,
) -> Result<Vec<Option<String>>, BundleError> {
    let refusal = |bundle: &Bundle| {
        if apply.replace || look.keys.contains(&key_of(bundle)) {
            return Ok(None);
        }
        let Bundle {
            workflow, version, ..
        } = bundle;
        for text in bundle.tools()? {
            let known = look.tools.get(&(text.tool.clone(), text.version));
            if known.is_some_and(|there| there.digest != text.digest) {
                return Ok(Some(format!(
                    "workflow `{workflow}` version {version} uses tool `{}` version {}, and the fleet has that version with another text; give the changed tool `version: {}`",
                    text.tool,
                    text.version,
                    text.version.saturating_add(1)
                )));
            }
        }
        let prefix = bucket::workflow(workflow, *version, "");
        let is_there = look.keys.iter().any(|key| key.starts_with(&prefix));
        Ok(is_there.then(|| {
            format!(
                "workflow `{workflow}` version {version} is there with other texts, and versions do not change; give this one `version: {}`",
                version.saturating_add(1)
            )
        }))
    };
    bundles.iter().map(refusal).collect()
}

/// What is active after a version was applied; `None`: what is active stays.
fn after(
    current: Option<&Active>,
    version: &VersionRef,
    is_new: bool,
    apply: &Apply,
    at: Timestamp,
) -> Option<Active> {
    let number = version.version;
    let considered = current.map_or(0, |current| current.considered).max(number);
    let activated = || {
        Some(Active {
            considered,
            ..apply.said.active(version.clone(), at)
        })
    };
    let Some(current) = current else {
        let active = activated()?;
        let retired = apply.activate == Activate::Never;
        return Some(Active { retired, ..active });
    };
    let candidate = current.candidate.as_ref();
    let above = candidate.map_or(0, |candidate| candidate.version.version);
    let above = above.max(current.stable.version);
    let replaces = apply.replace && number == current.stable.version && *version != current.stable;
    match apply.activate {
        Activate::Always => activated(),
        Activate::Newer if replaces && !current.retired => activated(),
        Activate::Newer if is_new && number > above => activated(),
        // It was written before, and whoever did that did not live to say what becomes of it.
        Activate::Newer if number > current.considered => activated(),
        Activate::Never if number > current.considered => Some(Active {
            considered,
            ..current.clone()
        }),
        Activate::Newer | Activate::Never => None,
    }
}

#[cfg(test)]
mod tests;
