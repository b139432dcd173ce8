//! Looking at runs.

use serde_json::{Value, json};

use crate::openapi::{
    operation::{Operation, get},
    schemas::{any, dollars, limit, list, name, of, run_id, seq, slot, text},
};

const STREAM: &str = "text/event-stream";

/// A time, or how long ago.
fn when() -> Value {
    json!({"type": "string", "examples": ["2026-11-21T10:00:00Z", "24h"]})
}

fn run(path: &'static str, summary: &'static str) -> Operation {
    get(path, summary).path("id", run_id()).problems(&[404])
}

pub(super) fn all() -> Vec<Operation> {
    vec![
        get("/v1/runs", "List runs, newest first")
            .about("A run must pass every filter; `status`, `workflow` and `tool` may be repeated, and one of them must fit. `tool` is one that the run called, of its first 16. A page may have few runs or none and yet a `next` one. `q` is the beginning of an id, or a part of a workflow's name.")
            .query("status", list(of("Status")))
            .query("workflow", list(name()))
            .query("tool", list(name()))
            .query("tenant", name())
            .query("since", when())
            .query("until", when())
            .query("min_usd", dollars())
            .query("q", json!({"type": "string", "maxLength": 64}))
            .query("limit", limit(500))
            .query("cursor", text())
            .answer(200, of("RunPage")),
        get("/v1/runs/counts", "Count runs by how they stand")
            .query("tenant", name())
            .answer(200, of("RunCounts")),
        run("/v1/runs/{id}", "One run, with its journal after a sequence")
            .query("since", seq())
            .answer(200, of("RunView")),
        run("/v1/runs/{id}/live", "The entries of a run as they come")
            .about("Server-sent events: `id` is the sequence, `event` the entry's kind, `data` the same as a line of the run's journal. It goes on where `Last-Event-ID` or `since` says, and ends with the event `end`. The event `resync` says that a client was too slow, `bye` that the gateway stops: come again.")
            .query("since", seq())
            .answer_of(200, "The entries, one event each", STREAM, of("StreamEvent")),
        get("/v1/live", "The lines of runs that change")
            .about("Server-sent events: every half a second at most an event `runs` with `{\"runs\": [...], \"more\": n}`, as in the list of runs.")
            .query("topics", json!({"type": "string", "enum": ["runs"]}))
            .answer_of(200, "What changed, in one event each time", STREAM, of("StreamEvent")),
        run("/v1/runs/{id}/journal", "The journal of a run, byte for byte")
            .query("since", seq())
            .answer(200, of("RawJournal")),
        run("/v1/runs/{id}/explain/{*step}", "How a step or turn was decided")
            .path("step", slot())
            .answer(200, of("Explained")),
        run("/v1/runs/{id}/effects", "What a run was to do outside")
            .answer(200, of("Effects")),
        run("/v1/runs/{id}/blobs/{blob}", "What is too large for a run's journal")
            .path("blob", json!({"type": "string", "pattern": "^blob_[0-9a-f]{32}$"}))
            .answer_of(200, "Its bytes", "application/octet-stream", any()),
        run("/v1/runs/{id}/definition", "The texts of the definition that a run goes by")
            .problems(&[409])
            .answer(200, of("DefinitionFiles")),
        get("/v1/approvals", "What waits for a person, over all runs")
            .query("workflow", name())
            .query("limit", limit(100))
            .query("cursor", text())
            .answer(200, of("ApprovalPage")),
    ]
}
