//! The shape of a workflow file. Every place that a message may point at is `Spanned`.

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::workflow::{OnError, Unavailable};
use crate::{
    ids::{EventType, Name},
    units::Span,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkflowYaml {
    pub(super) workflow: Spanned<Name>,
    pub(super) version: Spanned<u32>,
    #[serde(default)]
    pub(super) description: String,
    pub(super) on: OnYaml,
    #[serde(default)]
    pub(super) limits: LimitsYaml,
    #[serde(default)]
    pub(super) model: Option<Spanned<String>>,
    pub(super) steps: Spanned<Vec<StepYaml>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OnYaml {
    pub(super) event: EventType,
    #[serde(default)]
    pub(super) when: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsYaml {
    #[serde(default)]
    pub(super) steps: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) duration: Option<Spanned<Span>>,
    #[serde(default)]
    pub(super) usd: Option<Spanned<f64>>,
    #[serde(default)]
    pub(super) usd_per_day: Option<Spanned<f64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepYaml {
    pub(super) id: Spanned<Name>,
    #[serde(default)]
    pub(super) claude: Option<ClaudeYaml>,
    #[serde(default)]
    pub(super) tool: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) with: Option<Spanned<Value>>,
    #[serde(default)]
    pub(super) on_error: Option<Spanned<OnError>>,
    #[serde(default)]
    pub(super) agent: Option<AgentYaml>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClaudeYaml {
    #[serde(default)]
    pub(super) model: Option<Spanned<String>>,
    pub(super) prompt: Spanned<String>,
    #[serde(default)]
    pub(super) output: Option<Spanned<Value>>,
    #[serde(default)]
    pub(super) fallback: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) max_tokens: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) patience: Option<Spanned<Span>>,
    #[serde(default)]
    pub(super) unavailable: Unavailable,
    #[serde(default)]
    pub(super) usd: Option<Spanned<f64>>,
    #[serde(default)]
    pub(super) batch: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgentYaml {
    #[serde(default)]
    pub(super) model: Option<Spanned<String>>,
    pub(super) goal: Spanned<String>,
    pub(super) tools: Spanned<Vec<Spanned<String>>>,
    pub(super) ends: Spanned<Vec<Spanned<Name>>>,
    #[serde(default)]
    pub(super) max_loops: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) parallel: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) confidence: Option<FloorYaml>,
    #[serde(default)]
    pub(super) fallback: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) max_tokens: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) patience: Option<Spanned<Span>>,
    #[serde(default)]
    pub(super) unavailable: Unavailable,
    #[serde(default)]
    pub(super) usd: Option<Spanned<f64>>,
    #[serde(default)]
    pub(super) batch: Option<Spanned<bool>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FloorYaml {
    pub(super) min: Spanned<f64>,
    pub(super) below: Spanned<Name>,
}
