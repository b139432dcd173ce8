//! The definition of a version: that of a fleet's run, of an exported one, or a candidate's in a folder.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use flotilla_common::{
    claude::Models,
    definition::{Bundle, Catalogue, Workflow},
    entry::Pin,
    ids::{Name, RunId},
    io::definitions,
};

use crate::{client::Client, exit::Usage, in_full, settings::Settings};

/// The table of models.
pub(super) fn models(settings: &Settings) -> anyhow::Result<Arc<Models>> {
    let models = definitions::load_models(settings.models.as_deref())?;
    Ok(Arc::new(models))
}

/// The definition that the files of a version are; or why they are not.
pub(super) fn compiled(
    pin: &Pin,
    files: BTreeMap<String, String>,
    models: &Models,
) -> Result<Arc<Workflow>, String> {
    let bundle = Bundle::of_files(pin, files);
    bundle
        .compile(models)
        .map_err(|problem| problem.to_string())
}

/// Definitions of a folder.
#[derive(Debug)]
pub(super) struct OfFolder(Catalogue);

impl OfFolder {
    pub(super) fn read(folder: &Path, models: &Models) -> anyhow::Result<Self> {
        let catalogue = definitions::load(folder, models);
        Ok(Self(
            catalogue.map_err(|problem| Usage(problem.to_string()))?,
        ))
    }

    /// The newest version of a workflow.
    pub(super) fn newest(&self, name: &Name) -> Option<&Arc<Workflow>> {
        self.0.newest().find(|one| one.pin.name == *name)
    }
}

/// Definitions of a fleet's runs, which its bucket keeps: each version is asked for once.
#[derive(Debug)]
pub(super) struct OfFleet {
    models: Arc<Models>,
    known: Mutex<BTreeMap<String, Arc<Workflow>>>,
}

impl OfFleet {
    pub(super) fn new(models: Arc<Models>) -> Self {
        let known = Mutex::default();
        Self { models, known }
    }

    /// The definition that a run is pinned to; or why it is not at hand.
    pub(super) async fn of_run(
        &self,
        client: &Client,
        run: &RunId,
        pin: &Pin,
    ) -> Result<Arc<Workflow>, String> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(workflow) = known().get(&pin.digest) {
            return Ok(Arc::clone(workflow));
        }
        let files = client.definition(run).await;
        let files = files.map_err(|error| in_full(&error))?;
        let workflow = compiled(pin, files, &self.models)?;
        known().insert(pin.digest.clone(), Arc::clone(&workflow));
        Ok(workflow)
    }
}
