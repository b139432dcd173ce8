//! What all roles of Flotilla share.
//!
//! The domain is pure: [`entry`], [`run`], [`definition`], [`claude`] and the small modules they stand on do no IO, read no
//! clock and draw no random numbers (a test checks what they import). [`io`] holds the thin adapters to NATS, Redis,
//! telemetry and HTTP.

pub mod access;
pub mod beat;
pub mod blob;
pub mod breaker;
pub mod claude;
pub mod dead;
pub mod definition;
pub mod depth;
pub mod entry;
pub mod event;
pub mod ids;
pub mod limit;
pub mod money;
pub mod names;
pub mod permissions;
pub mod redact;
pub mod run;
pub mod trace;
pub mod units;
pub mod unseen;
pub mod usage;

pub mod io;
