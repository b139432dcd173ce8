//! What people tell runs.

use serde_json::{Value, json};

use crate::openapi::{
    operation::{Operation, post},
    schemas::{any, body, dollars, flag, line, name, of, run_id, slot, version, words},
};

/// Longest text to an agent, or about a run.
fn prose() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 4096})
}

/// What every signal can say.
fn signal(
    path: &'static str,
    summary: &'static str,
    required: Value,
    mut optional: Value,
) -> Operation {
    let id =
        json!({"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[\\x20-\\x7e]+$"});
    optional["id"] = id;
    for (said, length_max) in [("by", 128), ("reason", 1_000)] {
        if required.get(said).is_none() {
            optional[said] = line(length_max);
        }
    }
    post(path, summary)
        .path("id", run_id())
        .body(body(required, optional))
        .answer(202, of("Sent"))
        .problems(&[404, 409])
}

pub(super) fn all() -> Vec<Operation> {
    let mut all = vec![
        signal(
            "/v1/runs/{id}/cancel",
            "Stop a run",
            json!({}),
            json!({"compensate": flag()}),
        ),
        signal(
            "/v1/runs/{id}/pause",
            "Make a run begin nothing new",
            json!({}),
            json!({}),
        ),
        signal(
            "/v1/runs/{id}/resume",
            "Make a paused run go on, a parked one look again",
            json!({}),
            json!({}),
        ),
        signal(
            "/v1/runs/{id}/raise",
            "Set what a run, or a step of it, may spend",
            json!({"usd": dollars()}),
            json!({"step": name()}),
        ),
        signal(
            "/v1/runs/{id}/retry",
            "Begin a run anew from one of its steps",
            json!({"step": name()}),
            json!({}),
        ),
        signal(
            "/v1/runs/{id}/message",
            "Tell the agents of a run something",
            json!({"text": prose()}),
            json!({"step": name()}),
        ),
        signal(
            "/v1/runs/{id}/feedback",
            "Say what you think of a run, for later ones",
            json!({"text": prose()}),
            json!({"verdict": words(&["good", "bad"])}),
        ),
    ];
    let hash = || line(64);
    let about = "The first verdict on a question stands. `hash` is what was seen: without it, the verdict is on whatever waits at the step.";
    all.push(
        signal(
            "/v1/runs/{id}/approve",
            "Allow what waits, as it is or with other parameters",
            json!({"step": slot()}),
            json!({"hash": hash(), "with": any()}),
        )
        .about(about)
        .problems(&[422]),
    );
    all.push(
        signal(
            "/v1/runs/{id}/reject",
            "Refuse what waits",
            json!({"step": slot(), "reason": line(1_000)}),
            json!({"hash": hash()}),
        )
        .about(about),
    );
    let fork = body(
        json!({"step": name()}),
        json!({"with": any(), "version": version(), "reason": line(1_000), "by": line(128), "id": line(128)}),
    );
    all.push(
        post(
            "/v1/runs/{id}/fork",
            "Begin a new run from the state of another",
        )
        .path("id", run_id())
        .body(fork)
        .answer(202, of("Fork"))
        .problems(&[404, 409, 422]),
    );
    all
}
