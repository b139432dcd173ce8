//! The YAML of tools.

use std::{collections::BTreeSet, time::Duration};

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::{
    super::{problem::Report, schema::Schema, yaml::CallYaml},
    Effect, Risk, Tool,
};
use crate::{
    entry::RESERVED,
    ids::Name,
    units::{ByteSize, Rate, Span},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::definition) struct ToolsYaml {
    pub(in crate::definition) tools: Vec<ToolYaml>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::definition) struct ToolYaml {
    pub(in crate::definition) tool: Spanned<Name>,
    version: Spanned<u32>,
    description: Spanned<String>,
    input: Spanned<Value>,
    effect: Effect,
    #[serde(default)]
    risk: Risk,
    #[serde(default)]
    pub(in crate::definition) compensate: Option<CallYaml>,
    #[serde(default)]
    timeout: Option<Spanned<Span>>,
    #[serde(default)]
    concurrency: Option<std::num::NonZeroU32>,
    #[serde(default)]
    rate: Option<Rate>,
    #[serde(default)]
    output_limit: Option<Spanned<ByteSize>>,
    #[serde(default)]
    pub(super) env: BTreeSet<String>,
    #[serde(default)]
    pub(super) command: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    pub(super) cwd: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) http: Option<HttpYaml>,
    #[serde(default)]
    deprecated: Option<Spanned<String>>,
}

/// The key that says that a tool should not be used any more.
pub(in crate::definition) const DEPRECATED: &str = "deprecated";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpYaml {
    #[serde(default)]
    pub(super) method: Option<Spanned<String>>,
    pub(super) url: Spanned<String>,
    #[serde(default)]
    pub(super) headers: std::collections::BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(super) body: Option<Spanned<Value>>,
}

const TIMEOUT: Duration = Duration::from_secs(30);
const CONCURRENCY: u32 = 16;
const OUTPUT_LIMIT: usize = 64 * 1024;
/// The journal holds results, and NATS refuses messages over 1 MiB.
const OUTPUT_LIMIT_MAX: usize = 256 * 1024;

impl ToolYaml {
    /// Compiles the tool, without what undoes it: that may be in a file that was not read yet. What is wrong goes into the report,
    /// and then there is no tool.
    pub(in crate::definition) fn compile(&self, report: &mut Report<'_>) -> Option<Tool> {
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
        let deprecated = self.deprecated.as_ref();
        if let Some(given) = deprecated.filter(|given| given.value.trim().is_empty()) {
            let help = Some("such as `deprecated: use restart_service@2`");
            let message = "`deprecated` must say what to use instead";
            report.at(given.referenced, message, help);
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
            risk: self.risk,
            compensate: None,
            timeout,
            concurrency: self
                .concurrency
                .map_or(CONCURRENCY, std::num::NonZeroU32::get),
            rate: self.rate,
            output_limit,
            env: self.env.clone(),
            adapter: adapter?,
            deprecated: deprecated.map(|given| given.value.trim().to_owned()),
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
}
