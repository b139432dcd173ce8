//! What a schema must not say where the API promises to keep to it: a `strict` tool's `input_schema` and
//! `output_config.format`.
//!
//! The API compiles such a schema to a grammar, and answers 400 where it cannot: every object must close itself with
//! `additionalProperties: false`, and ranges, lengths and counts are not supported. The official SDK moves those into
//! the description; a client that sends them as they are must find out here, not in production.

use crate::error::ApiError;
use serde_json::Value;

/// Deeper schemas are refused; also the guard against a stack overflow here.
const MAX_DEPTH: usize = 64;

const OF_NUMBERS: &[&str] = &[
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
];
const OF_STRINGS: &[&str] = &["minLength", "maxLength"];
const OF_ARRAYS: &[&str] = &["maxItems", "uniqueItems", "contains", "prefixItems"];
const OF_OBJECTS: &[&str] = &[
    "patternProperties",
    "minProperties",
    "maxProperties",
    "propertyNames",
];
const OF_ALL: &[&str] = &["oneOf", "not", "if", "then", "else"];

/// Refuses what the grammar compiler refuses. `path` starts the error text.
pub(crate) fn check(schema: &Value, path: &str) -> Result<(), ApiError> {
    check_at(schema, path, 0)
}

fn check_at(schema: &Value, path: &str, depth: usize) -> Result<(), ApiError> {
    let Some(object) = schema.as_object() else {
        return Ok(());
    };
    if depth > MAX_DEPTH {
        return Err(ApiError::invalid(format!("{path}: Schema is too deep")));
    }
    let unsupported = |of: &str, keys: &[&str]| {
        let found: Vec<&str> = keys
            .iter()
            .copied()
            .filter(|key| object.contains_key(*key))
            .collect();
        match found.as_slice() {
            [] => Ok(()),
            [one] => Err(ApiError::invalid(format!(
                "{path}: For '{of}' type, property '{one}' is not supported"
            ))),
            many => {
                let many = many.join(", ");
                Err(ApiError::invalid(format!(
                    "{path}: For '{of}' type, properties {many} are not supported"
                )))
            }
        }
    };
    for kind in kinds(schema) {
        match kind {
            "number" | "integer" => unsupported(kind, OF_NUMBERS)?,
            "string" => unsupported(kind, OF_STRINGS)?,
            "array" => {
                unsupported(kind, OF_ARRAYS)?;
                if object
                    .get("minItems")
                    .and_then(Value::as_u64)
                    .is_some_and(|least| least > 1)
                {
                    return Err(ApiError::invalid(format!(
                        "{path}: For 'array' type, 'minItems' values other than 0 or 1 are not supported"
                    )));
                }
            }
            "object" => {
                unsupported(kind, OF_OBJECTS)?;
                if object.get("additionalProperties") != Some(&Value::Bool(false)) {
                    return Err(ApiError::invalid(format!(
                        "{path}: For 'object' type, 'additionalProperties' must be explicitly set to false"
                    )));
                }
            }
            _ => {}
        }
    }
    if let Some(key) = OF_ALL.iter().find(|key| object.contains_key(**key)) {
        return Err(ApiError::invalid(format!(
            "{path}: Schema type '{key}' is not supported"
        )));
    }
    inner(schema).try_for_each(|inner| check_at(inner, path, depth + 1))
}

fn kinds(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind.as_str()],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            Vec::new()
        }
    }
}

/// The schemas inside a schema.
fn inner(schema: &Value) -> impl Iterator<Item = &Value> {
    let maps = ["properties", "$defs", "definitions"]
        .into_iter()
        .filter_map(|key| schema.get(key)?.as_object());
    let lists = ["anyOf", "allOf"]
        .into_iter()
        .filter_map(|key| schema.get(key)?.as_array());
    maps.flat_map(|map| map.values())
        .chain(lists.flatten())
        .chain(schema.get("items"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_range_inside_a_strict_schema_is_refused_by_name() {
        let schema = json!({"type": "object", "additionalProperties": false, "properties": {
            "confidence": {"type": "number", "minimum": 0, "maximum": 1}}});
        let error = check(&schema, "tools.0.custom").unwrap_err();
        assert_eq!(
            error.message,
            "tools.0.custom: For 'number' type, properties minimum, maximum are not supported"
        );
    }

    #[test]
    fn every_object_of_a_strict_schema_must_be_closed() {
        let open = json!({"type": "object", "additionalProperties": false, "properties": {
            "with": {"type": "object", "properties": {}}}});
        assert!(
            check(&open, "s")
                .unwrap_err()
                .message
                .contains("must be explicitly set to false")
        );
        let closed = json!({"type": "object", "additionalProperties": false, "required": ["with"], "properties": {
            "with": {"type": "object", "additionalProperties": false},
            "list": {"type": "array", "minItems": 1, "items": {"type": ["string", "null"]}}}});
        check(&closed, "s").unwrap();
    }
}
