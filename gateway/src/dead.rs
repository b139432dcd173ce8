//! `/v1/dead`: what nobody could handle, by its causes; handled again, or dropped. And what goes on behind it: runs are told of
//! their letters, and what JetStream itself gave up on becomes one.

mod advisory;
mod count;
mod event;
mod fate;
mod jobs;
mod settle;
mod view;
mod watch;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};
use flotilla_common::{
    dead::DeadLetter,
    io::{
        http::Problem,
        journal::{Journal, JournalError},
        letters::Letters,
        redrives::{Job, JobState, RedriveError, Redrives},
        streams::{StreamError, ensure_consumer},
        worker::{self, Loop},
    },
    names::{consumer, stream, subject},
};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Config, current::Current, problem::unavailable, routes::App};

/// Letters of which runs are told at once, and advisories followed up at once; each reads a run's journal at most.
const SLOTS: usize = 8;

/// The desk for dead letters. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) journal: Journal,
    pub(crate) letters: Letters,
    redrives: Redrives,
    current: Current,
    /// A new job is there.
    nudge: Arc<Notify>,
    /// What this process is called in jobs.
    worker: String,
}

impl Post {
    pub(crate) async fn open(journal: Journal, current: Current) -> Result<Self, StreamError> {
        let bus = journal.bus().clone();
        Ok(Self {
            redrives: Redrives::open(&bus).await?,
            letters: Letters::new(bus),
            journal,
            current,
            nudge: Arc::new(Notify::new()),
            worker: format!("{:016x}", fastrand::u64(..)),
        })
    }

    /// Works off jobs and counts letters until `stop`.
    pub(crate) fn work(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        let jobs = jobs::run(self.clone(), stop.clone());
        tasks.spawn(jobs);
        let counting = count::run(self.letters.clone());
        let stop = stop.clone();
        tasks.spawn(async move {
            let _ = stop.run_until_cancelled(Box::pin(counting)).await;
        });
    }

    /// Jobs of the last days, the newest first; those under way before those that are done.
    pub(crate) async fn jobs(&self) -> Result<Vec<Job>, Problem> {
        let jobs = self.redrives.jobs().await;
        let mut jobs = jobs.map_err(|e| of_redrives(&e))?;
        jobs.sort_by_key(|job| (job.state == JobState::Done, std::cmp::Reverse(job.at)));
        Ok(jobs)
    }

    /// Tells runs of their letters, and makes letters of advisories, until `stop`.
    pub(crate) async fn follow(&self, letters: Loop, advisories: Loop, stop: CancellationToken) {
        let (desk, other) = (self.clone(), self.clone());
        let on_letter = move |message| watch::handle(desk.clone(), message);
        let on_advisory = move |message| advisory::handle(other.clone(), message);
        let journal = &self.journal;
        tokio::join!(
            worker::run(letters, journal.clone(), on_letter, stop.clone()),
            worker::run(advisories, journal.clone(), on_advisory, stop),
        );
    }
}

/// How letters and advisories are pulled.
pub(crate) async fn loops(config: &Config, like: &Loop) -> Result<(Loop, Loop), StreamError> {
    let consume = async |stream, name: &str, filters| {
        let consumer = ensure_consumer(&config.bus, stream, name, filters, config.ack_wait).await?;
        Ok::<_, StreamError>(Loop {
            consumer,
            name: name.to_owned(),
            slots: SLOTS,
            ..like.clone()
        })
    };
    let all = vec![subject::ALL_DEAD.to_owned()];
    let dead = consume(stream::DEAD, consumer::DEAD, all).await?;
    let all = subject::ALL_ADVISORIES.map(ToOwned::to_owned).into();
    let advisories = consume(stream::ADVISORIES, consumer::ADVISORIES, all).await?;
    Ok((dead, advisories))
}

pub(crate) use jobs::{Begun, PER_MINUTE_MAX, begin, per_minute};
pub(crate) use view::{Group, OfCause, Shown, Waits, groups, of_cause, shown_letter};

/// The routes.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/dead", get(view::list).delete(jobs::drop_all))
        .route("/v1/dead/redrive", post(jobs::redrive_all))
        .route("/v1/dead/redrives/{id}", get(jobs::get))
        .route("/v1/dead/{seq}", get(view::one).delete(settle::delete))
        .route("/v1/dead/{seq}/redrive", post(settle::post))
}

fn of_journal(error: &JournalError) -> Problem {
    unavailable(error.to_string())
}

fn of_redrives(error: &RedriveError) -> Problem {
    unavailable(error.to_string())
}

/// As people see it: what a gateway promised is its own business.
fn shown(letter: DeadLetter) -> DeadLetter {
    DeadLetter {
        reason: flotilla_common::redact::text(&letter.reason),
        promise: None,
        ..letter
    }
}
