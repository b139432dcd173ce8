//! The folder of definitions, and what the tools in it need of an executor.

use std::{collections::BTreeMap, fs};

use flotilla_common::{
    definition::{Adapter, Auth, Catalogue, HttpOptions, Tool},
    io::definitions::{DefinitionsError, load, load_models},
};

use super::{finding::Finding, within};
use crate::{folder::has_nothing, settings::Settings};

const CHECK: &str = "folder";
const SECRETS: &str = "secrets";

/// What there is to say of the folder; and, on an executor's machine, of what its tools need.
pub(super) async fn folder(settings: &Settings, executor: bool) -> Vec<Finding> {
    let settings = settings.clone();
    let read = tokio::task::spawn_blocking(move || looked(&settings, executor));
    match within(read).await {
        Ok(Ok(findings)) => findings,
        Ok(Err(error)) => vec![Finding::fail(CHECK, error.to_string())],
        Err(silent) => vec![Finding::warn(CHECK, silent)],
    }
}

fn looked(settings: &Settings, executor: bool) -> Vec<Finding> {
    let path = settings.workflows();
    let shown = path.display();
    if settings.workflows.is_none() && !path.exists() {
        return vec![Finding::ok(
            CHECK,
            "there is none here: roles take definitions from NATS",
        )];
    }
    let models = match load_models(settings.models.as_deref()) {
        Ok(models) => models,
        // Claude's check tells.
        Err(_) => return Vec::new(),
    };
    match load(&path, &models) {
        Ok(catalogue) => {
            let mut findings = vec![of_catalogue(&catalogue, &shown.to_string())];
            if executor {
                findings.push(secrets(&catalogue));
            }
            findings
        }
        Err(DefinitionsError::Wrong(problems)) => {
            let count = problems.0.len();
            let first = problems
                .0
                .first()
                .map(ToString::to_string)
                .unwrap_or_default();
            let first = first.lines().next().unwrap_or_default().to_owned();
            let says = format!("{count} problem(s) in {shown}, the first: {first}");
            vec![
                Finding::fail(CHECK, says)
                    .todo(format!("flotilla check {shown} shows all of them")),
            ]
        }
        Err(error @ (DefinitionsError::Read { .. } | DefinitionsError::Models(_))) => {
            vec![Finding::fail(CHECK, error.to_string())]
        }
    }
}

fn of_catalogue(catalogue: &Catalogue, folder: &str) -> Finding {
    if has_nothing(catalogue) {
        let says = format!("there is no workflow in {folder}, and a role does not start with it");
        return Finding::fail(CHECK, says)
            .todo("set FLOTILLA_WORKFLOWS to the folder that holds them");
    }
    let workflows = catalogue.newest().count();
    let says = format!("{workflows} workflow(s) in {folder}, all of it right");
    let warnings = catalogue.warnings().len();
    if warnings == 0 {
        return Finding::ok(CHECK, says);
    }
    Finding::warn(
        CHECK,
        format!(
            "{workflows} workflow(s) in {folder}, and {warnings} thing(s) that should be changed"
        ),
    )
    .todo(format!("flotilla check {folder} shows them"))
}

/// What the tools of this folder need that is not here.
fn secrets(catalogue: &Catalogue) -> Finding {
    let has = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for tool in catalogue.tools.iter() {
        let variables = tool.env.iter().filter(|name| !has(name)).cloned();
        let files = files(tool).filter(|file| fs::File::open(file).is_err());
        for one in variables.chain(files.map(str::to_owned)) {
            missing.entry(one).or_default().push(tool.name.to_string());
        }
    }
    if missing.is_empty() {
        return Finding::ok(SECRETS, "all that the tools of the folder need is here");
    }
    let each = missing
        .iter()
        .map(|(what, tools)| format!("{what} (for {})", tools.join(", ")));
    let each: Vec<String> = each.collect();
    Finding::fail(SECRETS, format!("not here: {}", each.join("; ")))
        .todo("set the variables, and mount the files, where the executor runs; a tool without them fails")
}

/// The files that a tool reads.
fn files(tool: &Tool) -> impl Iterator<Item = &str> {
    let options = match &tool.adapter {
        Adapter::Http { options, .. } => Some(&**options),
        Adapter::Command { .. }
        | Adapter::Nats { .. }
        | Adapter::Mcp { .. }
        | Adapter::Builtin(_) => None,
    };
    options.into_iter().flat_map(of_options)
}

fn of_options(options: &HttpOptions) -> impl Iterator<Item = &str> {
    let token = match &options.auth {
        Some(Auth::File(file)) => Some(file.as_str()),
        Some(Auth::Env(_)) | None => None,
    };
    let tls = options.tls.iter().flat_map(|tls| {
        let identity = tls.identity.iter().flat_map(|(cert, key)| [cert, key]);
        tls.ca.iter().chain(identity).map(String::as_str)
    });
    token.into_iter().chain(tls)
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    #[test]
    fn a_folder_without_any_definition_is_a_failure_as_it_is_to_a_role() {
        let finding = of_catalogue(&Catalogue::default(), "empty");
        assert_eq!(finding.verdict, Verdict::Fail);
    }
}
