//! The simulated Claude as its clients see it: over a socket.

#![expect(
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise, in what its tests share too"
)]

mod conversations;
mod harness;
mod ledger;
mod policies;
mod requests;
mod transport;
mod turns;
