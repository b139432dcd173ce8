//! Which tools can be sent with `strict: true`: the provider compiles their schemas to a grammar that the model cannot leave, and
//! refuses the request (400) where it cannot compile one. What is allowed is listed, and anything else counts as not allowed: a
//! tool that is not strict costs a repair now and then, a request that is refused costs the step.
//!
//! Source: the provider's page on structured outputs (JSON Schema limitations, complexity limits), 2026.

use serde_json::{Map, Value};

use super::Tool;

/// Strict tools of one request.
const TOOLS_MAX: usize = 20;
/// Properties that may be left out, all strict tools together.
const OPTIONAL_MAX: usize = 24;
/// Places with more than one type, all strict tools together.
const UNIONS_MAX: usize = 16;
/// Deeper schemas are not compiled; a reference that leads into itself is endlessly deep.
const DEPTH_MAX: usize = 32;
/// Nodes that are looked at: references make a small text large.
const NODES_MAX: usize = 2_000;
/// Largest count in a pattern's `{n,m}`.
const REPEAT_MAX: u32 = 100;

/// What says something about values, and can be compiled.
const KEYWORDS: [&str; 13] = [
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "format",
    "items",
    "minItems",
    "pattern",
    "properties",
    "required",
    "type",
];
/// What is for readers, or is only looked at when referred to.
const BESIDE: [&str; 6] = [
    "$defs",
    "default",
    "definitions",
    "description",
    "examples",
    "title",
];
const FORMATS: [&str; 9] = [
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "time",
    "uuid",
];
const TYPES: [&str; 7] = [
    "array", "boolean", "integer", "null", "number", "object", "string",
];

/// Marks every tool as strict that can be, in order, as far as the limits of one request reach.
pub(crate) fn mark(tools: &mut [Tool]) {
    let mut total = Cost::default();
    let mut marked = 0;
    for tool in tools {
        let Some(cost) = cost(&tool.input_schema) else {
            continue;
        };
        let with = Cost {
            optional: total.optional + cost.optional,
            unions: total.unions + cost.unions,
            ..Cost::default()
        };
        if marked < TOOLS_MAX && with.optional <= OPTIONAL_MAX && with.unions <= UNIONS_MAX {
            tool.strict = true;
            total = with;
            marked += 1;
        }
    }
}

/// What a schema takes of the limits of one request.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Cost {
    optional: usize,
    unions: usize,
    nodes: usize,
}

/// `None`: it cannot be compiled.
fn cost(schema: &Value) -> Option<Cost> {
    let mut cost = Cost::default();
    walk(schema, schema, 0, &mut cost)?;
    Some(cost)
}

fn walk(schema: &Value, root: &Value, depth: usize, cost: &mut Cost) -> Option<()> {
    let map = schema.as_object()?;
    cost.nodes += 1;
    let known = |key: &String| KEYWORDS.contains(&key.as_str()) || BESIDE.contains(&key.as_str());
    if depth > DEPTH_MAX || cost.nodes > NODES_MAX || !map.keys().all(known) {
        return None;
    }
    if let Some(target) = map.get("$ref") {
        let path = target.as_str()?.strip_prefix('#')?;
        // The whole as its own part would never end; a reference stands alone, so that nothing is said twice.
        let alone = map
            .keys()
            .all(|key| key == "$ref" || BESIDE.contains(&key.as_str()));
        let target = Some(path).filter(|path| alone && !path.is_empty())?;
        return walk(root.pointer(target)?, root, depth + 1, cost);
    }
    let says = ["type", "enum", "const", "anyOf", "allOf"];
    if !says.iter().any(|key| map.contains_key(*key)) {
        // Anything at all: no grammar.
        return None;
    }
    types(map, root, depth, cost)?;
    for key in ["anyOf", "allOf"] {
        let Some(parts) = map.get(key) else {
            continue;
        };
        cost.unions += usize::from(key == "anyOf");
        for part in parts.as_array()? {
            if key == "allOf" && part.get("$ref").is_some() {
                return None;
            }
            walk(part, root, depth + 1, cost)?;
        }
    }
    let plain = |value: &Value| !value.is_array() && !value.is_object();
    let listed = map.get("enum").map_or(Some(true), |listed| {
        listed.as_array().map(|listed| listed.iter().all(plain))
    })?;
    (listed && map.get("const").is_none_or(plain)).then_some(())
}

/// What belongs to the types that a schema names.
fn types(map: &Map<String, Value>, root: &Value, depth: usize, cost: &mut Cost) -> Option<()> {
    let kinds: Vec<&str> = match map.get("type") {
        None => Vec::new(),
        Some(Value::String(kind)) => vec![kind.as_str()],
        Some(kinds) => {
            cost.unions += 1;
            let kinds = kinds.as_array()?.iter().map(Value::as_str);
            kinds.collect::<Option<_>>()?
        }
    };
    if !kinds.iter().all(|kind| TYPES.contains(kind)) {
        return None;
    }
    let of = |kind: &str, keys: &[&str]| {
        kinds.contains(&kind) || !keys.iter().any(|key| map.contains_key(*key))
    };
    let placed = of(
        "object",
        &["properties", "required", "additionalProperties"],
    ) && of("array", &["items", "minItems"])
        && of("string", &["pattern", "format"]);
    if !placed {
        return None;
    }
    if kinds.contains(&"object") {
        object(map, root, depth, cost)?;
    }
    if kinds.contains(&"array") {
        let least = map.get("minItems").map_or(Some(0), Value::as_u64)?;
        if least > 1 {
            return None;
        }
        walk(map.get("items")?, root, depth + 1, cost)?;
    }
    let format = map.get("format").map_or(Some(true), |format| {
        format.as_str().map(|format| FORMATS.contains(&format))
    })?;
    let pattern = map
        .get("pattern")
        .map_or(Some(true), |pattern| pattern.as_str().map(is_simple))?;
    (format && pattern).then_some(())
}

fn object(map: &Map<String, Value>, root: &Value, depth: usize, cost: &mut Cost) -> Option<()> {
    if map.get("additionalProperties") != Some(&Value::Bool(false)) {
        return None;
    }
    let none = Map::new();
    let properties = map
        .get("properties")
        .map_or(Some(&none), Value::as_object)?;
    let required = map.get("required").map_or(Some(&[][..]), |required| {
        required.as_array().map(Vec::as_slice)
    })?;
    let is_required = |name: &String| required.iter().any(|one| one == name);
    cost.optional += properties.keys().filter(|name| !is_required(name)).count();
    if !required
        .iter()
        .all(|one| one.as_str().is_some_and(|one| properties.contains_key(one)))
    {
        return None;
    }
    properties
        .values()
        .try_for_each(|property| walk(property, root, depth + 1, cost))
}

/// Whether a pattern has nothing that a grammar cannot say: no look-around, no reference back, no word boundary, no class by
/// Unicode property, no large count.
fn is_simple(pattern: &str) -> bool {
    let mut characters = pattern.chars().peekable();
    let mut before = None;
    while let Some(character) = characters.next() {
        let fits = match (character, characters.peek()) {
            ('\\', Some(escaped)) => {
                let fits = !matches!(escaped, 'b' | 'B' | 'k' | 'p' | 'P' | '1'..='9');
                characters.next();
                fits
            }
            ('(', Some('?')) => false,
            // A quantifier of a quantifier: lazy, or possessive.
            ('?' | '+', _) => !matches!(before, Some('*' | '+' | '?' | '}')),
            _ => true,
        };
        if !fits {
            return false;
        }
        before = Some(character);
    }
    let braces = pattern
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next());
    let is_large = |count: &str| {
        count
            .parse::<u32>()
            .map_or(true, |count| count > REPEAT_MAX)
    };
    !braces
        .flat_map(|counts| counts.split(','))
        .filter(|count| !count.is_empty())
        .any(is_large)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn closed(properties: Value) -> Value {
        let required: Vec<_> = properties
            .as_object()
            .map_or_else(Vec::new, |p| p.keys().cloned().collect());
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    }

    #[test]
    fn what_the_provider_compiles_can_be_strict() {
        for property in [
            json!({"type": "string", "description": "A path.", "pattern": r"^(/\.?[^/.][^/]*)+\.log(\.[0-9]{1,3})?$"}),
            json!({"type": "string", "format": "date-time"}),
            json!({"enum": ["a", 1, null]}),
            json!({"const": true}),
            json!({"type": ["string", "null"]}),
            json!({"type": "array", "minItems": 1, "items": {"type": "integer"}}),
            json!({"anyOf": [{"type": "null"}, closed(json!({"a": {"type": "number"}}))]}),
            closed(json!({})),
        ] {
            assert!(
                cost(&closed(json!({"x": property}))).is_some(),
                "{property}"
            );
        }
        let mut referring = closed(json!({"x": {"$ref": "#/$defs/place"}}));
        referring["$defs"] = json!({"place": {"type": "string"}});
        assert!(cost(&referring).is_some());
    }

    #[test]
    fn what_it_does_not_compile_is_sent_without() {
        for property in [
            json!({}),
            json!(true),
            json!({"type": "strnig"}),
            json!({"type": "object"}),
            json!({"type": "object", "additionalProperties": true}),
            json!({"type": "string", "minLength": 1}),
            json!({"type": "string", "maxLength": 9}),
            json!({"type": "string", "format": "iri"}),
            json!({"type": "integer", "minimum": 1}),
            json!({"type": "array"}),
            json!({"type": "array", "minItems": 2, "items": {"type": "null"}}),
            json!({"type": "array", "maxItems": 2, "items": {"type": "null"}}),
            json!({"oneOf": [{"type": "string"}]}),
            json!({"allOf": [{"$ref": "#/$defs/place"}]}),
            json!({"enum": [{"a": 1}]}),
            json!({"$ref": "https://example.com/x.json"}),
            json!({"$ref": "#"}),
            json!({"$ref": "#/$defs/none"}),
            json!({"$ref": "#/$defs/loop"}),
            json!({"type": "string", "brand-new": 1}),
            json!({"type": "string", "pattern": r"^(?!x)a$"}),
            json!({"type": "string", "pattern": r"\bword"}),
            json!({"type": "string", "pattern": r"(a)\1"}),
            json!({"type": "string", "pattern": r"a+?"}),
            json!({"type": "string", "pattern": r"a{1,4000}"}),
        ] {
            let mut schema = closed(json!({"x": property}));
            schema["$defs"] =
                json!({"place": {"type": "string"}, "loop": {"anyOf": [{"$ref": "#/$defs/loop"}]}});
            assert_eq!(cost(&schema), None, "{property}");
        }
    }

    #[test]
    fn the_limits_of_one_request_are_kept_in_the_order_of_the_menu() {
        let tools = |schema: &Value, count: usize| {
            let tool = Tool {
                input_schema: schema.clone(),
                ..Tool::default()
            };
            let mut tools = vec![tool; count];
            mark(&mut tools);
            tools.iter().map(|tool| tool.strict).collect::<Vec<_>>()
        };
        let of = |strict: usize, count: usize| (0..count).map(|n| n < strict).collect::<Vec<_>>();
        assert_eq!(tools(&closed(json!({})), 22), of(20, 22));
        let mut optional = closed(json!({"a": {"type": "string"}, "b": {"type": "string"}}));
        optional["required"] = json!([]);
        assert_eq!(tools(&optional, 14), of(12, 14));
        let union = closed(json!({"a": {"type": ["string", "null"]}}));
        assert_eq!(tools(&union, 18), of(16, 18));
    }
}
