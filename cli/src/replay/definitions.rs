//! The definition of a version, with the files that make it up.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use flotilla_common::{
    claude::Models,
    definition::{Catalogue, Sources, Workflow},
    entry::Pin,
    ids::Name,
    io::definitions,
};

use super::Usage;
use crate::settings::Settings;

/// Definitions that are at hand.
#[derive(Debug)]
pub(super) struct Definitions {
    sources: Sources,
    catalogue: Catalogue,
    models: Arc<Models>,
}

/// The table of models.
pub(super) fn models(settings: &Settings) -> anyhow::Result<Arc<Models>> {
    let models = definitions::load_models(settings.models.as_deref())?;
    Ok(Arc::new(models))
}

impl Definitions {
    /// Those of a folder.
    pub(super) fn of_folder(folder: &Path, models: &Arc<Models>) -> anyhow::Result<Self> {
        let sources = definitions::read(folder).map_err(|error| Usage(error.to_string()))?;
        Self::of_files(sources, models)
    }

    /// Those that these files are.
    pub(super) fn of_files(sources: Sources, models: &Arc<Models>) -> anyhow::Result<Self> {
        let catalogue = Catalogue::parse(&sources, models);
        Ok(Self {
            catalogue: catalogue.map_err(|problems| Usage(problems.to_string()))?,
            sources,
            models: Arc::clone(models),
        })
    }

    /// Exactly the version that a run is pinned to.
    pub(super) fn pinned(&self, pin: &Pin) -> Option<&Arc<Workflow>> {
        self.catalogue.pinned(pin)
    }

    /// The newest version of a workflow.
    pub(super) fn newest(&self, name: &Name) -> Option<&Arc<Workflow>> {
        self.catalogue.newest().find(|one| one.pin.name == *name)
    }

    /// The files that a version is made of, and none that it does without; `None` where it is not here.
    pub(super) fn files(&self, pin: &Pin) -> Option<BTreeMap<String, String>> {
        self.pinned(pin)?;
        let mut kept = self.sources.clone();
        let all: Vec<&String> = self.sources.0.keys().collect();
        self.leave_out(&all, pin, &mut kept);
        Some(kept.0)
    }

    /// Leaves out as many of these files as the version does without: all, or of each half.
    fn leave_out(&self, files: &[&String], pin: &Pin, kept: &mut Sources) {
        let mut without = kept.clone();
        without.0.retain(|path, _| !files.contains(&path));
        let parsed = Catalogue::parse(&without, &self.models);
        if parsed.is_ok_and(|catalogue| catalogue.pinned(pin).is_some()) {
            *kept = without;
        } else if files.len() > 1 {
            let (first, second) = files.split_at(files.len() / 2);
            self.leave_out(first, pin, kept);
            self.leave_out(second, pin, kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_version_are_its_own_and_what_they_name() {
        let workflow = |name: &str, prompt: &str| {
            format!(
                "workflow: {name}\nversion: 1\non: {{event: a.b}}\nmodel: haiku\nsteps:\n  - id: x\n    claude: {{prompt: {prompt}}}\n"
            )
        };
        let files = [
            ("a/w.yaml", workflow("w", "p.md")),
            ("a/p.md", "Say it.".to_owned()),
            ("a/unused.md", "Not this.".to_owned()),
            ("b/v.yaml", workflow("v", "Hello.")),
            ("policies.yaml", "policies: []\n".to_owned()),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), text));
        let models = Arc::new(Models::built_in().unwrap());
        let all = Definitions::of_files(Sources(files.into()), &models).unwrap();
        let pin = all.newest(&"w".parse().unwrap()).unwrap().pin.clone();
        let own = all.files(&pin).unwrap();
        assert_eq!(own.keys().collect::<Vec<_>>(), ["a/p.md", "a/w.yaml"]);
        let elsewhere = Definitions::of_files(Sources(own), &models).unwrap();
        assert!(elsewhere.pinned(&pin).is_some(), "the same digest");
        let gone = Pin { version: 2, ..pin };
        assert_eq!(all.files(&gone), None);
    }
}
