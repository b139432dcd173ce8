//! Conditions, single values, and JSON with holes.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use minijinja::{Environment, Expression};
use serde_json::Value;

use super::{
    Context, Holes, LENIENT, Template, TemplateError, environment, from_context, refuse_unknown,
};

static EXPRESSIONS: LazyLock<Environment<'static>> = LazyLock::new(environment);

/// A condition or a single value: one expression.
#[derive(Debug, Clone)]
pub struct Formula {
    source: Arc<str>,
    expression: Arc<Expression<'static, 'static>>,
}

impl PartialEq for Formula {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Formula {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with its syntax, or a filter that does not exist.
    pub fn compile(source: &str) -> Result<Self, TemplateError> {
        let expression = EXPRESSIONS.compile_expression_owned(source.to_owned())?;
        refuse_unknown(LENIENT.compile_expression(source)?.eval(()).map(drop))?;
        Ok(Self {
            source: source.into(),
            expression: Arc::new(expression),
        })
    }

    /// The expression as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The paths it names.
    #[must_use]
    pub fn paths(&self) -> BTreeSet<String> {
        from_context(self.expression.undeclared_variables(true))
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// An undefined path on the way, or too much work.
    pub fn holds(&self, context: &Context) -> Result<bool, TemplateError> {
        Ok(self.expression.eval(&context.0)?.is_true())
    }

    /// Its value, with its JSON type.
    ///
    /// # Errors
    /// An undefined path, or too much work.
    pub fn value(&self, context: &Context) -> Result<Value, TemplateError> {
        let value = self.expression.eval(&context.0)?;
        if value.is_undefined() {
            return Err(TemplateError(format!("`{}` does not exist", self.source)));
        }
        serde_json::to_value(&value).map_err(|e| TemplateError(e.to_string()))
    }
}

/// JSON with holes: a string that is exactly one `{{ … }}` keeps the value's type, any other renders to a string.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// As it is.
    Literal(Value),
    /// Exactly one hole.
    Whole(Formula),
    /// A text with holes.
    Text(Template),
    /// An array.
    List(Vec<Shape>),
    /// An object, in order.
    Map(Vec<(String, Shape)>),
}

impl Shape {
    /// Compiles all strings of a JSON value.
    ///
    /// # Errors
    /// The first hole that is wrong.
    pub fn compile(value: &Value) -> Result<Self, TemplateError> {
        Ok(match value {
            Value::String(text) => match whole(text) {
                Some(expression) => Self::Whole(Formula::compile(expression)?),
                None if text.contains("{{") || text.contains("{%") => {
                    Self::Text(Template::compile(text, Holes::Plain)?)
                }
                None => Self::Literal(value.clone()),
            },
            Value::Array(items) => {
                Self::List(items.iter().map(Self::compile).collect::<Result<_, _>>()?)
            }
            Value::Object(map) => Self::Map(
                map.iter()
                    .map(|(key, value)| Ok((key.clone(), Self::compile(value)?)))
                    .collect::<Result<_, TemplateError>>()?,
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Literal(value.clone()),
        })
    }

    /// Fills all holes.
    ///
    /// # Errors
    /// The first hole that cannot be filled.
    pub fn render(&self, context: &Context) -> Result<Value, TemplateError> {
        Ok(match self {
            Self::Literal(value) => value.clone(),
            Self::Whole(formula) => formula.value(context)?,
            Self::Text(template) => Value::String(template.render(context)?),
            Self::List(items) => Value::Array(
                items
                    .iter()
                    .map(|item| item.render(context))
                    .collect::<Result<_, _>>()?,
            ),
            Self::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, shape)| Ok((key.clone(), shape.render(context)?)))
                    .collect::<Result<_, TemplateError>>()?,
            ),
        })
    }

    /// Where its holes are, as JSON Pointers.
    #[must_use]
    pub fn holes(&self) -> Vec<String> {
        let below = |part: String, shape: &Self| -> Vec<String> {
            let holes = shape.holes().into_iter();
            holes.map(|hole| format!("/{part}{hole}")).collect()
        };
        match self {
            Self::Literal(_) => Vec::new(),
            Self::Whole(_) | Self::Text(_) => vec![String::new()],
            Self::List(items) => {
                let items = items.iter().enumerate();
                items
                    .flat_map(|(index, item)| below(index.to_string(), item))
                    .collect()
            }
            Self::Map(entries) => {
                let entries = entries.iter();
                entries
                    .flat_map(|(key, shape)| below(escaped(key), shape))
                    .collect()
            }
        }
    }

    /// All paths its holes name.
    #[must_use]
    pub fn paths(&self) -> BTreeSet<String> {
        match self {
            Self::Literal(_) => BTreeSet::new(),
            Self::Whole(formula) => formula.paths(),
            Self::Text(template) => template.paths().clone(),
            Self::List(items) => items.iter().flat_map(Self::paths).collect(),
            Self::Map(entries) => entries
                .iter()
                .flat_map(|(_, shape)| shape.paths())
                .collect(),
        }
    }
}

/// One part of a JSON Pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// What is in the one hole that is all of a text.
pub(in crate::definition) fn whole(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then(|| inner.trim())
}
