//! Who asks, where what they say of themselves is read: deep in handlers that all have it from a body or a query. It is set around
//! the handler of a request, and nowhere else.

use std::sync::{Arc, Mutex, PoisonError};

use flotilla_common::access::Caller;
use tokio::task_local;

task_local! {
    static ASKING: Arc<Asking>;
}

/// Who asks, and why.
#[derive(Debug)]
pub(super) struct Asking {
    /// The token's name; `None` where none is asked for.
    name: Option<String>,
    /// Why, if it was said.
    reason: Mutex<Option<String>>,
}

impl Asking {
    pub(super) fn new(caller: Option<&Caller>) -> Arc<Self> {
        let known = caller.filter(|caller| **caller != Caller::anyone());
        Arc::new(Self {
            name: known.map(|caller| caller.name.clone()),
            reason: Mutex::default(),
        })
    }

    pub(super) fn reason(&self) -> Option<String> {
        let reason = self.reason.lock();
        reason.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers a request of these.
pub(super) fn with<F: Future>(asking: &Arc<Asking>, answer: F) -> impl Future<Output = F::Output> {
    ASKING.scope(Arc::clone(asking), answer)
}

/// Who says so, for the journal: as they say, but nobody goes by a name that is not their token's without its being told.
pub(crate) fn by(said: Option<String>) -> Option<String> {
    let name = ASKING.try_with(|asking| asking.name.clone()).ok().flatten();
    match (name, said) {
        (None, said) => said,
        (Some(name), None) => Some(name),
        (Some(name), Some(said)) if said == name => Some(name),
        (Some(name), Some(said)) => Some(format!("{said} (token {name})")),
    }
}

/// Notes why, for the audit.
pub(crate) fn because(reason: Option<String>) -> Option<String> {
    // Outside of a request there is nothing to note.
    let _ = ASKING.try_with(|asking| {
        let mut noted = asking.reason.lock().unwrap_or_else(PoisonError::into_inner);
        noted.clone_from(&reason);
    });
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_goes_by_another_name_without_its_being_told() {
        let ops = Caller {
            name: "ops".to_owned(),
            id: "1".to_owned(),
            ..Caller::anyone()
        };
        let asking = Asking::new(Some(&ops));
        let said = async |text: Option<&str>| {
            let answer = async { by(text.map(str::to_owned)) };
            with(&asking, answer).await.unwrap()
        };
        assert_eq!(said(None).await, "ops");
        assert_eq!(said(Some("ops")).await, "ops");
        assert_eq!(said(Some("ana")).await, "ana (token ops)");
        let anyone = Asking::new(Some(&Caller::anyone()));
        assert_eq!(with(&anyone, async { by(None) }).await, None);
        assert_eq!(by(Some("ana".to_owned())).as_deref(), Some("ana"));
        with(&asking, async { because(Some("why".to_owned())) }).await;
        assert_eq!(asking.reason().as_deref(), Some("why"));
    }
}
