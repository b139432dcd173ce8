//! JSON Schemas: compiled once, checked with all errors at once. No `$ref` leaves the document.

use std::sync::Arc;

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

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// What is wrong with it, in the validator's words.
    pub fn compile(source: Value) -> Result<Self, String> {
        let validator = jsonschema::validator_for(&source).map_err(|e| e.to_string())?;
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

    /// Whether objects of this schema may have a property of this name, as far as one can tell.
    #[must_use]
    pub fn allows_property(&self, name: &str) -> bool {
        match self.source.get("properties").and_then(Value::as_object) {
            Some(properties) => properties.contains_key(name),
            None => true,
        }
    }

    /// Checks a value.
    ///
    /// # Errors
    /// Every fault (up to 8), each with its place as a JSON Pointer, joined by `; `.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let mut faults = self.validator.iter_errors(value).map(|fault| {
            let place = fault.instance_path().to_string();
            if place.is_empty() {
                fault.to_string()
            } else {
                format!("{place}: {fault}")
            }
        });
        let first: Vec<String> = faults.by_ref().take(FAULTS_MAX).collect();
        match (first.is_empty(), faults.count()) {
            (true, _) => Ok(()),
            (false, 0) => Err(first.join("; ")),
            (false, more) => Err(format!("{}; and {more} more", first.join("; "))),
        }
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
        assert!(Schema::compile(json!({"type": "strnig"})).is_err());
        assert!(Schema::compile(json!({"$ref": "https://example.com/x.json"})).is_err());
        Ok(())
    }
}
