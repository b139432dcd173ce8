//! The recorded workflows: incident triage as it is shipped, and failed builds. Both sides have the same prompts, schemas and tools;
//! the naive one asks one model for everything.

use std::path::Path;

use anyhow::{Context as _, ensure};
use flotilla_common::{
    claude::Models,
    definition::{Catalogue, Inference},
    io::definitions,
};

/// The model that the naive side asks for everything.
const NAIVE_MODEL: &str = "sonnet";

macro_rules! files {
    ($from:literal, $to:literal: $($file:literal),+ $(,)?) => {
        &[$( (concat!($to, "/", $file), include_str!(concat!($from, "/", $file))) ),+]
    };
}

const INCIDENT_TRIAGE: &[(&str, &str)] = files!(
    "../../../../workflows/incident-triage", "incident-triage":
    "workflow.yaml", "tools.yaml", "sim.yaml", "prompts/severity.md", "prompts/summary.md", "prompts/triage.md", "schemas/severity.json",
);
const FAILED_BUILD: &[(&str, &str)] = files!(
    "failed-build", "failed-build":
    "workflow.yaml", "tools.yaml", "sim.yaml", "prompts/cause.md", "prompts/count.md", "prompts/kind.md", "prompts/note.md",
    "schemas/count.json", "schemas/kind.json",
);

/// Every file of both workflows, as they are; only the tools' `rate` is left out, which Claude does not see: nothing that is restarted
/// here has to be spared.
pub(super) fn defined() -> Vec<(&'static str, String)> {
    let all = INCIDENT_TRIAGE.iter().chain(FAILED_BUILD);
    all.map(|(path, text)| (*path, unpaced(text))).collect()
}

/// Without the lines that pace a tool.
fn unpaced(text: &str) -> String {
    let lines = text.lines();
    let kept = lines.filter(|line| !line.trim_start().starts_with("rate: "));
    kept.map(|line| format!("{line}\n")).collect()
}

/// The same with one model for every step. What else asks for a cheaper way of answering than at once has to be taken out here too.
pub(super) fn naive() -> Vec<(&'static str, String)> {
    let mut files = defined();
    for (path, text) in &mut files {
        if path.ends_with("workflow.yaml") {
            *text = text.replace("model: haiku", &format!("model: {NAIVE_MODEL}"));
        }
    }
    files
}

/// Whether these definitions ask the naive model and no other.
///
/// # Errors
/// Some step asks another one, or they are wrong.
pub(super) fn ensure_naive(folder: &Path, models: &Models) -> anyhow::Result<()> {
    let naive = models
        .find(NAIVE_MODEL)
        .with_context(|| format!("{} has no `{NAIVE_MODEL}`", models.file))?;
    let catalogue = definitions::load(folder, models)?;
    for (step, inference) in inferences(&catalogue) {
        let asked = inference.models.iter().map(|model| &model.id);
        let others: Vec<_> = asked.filter(|id| **id != naive.id).collect();
        ensure!(
            others.is_empty(),
            "step `{step}` of the naive side asks {others:?}"
        );
    }
    Ok(())
}

fn inferences(catalogue: &Catalogue) -> impl Iterator<Item = (&str, &Inference)> {
    let steps = catalogue.newest().flat_map(|workflow| workflow.all_steps());
    steps.filter_map(|step| Some((step.id.as_str(), step.inference()?)))
}
