//! The YAML of tools.

use std::{collections::BTreeSet, time::Duration};

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::{
    super::{problem::Report, schema::Schema, yaml::CallYaml},
    Adapter, Effect, Redaction, Risk, Tool,
    blob::KeepYaml,
    builtin::BuiltinYaml,
    command::LimitsYaml,
    http::HttpYaml,
    mcp::{McpYaml, ServerYaml},
    nats::NatsYaml,
    policy::{BreakerYaml, RateYaml, RetriesYaml},
};
use crate::{
    entry::RESERVED,
    ids::Name,
    money::Usd,
    units::{ByteSize, Span},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::definition) struct ToolsYaml {
    #[serde(default)]
    pub(in crate::definition) mcp: Vec<ServerYaml>,
    #[serde(default)]
    pub(in crate::definition) tools: Vec<ToolYaml>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::definition) struct ToolYaml {
    pub(in crate::definition) tool: Spanned<Name>,
    version: Spanned<u32>,
    description: Spanned<String>,
    pub(super) input: Spanned<Value>,
    #[serde(default)]
    output: Option<Spanned<Value>>,
    pub(super) effect: Effect,
    #[serde(default)]
    risk: Risk,
    #[serde(default)]
    pub(in crate::definition) compensate: Option<CallYaml>,
    #[serde(default)]
    pub(in crate::definition) reconcile: Option<CallYaml>,
    #[serde(default)]
    timeout: Option<Spanned<Span>>,
    #[serde(default)]
    concurrency: Option<std::num::NonZeroU32>,
    #[serde(default)]
    rate: Option<RateYaml>,
    #[serde(default)]
    retry: Option<RetriesYaml>,
    #[serde(default)]
    breaker: Option<BreakerYaml>,
    #[serde(default)]
    cost: Option<Spanned<f64>>,
    #[serde(default)]
    output_limit: Option<Spanned<ByteSize>>,
    #[serde(default)]
    pub(super) env: BTreeSet<String>,
    #[serde(default)]
    pub(super) command: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    pub(super) cwd: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) limits: Option<Spanned<LimitsYaml>>,
    #[serde(default)]
    pub(super) stdout: Option<Spanned<KeepYaml>>,
    #[serde(default)]
    pub(super) http: Option<HttpYaml>,
    #[serde(default)]
    pub(super) nats: Option<NatsYaml>,
    #[serde(default)]
    pub(in crate::definition) mcp: Option<McpYaml>,
    #[serde(default)]
    pub(super) builtin: Option<Spanned<BuiltinYaml>>,
    #[serde(default)]
    redact: Vec<Spanned<String>>,
    #[serde(default)]
    deprecated: Option<Spanned<String>>,
}

/// The key that says that a tool should not be used any more.
pub(in crate::definition) const DEPRECATED: &str = "deprecated";

const TIMEOUT: Duration = Duration::from_secs(30);
const CONCURRENCY: u32 = 16;
const OUTPUT_LIMIT: usize = 64 * 1024;
/// The journal holds results, and NATS refuses messages over 1 MiB.
const OUTPUT_LIMIT_MAX: usize = 256 * 1024;

impl ToolYaml {
    /// Compiles the tool, without what undoes it and who is asked about it: they may be in a file that was not read yet. What is wrong goes into the report,
    /// and then there is no tool.
    pub(in crate::definition) fn compile(
        &self,
        report: &mut Report<'_>,
        servers: &[ServerYaml],
    ) -> Option<Tool> {
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
        let adapter = self.adapter(report, input.as_ref(), servers);
        let redact = Redaction::compile(report, &self.redact);
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
        let output = self.output_schema(report);
        let retries = self.retry.as_ref();
        let retries = retries.map(|retries| retries.compile(report, self.effect));
        let breaker = BreakerYaml::compile(self.breaker.as_ref(), report, timeout);
        let rate = self.rate.as_ref().map(|rate| rate.compile(report));
        let (rate, fleet_rate) = rate.unwrap_or_default();
        let cost = self.cost(report);
        if report.problems.len() > before {
            return None;
        }
        let adapter = adapter?;
        Some(Tool {
            name: name.clone(),
            version: self.version.value,
            description: self.description.value.trim().to_owned(),
            input: input?,
            output,
            effect: self.effect,
            risk: self.risk,
            compensate: None,
            reconcile: None,
            timeout,
            concurrency: self
                .concurrency
                .map_or(CONCURRENCY, std::num::NonZeroU32::get),
            rate,
            fleet_rate,
            retries,
            breaker,
            cost,
            output_limit,
            env: self.variables(&adapter),
            redact,
            adapter,
            deprecated: deprecated.map(|given| given.value.trim().to_owned()),
        })
    }

    /// What its holes and its process see, and what its secrets and its server are named by.
    fn variables(&self, adapter: &Adapter) -> BTreeSet<String> {
        let mut env = self.env.clone();
        match adapter {
            Adapter::Http { options, .. } => env.extend(options.variable().map(str::to_owned)),
            Adapter::Mcp { server, .. } => env.extend(server.env.iter().cloned()),
            Adapter::Command { .. } | Adapter::Nats { .. } | Adapter::Builtin(_) => {}
        }
        env
    }

    fn input_schema(&self, report: &mut Report<'_>) -> Option<Schema> {
        let source = &self.input.value;
        if source["type"] != "object" {
            let message = "a tool's `input` must be a JSON Schema with `type: object`";
            let help = Some("a tool that takes nothing has `input: {type: object}`");
            report.at(self.input.referenced, message, help);
            return None;
        }
        schema(report, "input", &self.input)
    }

    fn output_schema(&self, report: &mut Report<'_>) -> Option<Schema> {
        schema(report, "output", self.output.as_ref()?)
    }

    fn cost(&self, report: &mut Report<'_>) -> Usd {
        let Some(given) = &self.cost else {
            return Usd::default();
        };
        Usd::from_dollars(given.value).unwrap_or_else(|| {
            let message = "`cost` must be a number of dollars, 0 to 1000000: what one call costs";
            report.at(given.referenced, message, None);
            Usd::default()
        })
    }
}

fn schema(report: &mut Report<'_>, name: &str, source: &Spanned<Value>) -> Option<Schema> {
    let compiled = Schema::compile(source.value.clone());
    compiled
        .map_err(|fault| {
            let message = format!("`{name}` is no valid JSON Schema: {fault}");
            report.at(source.referenced, message, None);
        })
        .ok()
}
