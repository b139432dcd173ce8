//! How a tool is run: which of the adapters it has, its command, and what its holes see.

use std::collections::BTreeSet;

use serde_saphyr::Spanned;

use super::{
    super::{
        problem::Report,
        schema::Schema,
        template::{Holes, Template},
    },
    Adapter,
    mcp::ServerYaml,
    yaml::ToolYaml,
};

impl ToolYaml {
    pub(super) fn adapter(
        &self,
        report: &mut Report<'_>,
        input: Option<&Schema>,
        servers: &[ServerYaml],
    ) -> Option<Adapter> {
        if self.kinds().len() != 1 {
            return self.not_one(report);
        }
        let command = self.command.as_ref();
        let adapter = command.map(|argv| self.program(report, argv, input));
        let http = self.http.as_ref();
        let adapter = adapter.or_else(|| self.http(report, http?, input));
        let nats = self.nats.as_ref();
        let adapter = adapter.or_else(|| self.nats(report, nats?, input));
        let mcp = self.mcp.as_ref();
        let adapter = adapter.or_else(|| self.mcp(report, mcp?, servers));
        let builtin = self.builtin.as_ref();
        let adapter = adapter.or_else(|| self.builtin(report, builtin?, input));
        self.belongs_to_command(report);
        super::blob::check(report, self.input.referenced, input, self.command.is_some());
        adapter
    }

    fn kinds(&self) -> Vec<&'static str> {
        let given = [
            ("`command`", self.command.is_some()),
            ("`http`", self.http.is_some()),
            ("`nats`", self.nats.is_some()),
            ("`mcp`", self.mcp.is_some()),
            ("`builtin`", self.builtin.is_some()),
        ];
        let given = given.iter().filter(|(_, is_given)| *is_given);
        given.map(|(kind, _)| *kind).collect()
    }

    fn not_one(&self, report: &mut Report<'_>) -> Option<Adapter> {
        let name = &self.tool.value;
        let (message, help) = match self.kinds().as_slice() {
            [] => (
                format!("tool `{name}` has none of `command`, `http`, `nats`, `mcp` and `builtin`"),
                "give it exactly one of them",
            ),
            [first, second] => (
                format!("tool `{name}` has both {first} and {second}"),
                "give it exactly one of them",
            ),
            several => (
                format!("tool `{name}` has {}", several.join(", ")),
                "give it exactly one of them",
            ),
        };
        report.at(self.tool.referenced, message, Some(help));
        None
    }

    /// Keys that say something of a program only.
    fn belongs_to_command(&self, report: &mut Report<'_>) {
        if self.command.is_some() {
            return;
        }
        let given = [
            ("cwd", self.cwd.as_ref().map(|cwd| cwd.referenced)),
            (
                "stdout",
                self.stdout.as_ref().map(|stdout| stdout.referenced),
            ),
            (
                "limits",
                self.limits.as_ref().map(|limits| limits.referenced),
            ),
        ];
        for (key, place) in given {
            if let (Some(place), [kind, ..]) = (place, self.kinds().as_slice()) {
                let message = format!("`{key}` belongs to a `command`, and this tool has {kind}");
                report.at(place, message, None);
            }
        }
    }

    fn program(
        &self,
        report: &mut Report<'_>,
        argv: &Spanned<Vec<Spanned<String>>>,
        input: Option<&Schema>,
    ) -> Adapter {
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
        let limits = self.limits.as_ref();
        let limits = limits.map(|limits| limits.value.compile(report, limits.referenced));
        let stdout = self.stdout.as_ref();
        let stdout = stdout.and_then(|given| given.value.stdout(report, given.referenced));
        Adapter::Command {
            argv,
            cwd,
            stdout,
            limits: limits.unwrap_or_default(),
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

    pub(super) fn template(
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

    pub(super) fn check_paths(
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
