//! Of what runs go by: events, definitions, tools, switches, ceilings; and of dead letters.

use serde_json::{Value, json};

use super::{
    any, count, fingerprint, flag, list, name, nullable, object, of, run_id, seq, text, time,
    version, words,
};

pub(super) fn all() -> Value {
    let mut all = json!({
        "CloudEvent": cloud_event(),
        "Event": event(),
        "Taken": object(json!({
            "id": text(), "source": text(), "type": text(), "runs": list(run_id()), "duplicate": flag(),
            "status_urls": list(text()),
        }), json!({})),
        "TakenBatch": object(json!({"events": list(of("Taken"))}), json!({})),
        "TakenAndEnded": object(json!({
            "id": text(), "source": text(), "type": text(), "runs": list(run_id()), "duplicate": flag(),
            "status_urls": list(text()),
            "ended": list(object(
                json!({"run": run_id(), "status": text(), "output": any()}),
                json!({"reason": text()}),
            )),
        }), json!({})),
        "AlertmanagerGroup": alerts(),
        "TakenAlerts": object(json!({
            "events": list(object(
                json!({"id": text(), "runs": list(run_id()), "duplicate": flag()}),
                json!({"problems": list(text())}),
            )),
        }), json!({})),
        "Ceiling": ceiling(),
        "CeilingList": object(
            json!({"ceilings": list(of("Ceiling")), "day": text(), "complete": flag()}),
            json!({}),
        ),
        "CeilingChanged": object(
            json!({"ceiling": of("Ceiling"), "resuming": count(), "complete": flag()}),
            json!({}),
        ),
    });
    for more in [definitions(), tools(), dead()] {
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
    }
    all
}

fn cloud_event() -> Value {
    let mut event = object(
        json!({
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "minLength": 1},
            "source": {"type": "string", "minLength": 1},
            "type": text(),
        }),
        json!({"subject": text(), "time": time(), "datacontenttype": text(), "data": any(), "tenant": name()}),
    );
    event["description"] = "A CloudEvent 1.0, structured; extension attributes are kept".into();
    event
}

fn event() -> Value {
    let mut event = object(
        json!({"type": text()}),
        json!({"id": text(), "source": text(), "data": any(), "tenant": name()}),
    );
    event["description"] = "An event as plain JSON; without `id`, each is another one".into();
    event["examples"] =
        json!([{"type": "ticket.opened", "id": "4711", "data": {"text": "The disk is full"}}]);
    event
}

fn alerts() -> Value {
    let texts = json!({"type": "object", "additionalProperties": text()});
    let alert = object(
        json!({
            "status": words(&["firing", "resolved"]),
            "labels": texts,
            "startsAt": text(),
            "fingerprint": text(),
        }),
        json!({"annotations": nullable(texts.clone()), "endsAt": nullable(text()), "generatorURL": nullable(text())}),
    );
    object(
        json!({"version": {"const": "4"}, "receiver": text(), "externalURL": text(), "alerts": list(alert)}),
        json!({"groupLabels": nullable(texts), "truncatedAlerts": count()}),
    )
}

fn ceiling() -> Value {
    let usd = || nullable(count());
    object(
        json!({
            "scope": words(&["workflow", "tenant"]),
            "name": name(),
            "usd_nano": usd(),
            "from": words(&["set", "definition", "none", "unreadable"]),
            "definition_usd_nano": usd(),
            "spent_usd_nano": usd(),
            "known": flag(),
        }),
        json!({"by": text(), "reason": text(), "at": time()}),
    )
}

fn definitions() -> Value {
    let standing = || {
        json!({
            "active": nullable(of("VersionRef")),
            "candidate": of("Candidate"),
            "by": text(),
            "reason": text(),
            "at": time(),
        })
    };
    let off = object(
        json!({"step": name(), "off_since": time()}),
        json!({"by": text(), "reason": text()}),
    );
    let deprecated = object(
        json!({"tool": name(), "version": version(), "instead": text()}),
        json!({}),
    );
    let line = object(
        json!({
            "workflow": name(),
            "versions": list(count()),
            "switched_off": list(off),
            "deprecated": list(deprecated),
        }),
        standing(),
    );
    let kept = object(
        json!({"version": count(), "digest": text(), "at": time(), "active": flag(), "candidate": flag()}),
        json!({"by": text()}),
    );
    let files = json!({"type": "object", "additionalProperties": text()});
    json!({
        "VersionRef": object(json!({"version": count(), "digest": text()}), json!({})),
        "Candidate": object(json!({"version": count(), "digest": text(), "percent": {"type": "number"}}), json!({})),
        "Standing": object(json!({"active": nullable(of("VersionRef")), "at": time()}), standing()),
        "DefinitionList": object(json!({"definitions": list(line)}), json!({})),
        "Definition": object(
            json!({"workflow": name(), "versions": list(kept), "history": list(of("Standing"))}),
            standing(),
        ),
        "DefinitionFiles": object(
            json!({"workflow": name(), "version": count(), "digest": text(), "files": files.clone()}),
            json!({"by": text()}),
        ),
        "ActiveChanged": object(
            json!({"workflow": name(), "active": nullable(of("VersionRef")), "at": time()}),
            standing(),
        ),
        "DefinitionProblem": object(
            json!({"file": text(), "line": count(), "column": count(), "message": text()}),
            json!({"help": text(), "source": text()}),
        ),
        "AppliedWorkflow": object(
            json!({
                "workflow": name(),
                "version": count(),
                "digest": text(),
                "outcome": words(&["created", "unchanged", "refused", "withheld"]),
                "active": flag(),
                "standing": nullable(of("Standing")),
            }),
            json!({"why": text(), "files": files}),
        ),
        "Applied": object(
            json!({
                "dry_run": flag(),
                "workflows": list(of("AppliedWorkflow")),
                "warnings": list(of("DefinitionProblem")),
            }),
            json!({}),
        ),
    })
}

fn tools() -> Value {
    let breaker = || words(&["closed", "half_open", "open"]);
    let said = || json!({"by": text(), "reason": text()});
    let tool_version = object(
        json!({
            "version": version(),
            "description": text(),
            "adapter": words(&["command", "http", "nats", "mcp", "builtin"]),
            "effect": words(&["read", "idempotent", "once"]),
            "risk": words(&["low", "high"]),
            "concurrency": count(),
            "retries": count(),
            "has_breaker": flag(),
        }),
        json!({"fleet_per_minute": count(), "deprecated": text()}),
    );
    let host = object(
        json!({"host": text(), "state": breaker(), "since": time(), "why": text()}),
        json!({}),
    );
    let stands = object(
        json!({"version": version(), "state": breaker(), "since": time(), "calls": count(), "failures": count()}),
        json!({"until": time(), "why": text(), "hosts": list(host)}),
    );
    let executor = object(
        json!({"worker": text(), "at": time(), "in_work": count(), "versions": list(stands)}),
        json!({}),
    );
    let off = object(
        json!({"hold": flag(), "at": time()}),
        json!({"version": version(), "by": text(), "reason": text()}),
    );
    let switch = object(
        json!({"kind": words(&["tool", "step"]), "off": flag(), "at": time(), "hold": flag()}),
        json!({"name": name(), "version": version(), "workflow": name(), "step": name(), "by": text(), "reason": text()}),
    );
    json!({
        "Tool": object(
            json!({
                "name": name(),
                "versions": list(tool_version),
                "breaker": breaker(),
                "waiting": nullable(count()),
                "in_hand": nullable(count()),
                "executors": list(executor),
            }),
            json!({
                "forced": object(json!({"state": words(&["open", "closed"]), "at": time()}), said()),
                "switched_off": list(off),
            }),
        ),
        "ToolList": object(json!({"tools": list(of("Tool"))}), json!({})),
        "BreakerChanged": object(
            json!({"name": name(), "state": words(&["open", "closed", "auto"]), "at": time()}),
            said(),
        ),
        "Switch": switch,
        "SwitchList": object(json!({"switches": list(of("Switch"))}), json!({})),
    })
}

fn dead() -> Value {
    let kind = || {
        words(&[
            "unreadable",
            "version",
            "unplaceable",
            "exhausted",
            "refused",
            "abandoned",
        ])
    };
    let letter = || {
        json!({
            "seq": seq(),
            "fingerprint": fingerprint(),
            "role": text(),
            "kind": kind(),
            "subject": text(),
            "stream_seq": seq(),
            "reason": text(),
            "at": time(),
            "bytes": count(),
        })
    };
    let more = || {
        json!({
            "stream": text(),
            "run": run_id(),
            "deliveries": {"type": "integer"},
            "message_id": text(),
            "cut": text(),
        })
    };
    let group = object(
        json!({
            "fingerprint": fingerprint(),
            "role": text(),
            "kind": kind(),
            "count": count(),
            "first": time(),
            "last": time(),
            "seq": seq(),
            "subject": text(),
            "reason": text(),
        }),
        json!({}),
    );
    let mut shown = letter();
    (shown["payload"], shown["truncated"], shown["waits"]) = (any(), flag(), flag());
    let mut besides = more();
    besides["goes_on"] = text();
    let action = || words(&["redrive", "drop"]);
    json!({
        "DeadLetter": object(letter(), more()),
        "DeadLetterShown": object(shown, besides),
        "DeadList": object(
            json!({"next": nullable(text()), "complete": flag()}),
            json!({"groups": list(group), "letters": list(of("DeadLetter"))}),
        ),
        "SettledLetter": object(
            json!({
                "seq": seq(), "action": action(), "at": time(), "edited": flag(), "subject": text(), "was": text(),
                "fingerprint": fingerprint(),
            }),
            json!({"by": text(), "reason": text()}),
        ),
        "DeadJob": object(
            json!({
                "id": text(), "action": action(), "fingerprint": fingerprint(), "per_minute": count(),
                "state": words(&["running", "done"]), "at": time(), "seen": time(), "worker": nullable(text()),
                "upto": seq(), "through": seq(), "total": count(), "done": count(), "refused": count(),
            }),
            json!({"by": text(), "reason": text(), "problem": text()}),
        ),
    })
}
