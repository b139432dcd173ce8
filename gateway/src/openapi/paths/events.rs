//! Events in.

use serde_json::{Value, json};

use crate::{
    body::{CLOUD_EVENT, CLOUD_EVENTS},
    openapi::{
        operation::{JSON, Operation, post},
        schemas::{line, list, name, of, text},
    },
};

/// How long an answer may wait for the runs to end.
fn wait() -> Value {
    let mut wait = line(16);
    wait["examples"] = json!(["30s"]);
    wait
}

pub(super) fn all() -> Vec<Operation> {
    vec![
        post("/v1/events", "Take in an event, or a batch of them")
            .about("The same `source` and `id` is the same event, and starts nothing twice. 202 means that it is on disk. An event may also be binary: its attributes in headers `ce-…`, its data the body. With `wait`, 200 says how its runs ended.")
            .header("Idempotency-Key", text())
            .query("wait", wait())
            .bodies(
                true,
                vec![
                    (JSON, of("Event")),
                    (CLOUD_EVENT, of("CloudEvent")),
                    (CLOUD_EVENTS, list(of("CloudEvent"))),
                ],
            )
            .answer(200, of("TakenAndEnded"))
            .answer(202, json!({"anyOf": [of("Taken"), of("TakenBatch")]}))
            .problems(&[409, 422]),
        post("/v1/hooks/alertmanager", "Take in what Alertmanager sends to a webhook")
            .body(of("AlertmanagerGroup"))
            .answer(202, of("TakenAlerts"))
            .problems(&[409, 422]),
        post("/v1/hooks/{name}", "Take in a webhook that a definition describes")
            .about("Where the definition says how its sender shows who it is, no token is needed. 200 without runs: nothing waits for it.")
            .path("name", name())
            .query("wait", wait())
            .body(json!({}))
            .answer(200, json!({"type": "object"}))
            .answer(202, of("Taken"))
            .problems(&[404, 409, 422]),
    ]
}
