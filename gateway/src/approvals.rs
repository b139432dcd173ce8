//! `GET /v1/approvals`: what waits for a person, over all runs. It is read from the states that planners saved, and from the
//! journal where there is none: a question may be there for a moment after it was answered, and what answers it is checked
//! against the journal.

use std::sync::Arc;

use axum::{Extension, Json, extract::State, http::StatusCode};
use flotilla_common::{
    access::Caller,
    definition::OnTimeout,
    entry::Action,
    ids::{Name, RunId, Slot},
    io::{http::Problem, store::Cursor},
    run::{Approval, Run, Summary},
};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::{
    history,
    list::{self, Listed},
    problem::{ask_store, unavailable},
    query::{self, Fields, Pairs},
    routes::App,
};

/// Questions per page, when the request does not say, and at most.
const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 100;
/// States being read at once.
const STATES_AT_ONCE: usize = 8;
/// Pages that are gone through for the oldest questions.
const LOOKS_MAX: usize = 5;
/// Bytes of what is asked for in one answer, as long as it has more than one question.
const BYTES_MAX: usize = 4 << 20;

/// A question to a person.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Waiting {
    pub(crate) run: RunId,
    pub(crate) workflow: Name,
    pub(crate) step: Slot,
    /// What a verdict is on.
    pub(crate) hash: String,
    /// Of an action: the tool, its version and its parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) with: Option<Value>,
    /// Of a step that is a question: what it shows.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub(crate) show: Value,
    pub(crate) since: Timestamp,
    /// When it is too late, and what is done then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) on_timeout: Option<OnTimeout>,
}

impl Waiting {
    /// What waits in a run, by step; nothing in one that has ended or is about to stop.
    pub(crate) fn of(run: &Run) -> Vec<Self> {
        let stops = run.end.is_some() || run.cancel.is_some();
        let Some(begun) = run.begun.as_ref().filter(|_| !stops) else {
            return Vec::new();
        };
        let workflow = &begun.pin.name;
        let open = run.approvals();
        open.map(|(step, approval, action)| Self::new(run, workflow, step, approval, action))
            .collect()
    }

    fn new(
        run: &Run,
        workflow: &Name,
        step: Slot,
        approval: &Approval,
        action: Option<&Action>,
    ) -> Self {
        Self {
            run: run.id.clone(),
            workflow: workflow.clone(),
            step,
            hash: approval.hash.clone(),
            tool: action.map(|action| action.tool.clone()),
            version: action.map(|action| action.version),
            with: action.map(|action| action.with.clone()),
            show: approval.show.clone(),
            since: approval.at,
            until: approval.until,
            on_timeout: approval.on_timeout,
        }
    }

    fn bytes(&self) -> usize {
        let with = self.with.as_ref().map(ToString::to_string);
        with.map_or(0, |with| with.len()) + self.show.to_string().len()
    }
}

/// What waits, of the newest run first.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Asked {
    approvals: Vec<Waiting>,
    /// `cursor` of the next page; a page may have few questions or none and yet a next one.
    next: Option<String>,
    /// False while the index is being built: there may be more.
    complete: bool,
}

/// A page of what waits.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    pairs: Pairs,
) -> Result<Json<Asked>, Problem> {
    let mut fields = Fields::read(pairs)?;
    let limit = list::limit(&mut fields, LIMIT_DEFAULT, LIMIT_MAX)?;
    let (after, workflow) = (fields.one("cursor")?, fields.one("workflow")?);
    fields.end("`limit`, `cursor`, `workflow`")?;
    let listed = list::waiting(&app, &caller, limit, after, workflow).await?;
    asked(&app, listed, limit).await.map(Json)
}

/// What waits, of the oldest question first: of the newest runs that wait, as many as one look goes through.
pub(crate) async fn oldest(app: &App, caller: &Caller) -> Result<(Vec<Waiting>, bool), Problem> {
    let mut all = Vec::new();
    let mut after = None;
    for _ in 0..LOOKS_MAX {
        let listed = list::waiting(app, caller, LIMIT_MAX, after, None).await?;
        let mut asked = asked(app, listed, LIMIT_MAX).await?;
        all.append(&mut asked.approvals);
        after = query::value("cursor", asked.next.as_deref())?;
        if after.is_none() {
            break;
        }
    }
    all.sort_by_key(|waiting| waiting.since);
    Ok((all, after.is_some()))
}

async fn asked(app: &App, listed: Listed, limit: usize) -> Result<Asked, Problem> {
    let mut asked = Asked {
        complete: listed.complete,
        ..Asked::default()
    };
    let mut bytes = 0;
    let mut last: Option<Cursor> = None;
    let reads = listed.runs.into_iter().map(|run| async move {
        let waiting = of_run(app, &run).await;
        (run, waiting)
    });
    let mut reads = stream::iter(reads).buffered(STATES_AT_ONCE);
    while let Some((run, waiting)) = reads.next().await {
        let (mut waiting, more) = fitting(waiting?, limit);
        let is_full = asked.approvals.len() + waiting.len() > limit || bytes + more > BYTES_MAX;
        if let Some(last) = last.as_ref().filter(|_| is_full) {
            asked.next = Some(last.to_string());
            return Ok(asked);
        }
        bytes += more;
        asked.approvals.append(&mut waiting);
        last = Some(Cursor::of(&run));
    }
    asked.next = listed.next;
    Ok(asked)
}

/// The first of a run's questions, as many as one page holds, and their bytes: at least one. The others follow when these are
/// answered, and the run's own page has them all.
fn fitting(mut waiting: Vec<Waiting>, limit: usize) -> (Vec<Waiting>, usize) {
    let mut bytes = 0;
    let mut count = 0;
    for one in waiting.iter().take(limit) {
        let more = one.bytes();
        if count > 0 && bytes + more > BYTES_MAX {
            break;
        }
        bytes += more;
        count += 1;
    }
    waiting.truncate(count);
    (waiting, bytes)
}

/// What waits in a run, by its saved state where that is as new as its line in the index.
async fn of_run(app: &App, line: &Summary) -> Result<Vec<Waiting>, Problem> {
    let saved = ask_store(app.store.peek(&line.id)).await?;
    if let Some(run) = saved.filter(|run| run.chain >= line.chain) {
        return Ok(Waiting::of(&run));
    }
    let slot = app.histories.acquire().await;
    let _slot = slot.map_err(|_| unavailable("the gateway shuts down"))?;
    let messages = match history::messages(app, &line.id).await {
        // Its journal was purged, and its line is still there.
        Err(problem) if problem.status == StatusCode::NOT_FOUND.as_u16() => return Ok(Vec::new()),
        read => read?,
    };
    // Nobody can answer the questions of a run whose journal is broken.
    let folded = history::fold(&line.id, &messages);
    Ok(folded.map_or_else(|_| Vec::new(), |(run, _)| Waiting::of(&run)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sample::{Journal, approve};

    #[test]
    fn a_page_holds_no_more_than_it_may_but_at_least_one_question() {
        let mut journal = Journal::start("1", 10);
        for (seq, step) in (11..).zip(["one", "two", "three"]) {
            journal.decide(seq, step, approve(step, None, None), None);
        }
        let mut waiting = Waiting::of(&journal.run);
        assert_eq!(fitting(waiting.clone(), 2).0.len(), 2);
        for one in &mut waiting {
            one.show = json!("x".repeat(BYTES_MAX / 2));
        }
        let (fit, bytes) = fitting(waiting.clone(), 100);
        assert_eq!((fit.len(), bytes), (1, BYTES_MAX / 2 + 2));
        waiting[0].show = json!("x".repeat(2 * BYTES_MAX));
        assert_eq!(fitting(waiting, 100).0.len(), 1);
    }

    #[test]
    fn nothing_waits_in_a_run_that_is_about_to_stop() {
        let mut journal = Journal::start("1", 10);
        journal.decide(11, "one", approve("ab", Some("df"), None), None);
        let [waiting] = &Waiting::of(&journal.run)[..] else {
            panic!("one question");
        };
        assert_eq!(waiting.step.to_string(), "one");
        journal.signal(12, "cancel", json!({"id": "c"}));
        assert!(Waiting::of(&journal.run).is_empty());
    }
}
