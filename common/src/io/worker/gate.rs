//! What holds a loop back: while its gate is closed it does not pull, and its messages wait in the stream, unharmed.

use tokio::sync::watch;

/// Whether a loop may pull. Clones look at the same one; the default one is always open.
#[derive(Debug, Clone, Default)]
pub struct Gate(Option<watch::Receiver<bool>>);

/// Closes a gate and opens it. Dropped, it leaves the gate open.
#[derive(Debug)]
pub struct Keeper(watch::Sender<bool>);

impl Keeper {
    /// Who keeps a gate, and the gate, open.
    #[must_use]
    pub fn new() -> (Self, Gate) {
        let (sender, closed) = watch::channel(false);
        (Self(sender), Gate(Some(closed)))
    }

    /// Closes the gate, or opens it. Gives whether it was otherwise before.
    pub fn close(&self, close: bool) -> bool {
        self.0
            .send_if_modified(|closed| std::mem::replace(closed, close) != close)
    }

    /// The gate.
    #[must_use]
    pub fn gate(&self) -> Gate {
        Gate(Some(self.0.subscribe()))
    }
}

impl Gate {
    /// Waits until it is open.
    pub(super) async fn opened(&self) {
        if let Some(closed) = &self.0 {
            // Whoever kept it is gone: it is open.
            let _ = closed.clone().wait_for(|closed| !closed).await;
        }
    }

    /// Waits until it is closed.
    pub(super) async fn closed(&self) {
        if let Some(closed) = &self.0
            && closed.clone().wait_for(|closed| *closed).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_gate_is_closed_and_opened_by_its_keeper_and_left_open() {
        let is_open = |gate: &Gate| {
            let open = gate.opened().now_or_never().is_some();
            assert_eq!(gate.closed().now_or_never().is_none(), open);
            open
        };
        assert!(is_open(&Gate::default()));
        let (keeper, gate) = Keeper::new();
        assert!(is_open(&gate));
        assert!(keeper.close(true) && !keeper.close(true));
        assert!(!is_open(&gate) && !is_open(&keeper.gate()));
        assert!(keeper.close(false));
        assert!(is_open(&gate));
        keeper.close(true);
        drop(keeper);
        assert!(gate.opened().now_or_never().is_some());
    }
}
