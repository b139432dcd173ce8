//! Tools: what executors can do, as the catalogue says it.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_saphyr::Spanned;

use super::{
    problem::Report,
    schema::Schema,
    template::{Holes, Shape, Template},
};
use crate::{
    entry::RESERVED,
    ids::Name,
    units::{ByteSize, Rate, Span},
};

/// What repeating a tool does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing: repeat at will.
    Read,
    /// The same, with the same idempotency key.
    Idempotent,
    /// It is done again: never repeat blindly.
    Once,
}

/// How a tool is run.
#[derive(Debug, Clone, PartialEq)]
pub enum Adapter {
    /// A program.
    Command {
        /// One template per argument; never a shell.
        argv: Vec<Template>,
        /// Where it runs.
        cwd: Option<Template>,
    },
    /// An HTTP request.
    Http {
        /// `GET`, `POST`, …
        method: String,
        /// The address.
        url: Template,
        /// Header names and values.
        headers: Vec<(String, Template)>,
        /// A JSON body.
        body: Option<Shape>,
    },
}

/// A tool, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: u32,
    /// What it does, for the model and for people.
    pub description: String,
    /// What it takes.
    pub input: Schema,
    /// What repeating it does.
    pub effect: Effect,
    /// Longest run.
    pub timeout: Duration,
    /// The bulkhead: how many at once in one executor.
    pub concurrency: u32,
    /// How often, in one executor.
    pub rate: Option<Rate>,
    /// Largest output kept, in bytes.
    pub output_limit: usize,
    /// Environment variables that its holes and its process may see.
    pub env: BTreeSet<String>,
    /// How it runs.
    pub adapter: Adapter,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolsYaml {
    pub(crate) tools: Vec<ToolYaml>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolYaml {
    pub(crate) tool: Spanned<Name>,
    version: Spanned<u32>,
    description: Spanned<String>,
    input: Spanned<Value>,
    effect: Effect,
    #[serde(default)]
    timeout: Option<Spanned<Span>>,
    #[serde(default)]
    concurrency: Option<std::num::NonZeroU32>,
    #[serde(default)]
    rate: Option<Rate>,
    #[serde(default)]
    output_limit: Option<Spanned<ByteSize>>,
    #[serde(default)]
    env: BTreeSet<String>,
    #[serde(default)]
    command: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    cwd: Option<Spanned<String>>,
    #[serde(default)]
    http: Option<HttpYaml>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpYaml {
    #[serde(default)]
    method: Option<Spanned<String>>,
    url: Spanned<String>,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    body: Option<Spanned<Value>>,
}

const TIMEOUT: Duration = Duration::from_secs(30);
const CONCURRENCY: u32 = 16;
const OUTPUT_LIMIT: usize = 64 * 1024;
/// The journal holds results, and NATS refuses messages over 1 MiB.
const OUTPUT_LIMIT_MAX: usize = 256 * 1024;
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

impl ToolYaml {
    /// Compiles the tool; what is wrong goes into the report, and then there is none.
    pub(crate) fn compile(&self, report: &mut Report<'_>) -> Option<Tool> {
        let before = report.problems.len();
        let name = &self.tool.value;
        if RESERVED.contains(&name.as_str()) {
            let message = format!(
                "`{name}` is a reserved name: planners publish what they settle themselves under it"
            );
            report.at(
                self.tool.referenced,
                message,
                Some("give the tool another name"),
            );
        }
        if self.version.value == 0 {
            report.at(self.version.referenced, "versions count from 1", None);
        }
        if self.description.value.trim().is_empty() {
            let message = format!("`{name}` needs a `description`: the model picks tools by it");
            report.at(self.description.referenced, message, None);
        }
        let input = self.input_schema(report);
        let adapter = self.adapter(report, input.as_ref());
        let timeout = self.timeout.as_ref().map_or(TIMEOUT, |span| span.value.0);
        if let Some(given) = self
            .timeout
            .as_ref()
            .filter(|given| given.value.0.is_zero())
        {
            report.at(given.referenced, "`timeout` must be more than 0", None);
        }
        let output_limit = self
            .output_limit
            .as_ref()
            .map_or(OUTPUT_LIMIT, |size| size.value.0);
        if let Some(given) = &self.output_limit
            && !(1..=OUTPUT_LIMIT_MAX).contains(&output_limit)
        {
            let message = "`output_limit` must be from 1B to 256KiB: results go on the journal";
            report.at(given.referenced, message, None);
        }
        if report.problems.len() > before {
            return None;
        }
        Some(Tool {
            name: name.clone(),
            version: self.version.value,
            description: self.description.value.trim().to_owned(),
            input: input?,
            effect: self.effect,
            timeout,
            concurrency: self
                .concurrency
                .map_or(CONCURRENCY, std::num::NonZeroU32::get),
            rate: self.rate,
            output_limit,
            env: self.env.clone(),
            adapter: adapter?,
        })
    }

    fn input_schema(&self, report: &mut Report<'_>) -> Option<Schema> {
        let source = &self.input.value;
        if source["type"] != "object" {
            let message = "a tool's `input` must be a JSON Schema with `type: object`";
            let help = Some("a tool that takes nothing has `input: {type: object}`");
            report.at(self.input.referenced, message, help);
            return None;
        }
        match Schema::compile(source.clone()) {
            Ok(schema) => Some(schema),
            Err(fault) => {
                report.at(
                    self.input.referenced,
                    format!("`input` is no valid JSON Schema: {fault}"),
                    None,
                );
                None
            }
        }
    }

    fn adapter(&self, report: &mut Report<'_>, input: Option<&Schema>) -> Option<Adapter> {
        match (&self.command, &self.http) {
            (Some(argv), None) => {
                if argv.value.is_empty() {
                    report.at(
                        argv.referenced,
                        "`command` is empty; its first item is the program",
                        None,
                    );
                }
                self.fixed_program(report, &argv.value);
                let argv: Vec<_> = argv
                    .value
                    .iter()
                    .filter_map(|item| self.template(report, item, Holes::Scalar, input))
                    .collect();
                let cwd = self
                    .cwd
                    .as_ref()
                    .and_then(|cwd| self.template(report, cwd, Holes::Scalar, input));
                Some(Adapter::Command { argv, cwd })
            }
            (None, Some(http)) => {
                if let Some(cwd) = &self.cwd {
                    let message = "`cwd` belongs to a `command`, and this tool has `http`";
                    report.at(cwd.referenced, message, None);
                }
                self.http(report, http, input)
            }
            (given, _) => {
                let count = match given {
                    Some(_) => "both `command` and `http`",
                    None => "neither `command` nor `http`",
                };
                let message = format!("tool `{}` has {count}", self.tool.value);
                report.at(
                    self.tool.referenced,
                    message,
                    Some("give it exactly one of them"),
                );
                None
            }
        }
    }

    /// What runs is the operator's choice: whoever fills in the parameters picks arguments, never the program.
    fn fixed_program(&self, report: &mut Report<'_>, argv: &[Spanned<String>]) {
        let Some(program) = argv.first() else {
            return;
        };
        let holes = Template::compile(&program.value, Holes::Scalar);
        if holes.is_ok_and(|holes| holes.paths().iter().any(|path| path.starts_with("input"))) {
            let message =
                "the program must not come from `input`: its parameters would choose what runs";
            let help = "write the program here, and use the hole as an argument";
            report.at(program.referenced, message, Some(help));
        }
    }

    fn http(
        &self,
        report: &mut Report<'_>,
        http: &HttpYaml,
        input: Option<&Schema>,
    ) -> Option<Adapter> {
        let method = http.method.as_ref().map_or("GET", |m| m.value.as_str());
        if let (Some(given), false) = (&http.method, METHODS.contains(&method)) {
            report.at(
                given.referenced,
                format!("`{method}` is none of {}", METHODS.join(", ")),
                None,
            );
        }
        if !["http://", "https://", "{{"]
            .iter()
            .any(|start| http.url.value.starts_with(start))
        {
            let message = format!("`{}` is no address", http.url.value);
            let help = "it starts with http://, https:// or a hole such as {{ env.BASE_URL }}";
            report.at(http.url.referenced, message, Some(help));
        }
        let url = self.template(report, &http.url, Holes::Url, input)?;
        let headers = http.headers.iter();
        let headers = headers
            .filter_map(|(name, value)| {
                Some((
                    name.clone(),
                    self.template(report, value, Holes::Scalar, input)?,
                ))
            })
            .collect();
        let body = match &http.body {
            None => None,
            Some(body) => match Shape::compile(&body.value) {
                Ok(shape) => {
                    self.check_paths(report, body.referenced, &shape.paths(), input);
                    Some(shape)
                }
                Err(error) => {
                    let message = format!("this does not compile: {error}");
                    report.at(body.referenced, message, None);
                    None
                }
            },
        };
        Some(Adapter::Http {
            method: method.to_owned(),
            url,
            headers,
            body,
        })
    }

    fn template(
        &self,
        report: &mut Report<'_>,
        text: &Spanned<String>,
        holes: Holes,
        input: Option<&Schema>,
    ) -> Option<Template> {
        match Template::compile(&text.value, holes) {
            Ok(template) => {
                self.check_paths(report, text.referenced, template.paths(), input);
                Some(template)
            }
            Err(error) => {
                let message = format!("this does not compile: {error}");
                report.at(text.referenced, message, None);
                None
            }
        }
    }

    fn check_paths(
        &self,
        report: &mut Report<'_>,
        place: serde_saphyr::Location,
        paths: &BTreeSet<String>,
        input: Option<&Schema>,
    ) {
        for path in paths {
            let mut parts = path.split('.');
            let (problem, help) = match (parts.next(), parts.next()) {
                (Some("input"), Some(field)) => {
                    let Some(schema) = input.filter(|schema| !schema.allows_property(field)) else {
                        continue;
                    };
                    let help = format!("it has: {}", schema.properties().join(", "));
                    (
                        format!("the tool's `input` has no property `{field}`"),
                        Some(help),
                    )
                }
                (Some("env"), Some(field)) if self.env.contains(field) => continue,
                (Some("env"), Some(field)) => {
                    let help = format!("add it: `env: [{field}]`");
                    (format!("the tool may not see `{field}`"), Some(help))
                }
                (Some("input" | "env" | "run" | "step" | "idempotency_key"), None) => continue,
                _ => {
                    let known = "input, env, run, step and idempotency_key";
                    (format!("a tool's holes see only {known}"), None)
                }
            };
            report.at(place, format!("`{path}`: {problem}"), help.as_deref());
        }
    }
}
