//! The people that runs wait for: who allows, refuses or changes what is asked for, and who raises a ceiling. Each keeps a list of
//! what was said, because the fleet's own word proves nothing.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flotilla_common::{entry::ParkedBy, ids::RunId, io::ceilings::Payer};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;

use super::load::Workload;
use crate::{client::Client, waiting::Waiting};

const LOOK_EVERY: Duration = Duration::from_millis(400);
/// What a workflow may spend in a day once a person has raised that, in dollars.
pub(super) const DAY_RAISED_USD: f64 = 50.0;
/// How a parked run says that its own ceiling is in the way, and not its workflow's for the day.
const OF_THE_RUN: &str = "`limits.usd` ";
/// A run that is parked for so long after its ceiling was raised is told again.
const RAISED_AGAIN_MS: i64 = 4_000;
/// What the runs that pass their ceiling may spend in all, once a person has raised it: as the definition's, in dollars.
pub(super) const RAISED_USD: f64 = 0.02;

/// What a person says to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Approve,
    Reject,
    /// Allowed with another amount.
    Modify,
}

impl Verdict {
    /// The same run always gets the same verdict.
    fn of(run: &RunId) -> Self {
        match run.as_str().bytes().last() {
            Some(b'0'..=b'4') => Self::Reject,
            Some(b'5'..=b'9') => Self::Modify,
            Some(_) | None => Self::Approve,
        }
    }

    /// What may be paid then.
    pub(super) fn amount(self) -> Option<u64> {
        match self {
            Self::Approve => Some(1),
            Self::Modify => Some(2),
            Self::Reject => None,
        }
    }

    fn opposite(self) -> Self {
        match self {
            Self::Approve | Self::Modify => Self::Reject,
            Self::Reject => Self::Approve,
        }
    }
}

/// What was said, and when it was sent first (Unix milliseconds).
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    pub(super) verdict: Verdict,
    pub(super) sent_ms: i64,
}

/// Everything that was said.
#[derive(Debug, Default, Clone)]
pub(super) struct Lists {
    pub(super) verdicts: BTreeMap<RunId, Said>,
    /// Of runs whose ceiling was raised: when that was sent first.
    pub(super) raised: BTreeMap<RunId, i64>,
    /// When the ceiling of the day was raised first.
    pub(super) day_raised_ms: Option<i64>,
    /// Runs of which the gateway took a second, other verdict.
    pub(super) overruled: Vec<RunId>,
}

/// Both of them.
#[derive(Debug)]
pub(super) struct People {
    client: Client,
    /// What the kit's definitions are named by: others' questions are not theirs.
    kit: String,
    lists: Mutex<Lists>,
}

#[derive(Deserialize)]
struct Page {
    approvals: Vec<Waiting>,
}

impl People {
    pub(super) fn new(client: Client, kit: &str) -> Self {
        Self {
            client,
            kit: kit.to_owned(),
            lists: Mutex::default(),
        }
    }

    /// Everything that was said so far.
    pub(super) fn lists(&self) -> Lists {
        self.noted().clone()
    }

    fn noted(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers what is asked, until it is dropped.
    pub(super) async fn work(&self) {
        loop {
            // What fails now is there again at the next look.
            drop(self.judge_all().await);
            drop(self.raise_all().await);
            sleep(LOOK_EVERY).await;
        }
    }

    async fn judge_all(&self) -> anyhow::Result<()> {
        let own = Workload::Approval.workflow(&self.kit);
        let query = format!("limit=100&workflow={own}");
        let page = self.client.approvals(&query).await?;
        let page: Page = serde_json::from_value(page)?;
        let questions = page.approvals.into_iter();
        for question in questions.filter(|question| question.workflow.as_str() == own) {
            let verdict = Verdict::of(&question.run);
            let first = !self.noted().verdicts.contains_key(&question.run);
            if first {
                let said = Said {
                    verdict,
                    sent_ms: Timestamp::now().as_millisecond(),
                };
                self.noted().verdicts.insert(question.run.clone(), said);
            }
            self.judge(&question, verdict).await?;
            // Who clicks once more, on something else, must be told that it is too late.
            if self.judge(&question, verdict.opposite()).await.is_ok() {
                self.noted().overruled.push(question.run.clone());
            }
        }
        Ok(())
    }

    async fn judge(&self, question: &Waiting, verdict: Verdict) -> anyhow::Result<()> {
        let mut body = json!({"step": question.step, "hash": question.hash, "by": "chaos"});
        let signal = match verdict {
            Verdict::Approve => "approve",
            Verdict::Modify => {
                body["with"] = json!({"amount": 2});
                "approve"
            }
            Verdict::Reject => {
                body["reason"] = json!("not today");
                "reject"
            }
        };
        self.client.signal(&question.run, signal, &body).await?;
        Ok(())
    }

    async fn raise_all(&self) -> anyhow::Result<()> {
        let workflow = Workload::Ceiling.workflow(&self.kit);
        let query = format!("status=parked&workflow={workflow}&limit=100");
        for run in self.client.runs(&query).await?.runs {
            let by_ceiling = run.parked_by == Some(ParkedBy::Ceiling);
            if !by_ceiling {
                continue;
            }
            let now = Timestamp::now().as_millisecond();
            let own = run.reason.as_deref().unwrap_or_default();
            if !own.contains(OF_THE_RUN) {
                self.noted().day_raised_ms.get_or_insert(now);
                let body = json!({"usd": DAY_RAISED_USD, "by": "chaos"});
                let name = workflow.parse()?;
                self.client
                    .set_ceiling(Payer::Workflow, &name, &body)
                    .await?;
                continue;
            }
            let first = *self.noted().raised.entry(run.id.clone()).or_insert(now);
            // Whoever sees it parked still says it once more after a while.
            let times = now.saturating_sub(first) / RAISED_AGAIN_MS;
            let body = json!({"usd": RAISED_USD, "by": "chaos", "id": format!("raised-{times}")});
            self.client.signal(&run.id, "raise", &body).await?;
        }
        Ok(())
    }
}
