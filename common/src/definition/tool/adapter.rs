//! How a tool is run: its command or its HTTP request, and what their holes see.

use std::collections::BTreeSet;

use serde_saphyr::Spanned;

use super::{
    super::{
        problem::Report,
        schema::Schema,
        template::{Holes, Shape, Template},
    },
    Adapter,
    yaml::{HttpYaml, ToolYaml},
};

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

impl ToolYaml {
    pub(super) fn adapter(
        &self,
        report: &mut Report<'_>,
        input: Option<&Schema>,
    ) -> Option<Adapter> {
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
