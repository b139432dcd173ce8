//! `{{ holes }}` and conditions: MiniJinja, strict about what is undefined, bounded by fuel, checked when loaded.

mod hole;
mod shape;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io,
    sync::{Arc, LazyLock},
};

use minijinja::{Environment, ErrorKind, UndefinedBehavior, value::Serde};
use serde_json::Value;

pub(super) use hole::Holes;
use hole::format_hole;
pub use hole::{mark_as_data, percent_encoded};
pub(super) use shape::whole;
pub use shape::{Formula, Shape};

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
        // In a text of one line, the line says nothing.
        let line = error.line().filter(|line| *line > 1);
        let line = line
            .map(|line| format!(" (in line {line})"))
            .unwrap_or_default();
        Self(format!("{}{detail}{line}", error.kind()))
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

/// Where nothing has to exist: for finding what no context could mend.
static LENIENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = environment();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment
});

/// MiniJinja finds an unknown filter, test or included file only when it gets there. Without any facts it gets to most of them,
/// and then a definition is refused when it is loaded and not in the middle of a run.
fn refuse_unknown(tried: Result<(), minijinja::Error>) -> Result<(), TemplateError> {
    use ErrorKind::{TemplateNotFound, UnknownFilter, UnknownTest};
    match tried {
        Err(error) if matches!(error.kind(), UnknownFilter | UnknownTest | TemplateNotFound) => {
            Err(error.into())
        }
        Err(_) | Ok(()) => Ok(()),
    }
}

/// The paths that must come from the context: MiniJinja names its own functions among them.
fn from_context(named: HashSet<String>) -> BTreeSet<String> {
    const FUNCTIONS: [&str; 3] = ["range", "dict", "namespace"];
    named
        .into_iter()
        .filter(|path| !FUNCTIONS.contains(&path.as_str()))
        .collect()
}

/// Takes a text up to [`TEXT_LENGTH_MAX`]: a loop over a large payload must not fill the memory before its size is looked at.
#[derive(Default)]
struct Bounded {
    text: Vec<u8>,
    full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > TEXT_LENGTH_MAX {
            self.full = true;
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
    /// What is wrong with its syntax, or a filter that does not exist.
    pub fn compile(source: &str, holes: Holes) -> Result<Self, TemplateError> {
        let mut environment = environment();
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_formatter(move |out, _, value| format_hole(out, value, holes));
        environment.add_template_owned(NAME.to_owned(), source.to_owned())?;
        let paths = from_context(environment.get_template(NAME)?.undeclared_variables(true));
        let tried = LENIENT.template_from_str(source)?;
        let tried = tried.render_captured_to((), Bounded::default());
        refuse_unknown(tried.map(drop))?;
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
        let mut bounded = Bounded::default();
        let template = self.environment.get_template(NAME)?;
        let rendered = template
            .render_captured_to(&context.0, &mut bounded)
            .map(drop);
        if bounded.full {
            return Err(TemplateError(format!(
                "the rendered text has more than {TEXT_LENGTH_MAX} bytes"
            )));
        }
        rendered?;
        String::from_utf8(bounded.text).map_err(|e| TemplateError(e.to_string()))
    }
}

#[cfg(test)]
mod tests;
