//! The ledger of what is used: rows of sums by day and by minute, from one reading of the journal in its order. What counts is what
//! [`Run::summary`](crate::run::Run::summary) counts: what decisions tell of their calls, from a run's beginning to its end. A run
//! within a run is a line of its own and no part of its parent's; an item of a batch is at the price of batches already.

mod fold;
mod histogram;
mod row;

pub use fold::{Batch, Fold, Keep, Open, Sums};
pub use histogram::{Durations, SECONDS};
pub use row::{OTHER, Row, measure};

#[cfg(test)]
mod tests;
