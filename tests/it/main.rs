//! End-to-end tests: one file per promise. And the harness's own, which come first: a broken ruler measures nothing.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on stops where it is"
)]

mod approvals;
mod bad_start;
mod batch;
mod bench_cost;
mod blobs;
mod ceilings;
mod chaos;
mod claude_trouble;
mod cron;
mod dead;
mod dead_runs;
mod decisions;
mod definitions;
mod definitions_api;
mod demo;
mod desk;
mod drain;
mod duplicates;
mod effects;
mod examples;
mod executor_crash;
mod fairness;
mod flows;
mod gateway;
mod harness;
mod hostile;
mod journal;
mod language;
mod lessons;
mod limiter;
mod limiter_script;
mod many_runs;
mod memory;
mod models_wrong;
mod money;
mod money_ceilings;
mod money_items;
mod nats_restart;
mod one_slot;
mod people;
mod planner_crash;
mod planner_kills;
mod redis_flush;
mod replay;
mod sdk;
mod services;
mod signals;
mod store;
mod tools;
mod waiting;
