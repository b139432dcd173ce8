//! Thin adapters to NATS, Redis, telemetry, HTTP and files.

pub mod ask;
pub mod batches;
pub mod blobs;
pub mod broken;
pub mod bus;
pub mod ceilings;
pub mod definitions;
pub mod http;
pub mod journal;
pub mod killpoint;
pub mod leases;
pub mod lessons;
pub mod letters;
pub mod limiter;
pub mod listener;
pub mod money;
pub mod redrives;
pub mod schedules;
pub mod store;
pub mod streams;
pub mod telemetry;
pub mod tools;
pub mod worker;
