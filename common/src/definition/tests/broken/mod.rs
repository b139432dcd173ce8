//! Broken definitions: what each message says, where it points and what it advises, to the letter.

mod adapters;
mod common;
mod containers;
mod people;
mod references;
mod runs;
mod scopes;
mod steps;
mod tools;
mod triggers;
mod undoing;
mod ways;
mod workflows;
