//! How many output tokens an answer needs, by its schema: what `max_tokens` is where a step does not say it. The provider counts
//! `max_tokens` against its limits, and money is held for it, so that more than is needed costs; a reply that is cut gets one
//! try with twice the room, so that too little costs as well.

use serde_json::Value;

/// An answer without a schema: a page of prose.
pub(super) const TEXT_ANSWER: u32 = 1_024;
/// Around each use of a menu: the reasoning, "a few sentences", and the names.
pub(super) const AROUND: u32 = 256;
/// A text of which the schema does not say how long it may be: two or three paragraphs.
pub(super) const TEXT: u32 = 512;
/// A number, a date, a reference.
const WORD: u32 = 12;
/// Items of a list of which the schema does not say how many there may be.
const ITEMS: u64 = 10;
/// Bytes of JSON that are one token, at least.
const BYTES_PER_TOKEN: u64 = 3;
/// No answer needs more; also what a schema that refers to itself comes to.
const MOST: u32 = 8_192;
const DEPTH_MAX: usize = 16;

/// Tokens of the largest answer that a schema leads one to expect, from 1 to 8,192.
pub(super) fn tokens(schema: &Value) -> u32 {
    let need = of(schema, schema, 0);
    u32::try_from(need).unwrap_or(MOST).clamp(1, MOST)
}

fn of(schema: &Value, root: &Value, depth: usize) -> u64 {
    let most = u64::from(MOST);
    if depth > DEPTH_MAX {
        return most;
    }
    let deeper = |inner: &Value| of(inner, root, depth + 1);
    let target = schema["$ref"]
        .as_str()
        .and_then(|path| path.strip_prefix('#'));
    if let Some(target) = target {
        return root.pointer(target).map_or(u64::from(TEXT), deeper);
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(written).max().unwrap_or(1);
    }
    if let Some(value) = schema.get("const") {
        return written(value);
    }
    let alternatives = ["anyOf", "oneOf"]
        .iter()
        .filter_map(|key| schema[*key].as_array());
    let of_alternatives = alternatives.flatten().map(deeper).max();
    let together = schema["allOf"].as_array().into_iter().flatten().map(deeper);
    let kinds = match schema["type"].as_array() {
        Some(kinds) => kinds.as_slice(),
        None => std::slice::from_ref(&schema["type"]),
    };
    let kinds = kinds.iter().filter_map(Value::as_str);
    let own = kinds.map(|kind| match kind {
        "object" => properties(schema, deeper),
        "array" => {
            let items = schema["maxItems"].as_u64().unwrap_or(ITEMS);
            let each = schema.get("items").map_or(u64::from(TEXT), deeper);
            items.saturating_mul(each + 1)
        }
        "string" => text(schema),
        _ => u64::from(WORD),
    });
    let own = match (own.max(), of_alternatives) {
        (Some(own), other) => own.max(other.unwrap_or(0)),
        (None, Some(other)) => other,
        (None, None) => u64::from(TEXT),
    };
    together.fold(own, u64::saturating_add).min(most)
}

fn properties(schema: &Value, need: impl Fn(&Value) -> u64) -> u64 {
    let properties = schema["properties"].as_object();
    if properties.is_none() && schema["additionalProperties"] != Value::Bool(false) {
        // Anything may be in it.
        return u64::from(TEXT);
    }
    let all = properties.into_iter().flatten();
    all.map(|(name, property)| (name.len() as u64).div_ceil(BYTES_PER_TOKEN) + 2 + need(property))
        .fold(2, u64::saturating_add)
}

fn text(schema: &Value) -> u64 {
    if schema.get("format").is_some() {
        return u64::from(WORD) * 2;
    }
    let longest = schema["maxLength"].as_u64();
    let longest = longest.map(|longest| longest.div_ceil(BYTES_PER_TOKEN) + 2);
    longest.map_or(u64::from(TEXT), |longest| longest.min(u64::from(MOST)))
}

fn written(value: &Value) -> u64 {
    (value.to_string().len() as u64).div_ceil(BYTES_PER_TOKEN) + 1
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_need_follows_what_the_schema_says() {
        for (schema, need) in [
            (json!({"type": "boolean"}), 12),
            (json!({"enum": ["info", "page"]}), 3),
            (json!({"type": "string", "maxLength": 600}), 202),
            (json!({"type": "string"}), 512),
            (json!({"type": ["null", "string"]}), 512),
            (json!({"type": "string", "format": "date-time"}), 24),
            (
                json!({"type": "array", "maxItems": 3, "items": {"type": "integer"}}),
                39,
            ),
            (json!({"type": "object"}), 512),
            (json!({"type": "object", "additionalProperties": false}), 2),
            (
                json!({"type": "object", "properties": {"level": {"enum": ["info"]}, "why": {"$ref": "#/$defs/why"}},
                    "$defs": {"why": {"type": "string", "maxLength": 30}}}),
                2 + (2 + 2 + 3) + (1 + 2 + 12),
            ),
            (
                json!({"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 60}]}),
                22,
            ),
        ] {
            assert_eq!(tokens(&schema), need, "{schema}");
        }
    }

    #[test]
    fn no_schema_asks_for_more_than_any_answer_needs() {
        for schema in [
            json!({"type": "object", "properties": {"child": {"$ref": "#"}}}),
            json!({"type": "array", "maxItems": u64::MAX, "items": {"type": "array", "maxItems": u64::MAX}}),
            json!({"type": "string", "maxLength": u64::MAX}),
        ] {
            assert_eq!(tokens(&schema), MOST, "{schema}");
        }
    }
}
