//! The shape of a workflow file. Every place that a message may point at is `Spanned`.

mod short;
mod step;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

pub(super) use short::{EndYaml, Lessons};
pub(super) use step::{
    AgentYaml, ApprovalYaml, CaseYaml, ClaudeYaml, EachYaml, FloorYaml, KindYaml, RetryYaml,
    ReviewYaml, RunYaml, StepYaml,
};

use super::step::OnTimeout;
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
    pub(super) on: Spanned<OnYaml>,
    #[serde(default)]
    pub(super) limits: LimitsYaml,
    #[serde(default)]
    pub(super) model: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) lessons: Option<Spanned<Lessons>>,
    #[serde(default)]
    pub(super) approvals: ApprovalsYaml,
    pub(super) steps: Spanned<Vec<StepYaml>>,
    #[serde(default)]
    pub(super) output: Option<Spanned<Value>>,
    #[serde(default)]
    pub(super) on_failure: Option<Spanned<OnFailureYaml>>,
}

impl WorkflowYaml {
    /// Its lists of steps: that of the workflow, and that of `on_failure`.
    pub(super) fn lists(&self) -> [&[StepYaml]; 2] {
        let on_failure = self.on_failure.as_ref();
        let failing = on_failure.map_or(&[][..], |given| given.value.steps.as_slice());
        [&self.steps.value, failing]
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OnYaml {
    #[serde(default)]
    pub(super) event: Option<Spanned<EventType>>,
    #[serde(default)]
    pub(super) cron: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) timezone: Option<Spanned<String>>,
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

/// How people are asked, in a workflow and in each of its approvals.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApprovalsYaml {
    #[serde(default)]
    pub(super) timeout: Option<Spanned<Span>>,
    #[serde(default)]
    pub(super) on_timeout: Option<Spanned<OnTimeout>>,
    #[serde(default)]
    pub(super) notify: Option<CallYaml>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OnFailureYaml {
    #[serde(default)]
    pub(super) compensate: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) steps: Vec<StepYaml>,
}

/// A tool that is used beside the steps: to tell somebody, or to undo something.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallYaml {
    pub(super) tool: Spanned<String>,
    #[serde(default)]
    pub(super) with: Option<Spanned<Value>>,
}
