//! What the API's JSON looks like, by name.

mod control;
mod figures;
mod runs;

use serde_json::{Map, Value, json};

use super::paths::tokens;

/// All schemas that have a name.
pub(super) fn all() -> Value {
    let tables = [
        runs::all(),
        control::all(),
        figures::all(),
        tokens::schemas(),
    ];
    let mut all = Map::new();
    for table in tables {
        if let Value::Object(table) = table {
            all.extend(table);
        }
    }
    Value::Object(all)
}

/// A schema by its name.
pub(super) fn of(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// An object: fields that it always has, and others.
pub(super) fn object(required: Value, optional: Value) -> Value {
    let (mut fields, mut names) = (Map::new(), Vec::new());
    if let Value::Object(required) = required {
        names.extend(required.keys().cloned());
        fields.extend(required);
    }
    if let Value::Object(optional) = optional {
        fields.extend(optional);
    }
    if names.is_empty() {
        return json!({"type": "object", "properties": fields});
    }
    json!({"type": "object", "properties": fields, "required": names})
}

/// A body that a request brings: nothing but these fields. Null is as good as none, where there may be none.
pub(super) fn body(required: Value, mut optional: Value) -> Value {
    if let Value::Object(fields) = &mut optional {
        for field in fields.values_mut() {
            *field = nullable(field.take());
        }
    }
    let mut body = object(required, optional);
    body["additionalProperties"] = false.into();
    body
}

/// An array.
pub(super) fn list(item: Value) -> Value {
    json!({"type": "array", "items": item})
}

/// It, or null.
pub(super) fn nullable(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

/// Any text.
pub(super) fn text() -> Value {
    json!({"type": "string"})
}

/// A text of so many characters at most, none of them a control character.
pub(super) fn line(length_max: usize) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": length_max, "pattern": "^[^\\x00-\\x1f\\x7f-\\x9f]+$"})
}

/// One of some words.
pub(super) fn words(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

/// A whole number from 0 on.
pub(super) fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

/// A place on a stream.
pub(super) fn seq() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": u64::MAX})
}

/// A number of a version.
pub(super) fn version() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": u32::MAX})
}

/// Yes or no.
pub(super) fn flag() -> Value {
    json!({"type": "boolean"})
}

/// A time, RFC 3339.
pub(super) fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

/// Dollars, as people write them.
pub(super) fn dollars() -> Value {
    json!({"type": "number", "minimum": 0, "maximum": 1_000_000})
}

/// How many things a page has, at most.
pub(super) fn limit(most: usize) -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": most})
}

/// A run's id.
pub(super) fn run_id() -> Value {
    json!({"type": "string", "pattern": "^run_[0-9a-f]{32}$", "examples": ["run_0123456789abcdef0123456789abcdef"]})
}

/// A name of a workflow, tool, step or tenant.
pub(super) fn name() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"})
}

/// A step or turn, with its branch: `triage/3#1`.
pub(super) fn slot() -> Value {
    json!({"type": "string", "examples": ["triage/3#1"]})
}

/// Anything.
pub(super) fn any() -> Value {
    json!({})
}

/// The causes of dead letters have one.
pub(super) fn fingerprint() -> Value {
    json!({"type": "string", "pattern": "^[0-9a-f]{12}$"})
}
