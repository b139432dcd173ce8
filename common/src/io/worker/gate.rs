//! What holds a loop back: while its gate is closed it does not pull, and its messages wait in the stream, unharmed.

use std::sync::Arc;

use tokio::sync::watch;

/// How many messages may be pulled.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// As many as there are slots.
    #[default]
    All,
    /// So many at once: the next comes when the handling of one before it has ended. Those pulled before this was said do not
    /// count.
    Few(u32),
    /// None.
    None,
}

/// Two may close it, each for reasons of their own.
#[derive(Debug, Default, Clone, Copy)]
struct Standing {
    /// Somebody holds the tool.
    held: bool,
    leave: Leave,
    /// Messages asked for or in work that count among the few.
    out: u32,
}

impl Standing {
    fn may_take(&self) -> bool {
        !self.held
            && match self.leave {
                Leave::All => true,
                Leave::Few(few) => self.out < few,
                Leave::None => false,
            }
    }
}

/// Whether a loop may pull. Clones look at the same one; the default one is always open.
#[derive(Debug, Clone, Default)]
pub struct Gate(Option<Arc<watch::Sender<Standing>>>);

/// Closes a gate and opens it. Dropped, it leaves the gate open.
#[derive(Debug)]
pub struct Keeper(Arc<watch::Sender<Standing>>);

impl Keeper {
    /// Who keeps a gate, and the gate, open.
    #[must_use]
    pub fn new() -> (Self, Gate) {
        let keeper = Self(Arc::new(watch::Sender::new(Standing::default())));
        let gate = keeper.gate();
        (keeper, gate)
    }

    /// Closes the gate, or opens it as far as [`Keeper::allow`] does. Gives whether it was otherwise before.
    pub fn close(&self, close: bool) -> bool {
        self.0
            .send_if_modified(|standing| std::mem::replace(&mut standing.held, close) != close)
    }

    /// Says how many messages may be pulled while the gate is not closed. Gives whether it was otherwise before.
    pub fn allow(&self, leave: Leave) -> bool {
        self.0
            .send_if_modified(|standing| std::mem::replace(&mut standing.leave, leave) != leave)
    }

    /// The gate.
    #[must_use]
    pub fn gate(&self) -> Gate {
        Gate(Some(Arc::clone(&self.0)))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.send_modify(|standing| {
            standing.held = false;
            standing.leave = Leave::All;
        });
    }
}

/// Leave for one pull request, and then for the message that it brought.
#[derive(Debug)]
pub(super) struct Pass {
    /// Where it counts among the few.
    counted: Option<Arc<watch::Sender<Standing>>>,
}

impl Pass {
    /// Whether it is for one message only.
    pub(super) fn is_for_one(&self) -> bool {
        self.counted.is_some()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(gate) = &self.counted {
            gate.send_modify(|standing| standing.out = standing.out.saturating_sub(1));
        }
    }
}

impl Gate {
    /// Waits until something may be pulled, and takes the leave for it.
    pub(super) async fn pass(&self) -> Pass {
        let Some(gate) = &self.0 else {
            return Pass { counted: None };
        };
        let mut changes = gate.subscribe();
        loop {
            // It is there for as long as this gate is.
            let _ = changes.wait_for(Standing::may_take).await;
            let (mut taken, mut counted) = (false, false);
            gate.send_if_modified(|standing| {
                taken = standing.may_take();
                counted = taken && matches!(standing.leave, Leave::Few(_));
                standing.out += u32::from(counted);
                counted
            });
            if taken {
                let counted = counted.then(|| Arc::clone(gate));
                return Pass { counted };
            }
        }
    }

    /// Waits until a request that was sent by this leave must end.
    pub(super) async fn over(&self, pass: &Pass) {
        if let Some(gate) = &self.0 {
            let few = pass.is_for_one();
            let mut changes = gate.subscribe();
            let is_over = |standing: &Standing| {
                standing.held
                    || match standing.leave {
                        Leave::All => few,
                        Leave::Few(_) => !few,
                        Leave::None => true,
                    }
            };
            if changes.wait_for(is_over).await.is_ok() {
                return;
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn is_open(gate: &Gate) -> bool {
        gate.pass().now_or_never().is_some()
    }

    #[test]
    fn a_gate_is_closed_and_opened_by_its_keeper_and_left_open() {
        assert!(is_open(&Gate::default()));
        let (keeper, gate) = Keeper::new();
        let pass = gate.pass().now_or_never().expect("it is open");
        let is_over = || gate.over(&pass).now_or_never().is_some();
        assert!(is_open(&gate) && !is_over());
        assert!(keeper.close(true) && !keeper.close(true));
        assert!(!is_open(&gate) && !is_open(&keeper.gate()) && is_over());
        assert!(keeper.close(false));
        assert!(is_open(&gate) && !is_over());
        keeper.close(true);
        drop(keeper);
        assert!(is_open(&gate));
    }

    #[test]
    fn who_holds_a_tool_and_its_breaker_close_it_independently() {
        let (keeper, gate) = Keeper::new();
        assert!(keeper.allow(Leave::None) && !keeper.allow(Leave::None));
        keeper.close(true);
        keeper.allow(Leave::All);
        assert!(!is_open(&gate));
        keeper.close(false);
        assert!(is_open(&gate));
        keeper.allow(Leave::None);
        assert!(!is_open(&gate));
    }

    #[test]
    fn only_few_pass_until_one_of_them_is_done() {
        let (keeper, gate) = Keeper::new();
        let before = gate.pass().now_or_never().expect("all may");
        keeper.allow(Leave::Few(1));
        assert!(gate.over(&before).now_or_never().is_some());
        let one = gate.pass().now_or_never().expect("one may");
        assert!(one.is_for_one() && !before.is_for_one() && !is_open(&gate));
        // Said again, it is no leave for another.
        keeper.allow(Leave::None);
        keeper.allow(Leave::Few(1));
        assert!(!is_open(&gate));
        drop(one);
        assert!(is_open(&gate));
        let one = gate.pass().now_or_never().expect("the next may");
        keeper.allow(Leave::All);
        assert!(is_open(&gate) && gate.over(&one).now_or_never().is_some());
    }
}
