//! The simulated Claude as its clients see it: over a socket.

#![expect(
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise, in what its tests share too"
)]

mod batches;
mod conversations;
mod faults;
mod harness;
mod ledger;
mod limits;
mod policies;
mod proxy;
mod requests;
mod sink;
mod thinking;
mod transport;
mod turns;
mod wrong;
