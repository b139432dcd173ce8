//! The folder of definitions that a role may have: what is in it is applied to the fleet when the role starts.

use std::{path::PathBuf, sync::Arc};

use anyhow::bail;
use flotilla_common::{
    claude::Models,
    definition::{Bundle, Catalogue, InletText, Sources},
    io::definitions::{self, Applied, Apply, Definitions, Live, Outcome, Said},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::settings::Settings;

/// Definition files, and where they are from.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    sources: Sources,
}

impl Folder {
    /// The folder that the settings name. `None`: they name none, and there is no `./workflows`.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn read(settings: &Settings) -> anyhow::Result<Option<Self>> {
        if settings.workflows.is_none() && !settings.workflows().exists() {
            return Ok(None);
        }
        Self::named(settings).map(Some)
    }

    /// The folder that the settings name, or `./workflows`.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn named(settings: &Settings) -> anyhow::Result<Self> {
        let path = settings.workflows();
        let sources = definitions::read(&path)?;
        Ok(Self { path, sources })
    }

    /// Where it is.
    pub(crate) fn shown(&self) -> String {
        self.path.display().to_string()
    }

    /// What is in it. It may run what `fleet` has.
    ///
    /// # Errors
    /// Everything that is wrong in any file, or that there is none.
    pub(crate) fn parse(&self, models: &Models, fleet: &Catalogue) -> anyhow::Result<Catalogue> {
        let catalogue = Catalogue::parse_beside(&self.sources, models, fleet)?;
        if has_nothing(&catalogue) {
            bail!(
                "there is no workflow in {}; set FLOTILLA_WORKFLOWS to the folder that holds them",
                self.path.display()
            );
        }
        Ok(catalogue)
    }

    /// Applies it to the fleet.
    async fn apply(
        &self,
        bucket: &Definitions,
        models: &Arc<Models>,
        apply: &Apply,
    ) -> anyhow::Result<Vec<Applied>> {
        let catalogue = match self.parse(models, &Catalogue::default()) {
            Ok(catalogue) => catalogue,
            // It may be right beside what the fleet has, which is much to read.
            Err(_) => {
                let fleet = Box::pin(bucket.known(Arc::clone(models))).await?;
                self.parse(models, &fleet)?
            }
        };
        for warning in catalogue.warnings() {
            warn!("{warning}");
        }
        let bundles: Vec<Bundle> = catalogue.bundles(&self.sources, models)?;
        let inlets = catalogue.inlets.texts();
        let apply = Apply {
            inlets: inlets.map(|text| InletText::clone(text)).collect(),
            ..apply.clone()
        };
        let applied = Box::pin(bucket.apply(&bundles, &apply)).await?;
        let refused: Vec<&str> = applied
            .iter()
            .filter_map(|one| match &one.outcome {
                Outcome::Refused(why) => Some(why.as_str()),
                Outcome::Created | Outcome::Unchanged | Outcome::Withheld => None,
            })
            .collect();
        if !refused.is_empty() {
            bail!(
                "the definitions in {} cannot be applied: {}",
                self.path.display(),
                refused.join("; ")
            );
        }
        Ok(applied)
    }
}

/// Whether there is nothing in it that could be applied.
pub(crate) fn has_nothing(catalogue: &Catalogue) -> bool {
    catalogue.newest().next().is_none() && catalogue.inlets.texts().next().is_none()
}

/// What a role does first.
#[derive(Debug)]
pub(crate) struct Bringing<'a> {
    pub(crate) bucket: &'a Definitions,
    pub(crate) folder: Option<&'a Folder>,
    /// This process, for people who look at who applied what.
    pub(crate) who: &'a str,
    /// As [`Apply::replace`].
    pub(crate) replace: bool,
}

impl Bringing<'_> {
    /// Applies the folder, if there is one, and follows all definitions of the fleet from then on.
    ///
    /// # Errors
    /// The folder's definitions are wrong or refused, or NATS does not answer.
    pub(crate) async fn bring(
        self,
        settings: &Settings,
        stop: CancellationToken,
    ) -> anyhow::Result<Live> {
        let models = Arc::new(definitions::load_models(settings.models.as_deref())?);
        let Some(folder) = self.folder else {
            return Ok(Box::pin(self.bucket.follow(models, stop)).await?);
        };
        let apply = Apply {
            said: Said {
                by: Some(self.who.to_owned()),
                reason: Some("its folder of definitions, when it started".to_owned()),
            },
            replace: self.replace,
            ..Apply::default()
        };
        let applied = folder.apply(self.bucket, &models, &apply).await?;
        let live = Box::pin(self.bucket.follow(models, stop)).await?;
        tell_differences(&applied, &live.current(), self.replace);
        Ok(live)
    }
}

/// Says where what is active is not what is in the folder. Those who edit and start again are told so as a warning.
fn tell_differences(applied: &[Applied], now: &Catalogue, edits: bool) {
    for one in applied {
        let (name, version) = (&one.workflow, one.version.version);
        let mut others = applied.iter().filter(|other| other.workflow == *name);
        let is_older = others.any(|other| other.version.version > version);
        let stable = now.stable(name).map(|stable| &stable.pin);
        if is_older || stable.is_some_and(|stable| stable.digest == one.version.digest) {
            continue;
        }
        let active = stable.map_or("none".to_owned(), |stable| stable.version.to_string());
        let what = "another version than the folder's is active, as somebody has said";
        if edits {
            warn!(workflow = %name, version, active, "{what}");
        } else {
            info!(workflow = %name, version, active, "{what}");
        }
    }
    let others = now.active().map(|(name, _)| name);
    for workflow in others.filter(|_| edits) {
        if !applied.iter().any(|one| one.workflow == *workflow) {
            warn!(%workflow, "is active, and not in the folder: it was applied before, and still starts");
        }
    }
}
