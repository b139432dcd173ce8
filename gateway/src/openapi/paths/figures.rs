//! Usage, statistics, the fleet.

use serde_json::{Value, json};

use crate::openapi::{
    operation::{Operation, get},
    schemas::{limit, of, text, words},
};

fn day() -> Value {
    json!({"type": "string", "format": "date", "examples": ["2026-11-21"]})
}

fn days(operation: Operation) -> Operation {
    operation.query("from", day()).query("to", day())
}

pub(super) fn all() -> Vec<Operation> {
    let by = json!({"type": "array", "items": words(&["day", "workflow", "model", "tenant"])});
    vec![
        days(get("/v1/usage", "Calls, tokens and money by day, workflow, model or tenant"))
            .about("The last 30 days unless `from` and `to` say otherwise. CSV where `format` or `Accept` says so.")
            .query("by", by)
            .query("workflow", text())
            .query("model", text())
            .query("tenant", text())
            .query("format", words(&["json", "csv"]))
            .answer(200, of("Usage"))
            .also(200, "text/csv", text()),
        days(get("/v1/usage/runs", "The dearest runs"))
            .query("top", limit(100))
            .answer(200, of("DearestRuns")),
        get("/v1/stats", "How the fleet does, by the minute, and how it stands now")
            .query("minutes", limit(1_560))
            .answer(200, of("Stats")),
        get("/v1/fleet", "Who is there, what waits for whom, what stands in the way")
            .answer(200, of("Fleet")),
    ]
}
