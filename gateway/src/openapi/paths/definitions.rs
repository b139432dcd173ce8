//! Workflows.

use serde_json::{Value, json};

use crate::openapi::{
    operation::{Operation, delete, get, post, put},
    schemas::{body, flag, line, name, of, text, version, words},
};

/// Who makes a change, and why, besides what it is.
pub(super) fn said(required: Value, mut optional: Value) -> Value {
    (optional["by"], optional["reason"]) = (line(128), line(1_000));
    body(required, optional)
}

fn changes(operation: Operation, required: Value) -> Operation {
    operation
        .path("name", name())
        .body(said(required, json!({})))
        .answer(200, of("ActiveChanged"))
        .problems(&[404, 409])
}

pub(super) fn all() -> Vec<Operation> {
    let files = json!({"type": "object", "additionalProperties": text(), "maxProperties": 2000});
    let percent = json!({"type": "number", "minimum": 0, "maximum": 100, "multipleOf": 0.01});
    let version_part = json!({"type": "integer", "minimum": 0, "maximum": u32::MAX});
    vec![
        get(
            "/v1/definitions",
            "List workflows, and which version new runs get",
        )
        .answer(200, of("DefinitionList")),
        post(
            "/v1/definitions",
            "Check files together with what the fleet has, and take them in, all or none",
        )
        .body(said(
            json!({"files": files}),
            json!({"activate": words(&["newer", "always", "never"]), "dry_run": flag()}),
        ))
        .answer(200, of("Applied"))
        .problems(&[409, 422]),
        get(
            "/v1/definitions/{name}",
            "One workflow: its versions, and what new runs got",
        )
        .path("name", name())
        .answer(200, of("Definition"))
        .problems(&[404, 409]),
        get("/v1/definitions/{name}/{version}", "The texts of a version")
            .path("name", name())
            .path("version", version_part)
            .answer(200, of("DefinitionFiles"))
            .problems(&[404]),
        changes(
            put("/v1/definitions/{name}/active", "Give new runs a version"),
            json!({"version": version()}),
        ),
        changes(
            delete("/v1/definitions/{name}/active", "Start no new runs"),
            json!({}),
        ),
        changes(
            put(
                "/v1/definitions/{name}/rollout",
                "Give a part of the new runs a version",
            ),
            json!({"version": version(), "percent": percent}),
        ),
        changes(
            delete("/v1/definitions/{name}/rollout", "End a rollout"),
            json!({}),
        ),
        changes(
            post(
                "/v1/definitions/{name}/rollback",
                "Go back to what new runs got before",
            ),
            json!({}),
        ),
    ]
}
