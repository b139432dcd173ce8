//! Broken definitions: what each message says, where it points and what it advises, to the letter.

mod adapters;
mod references;
mod steps;
mod tools;
mod workflows;
