//! The definitions as this gateway knows them now, and what events start by them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use flotilla_common::{definition::Catalogue, event::Event, io::definitions::Live};
use tokio::{sync::Semaphore, time::timeout};

use crate::triggers::{NotTaken, Triggers, Verdict, WrongType};

/// How long an event of an unknown type waits: its workflow may have been applied a moment ago, and this gateway be behind.
const BEHIND_MAX: Duration = Duration::from_secs(1);
/// Events that wait so at once: a sender that is wrong again and again must not keep others waiting.
const WAITING_MAX: usize = 16;

/// What is known now. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    live: Live,
    triggers: Arc<Mutex<Arc<Triggers>>>,
    waiting: Arc<Semaphore>,
}

impl Current {
    pub(crate) fn new(live: Live) -> Self {
        let triggers = Arc::new(Triggers::new(live.current()));
        Self {
            live,
            triggers: Arc::new(Mutex::new(triggers)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }

    /// All definitions.
    pub(crate) fn catalogue(&self) -> Arc<Catalogue> {
        self.live.current()
    }

    /// A handle of its own on changes.
    pub(crate) fn changes(&self) -> Live {
        self.live.clone()
    }

    /// Which events start what. Made anew only when the definitions have changed.
    pub(crate) fn triggers(&self) -> Arc<Triggers> {
        let now = self.live.current();
        let mut made = self.triggers.lock().unwrap_or_else(PoisonError::into_inner);
        if !made.is_of(&now) {
            *made = Arc::new(Triggers::new(now));
        }
        Arc::clone(&made)
    }

    /// What this event starts.
    pub(crate) async fn judge(&self, event: &Event) -> Result<Verdict, NotTaken> {
        let judged = self.triggers().judge(event);
        let Err(NotTaken::Type(WrongType::Unknown { .. })) = &judged else {
            return judged;
        };
        let Ok(_waits) = self.waiting.try_acquire() else {
            return judged;
        };
        let mut changes = self.changes();
        let known = async {
            loop {
                let triggers = self.triggers();
                if triggers.of(&event.kind).is_ok() {
                    return triggers.judge(event);
                }
                changes.changed().await;
            }
        };
        timeout(BEHIND_MAX, known).await.unwrap_or(judged)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::triggers::tests::{catalogue, event};

    #[tokio::test(start_paused = true)]
    async fn an_unknown_type_is_told_after_a_moment_and_what_is_known_at_once() {
        let current = Current::new(Live::from(Arc::new(catalogue())));
        let begun = tokio::time::Instant::now();
        let known = event("test.other", json!({}));
        assert_eq!(current.judge(&known).await.unwrap().starts.len(), 1);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let unknown = event("test.new", json!({}));
        let refused = current.judge(&unknown).await;
        assert!(matches!(
            refused,
            Err(NotTaken::Type(WrongType::Unknown { .. }))
        ));
        assert_eq!(begun.elapsed(), BEHIND_MAX);
        // Where too many wait already, it is told at once.
        let all = u32::try_from(WAITING_MAX).unwrap();
        let _waiting = current.waiting.try_acquire_many(all).unwrap();
        assert!(current.judge(&unknown).await.is_err());
        assert_eq!(begun.elapsed(), BEHIND_MAX);
    }
}
