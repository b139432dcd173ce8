//! Minimal values that fit a JSON Schema: the answer where no policy says one.
//!
//! Covers what tool schemas are made of: `const`, `enum`, `type`, ranges, lengths, `required`, `minItems`, well-known
//! formats, local `$ref`, and the first of `anyOf` and `oneOf`. A `pattern` is not looked at.

use crate::wire::{Request, Tool};
use serde_json::{Map, Number, Value, json};

/// Deeper schemas are recursive ones; they end in null.
const MAX_DEPTH: usize = 32;

/// Longest string or list made, whatever the schema asks for.
const MAX_LENGTH: u64 = 10_000;

/// The tool to use where one must be used and nobody says which: the one used least in this conversation, so that a
/// default never repeats itself for ever; among those, the one that needs the fewest values.
pub(crate) fn choose_tool(request: &Request) -> Option<&Tool> {
    let blocks = || request.turns.iter().flat_map(|turn| &turn.blocks);
    let used = |tool: &Tool| {
        blocks()
            .filter(|block| block.kind() == "tool_use" && block.str("name") == Some(&tool.name))
            .count()
    };
    let needs = |tool: &Tool| {
        tool.schema
            .as_ref()
            .map_or(0, |schema| leaves(schema, schema, 0))
    };
    request
        .tools
        .iter()
        .filter(|tool| tool.schema.is_some())
        .min_by_key(|tool| (used(tool), needs(tool)))
}

/// A minimal input for a tool.
pub(crate) fn input(tool: &Tool) -> Value {
    tool.schema.as_ref().map_or_else(|| json!({}), value)
}

/// A minimal value for a schema.
pub(crate) fn value(schema: &Value) -> Value {
    value_at(schema, schema, 0)
}

fn value_at(schema: &Value, root: &Value, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    let schema = resolve(schema, root);
    if let Some(fixed) = schema.get("const").or_else(|| schema.get("enum")?.get(0)) {
        return fixed.clone();
    }
    if let Some(first) = ["anyOf", "oneOf"]
        .iter()
        .find_map(|key| schema.get(key)?.get(0))
    {
        return value_at(first, root, depth + 1);
    }
    match kind(schema) {
        "object" => object(schema, root, depth),
        "array" => {
            let least = figure(schema, "minItems").unwrap_or(0.0) as u64;
            let item = schema.get("items").map_or_else(
                || json!("simulated"),
                |items| value_at(items, root, depth + 1),
            );
            (0..least.min(MAX_LENGTH)).map(|_| item.clone()).collect()
        }
        "integer" => integer(schema),
        "number" => number(schema),
        "boolean" => Value::Bool(false),
        "null" => Value::Null,
        _ => string(schema),
    }
}

fn object(schema: &Value, root: &Value, depth: usize) -> Value {
    let mut found = Map::new();
    // The parts of an `allOf` are filled one by one and put together.
    let parts = schema
        .get("allOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    for part in parts {
        if let Value::Object(part) = value_at(part, root, depth + 1) {
            found.extend(part);
        }
    }
    for name in required(schema) {
        let property = schema
            .get("properties")
            .and_then(|properties| properties.get(name));
        let value = property.map_or_else(
            || json!("simulated"),
            |property| value_at(property, root, depth + 1),
        );
        found.insert(name.to_owned(), value);
    }
    Value::Object(found)
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn integer(schema: &Value) -> Value {
    let least = figure(schema, "minimum").map(f64::ceil);
    let above = figure(schema, "exclusiveMinimum").map(|bound| bound.floor() + 1.0);
    let most = figure(schema, "maximum").map(f64::floor);
    let below = figure(schema, "exclusiveMaximum").map(|bound| bound.ceil() - 1.0);
    let lowest = least.into_iter().chain(above).reduce(f64::max);
    let highest = most.into_iter().chain(below).reduce(f64::min);
    let step = figure(schema, "multipleOf")
        .filter(|step| *step >= 1.0)
        .unwrap_or(1.0);
    let start = lowest.unwrap_or_else(|| highest.map_or(0.0, |highest| highest.min(0.0)));
    // Whole, and far inside what an i64 holds, for any schema that means a number people use.
    json!(((start / step).ceil() * step) as i64)
}

fn number(schema: &Value) -> Value {
    let (least, most) = (figure(schema, "minimum"), figure(schema, "maximum"));
    // A share: 0 would say "not at all", and 1 more than anybody should claim. A strict schema can only say so in words.
    let described = schema.get("description").and_then(Value::as_str);
    let is_share = described.is_some_and(|text| text.contains("from 0 to 1"));
    if is_share || (least, most) == (Some(0.0), Some(1.0)) {
        return json!(0.9);
    }
    let above = figure(schema, "exclusiveMinimum");
    let below = figure(schema, "exclusiveMaximum");
    let value = match (least, above, most, below) {
        (_, Some(above), _, Some(high)) | (_, Some(above), Some(high), None) => {
            (above + high) / 2.0
        }
        (_, Some(above), None, None) => above + 1.0,
        (Some(least), None, _, _) => least,
        (None, None, Some(most), _) => most.min(0.0),
        (None, None, None, Some(below)) => (below - 1.0).min(0.0),
        (None, None, None, None) => 0.0,
    };
    Number::from_f64(value).map_or(json!(0), Value::Number)
}

fn string(schema: &Value) -> Value {
    let text = match schema.get("format").and_then(Value::as_str) {
        Some("date-time") => "2026-01-01T00:00:00Z",
        Some("date") => "2026-01-01",
        Some("time") => "00:00:00Z",
        Some("duration") => "PT1S",
        Some("email") => "someone@example.com",
        Some("hostname") => "example.com",
        Some("uri") => "https://example.com/",
        Some("ipv4") => "192.0.2.1",
        Some("ipv6") => "2001:db8::1",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        Some(_) | None => "simulated",
    };
    let least = figure(schema, "minLength").unwrap_or(0.0) as u64;
    let most = figure(schema, "maxLength").map_or(u64::MAX, |most| most as u64);
    let mut text = text.to_owned();
    while (text.len() as u64) < least.min(MAX_LENGTH) {
        text.push('.');
    }
    text.truncate(usize::try_from(most).unwrap_or(usize::MAX).min(text.len()));
    text.into()
}

fn figure(schema: &Value, key: &str) -> Option<f64> {
    schema.get(key).and_then(Value::as_f64)
}

/// The first type a schema names; without one, what its keywords speak of.
fn kind(schema: &Value) -> &str {
    let named = schema.get("type");
    let first = named.and_then(|named| named.as_str().or_else(|| named.get(0)?.as_str()));
    if let Some(kind) = first {
        return kind;
    }
    let has = |keys: &[&str]| keys.iter().any(|key| schema.get(key).is_some());
    if has(&["properties", "required", "allOf", "additionalProperties"]) {
        "object"
    } else if has(&["items", "minItems"]) {
        "array"
    } else if has(&["minimum", "maximum", "multipleOf", "exclusiveMinimum"]) {
        "number"
    } else {
        "string"
    }
}

/// Follows `$ref`s within the document.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..MAX_DEPTH {
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|path| path.strip_prefix('#'));
        match target.and_then(|path| root.pointer(path)) {
            Some(next) => schema = next,
            None => break,
        }
    }
    schema
}

/// How many single values a schema requires.
fn leaves(schema: &Value, root: &Value, depth: usize) -> usize {
    let schema = resolve(schema, root);
    if depth > MAX_DEPTH || kind(schema) != "object" {
        return 1;
    }
    let property = |name: &str| {
        schema
            .get("properties")
            .and_then(|properties| properties.get(name))
    };
    required(schema)
        .map(|name| property(name).map_or(1, |property| leaves(property, root, depth + 1)))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_schema_requires_is_there_and_nothing_else() {
        let schema = json!({"type": "object", "required": ["reasoning", "confidence", "with"], "properties": {
            "reasoning": {"type": "string", "minLength": 12},
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            "note": {"type": "string"},
            "with": {"$ref": "#/$defs/with"}},
            "$defs": {"with": {"type": "object", "required": ["check", "count", "targets"], "properties": {
                "check": {"enum": ["disk", "load"]},
                "count": {"type": "integer", "minimum": 3},
                "targets": {"type": "array", "minItems": 2, "items": {"type": "string", "format": "ipv4"}}}}}});
        assert_eq!(
            value(&schema),
            json!({"reasoning": "simulated...", "confidence": 0.9,
                "with": {"check": "disk", "count": 3, "targets": ["192.0.2.1", "192.0.2.1"]}})
        );
    }

    #[test]
    fn bounds_are_kept() {
        for (schema, expected) in [
            (
                json!({"type": "integer", "exclusiveMinimum": 4, "multipleOf": 5}),
                json!(5),
            ),
            (json!({"type": "integer", "maximum": -3}), json!(-3)),
            (
                json!({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
                json!(0.5),
            ),
            (json!({"type": "number", "minimum": 2.5}), json!(2.5)),
            (
                json!({"type": "number", "description": "How sure you are, from 0 to 1."}),
                json!(0.9),
            ),
            (json!({"type": "string", "maxLength": 3}), json!("sim")),
            (json!({"type": ["null", "string"]}), json!(null)),
            (
                json!({"anyOf": [{"type": "boolean"}, {"type": "string"}]}),
                json!(false),
            ),
            (json!({"const": 7}), json!(7)),
            (
                json!({"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"properties": {"b": {}}, "required": ["b"]}]}),
                json!({"a": 0, "b": "simulated"}),
            ),
        ] {
            assert_eq!(value(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn a_recursive_schema_comes_to_an_end() {
        let schema = json!({"type": "object", "required": ["child"], "properties": {"child": {"$ref": "#"}}});
        assert!(value(&schema).is_object());
        assert!(leaves(&schema, &schema, 0) > 0);
    }
}
