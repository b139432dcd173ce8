//! `POST /v1/definitions`: files that are checked together, with what the fleet has, and then taken in, all of them or none.

mod read;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::{ConnectInfo, State},
    http::{HeaderMap, StatusCode},
};
use flotilla_common::{
    claude::Models,
    definition::{
        self, Active, Bundle, BundleError, Catalogue, InletKey, InletText, Problems, Sources,
    },
    ids::Name,
    io::{
        definitions::{Applied, ApplyError, InletChange, Outcome},
        http::{Peer, Problem},
    },
};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tracing::info;

use super::{Desk, Standing, ask, away, json, of_change, shows};
use crate::{
    problem::{conflict, unavailable},
    routes::App,
};
use read::Wanted;

/// Files that were found right.
#[derive(Debug)]
struct Checked {
    bundles: Vec<Bundle>,
    warnings: Vec<definition::Problem>,
    deprecated: BTreeMap<(Name, u32), String>,
    inlets: Vec<InletText>,
}

/// What became of the files.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    /// Whether nothing was written, because only that was asked for.
    dry_run: bool,
    workflows: Vec<Line>,
    /// Event types and hooks.
    inlets: Vec<InletLine>,
    /// What works, and should be changed all the same.
    warnings: Vec<definition::Problem>,
}

/// What became of a version of a workflow.
#[derive(Debug, Serialize)]
struct Line {
    workflow: Name,
    version: u32,
    digest: String,
    outcome: &'static str,
    /// Why it is refused, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Whether it is the version that new runs get.
    active: bool,
    /// What they get now; `None` where nothing was written.
    standing: Option<Standing>,
    /// Of a dry run: its texts, as they would be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<BTreeMap<String, String>>,
}

/// What became of an event type or a hook.
#[derive(Debug, Serialize)]
struct InletLine {
    #[serde(flatten)]
    key: InletKey,
    outcome: &'static str,
    /// Why it is refused, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl From<InletChange> for InletLine {
    fn from(change: InletChange) -> Self {
        let (outcome, why) = said(change.outcome);
        Self {
            key: change.key,
            outcome,
            why,
        }
    }
}

/// Takes definitions in. The same again changes nothing.
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Answer>, Problem> {
    let desk = &app.definitions;
    let turn = desk.turn().await?;
    let Wanted {
        sources,
        mut apply,
        dry_run,
    } = read::wanted(&headers, body).await?;
    let (checked, _turn) = checked(desk, sources, turn).await?;
    let Checked {
        bundles,
        warnings,
        deprecated,
        inlets,
    } = checked;
    apply.deprecated = Some(deprecated);
    apply.inlets = inlets;
    let definitions = &desk.definitions;
    let changes = definitions.inlet_changes(&apply.inlets, apply.replace);
    let changes = ask(changes, away).await?.into_iter();
    let inlets: Vec<InletLine> = changes.map(InletLine::from).collect();
    if dry_run {
        let previewed = ask(definitions.preview(&bundles, &apply), of_apply).await?;
        let files = bundles.into_iter().map(|bundle| Some(bundle.files));
        let workflows = lines(previewed, files);
        return Ok(Json(Answer {
            dry_run,
            workflows,
            inlets,
            warnings,
        }));
    }
    let (by, reason) = (&apply.said.by, &apply.said.reason);
    info!(from = %peer.0, by, reason, workflows = bundles.len(), "definitions are applied");
    let applied = ask(Box::pin(definitions.apply(&bundles, &apply)), of_apply).await?;
    let refused: Vec<&str> = applied.iter().filter_map(refusal).collect();
    if !refused.is_empty() {
        let detail = format!("{}. Nothing was applied", refused.join("; "));
        let workflows = json(&lines(applied, std::iter::repeat(None)));
        return Err(conflict(detail).with("workflows", workflows));
    }
    desk.settle(|seen| {
        let mut inlets = apply.inlets.iter();
        applied.iter().all(|one| is_seen(seen, one)) && inlets.all(|one| seen.inlets.has(one))
    })
    .await;
    Ok(Json(Answer {
        dry_run,
        workflows: lines(applied, std::iter::repeat(None)),
        inlets,
        warnings,
    }))
}

fn refusal(applied: &Applied) -> Option<&str> {
    match &applied.outcome {
        Outcome::Refused(why) => Some(why),
        Outcome::Created | Outcome::Unchanged | Outcome::Withheld => None,
    }
}

fn is_seen(catalogue: &Catalogue, applied: &Applied) -> bool {
    let pin = applied.version.pin(&applied.workflow);
    let shown = |active: &Active| shows(catalogue, &applied.workflow, active);
    catalogue.as_written(&pin).is_some() && applied.active.as_ref().is_none_or(shown)
}

fn lines(
    applied: Vec<Applied>,
    files: impl Iterator<Item = Option<BTreeMap<String, String>>>,
) -> Vec<Line> {
    let each = applied.into_iter().zip(files);
    each.map(|(applied, files)| line(applied, files)).collect()
}

fn line(applied: Applied, files: Option<BTreeMap<String, String>>) -> Line {
    let standing = applied.active.as_ref().map(Standing::from);
    let gets = standing.as_ref().and_then(|now| now.active.as_ref());
    let active = gets == Some(&applied.version);
    let (outcome, why) = said(applied.outcome);
    Line {
        workflow: applied.workflow,
        version: applied.version.version,
        digest: applied.version.digest,
        outcome,
        why,
        active,
        standing,
        files,
    }
}

fn said(outcome: Outcome) -> (&'static str, Option<String>) {
    match outcome {
        Outcome::Created => ("created", None),
        Outcome::Unchanged => ("unchanged", None),
        Outcome::Refused(why) => ("refused", Some(why)),
        Outcome::Withheld => ("withheld", None),
    }
}

/// Checks files where that may take its time. The turn comes back, and is not given to others before this has ended, whether or not
/// somebody still waits for it.
async fn checked(
    desk: &Desk,
    sources: Sources,
    turn: OwnedSemaphorePermit,
) -> Result<(Checked, OwnedSemaphorePermit), Problem> {
    let (models, fleet) = (Arc::clone(&desk.models), desk.live.current());
    let checking = tokio::task::spawn_blocking(move || {
        let checked = check(&sources, &models, &fleet);
        (checked, turn)
    });
    match checking.await {
        Ok((checked, turn)) => Ok((checked?, turn)),
        Err(_) => {
            let detail = "checking these files went wrong, which is a bug in the gateway: its log says more. Nothing was applied";
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail))
        }
    }
}

fn check(sources: &Sources, models: &Models, fleet: &Catalogue) -> Result<Checked, Problem> {
    let catalogue = Catalogue::parse_beside(sources, models, fleet);
    let catalogue = catalogue.map_err(|problems| wrong_files(&problems))?;
    let bundles = catalogue.bundles(sources, models);
    let bundles = bundles.map_err(|problem| of_bundle(&problem))?;
    let inlets = catalogue.inlets.texts().map(|text| InletText::clone(text));
    let inlets: Vec<InletText> = inlets.collect();
    if bundles.is_empty() && inlets.is_empty() {
        let detail = "there is no workflow, event type or hook among these files, and tools come with the workflows that use them: there is nothing to apply";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    Ok(Checked {
        bundles,
        warnings: catalogue.warnings().to_vec(),
        deprecated: catalogue.deprecated(),
        inlets,
    })
}

fn wrong_files(Problems(problems): &Problems) -> Problem {
    let count = match problems.len() {
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    let detail = format!(
        "the definitions have {count}, told in `problems` with file, line and column. Nothing was applied"
    );
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with("problems", json(problems))
}

fn of_bundle(problem: &BundleError) -> Problem {
    let status = match problem {
        BundleError::Wrong(problems) => return wrong_files(problems),
        BundleError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        BundleError::Value(_) | BundleError::Digest { .. } | BundleError::NotThere { .. } => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
    };
    Problem::new(status, format!("{problem}. Nothing was applied"))
}

fn of_apply(problem: ApplyError) -> Problem {
    match problem {
        ApplyError::Unreachable(problem) => away(problem),
        ApplyError::Bundle(problem) => of_bundle(&problem),
        ApplyError::Change(problem) => of_change(problem),
        ApplyError::Inlets(why) => conflict(format!("{why}. Nothing was applied")),
        ApplyError::Busy => unavailable(problem.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(files: &[(&str, &str)]) -> Result<Checked, Problem> {
        let files = files.iter();
        let files = files.map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        let models = Models::built_in().unwrap();
        check(&Sources(files.collect()), &models, &Catalogue::default())
    }

    #[test]
    fn what_is_wrong_comes_all_at_once_in_the_words_of_check() {
        let wrong = "workflow: w\nversion: 0\non: {event: a.b}\nsteps:\n  - {id: a, tool: none}\n";
        let problem = checked(&[("w.yaml", wrong)]).unwrap_err();
        assert_eq!(problem.status, 422);
        let problems: Vec<definition::Problem> =
            serde_json::from_value(problem.more["problems"].clone()).unwrap();
        let sources = Sources([("w.yaml".to_owned(), wrong.to_owned())].into());
        let told = Catalogue::parse(&sources, &Models::built_in().unwrap()).unwrap_err();
        assert_eq!(Problems(problems), told);
        assert_eq!(told.0.len(), 2);
        assert!(problem.detail.contains("2 problems"), "{}", problem.detail);
    }

    #[test]
    fn files_without_a_workflow_are_nothing_to_apply() {
        for files in [&[][..], &[("README.md", "# Words")]] {
            let problem = checked(files).unwrap_err();
            assert_eq!(problem.status, 422);
            assert!(problem.detail.contains("nothing to apply"));
        }
    }

    #[test]
    fn what_is_too_large_to_be_kept_names_its_largest_file() {
        let workflow = "workflow: w\nversion: 1\non: {event: a.b}\nsteps:\n  - {id: a, claude: {model: haiku, prompt: long.md}}\n";
        let long = "x".repeat(1_000_000);
        let checked = checked(&[("w.yaml", workflow), ("long.md", &long)]).unwrap();
        let problem = of_bundle(&checked.bundles[0].encode().unwrap_err());
        assert_eq!(problem.status, 413);
        assert!(problem.detail.contains("long.md (1000000 bytes)"));
    }
}
