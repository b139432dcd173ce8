//! Tokens, and the audit.

use serde_json::json;

use crate::openapi::{
    operation::{Operation, delete, get, post},
    schemas::{body, limit, line, list, name, of, seq, text, words},
};

pub(super) fn all() -> Vec<Operation> {
    let scopes = json!({
        "type": "array", "minItems": 1, "items": words(&["ingest", "read", "approve", "admin"]),
    });
    vec![
        get("/v1/tokens", "List tokens; what they are is not told").answer(200, of("TokenList")),
        post("/v1/tokens", "Make a token")
            .about("The answer is the only place where the token itself is told.")
            .body(body(
                json!({"name": name(), "scopes": scopes}),
                json!({"tenant": name(), "expires": line(128), "rate": line(128)}),
            ))
            .answer(201, of("NewToken"))
            .problems(&[409]),
        delete("/v1/tokens/{id}", "Revoke a token, by its id or its name")
            .about("The last token that may do everything stays.")
            .path("id", text())
            .answer(200, of("Token"))
            .problems(&[404, 409]),
        get("/v1/audit", "Who changed what, and who was turned away")
            .about("`since` is a time or how long ago; without it and `cursor`, the last day.")
            .query("since", line(64))
            .query("limit", limit(1_000))
            .query("cursor", seq())
            .answer(200, of("AuditList")),
    ]
}

/// What the answers look like.
pub(in crate::openapi) fn schemas() -> serde_json::Value {
    use crate::openapi::schemas::{count, flag, nullable, object, time};
    let token = || {
        json!({
            "id": text(), "name": text(), "scopes": list(text()), "tenant": nullable(text()),
            "created_at": time(), "created_by": text(), "expires_at": nullable(time()),
            "revoked_at": nullable(time()), "rate": {}, "holds": flag(),
        })
    };
    let mut made = token();
    made["token"] = text();
    json!({
        "Token": object(token(), json!({})),
        "NewToken": object(made, json!({})),
        "TokenList": object(json!({"tokens": list(of("Token"))}), json!({})),
        "AuditEntry": object(
            json!({
                "seq": count(), "v": count(), "at": time(), "who": {"type": "object"},
                "method": text(), "route": text(), "status": count(), "from": text(),
                "request": text(),
            }),
            json!({
                "ids": {"type": "object", "additionalProperties": text()},
                "reason": text(), "times": count(),
            }),
        ),
        "AuditList": object(
            json!({"entries": list(of("AuditEntry")), "next": nullable(text())}),
            json!({}),
        ),
    })
}
