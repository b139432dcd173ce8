//! Letters of one cause, redriven or dropped one after the other in the background, at a rate. A job is kept with how far it came:
//! when its gateway is gone, another one goes on with it. A letter that was settled is not there any more, and one in the middle of it
//! is settled again without harm.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json,
    body::Body,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode},
};
use flotilla_common::{
    io::{
        clock,
        http::Problem,
        redrives::{Action, Because, Job, JobState, RedriveError},
    },
    units::Rate,
};
use jiff::SignedDuration;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Post, of_redrives,
    settle::{Why, because, count},
    view::checked,
};
use crate::{
    fields::{BODY_BYTES_MAX, Fields, NAME_LENGTH_MAX, wrong},
    problem::{ask_journal, bad_request, unavailable},
    query,
    routes::App,
};

/// Letters a minute, when the request does not say: 50 a second.
const PER_MINUTE_DEFAULT: u32 = 3_000;
/// 1,000 a second: as much as one gateway can do, or more.
pub(crate) const PER_MINUTE_MAX: u32 = 60_000;
/// Jobs under way at once.
const JOBS_MAX: usize = 32;
/// How often a gateway looks for jobs that nobody works on.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Whoever works on a job is heard of that often; who was not for a while is taken for gone.
const KEEP_EVERY: Duration = Duration::from_secs(1);
const GONE_AFTER: SignedDuration = SignedDuration::from_secs(10);
/// How often a letter is tried while NATS does not answer, and the pause between: longer than a restart takes.
const TRIES_MAX: usize = 60;
const FAILED_PAUSE: Duration = Duration::from_secs(1);

/// Begins to redrive all letters of a cause.
pub(super) async fn redrive_all(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Job>), Problem> {
    let mut fields = Fields::read(&headers, body, BODY_BYTES_MAX).await?;
    let print = fields.text("fingerprint", NAME_LENGTH_MAX)?;
    let print = print.ok_or_else(|| wrong("fingerprint", "is missing"))?;
    let rate = fields.text("rate", NAME_LENGTH_MAX)?;
    let per_minute = rate.as_deref().map_or(Ok(PER_MINUTE_DEFAULT), per_minute)?;
    let because = because(&mut fields)?;
    fields.end(r#"{"fingerprint", "rate"?, "by"?, "reason"?}"#)?;
    let begun = begin(&app.post, print, Action::Redrive, per_minute, because).await?;
    Ok(told(begun))
}

/// Begins to drop all letters of a cause.
pub(super) async fn drop_all(
    State(app): State<Arc<App>>,
    why: Result<Query<Why>, QueryRejection>,
) -> Result<(StatusCode, Json<Job>), Problem> {
    let why = query::fields(why)?;
    let because = why.because()?;
    let print = why
        .fingerprint
        .ok_or_else(|| bad_request("`fingerprint` is missing"))?;
    let begun = begin(&app.post, print, Action::Drop, PER_MINUTE_MAX, because).await?;
    Ok(told(begun))
}

fn told(begun: Begun) -> (StatusCode, Json<Job>) {
    match begun {
        Begun::Now(job) => (StatusCode::ACCEPTED, Json(job)),
        Begun::Before(job) => (StatusCode::OK, Json(job)),
    }
}

/// How far a job came.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Job>, Problem> {
    let Path(id) = id.map_err(|rejection| bad_request(rejection.body_text()))?;
    let none = || Problem::new(StatusCode::NOT_FOUND, "there is no such redrive");
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(none());
    }
    let job = app.post.redrives.job(&id).await;
    let (job, _) = job.map_err(|e| of_redrives(&e))?.ok_or_else(none)?;
    Ok(Json(job))
}

/// Letters a minute, from what people write: `50/s`.
pub(crate) fn per_minute(rate: &str) -> Result<u32, Problem> {
    let most = PER_MINUTE_MAX / 60;
    let bounds = || {
        wrong(
            "rate",
            &format!("must be from 1/m to {most}/s, such as 50/s"),
        )
    };
    let rate: Rate = rate.parse().map_err(|_| bounds())?;
    let seconds = u32::try_from(rate.per.as_secs()).map_err(|_| bounds())?;
    let per_minute = rate.count.get().checked_mul(60).map(|n| n / seconds.max(1));
    per_minute
        .filter(|n| (1..=PER_MINUTE_MAX).contains(n))
        .ok_or_else(bounds)
}

/// A job that settles letters of a cause.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It is new.
    Now(Job),
    /// The same was under way already.
    Before(Job),
}

/// Begins to settle all letters of a cause, so many a minute.
pub(crate) async fn begin(
    post: &Post,
    fingerprint: String,
    action: Action,
    per_minute: u32,
    because: Because,
) -> Result<Begun, Problem> {
    let fingerprint = checked(fingerprint)?;
    let running = post.redrives.running().await.map_err(|e| of_redrives(&e))?;
    let same = |job: &Job| job.fingerprint == fingerprint && job.action == action;
    if let Some((job, _)) = running.iter().find(|(job, _)| same(job)) {
        return Ok(Begun::Before(job.clone()));
    }
    if running.len() >= JOBS_MAX {
        return Err(unavailable(
            "too many redrives are under way; wait for some to end",
        ));
    }
    let looked = ask_journal(post.letters.look(0)).await?;
    let its = looked.letters.iter();
    let its: Vec<u64> = its
        .filter(|letter| letter.fingerprint == fingerprint)
        .map(|letter| letter.seq)
        .collect();
    let Some(upto) = its.last() else {
        let detail = format!("there are no dead letters of {fingerprint}");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    let now = clock::now();
    let job = Job {
        id: format!("{:016x}", fastrand::u64(..)),
        action,
        fingerprint,
        per_minute,
        because,
        state: JobState::Running,
        at: now,
        seen: now,
        worker: None,
        upto: *upto,
        through: 0,
        total: u64::try_from(its.len()).unwrap_or(u64::MAX),
        done: 0,
        refused: 0,
        problem: None,
    };
    post.redrives
        .keep(&job, 0)
        .await
        .map_err(|e| of_redrives(&e))?;
    post.nudge.notify_one();
    Ok(Begun::Now(job))
}

/// Looks for jobs that nobody works on, and works on them, until `stop`.
pub(super) async fn run(post: Post, stop: CancellationToken) {
    let mut tasks = JoinSet::new();
    let mine = Arc::new(Mutex::new(HashSet::new()));
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = post.nudge.notified() => {}
            () = sleep(LOOK_EVERY) => {}
        }
        while tasks.try_join_next().is_some() {}
        let running = match post.redrives.running().await {
            Ok(running) => running,
            Err(problem) => {
                warn!(%problem, "nobody knows now which dead letters are to be redriven");
                continue;
            }
        };
        for (job, revision) in running {
            let id = job.id.clone();
            if !is_free(&job) || !locked(&mine).insert(id.clone()) {
                continue;
            }
            let (post, mine, stop) = (post.clone(), Arc::clone(&mine), stop.clone());
            tasks.spawn(async move {
                let work = Box::pin(work(&post, job, revision));
                if let Some(Err(problem)) = stop.run_until_cancelled(work).await {
                    warn!(id, %problem, "a redrive goes on later, or elsewhere");
                }
                locked(&mine).remove(&id);
            });
        }
    }
    // What is in the middle of a letter settles it again, wherever it goes on.
    tasks.shutdown().await;
}

fn locked(set: &Mutex<HashSet<String>>) -> std::sync::MutexGuard<'_, HashSet<String>> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether nobody works on it, or who did has not been heard of.
fn is_free(job: &Job) -> bool {
    job.worker.is_none() || clock::now().duration_since(job.seen) > GONE_AFTER
}

/// A job in work, and when it was kept last.
struct Working<'p> {
    post: &'p Post,
    job: Job,
    revision: u64,
    kept: Instant,
}

async fn work(post: &Post, mut job: Job, revision: u64) -> Result<(), RedriveError> {
    job.worker = Some(post.worker.clone());
    let mut working = Working {
        post,
        job,
        revision,
        kept: Instant::now(),
    };
    // Whoever keeps it first has it.
    working.keep().await?;
    let mut pace = interval(Duration::from_secs(60) / working.job.per_minute.max(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (letters, complete) = working.left().await?;
        for seq in letters {
            // A slow one is heard of between its letters, too.
            while tokio::time::timeout(KEEP_EVERY, pace.tick()).await.is_err() {
                working.keep().await?;
            }
            working.settle(seq).await?;
        }
        if complete {
            break;
        }
    }
    working.job.state = JobState::Done;
    working.keep().await?;
    let Job {
        id,
        done,
        refused,
        total,
        ..
    } = &working.job;
    info!(id, done, refused, total, action = %working.job.action, "dead letters are settled");
    Ok(())
}

impl Working<'_> {
    async fn keep(&mut self) -> Result<(), RedriveError> {
        self.job.seen = clock::now();
        self.revision = self.post.redrives.keep(&self.job, self.revision).await?;
        self.kept = Instant::now();
        Ok(())
    }

    /// Its letters that nobody has looked at, and whether there are no more of them.
    async fn left(&mut self) -> Result<(Vec<u64>, bool), RedriveError> {
        let looked = self.post.letters.look(self.job.through).await;
        let looked = looked.map_err(|e| RedriveError::Unreachable(e.to_string()))?;
        let last = looked.letters.last().map_or(0, |letter| letter.seq);
        let complete = looked.complete || last >= self.job.upto;
        let its = looked.letters.iter().filter(|letter| {
            letter.fingerprint == self.job.fingerprint && letter.seq <= self.job.upto
        });
        let its: Vec<u64> = its.map(|letter| letter.seq).collect();
        if complete {
            // What somebody settled and died before it was kept is not there any more.
            let left = u64::try_from(its.len()).unwrap_or(u64::MAX);
            let Job { total, refused, .. } = self.job;
            self.job.done = total.saturating_sub(refused).saturating_sub(left);
        } else if its.is_empty() {
            self.job.through = last;
        }
        Ok((its, complete))
    }

    async fn settle(&mut self, seq: u64) -> Result<(), RedriveError> {
        let (post, because) = (self.post, self.job.because.clone());
        for attempt in 1.. {
            let settled = match self.job.action {
                Action::Redrive => post.redrive(seq, None, because.clone()).await,
                Action::Drop => post.drop_letter(seq, because.clone()).await,
            };
            match settled {
                Ok(_) => self.job.done += 1,
                // Somebody was quicker, or the letter cannot be settled: it stays for people.
                Err(problem) if problem.status < 500 => self.refuse(seq, problem).await?,
                Err(problem) if attempt >= TRIES_MAX => {
                    return Err(RedriveError::Unreachable(problem.detail));
                }
                Err(_) => {
                    sleep(FAILED_PAUSE).await;
                    self.keep().await?;
                    continue;
                }
            }
            break;
        }
        self.job.through = seq;
        if self.kept.elapsed() >= KEEP_EVERY {
            self.keep().await?;
        }
        Ok(())
    }

    async fn refuse(&mut self, seq: u64, problem: Problem) -> Result<(), RedriveError> {
        let there = self.post.letters.get(seq).await;
        let there = there.map_err(|e| RedriveError::Unreachable(e.to_string()))?;
        if there.is_none() {
            self.job.done += 1;
            return Ok(());
        }
        self.job.refused += 1;
        self.job.problem = Some(problem.detail);
        count("refused");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_from_one_a_minute_to_a_thousand_a_second() {
        let read = |text| per_minute(text).map_err(|problem| problem.status);
        assert_eq!(read("50/s"), Ok(3_000));
        assert_eq!(read("1000/s"), Ok(PER_MINUTE_MAX));
        assert_eq!(read("120/h"), Ok(2));
        for wrong in ["", "50", "0/s", "1001/s", "59/h", "4294967295/s"] {
            assert_eq!(read(wrong), Err(400), "{wrong}");
        }
    }
}
