//! Tools, switches, ceilings.

use serde_json::{Value, json};

use super::definitions::said;
use crate::openapi::{
    operation::{Operation, delete, get, put},
    schemas::{dollars, flag, name, of, words},
};

/// A tool, all versions or one: `name` or `name@2`.
fn tool() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}(@[1-9][0-9]{0,8})?$"})
}

pub(super) fn tools() -> Vec<Operation> {
    let step = |operation: Operation| operation.path("workflow", name()).path("step", name());
    let forced = said(
        json!({"state": words(&["open", "closed", "auto"])}),
        json!({}),
    );
    let none = || said(json!({}), json!({}));
    vec![
        get("/v1/tools", "List tools, and how their breakers stand").answer(200, of("ToolList")),
        get("/v1/tools/{name}", "One tool")
            .path("name", name())
            .answer(200, of("Tool"))
            .problems(&[404]),
        put("/v1/tools/{name}/breaker", "Decide about a tool's breakers")
            .path("name", name())
            .body(forced)
            .answer(200, of("BreakerChanged"))
            .problems(&[404]),
        get("/v1/switches", "List what is switched off").answer(200, of("SwitchList")),
        put("/v1/switches/tool/{tool}", "Switch a tool off")
            .path("tool", tool())
            .body(said(json!({}), json!({"hold": flag()})))
            .answer(200, of("Switch"))
            .problems(&[404, 409]),
        delete("/v1/switches/tool/{tool}", "Switch a tool on again")
            .path("tool", tool())
            .body(none())
            .answer(200, of("Switch"))
            .problems(&[404, 409]),
        step(put(
            "/v1/switches/step/{workflow}/{step}",
            "Switch a step off",
        ))
        .body(none())
        .answer(200, of("Switch"))
        .problems(&[404, 409]),
        step(delete(
            "/v1/switches/step/{workflow}/{step}",
            "Switch a step on again",
        ))
        .body(none())
        .answer(200, of("Switch"))
        .problems(&[404, 409]),
    ]
}

pub(super) fn money() -> Vec<Operation> {
    let of_payer = |operation: Operation| {
        operation
            .path("scope", words(&["workflow", "tenant"]))
            .path("name", name())
            .answer(200, of("CeilingChanged"))
            .problems(&[404])
    };
    vec![
        get(
            "/v1/ceilings",
            "List what workflows and tenants may spend in a day",
        )
        .answer(200, of("CeilingList")),
        of_payer(put(
            "/v1/ceilings/{scope}/{name}",
            "Set what may be spent in a day",
        ))
        .body(said(json!({"usd": dollars()}), json!({}))),
        of_payer(delete(
            "/v1/ceilings/{scope}/{name}",
            "Go back to what the definition says",
        )),
    ]
}
