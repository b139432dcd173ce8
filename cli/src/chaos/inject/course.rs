//! How far a fault has come, so that what was made is noted, whatever comes of it, and what was not is told.

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use flotilla_common::ids::RunId;
use tokio::time::sleep;

use super::{
    super::{load::Submitter, schedule::Fault},
    Happened, now_ms,
};

/// A fault while it is made. Dropped, it is noted, if there is anything to note.
#[derive(Debug)]
pub(super) struct Course<'a> {
    happened: &'a Mutex<Vec<Happened>>,
    submitter: &'a Submitter,
    fault: &'a Fault,
    begun_ms: i64,
    is_made: AtomicBool,
    ended_ms: OnceLock<i64>,
    /// The run that was sent when it began.
    pub(super) probe: OnceLock<RunId>,
}

impl<'a> Course<'a> {
    /// It begins now.
    pub(super) fn of(
        happened: &'a Mutex<Vec<Happened>>,
        submitter: &'a Submitter,
        fault: &'a Fault,
    ) -> Self {
        Self {
            happened,
            submitter,
            fault,
            begun_ms: now_ms(),
            is_made: AtomicBool::new(false),
            ended_ms: OnceLock::new(),
            probe: OnceLock::new(),
        }
    }

    /// From now on something is broken.
    pub(super) fn is_made(&self) {
        self.is_made.store(true, Ordering::Relaxed);
    }

    /// It is broken for so long.
    pub(super) async fn lasts(&self, span: Duration) {
        self.is_made();
        sleep(span).await;
    }

    /// It is over, or it failed: before it was made, or at being ended.
    pub(super) fn over(&self, applied: &anyhow::Result<()>) {
        match applied {
            Ok(()) => self.is_made(),
            Err(error) => {
                let (kind, target) = (self.fault.kind.name(), self.fault.target);
                let failed = if self.is_made.load(Ordering::Relaxed) {
                    "was not ended"
                } else {
                    "was not made"
                };
                let problem = format!("{kind} {target} {failed}: {error:#}");
                eprintln!("{problem}");
                self.submitter.complain(problem);
            }
        }
        self.ended_ms.get_or_init(now_ms);
    }
}

impl Drop for Course<'_> {
    fn drop(&mut self) {
        if !*self.is_made.get_mut() {
            return;
        }
        let happened = self.happened.lock();
        let mut happened = happened.unwrap_or_else(PoisonError::into_inner);
        happened.push(Happened {
            kind: self.fault.kind,
            target: self.fault.target,
            begun_ms: self.begun_ms,
            ended_ms: self.ended_ms.get().copied().unwrap_or_else(now_ms),
            probe: self.probe.take(),
        });
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::{super::super::schedule::Kind, *};

    const KILL: Fault = Fault {
        at_ms: 0,
        span_ms: 0,
        kind: Kind::Kill,
        target: "planner-1",
    };

    fn submitter() -> Submitter {
        // Another test may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder();
        Submitter::new("http://localhost", http, "chaos", "1".to_owned()).unwrap()
    }

    #[test]
    fn a_fault_that_was_not_made_explains_nothing_and_is_a_problem() {
        let (happened, submitter) = (Mutex::default(), submitter());
        let course = Course::of(&happened, &submitter, &KILL);
        course.over(&Err(anyhow!("it is not there")));
        drop(course);
        assert_eq!(happened.lock().unwrap().len(), 0);
        assert_eq!(
            submitter.wrong(),
            ["kill planner-1 was not made: it is not there"]
        );
    }

    #[test]
    fn a_fault_that_was_made_is_noted_also_when_it_is_cut_off_or_cannot_be_ended() {
        let (happened, submitter) = (Mutex::default(), submitter());
        let course = || Course::of(&happened, &submitter, &KILL);
        course().over(&Ok(()));
        let cut_off = course();
        cut_off.is_made();
        drop(cut_off);
        assert_eq!(happened.lock().unwrap().len(), 2);
        assert_eq!(submitter.wrong(), Vec::<String>::new());
        let stays = course();
        stays.is_made();
        stays.over(&Err(anyhow!("it does not come back")));
        drop(stays);
        assert_eq!(happened.lock().unwrap().len(), 3);
        assert_eq!(submitter.wrong().len(), 1);
    }
}
