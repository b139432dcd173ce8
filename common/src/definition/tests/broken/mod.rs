//! Broken definitions: what each message says, where it points and what it advises, to the letter.

mod adapters;
mod asking;
mod common;
mod containers;
mod options;
mod people;
mod policies;
mod references;
mod runs;
mod scopes;
mod services;
mod steps;
mod tools;
mod triggers;
mod undoing;
mod ways;
mod workflows;
