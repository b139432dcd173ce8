//! What a test can change while the server runs: its latency, a failure, and holding all replies.

use serde::{Deserialize, Deserializer, Serialize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

use crate::error::{ApiError, kind_of};

/// The body of `PUT /control`. What is absent stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    latency_ms: Option<u64>,
    /// `null` ends a failure.
    #[serde(default, deserialize_with = "present")]
    fail: Option<Option<Failure>>,
    hang: Option<bool>,
}

/// What calls are answered with instead of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    status: u16,
    #[serde(rename = "type")]
    kind: Option<String>,
    message: Option<String>,
    details: Option<Box<serde_json::Value>>,
    /// Seconds.
    retry_after: Option<f64>,
    /// Calls that still fail; absent: all, until told otherwise.
    count: Option<u64>,
}

/// `GET /control`.
#[derive(Debug, Serialize)]
pub(crate) struct Settings {
    latency_ms: u64,
    fail: Option<Failure>,
    hang: bool,
}

/// The settings in force.
#[derive(Debug)]
pub(crate) struct Control {
    now: Mutex<(Duration, Option<Failure>)>,
    hang: watch::Sender<bool>,
}

fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<Failure>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Control {
    pub(crate) fn new(latency: Duration) -> Self {
        Self {
            now: Mutex::new((latency, None)),
            hang: watch::Sender::new(false),
        }
    }

    /// Applies a change.
    ///
    /// # Errors
    /// 400 for a status that is no error; then nothing is changed.
    pub(crate) fn change(&self, change: Change) -> Result<(), ApiError> {
        let wrong = |failure: &Failure| !(400..=599).contains(&failure.status);
        if change.fail.iter().flatten().any(wrong) {
            return Err(ApiError::invalid(
                "fail.status: Input should be between 400 and 599",
            ));
        }
        let mut now = self.now();
        if let Some(latency_ms) = change.latency_ms {
            now.0 = Duration::from_millis(latency_ms);
        }
        if let Some(fail) = change.fail {
            now.1 = fail;
        }
        drop(now);
        if let Some(hang) = change.hang {
            self.hang.send_replace(hang);
        }
        Ok(())
    }

    pub(crate) fn settings(&self) -> Settings {
        let now = self.now();
        let latency_ms = u64::try_from(now.0.as_millis()).unwrap_or(u64::MAX);
        Settings {
            latency_ms,
            fail: now.1.clone(),
            hang: *self.hang.borrow(),
        }
    }

    pub(crate) fn latency(&self) -> Duration {
        self.now().0
    }

    /// The failure that the next call gets; counts it.
    pub(crate) fn take_failure(&self) -> Option<ApiError> {
        let mut now = self.now();
        let failure = now.1.as_mut()?;
        let error = ApiError {
            status: failure.status,
            kind: failure
                .kind
                .clone()
                .unwrap_or_else(|| kind_of(failure.status).to_owned()),
            message: failure
                .message
                .clone()
                .unwrap_or_else(|| "asked for by PUT /control".to_owned()),
            details: failure.details.clone(),
            retry_after: failure.retry_after,
        };
        match &mut failure.count {
            None => Some(error),
            Some(0) => {
                now.1 = None;
                None
            }
            Some(1) => {
                now.1 = None;
                Some(error)
            }
            Some(count) => {
                *count -= 1;
                Some(error)
            }
        }
    }

    /// Waits for as long as replies are held.
    pub(crate) async fn held(&self) {
        let mut hang = self.hang.subscribe();
        // It only fails when the sender is gone, and `self` holds it.
        let _ = hang.wait_for(|hang| !hang).await;
    }

    fn now(&self) -> MutexGuard<'_, (Duration, Option<Failure>)> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn put(control: &Control, change: serde_json::Value) {
        control
            .change(serde_json::from_value(change).unwrap())
            .unwrap();
    }

    #[test]
    fn a_counted_failure_ends_by_itself() {
        let control = Control::new(Duration::ZERO);
        put(&control, json!({"fail": {"status": 529, "count": 2}}));
        assert_eq!(control.take_failure().unwrap().kind, "overloaded_error");
        put(&control, json!({"latency_ms": 5}));
        assert!(
            control.take_failure().is_some(),
            "another change leaves it alone"
        );
        assert!(control.take_failure().is_none());
    }

    #[test]
    fn an_uncounted_failure_lasts_until_it_is_set_to_null() {
        let control = Control::new(Duration::ZERO);
        put(&control, json!({"fail": {"status": 429, "retry_after": 1}}));
        assert!((0..5).all(|_| control.take_failure().is_some()));
        put(&control, json!({"fail": null}));
        assert!(control.take_failure().is_none());
    }

    #[test]
    fn a_wrong_change_changes_nothing() {
        let control = Control::new(Duration::ZERO);
        let change =
            serde_json::from_value(json!({"latency_ms": 9, "fail": {"status": 200}})).unwrap();
        assert!(control.change(change).is_err());
        assert_eq!(control.latency(), Duration::ZERO);
    }
}
