//! What a failed try leads to: the retry rules, for whoever asks.

use std::time::Duration;

use crate::claude::{CallError, ErrorKind};

/// First pause of the back-off; doubles up to [`PAUSE_MAX`], with full jitter.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Failed tries of one model before the next one is asked, where there is one. Being told to wait is no failure.
pub(crate) const TRIES_BEFORE_FALLBACK: u32 = 4;
/// Replies of one model that could not be read, for one question: each is paid.
pub(crate) const UNREADABLE_MAX: u32 = 2;
/// Rounds of one model, waits included: more is a fault somewhere.
pub(crate) const ROUNDS_MAX: u32 = 100_000;

/// How the tries of one model went so far.
#[derive(Debug)]
pub(crate) struct Course {
    tries: u32,
    unreadable: u32,
    pause: Duration,
    /// How long it stood before a breaker or a ceiling.
    pub(super) stood: Duration,
}

/// What a failed try leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Whichever model: this request will never do.
    GiveUp(String),
    /// Whichever model: a person is needed.
    Blocked(String),
    /// It has had its tries: the next model, if there is one.
    Spent(String),
    /// The next try, after this pause.
    Again(Duration),
}

impl Course {
    pub(crate) fn new() -> Self {
        Self {
            tries: 0,
            unreadable: 0,
            pause: PAUSE_MIN,
            stood: Duration::ZERO,
        }
    }

    /// What this failure leads to. `last`: no other model comes after it; `left`: of its time.
    pub(crate) fn after(&mut self, error: &CallError, last: bool, left: Duration) -> Then {
        let why = error.why.clone();
        match error.kind {
            ErrorKind::Invalid => {
                return Then::GiveUp(format!("Claude refuses the request: {why}"));
            }
            ErrorKind::Blocked => return Then::Blocked(why),
            ErrorKind::Unreadable => {
                self.unreadable += 1;
                if self.unreadable >= UNREADABLE_MAX {
                    return Then::Spent(format!(
                        "{UNREADABLE_MAX} replies could not be read: {why}"
                    ));
                }
            }
            ErrorKind::RateLimited => {}
            ErrorKind::Overloaded
            | ErrorKind::Server
            | ErrorKind::Conflict
            | ErrorKind::Timeout
            | ErrorKind::Connection => self.tries += 1,
        }
        if !last && self.tries >= TRIES_BEFORE_FALLBACK {
            return Then::Spent(why);
        }
        let jittered = self.pause.mul_f64(fastrand::f64());
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        let wait = error.after.map_or(jittered, |told| told + jittered);
        if wait >= left {
            return Then::Spent(why);
        }
        Then::Again(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claude::Billed;

    fn error(kind: ErrorKind) -> CallError {
        CallError {
            kind,
            why: "why".into(),
            request_id: None,
            after: None,
            limits: None,
            status: None,
            billed: Billed::Nothing,
        }
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_model_has_its_tries_before_the_next_and_being_told_to_wait_is_none_of_them() {
        let mut course = Course::new();
        for _ in 0..50 {
            let then = course.after(&error(ErrorKind::RateLimited), false, LONG);
            assert!(matches!(then, Then::Again(_)), "{then:?}");
        }
        for _ in 1..TRIES_BEFORE_FALLBACK {
            let then = course.after(&error(ErrorKind::Server), false, LONG);
            assert!(matches!(then, Then::Again(_)), "{then:?}");
        }
        let then = course.after(&error(ErrorKind::Server), false, LONG);
        assert_eq!(then, Then::Spent("why".into()));
        let then = course.after(&error(ErrorKind::Server), true, LONG);
        assert!(matches!(then, Then::Again(_)), "the last one goes on");
    }

    #[test]
    fn what_no_try_would_mend_is_not_tried_and_no_pause_is_longer_than_the_time() {
        let mut course = Course::new();
        let told = CallError {
            after: Some(Duration::from_secs(60)),
            ..error(ErrorKind::RateLimited)
        };
        let then = course.after(&told, true, Duration::from_secs(59));
        assert_eq!(then, Then::Spent("why".into()));
        let then = course.after(&error(ErrorKind::Blocked), true, LONG);
        assert_eq!(then, Then::Blocked("why".into()));
        let then = course.after(&error(ErrorKind::Invalid), true, LONG);
        assert!(matches!(then, Then::GiveUp(_)), "{then:?}");
    }
}
