//! Of runs: their lines, journals, questions, signals, and what explains them.

use serde_json::{Value, json};

use super::{
    any, count, flag, list, name, nullable, object, of, run_id, seq, slot, text, time, version,
    words,
};

const STATUSES: [&str; 8] = [
    "running",
    "parked",
    "waiting",
    "paused",
    "completed",
    "escalated",
    "failed",
    "cancelled",
];

pub(super) fn all() -> Value {
    json!({
        "Problem": problem(),
        "Status": words(&STATUSES),
        "Run": run(),
        "RunPage": page("runs", of("Run")),
        "RunCounts": object(json!({
            "counts": {"type": "object", "additionalProperties": count()},
            "total": count(),
            "complete": flag(),
        }), json!({})),
        "JournalLine": object(json!({
            "seq": seq(),
            "subject": text(),
            "kind": text(),
            "name": text(),
            "entry": any(),
        }), json!({})),
        "RunView": object(json!({
            "run": nullable(of("Run")),
            "approvals": list(of("Approval")),
            "dead_letters": list(object(json!({"seq": seq(), "reason": text()}), json!({}))),
            "journal": list(of("JournalLine")),
            "next": nullable(seq()),
        }), json!({"broken": text(), "children_usd_nano": count()})),
        "StreamEvent": object(json!({"data": text()}), json!({"id": text(), "event": text()})),
        "RawJournal": object(json!({
            "run": run_id(),
            "entries": list(object(
                json!({"seq": seq(), "subject": text()}),
                json!({"payload": text(), "payload_hex": text()}),
            )),
            "next": nullable(seq()),
        }), json!({})),
        "Approval": approval(),
        "ApprovalPage": page("approvals", of("Approval")),
        "Sent": object(
            json!({"run": run_id(), "id": text(), "seq": seq()}),
            json!({"noted": flag()}),
        ),
        "Fork": object(json!({
            "run": run_id(), "from": run_id(), "step": name(), "id": text(), "duplicate": flag(),
        }), json!({})),
        "Explained": explained(),
        "Effects": object(json!({
            "run": run_id(), "unknown": count(), "effects": list(of("Effect")),
        }), json!({})),
        "Effect": effect(),
        "EffectOutcome": object(
            json!({"kind": words(&["pending", "ok", "failed", "unknown"])}),
            json!({"error": text(), "message": text()}),
        ),
    })
}

/// A page of some things.
fn page(of_what: &str, item: Value) -> Value {
    let mut required = json!({"next": nullable(text()), "complete": flag()});
    required[of_what] = list(item);
    object(required, json!({}))
}

fn problem() -> Value {
    let wrong = object(
        json!({"detail": text()}),
        json!({"pointer": text(), "parameter": text()}),
    );
    object(
        json!({
            "type": text(),
            "title": text(),
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": text(),
        }),
        json!({
            "code": text(),
            "errors": list(wrong),
            "problems": list(of("DefinitionProblem")),
            "workflows": list(of("AppliedWorkflow")),
        }),
    )
}

fn run() -> Value {
    object(
        json!({
            "id": run_id(),
            "workflow": name(),
            "version": count(),
            "tenant": text(),
            "chain": seq(),
            "status": of("Status"),
            "started_at": time(),
            "steps": count(),
            "model_calls": count(),
            "wasted_calls": count(),
            "input_tokens": count(),
            "cache_read_tokens": count(),
            "output_tokens": count(),
            "usd_nano": count(),
        }),
        json!({
            "reason": text(),
            "parked_by": words(&["ceiling", "unavailable", "blocked", "batch", "dead"]),
            "ended_at": time(),
            "tools": list(name()),
            "forked": object(json!({"run": run_id(), "step": name()}), json!({})),
        }),
    )
}

fn approval() -> Value {
    object(
        json!({
            "run": run_id(), "workflow": name(), "step": slot(), "hash": text(), "since": time(),
        }),
        json!({
            "tool": name(),
            "version": version(),
            "with": any(),
            "show": any(),
            "until": time(),
            "on_timeout": words(&["approve", "reject", "escalate", "fail"]),
        }),
    )
}

fn explained() -> Value {
    let pin = object(
        json!({"name": name(), "version": count(), "digest": text()}),
        json!({}),
    );
    let decision = object(
        json!({
            "seq": seq(),
            "at": time(),
            "branch": count(),
            "decision": any(),
            "reasoning": nullable(text()),
            "confidence": nullable(json!({"type": "number"})),
        }),
        json!({}),
    );
    let wait = object(
        json!({"seq": seq(), "at": time(), "by": text(), "why": text()}),
        json!({}),
    );
    let prompt = object(
        json!({
            "verdict": words(&["same", "differs", "not_loaded"]),
            "why": nullable(text()),
            "digest": nullable(text()),
            "request": any(),
        }),
        json!({}),
    );
    object(
        json!({
            "run": run_id(),
            "workflow": pin,
            "step": slot(),
            "decisions": list(decision),
            "waits": list(wait),
            "call": nullable(json!({"type": "object"})),
            "prompt": nullable(prompt),
        }),
        json!({}),
    )
}

fn effect() -> Value {
    let undoing = object(
        json!({"step": slot(), "tool": name(), "outcome": of("EffectOutcome")}),
        json!({}),
    );
    object(
        json!({
            "key": text(),
            "step": slot(),
            "tool": name(),
            "version": version(),
            "effect": nullable(words(&["read", "idempotent", "once"])),
            "with": any(),
            "decided": seq(),
            "decided_at": time(),
            "ended_at": nullable(time()),
            "tries": count(),
            "took_ms": nullable(count()),
            "worker": nullable(text()),
            "outcome": of("EffectOutcome"),
        }),
        json!({"reconciled": any(), "compensated_by": undoing, "to_do": text()}),
    )
}
