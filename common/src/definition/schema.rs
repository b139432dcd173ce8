//! JSON Schemas: compiled once, checked with all errors at once. No `$ref` leaves the document.

use std::sync::Arc;

use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::Value;

/// A compiled schema and its source.
#[derive(Debug, Clone)]
pub struct Schema {
    source: Arc<Value>,
    validator: Arc<jsonschema::Validator>,
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// At most this many faults are told: the reader is a model or a person.
const FAULTS_MAX: usize = 8;
/// Longest text of one fault, in bytes. Faults quote what they are about, which may be as large as an event; they go to the model,
/// and onto the journal, where an entry must fit into a message of NATS.
const FAULT_LENGTH_MAX: usize = 600;

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// What is wrong with it, in the validator's words.
    pub fn compile(source: Value) -> Result<Self, String> {
        let validator = jsonschema::validator_for(&source).map_err(|e| schema_fault(&e))?;
        Ok(Self {
            source: Arc::new(source),
            validator: Arc::new(validator),
        })
    }

    /// The schema as it was written.
    #[must_use]
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// Whether objects of this schema may have a property of this name, as far as one can tell: where the schema lists its
    /// properties and says nothing of others, others count as mistakes.
    #[must_use]
    pub fn allows_property(&self, name: &str) -> bool {
        const ELSEWHERE: [&str; 9] = [
            "$ref",
            "$dynamicRef",
            "allOf",
            "anyOf",
            "oneOf",
            "if",
            "patternProperties",
            "dependentSchemas",
            "unevaluatedProperties",
        ];
        let open = |more: &Value| *more != Value::Bool(false);
        match self.source.get("properties").and_then(Value::as_object) {
            Some(properties) => {
                properties.contains_key(name)
                    || ELSEWHERE.iter().any(|word| self.source.get(word).is_some())
                    || self.source.get("additionalProperties").is_some_and(open)
            }
            None => true,
        }
    }

    /// The properties it lists, for messages.
    pub(super) fn properties(&self) -> Vec<&str> {
        let listed = self.source.get("properties").and_then(Value::as_object);
        listed.map_or_else(Vec::new, |listed| {
            listed.keys().map(String::as_str).collect()
        })
    }

    /// Checks a value.
    ///
    /// # Errors
    /// Every fault (up to 8, each of up to 600 bytes), with its place as a JSON Pointer, joined by `; `.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        self.check_known(value, &[])
    }

    /// What is wrong with a value (up to 8 faults, each of up to 600 bytes), and where, as a JSON Pointer.
    #[must_use]
    pub fn faults(&self, value: &Value) -> Vec<(String, String)> {
        let faults = self.validator.iter_errors(value).take(FAULTS_MAX);
        let faults =
            faults.map(|fault| (fault.instance_path().to_string(), shortened(told(&fault))));
        faults.collect()
    }

    /// Checks what is known of a value whose texts at these places (JSON Pointers) are holes that will hold anything.
    ///
    /// # Errors
    /// As [`Schema::check`].
    pub(super) fn check_known(&self, value: &Value, holes: &[String]) -> Result<(), String> {
        let faults = self.validator.iter_errors(value);
        let mut faults = faults
            .filter(|fault| stands(fault, holes))
            .map(|fault| fault_text(&fault));
        let first: Vec<String> = faults.by_ref().take(FAULTS_MAX).collect();
        match (first.is_empty(), faults.count()) {
            (true, _) => Ok(()),
            (false, 0) => Err(first.join("; ")),
            (false, more) => Err(format!("{}; and {more} more", first.join("; "))),
        }
    }
}

/// Whether a fault is one whatever the holes will hold: about a place without holes, or about the names of properties.
fn stands(fault: &ValidationError<'_>, holes: &[String]) -> bool {
    use ValidationErrorKind::{AdditionalProperties, Required};
    let place = fault.instance_path().to_string();
    let names = matches!(fault.kind(), Required { .. } | AdditionalProperties { .. });
    !holes
        .iter()
        .any(|hole| within(&place, hole) || (!names && within(hole, &place)))
}

/// Whether one JSON Pointer is another or leads below it.
fn within(inner: &str, outer: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What is wrong with a schema itself, where the validator's words are about its own inside.
fn schema_fault(fault: &ValidationError<'_>) -> String {
    let place = fault.instance_path().to_string();
    let kind = fault.kind();
    if matches!(kind, ValidationErrorKind::Referencing(_)) {
        let fault = fault.to_string();
        let what = fault
            .split(" and retrieving it failed")
            .next()
            .unwrap_or(&fault);
        format!("a `$ref` must lead to a place in the same document (`#/…`): {what}")
    } else if matches!(kind, ValidationErrorKind::AnyOf { .. }) && place.ends_with("/type") {
        let types = "array, boolean, integer, null, number, object, string";
        format!("{place}: {} is none of {types}", fault.instance())
    } else {
        fault_text(fault)
    }
}

fn fault_text(fault: &ValidationError<'_>) -> String {
    let place = fault.instance_path().to_string();
    let told = told(fault);
    shortened(if place.is_empty() {
        told
    } else {
        format!("{place}: {told}")
    })
}

fn told(fault: &ValidationError<'_>) -> String {
    let told = fault.to_string();
    if told.len() > FAULT_LENGTH_MAX {
        fault.masked_with("the value").to_string()
    } else {
        told
    }
}

fn shortened(text: String) -> String {
    // What is left that is long was named by who wrote the value: its keys.
    match text.floor_char_boundary(FAULT_LENGTH_MAX) {
        end if end < text.len() => format!("{}…", &text[..end]),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_fault_is_told_with_its_place() -> Result<(), String> {
        let schema = Schema::compile(
            json!({"type": "object", "required": ["a"], "additionalProperties": false,
            "properties": {"a": {"type": "integer"}, "b": {"enum": ["x"]}}}),
        )?;
        assert!(schema.check(&json!({"a": 1})).is_ok());
        let fault = schema
            .check(&json!({"a": "1", "b": "y"}))
            .err()
            .unwrap_or_default();
        assert!(fault.contains("/a: ") && fault.contains("/b: "), "{fault}");
        let wrong = Schema::compile(json!({"properties": {"a": {"type": "strnig"}}}));
        assert!(wrong.is_err_and(|fault| fault.starts_with("/properties/a/type: ")));
        assert!(Schema::compile(json!({"$ref": "https://example.com/x.json"})).is_err());
        Ok(())
    }

    #[test]
    fn a_fault_is_told_without_what_it_is_about_where_that_is_large() -> Result<(), String> {
        let schema = Schema::compile(json!({"type": "object", "additionalProperties": false,
            "properties": {"a": {"maxLength": 3, "pattern": "^a*$"}}}))?;
        let large = "\"é".repeat(100_000);
        let fault = schema.check(&json!({"a": large})).err();
        let told =
            "/a: the value is longer than 3 characters; /a: the value does not match \"^a*$\"";
        assert_eq!(fault.as_deref(), Some(told));
        let fault = schema.check(&json!({large: 1})).err().unwrap_or_default();
        assert!(fault.starts_with("Additional properties") && fault.ends_with('…'));
        assert!(fault.len() <= FAULT_LENGTH_MAX + '…'.len_utf8());
        Ok(())
    }

    #[test]
    fn holes_hide_only_what_they_will_hold() -> Result<(), String> {
        let schema = Schema::compile(
            json!({"type": "object", "required": ["a"], "additionalProperties": false,
            "properties": {"a": {"type": "integer"}, "b": {"type": "array", "items": {"type": "integer"}, "maxItems": 1}}}),
        )?;
        let holes = |places: &[&str]| places.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(
            schema
                .check_known(&json!({"a": "{{ x }}"}), &holes(&["/a"]))
                .is_ok()
        );
        let elsewhere = schema.check_known(&json!({"a": "{{ x }}", "b": ["1"]}), &holes(&["/a"]));
        assert!(elsewhere.is_err_and(|fault| fault.starts_with("/b/0: ")));
        let inside = json!({"a": 1, "b": ["{{ x }}", 2]});
        assert!(schema.check_known(&inside, &holes(&["/b/0"])).is_ok());
        let misspelt = schema.check_known(&json!({"aa": "{{ x }}"}), &holes(&["/aa"]));
        assert!(misspelt.is_err_and(|fault| fault.contains("required") && fault.contains("'aa'")));
        assert!(schema.check_known(&json!("{{ x }}"), &holes(&[""])).is_ok());
        Ok(())
    }

    #[test]
    fn properties_that_are_not_listed_count_as_mistakes_unless_the_schema_is_open()
    -> Result<(), String> {
        let listed = json!({"a": true});
        assert!(!Schema::compile(json!({"properties": listed}))?.allows_property("b"));
        for open in ["allOf", "anyOf"] {
            let schema = Schema::compile(
                json!({"properties": listed, open: [{"properties": {"b": true}}]}),
            )?;
            assert!(schema.allows_property("b"));
        }
        let schema = Schema::compile(json!({"properties": listed, "additionalProperties": true}))?;
        assert!(schema.allows_property("b"));
        Ok(())
    }
}
