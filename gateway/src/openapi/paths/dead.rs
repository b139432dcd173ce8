//! Dead letters.

use serde_json::{Value, json};

use super::definitions::said;
use crate::openapi::{
    operation::{Operation, delete, get, post},
    schemas::{any, fingerprint, limit, line, of, seq, text},
};

/// 1/m to 1000/s.
fn rate() -> Value {
    json!({"type": "string", "examples": ["50/s"], "maxLength": 128})
}

fn why(operation: Operation) -> Operation {
    operation
        .query("by", line(128))
        .query("reason", line(1_000))
}

pub(super) fn all() -> Vec<Operation> {
    vec![
        get(
            "/v1/dead",
            "List dead letters by cause, or those of one cause",
        )
        .query("fingerprint", fingerprint())
        .query("limit", limit(500))
        .query("cursor", seq())
        .answer(200, of("DeadList")),
        why(delete("/v1/dead", "Drop all letters of a cause"))
            .about("`fingerprint` must be there.")
            .query("fingerprint", fingerprint())
            .answer(200, of("DeadJob"))
            .answer(202, of("DeadJob"))
            .problems(&[404]),
        post("/v1/dead/redrive", "Handle all letters of a cause again")
            .body(said(
                json!({"fingerprint": fingerprint()}),
                json!({"rate": rate()}),
            ))
            .answer(200, of("DeadJob"))
            .answer(202, of("DeadJob"))
            .problems(&[404]),
        get("/v1/dead/redrives/{id}", "How far a job came")
            .path("id", text())
            .answer(200, of("DeadJob"))
            .problems(&[404]),
        get("/v1/dead/{seq}", "One letter")
            .path("seq", seq())
            .answer(200, of("DeadLetterShown"))
            .problems(&[404, 409]),
        why(delete("/v1/dead/{seq}", "Drop one letter"))
            .path("seq", seq())
            .answer(200, of("SettledLetter"))
            .problems(&[404, 409]),
        post("/v1/dead/{seq}/redrive", "Handle one letter again")
            .path("seq", seq())
            .body(said(json!({}), json!({"payload": any()})))
            .answer(202, of("SettledLetter"))
            .problems(&[404, 409, 413, 422]),
    ]
}
