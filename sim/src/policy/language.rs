//! Expressions and templates of policies: MiniJinja, compiled once, checked when loaded.
//!
//! MiniJinja finds bad syntax when it compiles, but an unknown name, filter or test only when a request comes to it.
//! A policy's mistake should stop the start of the server, so those are looked for here.

use crate::policy::conversation::NAMES;
use crate::policy::filters;
use minijinja::{Environment, Error, Expression, UndefinedBehavior, Value, context};
use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

/// Steps one expression or template may take; each costs well under a microsecond.
const FUEL: u64 = 200_000;

/// The language never changes, and expressions borrow it: so there is one.
static LANGUAGE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut language = Environment::new();
    language.set_undefined_behavior(UndefinedBehavior::Chainable);
    language.set_fuel(Some(FUEL));
    filters::add(&mut language);
    language
});

/// A compiled expression, such as `calls | length == 0`.
pub(crate) struct Expr {
    compiled: Expression<'static, 'static>,
    source: String,
}

/// A compiled string of a policy.
#[derive(Debug)]
pub(crate) enum Text {
    /// No holes.
    Plain(String),
    /// Exactly one `{{ … }}`: its value keeps its type.
    Typed(Expr),
    /// Text with holes: a string.
    Mixed(Box<Mixed>),
}

/// A compiled template. It has an environment of its own, which costs a few counters: a template borrows from one.
#[derive(Debug)]
pub(crate) struct Mixed(Environment<'static>);

/// The name of the one template in a [`Mixed`].
const ONLY: &str = "text";

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expr").field(&self.source).finish()
    }
}

impl Expr {
    /// Compiles an expression; the error says what is wrong in words.
    pub(crate) fn compile(source: &str) -> Result<Self, String> {
        let compiled = LANGUAGE
            .compile_expression_owned(source.to_owned())
            .map_err(|error| words(&error))?;
        check_names(compiled.undeclared_variables(false))?;
        check_code(source)?;
        Ok(Self {
            compiled,
            source: source.trim().to_owned(),
        })
    }

    pub(crate) fn eval(&self, conversation: &Value) -> Result<Value, String> {
        self.compiled
            .eval(conversation.clone())
            .map_err(|error| format!("`{}`: {}", self.source, words(&error)))
    }
}

impl Text {
    /// Compiles a string of a policy.
    pub(crate) fn compile(source: &str) -> Result<Self, String> {
        if !["{{", "{%", "{#"].iter().any(|mark| source.contains(mark)) {
            return Ok(Self::Plain(source.to_owned()));
        }
        if let Some(inner) = sole_hole(source) {
            return Expr::compile(inner).map(Self::Typed);
        }
        let mut environment = LANGUAGE.clone();
        environment
            .add_template_owned(ONLY, source.to_owned())
            .map_err(|error| words(&error))?;
        let template = environment
            .get_template(ONLY)
            .map_err(|error| words(&error))?;
        check_names(template.undeclared_variables(false))?;
        holes(source).try_for_each(check_code)?;
        Ok(Self::Mixed(Box::new(Mixed(environment))))
    }

    /// The value, with its type. A hole that is the whole text must not be undefined.
    pub(crate) fn value(&self, conversation: &Value) -> Result<serde_json::Value, String> {
        match self {
            Self::Plain(text) => Ok(text.as_str().into()),
            Self::Typed(expr) => {
                let value = expr.eval(conversation)?;
                if value.is_undefined() {
                    return Err(format!("`{}` is undefined", expr.source));
                }
                serde_json::to_value(&value).map_err(|error| format!("`{}`: {error}", expr.source))
            }
            Self::Mixed(mixed) => {
                let template = mixed.0.get_template(ONLY).map_err(|error| words(&error))?;
                template
                    .render(conversation.clone())
                    .map(Into::into)
                    .map_err(|error| words(&error))
            }
        }
    }

    /// The value as a string: strings as they are, the rest as JSON.
    pub(crate) fn string(&self, conversation: &Value) -> Result<String, String> {
        let value = self.value(conversation)?;
        Ok(value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned))
    }
}

/// What stands in a text's only hole, if the text is nothing else.
fn sole_hole(source: &str) -> Option<&str> {
    let inner = source.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner);
    // `{{ a }} and {{ b }}` begins and ends like one hole, and does not compile as one.
    LANGUAGE.compile_expression(inner).is_ok().then_some(inner)
}

fn words(error: &Error) -> String {
    let kind = error.kind().to_string();
    error
        .detail()
        .map_or(kind.clone(), |detail| format!("{kind}: {detail}"))
}

fn check_names(used: HashSet<String>) -> Result<(), String> {
    let known =
        |name: &str| NAMES.contains(&name) || LANGUAGE.globals().any(|(global, _)| global == name);
    let mut unknown: Vec<String> = used.into_iter().filter(|name| !known(name)).collect();
    unknown.sort();
    match unknown.first() {
        None => Ok(()),
        Some(name) => Err(format!(
            "unknown name `{name}`; there are {}",
            NAMES.join(", ")
        )),
    }
}

/// The insides of `{{ … }}` and `{% … %}`.
fn holes(source: &str) -> impl Iterator<Item = &str> {
    let mut rest = source;
    std::iter::from_fn(move || {
        let start = [rest.find("{{"), rest.find("{%")]
            .into_iter()
            .flatten()
            .min()?;
        let close = if rest.get(start..)?.starts_with("{{") {
            "}}"
        } else {
            "%}"
        };
        let inside = rest.get(start + 2..)?;
        let end = inside.find(close).unwrap_or(inside.len());
        rest = inside.get(end..)?;
        inside.get(..end)
    })
}

/// Looks for filters, tests and methods that do not exist.
fn check_code(code: &str) -> Result<(), String> {
    let words = words_of(code);
    for (index, word) in words.iter().enumerate() {
        let next = words.get(index + 1).copied().unwrap_or_default();
        let before = index
            .checked_sub(1)
            .and_then(|at| words.get(at))
            .copied()
            .unwrap_or_default();
        if *word == "|" && !exists("filter", next) {
            return Err(format!("unknown filter `{next}`"));
        }
        let test = if next == "not" {
            words.get(index + 2).copied().unwrap_or_default()
        } else {
            next
        };
        if *word == "is" && before != "." && !exists("test", test) {
            return Err(format!("unknown test `{test}`"));
        }
        let called = words.get(index + 2) == Some(&"(");
        if *word == "." && called && before != "loop" && is_name(next) {
            return Err(format!(
                "values have no methods such as `.{next}()`; use a filter"
            ));
        }
    }
    Ok(())
}

fn exists(what: &str, name: &str) -> bool {
    let asked = LANGUAGE.compile_expression(if what == "filter" {
        "name is filter"
    } else {
        "name is test"
    });
    asked
        .and_then(|asked| asked.eval(context! { name => name }))
        .is_ok_and(|answer| answer.is_true())
}

fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// The code's names and signs, without its strings and spaces.
fn words_of(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' || first == '\'' {
            string_length(rest, first)
        } else if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (word, after) = rest.split_at(length);
        if !first.is_whitespace() {
            words.push(if first == '"' || first == '\'' {
                "''"
            } else {
                word
            });
        }
        rest = after;
    }
    words
}

/// Length of the string literal that `text` begins with, its quotes included.
fn string_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn conversation() -> Value {
        context! { turns => 2, text => "disk", tools => vec!["a", "b"] }
    }

    fn value(source: &str) -> serde_json::Value {
        Text::compile(source)
            .unwrap()
            .value(&conversation())
            .unwrap()
    }

    #[test]
    fn a_string_that_is_one_hole_keeps_its_type() {
        assert_eq!(value("{{ turns }}"), json!(2));
        assert_eq!(value("{{ turns > 1 }}\n"), json!(true));
        assert_eq!(value("{{- tools -}}"), json!(["a", "b"]));
        assert_eq!(value("{{ {'a': {'b': turns}} }}"), json!({"a": {"b": 2}}));
        assert_eq!(value("{{ turns }} of {{ turns }}"), json!("2 of 2"));
        assert_eq!(value("{{ turns }}{{ turns }}"), json!("22"));
        assert_eq!(value("plain { text }"), json!("plain { text }"));
        assert_eq!(
            value("{% for tool in tools %}{{ tool }}{{ loop.index }}{% endfor %}"),
            json!("a1b2")
        );
    }

    #[test]
    fn a_typed_hole_that_is_undefined_is_an_error_and_not_null() {
        let text = Text::compile("{{ last.json.host }}").unwrap();
        assert_eq!(
            text.value(&conversation()).unwrap_err(),
            "`last.json.host` is undefined"
        );
    }

    #[test]
    fn every_mistake_is_found_when_compiled() {
        for (source, words) in [
            ("calls | length ==", "syntax error"),
            ("lst.result", "unknown name `lst`"),
            ("text | nope", "unknown filter `nope`"),
            (
                "false and (text | lower | nope(1))",
                "unknown filter `nope`",
            ),
            ("text is nope", "unknown test `nope`"),
            ("text is not nope", "unknown test `nope`"),
            (
                "text.startswith('a')",
                "values have no methods such as `.startswith()`",
            ),
            ("nope(text)", "unknown name `nope`"),
        ] {
            let error = Expr::compile(source).unwrap_err();
            assert!(error.contains(words), "{source}: {error}");
            let error = Text::compile(&format!("a | b {{{{ {source} }}}} c")).unwrap_err();
            assert!(error.contains(words), "{source}: {error}");
        }
    }

    #[test]
    fn strings_and_operators_are_not_taken_for_names() {
        for source in [
            "text == 'a | nope is nope .b('",
            r#"text == "it's \" | nope""#,
            "text is not startingwith 'd'",
            "'Workflow: x' in system and last.json.is.a == 1",
            "range(3) | length == 3",
            "(last.result | find_line('/dev/') | column(5) | number) > 90 if last else false",
        ] {
            Expr::compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        }
    }

    #[test]
    fn an_endless_expression_runs_out_of_fuel() {
        let text = Text::compile(
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
        )
        .unwrap();
        assert!(text.value(&conversation()).unwrap_err().contains("fuel"));
    }
}
