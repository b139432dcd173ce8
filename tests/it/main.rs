//! End-to-end tests: one file per promise. And the harness's own, which come first: a broken ruler measures nothing.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on stops where it is"
)]

mod access;
mod approvals;
mod backup;
mod bad_start;
mod batch;
mod bench_cost;
mod blobs;
mod ceilings;
mod chaos;
mod claude_trouble;
mod cli;
mod console;
mod console_pages;
mod cron;
mod dashboards;
mod dead;
mod dead_runs;
mod decisions;
mod definitions;
mod definitions_api;
mod demo;
mod deployed;
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
mod hooks;
mod hostile;
mod ingest;
mod journal;
mod language;
mod lessons;
mod limiter;
mod limiter_script;
mod live;
mod many_runs;
mod memory;
mod models_wrong;
mod money;
mod money_ceilings;
mod money_items;
mod nats_restart;
mod one_slot;
mod openapi;
mod people;
mod permissions;
mod planner_crash;
mod planner_kills;
mod redis_flush;
mod replay;
mod runs_list;
mod runs_within;
mod sdk;
mod services;
mod signals;
mod slow_clients;
mod store;
mod telemetry;
mod tools;
mod usage;
mod waiting;
mod watch;
