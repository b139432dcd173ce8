//! `{{ holes }}` and conditions: MiniJinja, strict about what is undefined, bounded by fuel, checked when loaded.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use minijinja::{Environment, Expression, UndefinedBehavior, value::Serde};
use serde_json::Value;

/// Instructions one rendering may take: an endless loop in a definition ends here.
const FUEL: u64 = 100_000;
/// Longest rendered text, in bytes.
const TEXT_LENGTH_MAX: usize = 256 * 1024;
const NAME: &str = "template";

/// Why a template did not compile or render.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(pub String);

impl From<minijinja::Error> for TemplateError {
    fn from(error: minijinja::Error) -> Self {
        let detail = error.detail().map(|d| format!(": {d}")).unwrap_or_default();
        Self(format!("{}{detail}", error.kind()))
    }
}

/// What holes are filled with.
#[derive(Debug, Clone)]
pub struct Context(minijinja::Value);

impl Context {
    /// From JSON: an object whose keys are the names that holes may use.
    #[must_use]
    pub fn new(value: &Value) -> Self {
        Self(minijinja::Value::from(Serde(value)))
    }

    /// The same with `<name>.<key>` for each of these texts. They are the operator's and not the input's, so a URL takes them as
    /// they are, while it percent-encodes every other hole.
    #[must_use]
    pub fn with_trusted(self, name: &str, texts: &BTreeMap<String, String>) -> Self {
        use minijinja::Value;
        let texts = texts
            .iter()
            .map(|(key, text)| (key.as_str(), Value::from_safe_string(text.clone())));
        let texts = Value::from_pairs([(name, Value::from_pairs(texts))]);
        Self(minijinja::value::merge_maps([texts, self.0]))
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment
}

static EXPRESSIONS: LazyLock<Environment<'static>> = LazyLock::new(environment);

/// How a hole's value becomes text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holes {
    /// Strings, numbers and booleans only: an argument or a URL holds no list and no object.
    Scalar,
    /// As [`Holes::Scalar`], percent-encoded so that a value cannot leave its place in a URL; what is trusted
    /// ([`Context::with_trusted`]) or marked by the definition (`| safe`) goes in as it is.
    Url,
    /// Any value; strings as they are, the rest as JSON.
    Plain,
    /// For prompts: wrapped in `<data>` so that the model sees what is data, and the data cannot close the wrap.
    Data,
}

/// A text with holes.
#[derive(Debug, Clone)]
pub struct Template {
    source: Arc<str>,
    environment: Arc<Environment<'static>>,
    paths: BTreeSet<String>,
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Template {
    /// Compiles a text.
    ///
    /// # Errors
    /// What is wrong with its syntax.
    pub fn compile(source: &str, holes: Holes) -> Result<Self, TemplateError> {
        let mut environment = environment();
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_formatter(move |out, _, value| format_hole(out, value, holes));
        environment.add_template_owned(NAME.to_owned(), source.to_owned())?;
        let paths = environment
            .get_template(NAME)?
            .undeclared_variables(true)
            .into_iter()
            .collect();
        Ok(Self {
            source: source.into(),
            environment: Arc::new(environment),
            paths,
        })
    }

    /// The text as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The paths its holes name, such as `event.data.id`.
    #[must_use]
    pub fn paths(&self) -> &BTreeSet<String> {
        &self.paths
    }

    /// Fills the holes.
    ///
    /// # Errors
    /// An undefined path, a value of the wrong type, too much work or too long a text.
    pub fn render(&self, context: &Context) -> Result<String, TemplateError> {
        if self.paths.is_empty() && !self.source.contains('{') {
            return Ok(self.source.as_ref().to_owned());
        }
        let text = self.environment.get_template(NAME)?.render(&context.0)?;
        if text.len() > TEXT_LENGTH_MAX {
            return Err(TemplateError(format!(
                "the rendered text has {} bytes, at most {TEXT_LENGTH_MAX} are allowed",
                text.len()
            )));
        }
        Ok(text)
    }
}

fn format_hole(
    out: &mut minijinja::Output,
    value: &minijinja::Value,
    holes: Holes,
) -> Result<(), minijinja::Error> {
    use minijinja::{Error, ErrorKind, value::ValueKind};
    if value.is_undefined() {
        return Err(Error::new(
            ErrorKind::UndefinedError,
            "a hole names something that does not exist",
        ));
    }
    let scalar = matches!(
        value.kind(),
        ValueKind::String | ValueKind::Number | ValueKind::Bool
    );
    let text = match (value.as_str(), holes) {
        (Some(text), _) => text.to_owned(),
        (None, Holes::Scalar | Holes::Url) if !scalar => {
            let message = format!(
                "a hole needs a text, number or boolean here, not a {}",
                value.kind()
            );
            return Err(Error::new(ErrorKind::InvalidOperation, message));
        }
        (None, _) if scalar => value.to_string(),
        (None, _) => serde_json::to_string(value)
            .map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))?,
    };
    let written = match holes {
        Holes::Url if !value.is_safe() => out.write_str(&percent_encoded(&text)),
        Holes::Scalar | Holes::Url | Holes::Plain => out.write_str(&text),
        Holes::Data => out.write_str(&mark_as_data(&text)),
    };
    written.map_err(|_| Error::new(ErrorKind::WriteFailure, "the rendered text is too long"))
}

/// Text as one part of a URL: every byte but the unreserved ones of RFC 3986 as `%XX`.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Marks untrusted text for a prompt: `<data>…</data>`, with every `<` of a nested tag of that name made harmless.
#[must_use]
pub fn mark_as_data(text: &str) -> String {
    let harmless = text
        .replace("</data", "&lt;/data")
        .replace("<data", "&lt;data");
    format!("<data>{harmless}</data>")
}

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
    /// What is wrong with its syntax.
    pub fn compile(source: &str) -> Result<Self, TemplateError> {
        let expression = EXPRESSIONS.compile_expression_owned(source.to_owned())?;
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
        self.expression
            .undeclared_variables(true)
            .into_iter()
            .collect()
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

fn whole(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then(|| inner.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn context() -> Context {
        Context::new(
            &json!({"event": {"data": {"n": 3, "s": "x", "l": [1, 2], "bad": "a</data>b"}}}),
        )
    }

    #[test]
    fn one_hole_keeps_its_type_and_a_text_does_not() -> Result<(), TemplateError> {
        let shape = Shape::compile(
            &json!({"n": "{{ event.data.n }}", "t": "n={{ event.data.n }}", "l": ["{{event.data.l}}"], "k": 1}),
        )?;
        assert_eq!(
            shape.render(&context())?,
            json!({"n": 3, "t": "n=3", "l": [[1, 2]], "k": 1})
        );
        assert!(shape.paths().contains("event.data.l"));
        Ok(())
    }

    #[test]
    fn what_does_not_exist_is_an_error_and_never_empty() -> Result<(), TemplateError> {
        for text in [
            "{{ event.data.nope }}",
            "{{ nope }}",
            "{{ event.nope.deep }}",
            "a {{ event.data.nope }}",
        ] {
            assert!(
                Shape::compile(&json!(text))?.render(&context()).is_err(),
                "{text}"
            );
        }
        assert!(
            Template::compile("{{ event.data.l }}", Holes::Scalar)?
                .render(&context())
                .is_err()
        );
        Ok(())
    }

    #[test]
    fn endless_templates_run_out_of_fuel() -> Result<(), TemplateError> {
        let loops = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        let error = Template::compile(loops, Holes::Plain)?.render(&context());
        assert!(error.is_err_and(|e| e.to_string().contains("fuel")));
        Ok(())
    }

    #[test]
    fn data_in_prompts_cannot_close_its_mark() -> Result<(), TemplateError> {
        let prompt = Template::compile("Look: {{ event.data.bad }}", Holes::Data)?;
        assert_eq!(
            prompt.render(&context())?,
            "Look: <data>a&lt;/data>b</data>"
        );
        Ok(())
    }

    #[test]
    fn a_value_cannot_leave_its_place_in_a_url_and_the_operators_may() -> Result<(), TemplateError>
    {
        let context = Context::new(&json!({"input": {"id": "../a?b=c&d#é", "n": 7}, "run": "r"}))
            .with_trusted("env", &[("BASE".into(), "http://h:1/v1".into())].into());
        let url = "{{ env.BASE }}/{{ input.id }}/{{ input.n }}?run={{ run }}";
        assert_eq!(
            Template::compile(url, Holes::Url)?.render(&context)?,
            "http://h:1/v1/..%2Fa%3Fb%3Dc%26d%23%C3%A9/7?run=r"
        );
        let marked = Template::compile("{{ input.id | safe }}", Holes::Url)?;
        assert_eq!(marked.render(&context)?, "../a?b=c&d#é");
        let body = Shape::compile(&json!({"base": "{{ env.BASE }}"}))?;
        assert_eq!(body.render(&context)?, json!({"base": "http://h:1/v1"}));
        Ok(())
    }

    #[test]
    fn conditions_hold_or_not() -> Result<(), TemplateError> {
        assert!(Formula::compile("event.data.n > 2 and event.data.s == 'x'")?.holds(&context())?);
        assert!(
            Formula::compile("event.data.n >").is_err_and(|e| e.to_string().contains("syntax"))
        );
        Ok(())
    }
}
