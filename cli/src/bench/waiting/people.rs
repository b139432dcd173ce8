//! The people that runs wait for: they list what waits, page by page, and allow it, over HTTP as anybody does.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context as _, ensure};
use flotilla_common::ids::{RunId, Slot};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::client::Client;

/// Questions of a page: as many as the gateway gives.
const PAGE: usize = 100;
/// Verdicts on their way at once.
const VERDICTS: usize = 256;
/// Until the gateway has built its index from the journal.
const COMPLETE_WITHIN: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A question, as far as a verdict needs it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Question {
    pub(super) run: RunId,
    step: Slot,
    hash: String,
}

#[derive(Debug, Deserialize)]
struct Page {
    approvals: Vec<Question>,
    next: Option<String>,
    complete: bool,
}

/// Waits until the list says of itself that it is complete.
pub(super) async fn complete(client: &Client) -> anyhow::Result<()> {
    until(client, |page| page.complete.then_some(())).await
}

/// The first question, as soon as there is one in the list.
pub(super) async fn first(client: &Client) -> anyhow::Result<Question> {
    until(client, |page| page.approvals.into_iter().next()).await
}

async fn until<T>(client: &Client, wanted: impl Fn(Page) -> Option<T>) -> anyhow::Result<T> {
    let looking = async {
        loop {
            // A gateway that has just been started, or whose Redis has, may say that it cannot: then it is asked again.
            let page = page(client, 1, None).await;
            if let Some(found) = page.ok().and_then(&wanted) {
                return found;
            }
            sleep(LOOK_EVERY).await;
        }
    };
    let found = timeout(COMPLETE_WITHIN, looking).await;
    found.with_context(|| format!("what waits is not listed after {COMPLETE_WITHIN:?}"))
}

/// All that waits.
///
/// # Errors
/// When these are not so many, or one is there twice.
pub(super) async fn all(client: &Client, expected: usize) -> anyhow::Result<Vec<Question>> {
    let mut all = Vec::with_capacity(expected);
    let mut cursor = None;
    loop {
        let mut page = page(client, PAGE, cursor.as_deref()).await?;
        ensure!(page.complete, "the list is not complete any more");
        all.append(&mut page.approvals);
        ensure!(
            all.len() <= expected,
            "more than {expected} questions are listed"
        );
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let runs: HashSet<&RunId> = all.iter().map(|question| &question.run).collect();
    ensure!(
        runs.len() == expected,
        "{} of {expected} waiting runs are listed, by {} lines",
        runs.len(),
        all.len()
    );
    Ok(all)
}

async fn page(client: &Client, limit: usize, cursor: Option<&str>) -> anyhow::Result<Page> {
    let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
    let page = client.approvals(&format!("limit={limit}{cursor}")).await?;
    Ok(serde_json::from_value(page)?)
}

/// Allows one.
pub(super) async fn allow(client: &Client, question: &Question) -> anyhow::Result<()> {
    let body = json!({"step": question.step, "hash": question.hash, "by": "bench"});
    client.signal(&question.run, "approve", &body).await?;
    Ok(())
}

/// Allows all of them.
pub(super) async fn allow_all(client: &Client, questions: &[Question]) -> anyhow::Result<()> {
    stream::iter(questions)
        .map(|question| allow(client, question))
        .buffer_unordered(VERDICTS)
        .try_collect()
        .await
}
