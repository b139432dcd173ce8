//! A process's view of the world: whatever it does takes time, before it happens and after.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::{super::*, world::World};
use crate::run::tests::script::Choices;

/// One task of a process.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) world: Rc<RefCell<World>>,
    /// Its own: one that is started again after a crash is another.
    pub(super) id: usize,
    /// Its own among all tasks.
    pub(super) task: usize,
    /// How much its clock is off, in milliseconds.
    pub(super) skew: i64,
    /// The Redis process, as last seen by this process.
    pub(super) redis: Rc<std::cell::Cell<u64>>,
}

impl Process {
    /// Does something over the network. It may crash before that arrives, and before the answer is back.
    pub(super) async fn does<T>(&self, what: impl FnOnce(&mut World) -> T) -> T {
        Pause::default().await;
        let answer = what(&mut self.world.borrow_mut());
        Pause::default().await;
        answer
    }

    /// The same for what is tried again when no answer comes, though it may have happened: now and then it happens twice.
    pub(super) async fn retries<T>(&self, what: impl Fn(&mut World) -> T) -> T {
        if self.at_once(|world| world.random.once_in(12)) {
            self.does(&what).await;
        }
        self.does(&what).await
    }

    pub(super) fn at_once<T>(&self, what: impl FnOnce(&mut World) -> T) -> T {
        what(&mut self.world.borrow_mut())
    }

    pub(super) fn notes(&self, kind: &'static str) {
        self.at_once(|world| world.ledger.seen.note(kind));
    }

    /// By its own clock.
    pub(super) fn now(&self) -> Timestamp {
        self.at_once(|world| world.at_clock(self.skew))
    }

    pub(super) async fn waits(&self, turns: usize) {
        for _ in 0..turns {
            Pause::default().await;
        }
    }
}

/// One turn of the others.
#[derive(Default)]
struct Pause(bool);

impl Future for Pause {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
