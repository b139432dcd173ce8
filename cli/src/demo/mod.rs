//! The demo: a service that is really sick, what it takes to make it so, and what restarts it.

pub mod alert;
pub mod command;
pub mod folder;
pub mod load;
pub mod pidfile;
pub mod probe;
pub mod restart;
pub mod service;
pub mod story;
pub mod supervisor;
#[cfg(test)]
mod tests;
