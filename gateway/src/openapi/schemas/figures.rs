//! Of usage, statistics and the fleet.

use serde_json::{Value, json};

use super::{any, count, flag, list, name, nullable, object, of, run_id, seq, text, time, words};
use crate::usage::csv::COLUMNS;

fn number() -> Value {
    json!({"type": "number"})
}

fn counts(names: &[&str]) -> Value {
    names.iter().map(|name| (*name, count())).collect()
}

/// Values by name.
fn by_name(value: Value) -> Value {
    json!({"type": "object", "additionalProperties": value})
}

fn used() -> Value {
    counts(&COLUMNS)
}

pub(super) fn all() -> Value {
    let day = || json!({"type": "string", "format": "date"});
    let row = json!({
        "runs": of("RunSums"), "day": day(), "workflow": text(), "model": text(), "tenant": text(),
    });
    json!({
        "Through": object(json!({"seq": seq(), "at": nullable(time())}), json!({})),
        "RunSums": object(
            counts(&["started", "completed", "escalated", "failed", "cancelled", "steps", "decisions"]),
            json!({}),
        ),
        "Used": object(used(), json!({"runs": of("RunSums")})),
        "Usage": object(
            json!({
                "from": day(),
                "to": day(),
                "by": list(words(&["day", "workflow", "model", "tenant"])),
                "rows": list(object(used(), row)),
                "total": of("Used"),
                "complete": flag(),
                "through": of("Through"),
            }),
            json!({}),
        ),
        "DearestRuns": object(
            json!({
                "from": day(),
                "to": day(),
                "runs": list(object(
                    json!({"id": run_id(), "tenant": text(), "usd_nano": count()}),
                    json!({"run": of("Run")}),
                )),
                "complete": flag(),
                "through": of("Through"),
            }),
            json!({}),
        ),
        "Stats": stats(),
        "Active": object(counts(&["running", "waiting", "parked", "paused"]), json!({})),
        "Fleet": fleet(),
    })
}

fn stats() -> Value {
    let seconds = || nullable(number());
    let tool = object(
        json!({"ok": count(), "failed": count(), "unknown": count(), "p50_seconds": seconds(), "p95_seconds": seconds()}),
        json!({}),
    );
    let minute = object(
        json!({
            "at": time(),
            "runs": of("RunSums"),
            "p50_seconds": seconds(),
            "p95_seconds": seconds(),
            "usd_nano": by_name(count()),
            "tools": by_name(tool),
        }),
        json!({}),
    );
    let together = object(
        json!({
            "runs": of("RunSums"),
            "runs_per_minute": number(),
            "steps_per_second": number(),
            "success": seconds(),
            "p50_seconds": seconds(),
            "p95_seconds": seconds(),
        }),
        json!({}),
    );
    let now = object(
        counts(&["usd_nano", "wasted_usd_nano"]),
        json!({"active": of("Active"), "ceilings": list(of("Ceiling")), "dead_letters": count()}),
    );
    object(
        json!({
            "minutes": list(minute),
            "together": together,
            "now": now,
            "complete": flag(),
            "through": of("Through"),
        }),
        json!({}),
    )
}

fn fleet() -> Value {
    let breaker = || words(&["closed", "half_open", "open"]);
    let worker = object(
        json!({
            "role": text(),
            "worker": text(),
            "host": text(),
            "pid": count(),
            "version": text(),
            "started_at": time(),
            "state": words(&["active", "draining", "lost", "gone"]),
            "silent_seconds": count(),
            "slots": nullable(count()),
            "in_work": count(),
            "rss_bytes": count(),
            "cpu_ms": count(),
        }),
        json!({"claude_in_flight": count(), "limiter_degraded": flag(), "requests": count()}),
    );
    let queue = object(
        json!({
            "consumer": text(),
            "stream": text(),
            "pending": count(),
            "in_flight": count(),
            "redelivered": count(),
            "waiting_pulls": count(),
            "oldest_seconds": nullable(json!({"type": "integer"})),
        }),
        json!({}),
    );
    let tool = object(
        json!({
            "name": name(),
            "breaker": breaker(),
            "switched_off": flag(),
            "waiting": nullable(count()),
            "in_hand": nullable(count()),
            "executors": list(text()),
        }),
        json!({"forced": words(&["open", "closed"]), "why": text()}),
    );
    let of_model = object(
        json!({"model": text(), "worker": text(), "state": breaker()}),
        json!({"left_ms": count(), "why": text()}),
    );
    let due = object(
        json!({"workflow": name(), "next": time(), "cron": text(), "timezone": text()}),
        json!({}),
    );
    let attention = object(
        json!({
            "severity": words(&["critical", "warning", "info"]), "kind": text(), "text": text(), "link": text(),
        }),
        json!({"since": time()}),
    );
    let dot = || words(&["ok", "degraded", "down", "unknown"]);
    let health = object(
        json!({"nats": dot(), "redis": dot(), "claude": dot(), "why": by_name(text())}),
        json!({}),
    );
    object(
        json!({
            "at": time(),
            "workers": list(worker),
            "queues": list(queue),
            "tools": list(tool),
            "limits": list(any()),
            "breakers": list(of_model),
            "cron": list(due),
            "active": nullable(of("Active")),
            "dead_letters": nullable(count()),
            "attention": list(attention),
            "health": health,
            "missing": by_name(text()),
        }),
        json!({}),
    )
}
