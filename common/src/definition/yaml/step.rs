//! The shape of a step.

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use super::{
    super::step::{OnError, OnTimeout, Unavailable},
    CallYaml, EndYaml,
};
use crate::{ids::Name, units::Span};

/// What is large in it is boxed: steps are read within steps, and each level takes room on the stack for all of this.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::definition) struct StepYaml {
    pub(in crate::definition) id: Spanned<Name>,
    #[serde(default)]
    claude: Option<Box<ClaudeYaml>>,
    #[serde(default)]
    tool: Option<Spanned<String>>,
    #[serde(default)]
    agent: Option<Box<AgentYaml>>,
    #[serde(default)]
    switch: Option<Spanned<Vec<Spanned<CaseYaml>>>>,
    #[serde(default)]
    parallel: Option<Spanned<Vec<StepYaml>>>,
    #[serde(default)]
    for_each: Option<Box<EachYaml>>,
    #[serde(default)]
    steps: Option<Spanned<Vec<StepYaml>>>,
    #[serde(default)]
    approval: Option<Box<ApprovalYaml>>,
    #[serde(default)]
    sleep: Option<Spanned<String>>,
    #[serde(default)]
    until: Option<Spanned<String>>,
    #[serde(default)]
    run: Option<Box<RunYaml>>,
    #[serde(default)]
    end: Option<Box<Spanned<EndYaml>>>,
    #[serde(default)]
    pub(in crate::definition) with: Option<Spanned<Value>>,
    #[serde(default)]
    pub(in crate::definition) compensate: Option<Box<Spanned<CallYaml>>>,
    #[serde(default)]
    pub(in crate::definition) approve: Option<Spanned<bool>>,
    #[serde(default)]
    pub(in crate::definition) then: Option<Spanned<Name>>,
    #[serde(default)]
    pub(in crate::definition) timeout: Option<Spanned<Span>>,
    #[serde(default)]
    pub(in crate::definition) retry: Option<Box<Spanned<RetryYaml>>>,
    #[serde(default)]
    pub(in crate::definition) on_error: Option<Spanned<OnError>>,
}

/// What a step does, with the key that says so.
#[derive(Debug, Clone, Copy)]
pub(in crate::definition) enum KindYaml<'y> {
    Claude(&'y ClaudeYaml),
    Tool(&'y Spanned<String>),
    Agent(&'y AgentYaml),
    Switch(&'y Spanned<Vec<Spanned<CaseYaml>>>),
    Parallel(&'y Spanned<Vec<StepYaml>>),
    Each(&'y EachYaml),
    Steps(&'y Spanned<Vec<StepYaml>>),
    Approval(&'y ApprovalYaml),
    Sleep(&'y Spanned<String>),
    Until(&'y Spanned<String>),
    Run(&'y RunYaml),
    End(&'y Spanned<EndYaml>),
}

impl<'y> KindYaml<'y> {
    /// The keys of all kinds.
    pub(in crate::definition) const KEYS: [&'static str; 12] = [
        "claude", "tool", "agent", "switch", "parallel", "for_each", "steps", "approval", "sleep",
        "until", "run", "end",
    ];

    /// Its key.
    pub(in crate::definition) fn key(&self) -> &'static str {
        match self {
            Self::Claude(_) => "claude",
            Self::Tool(_) => "tool",
            Self::Agent(_) => "agent",
            Self::Switch(_) => "switch",
            Self::Parallel(_) => "parallel",
            Self::Each(_) => "for_each",
            Self::Steps(_) => "steps",
            Self::Approval(_) => "approval",
            Self::Sleep(_) => "sleep",
            Self::Until(_) => "until",
            Self::Run(_) => "run",
            Self::End(_) => "end",
        }
    }

    /// Which of the keys that most steps can have mean nothing for it.
    pub(in crate::definition) fn refuses(&self) -> &'static [&'static str] {
        match self {
            Self::Switch(_) => &["timeout", "retry", "on_error"],
            Self::End(_) => &["then", "timeout", "retry", "on_error"],
            Self::Sleep(_) | Self::Until(_) => &["retry", "on_error"],
            Self::Approval(_) => &["retry"],
            Self::Claude(_)
            | Self::Tool(_)
            | Self::Agent(_)
            | Self::Parallel(_)
            | Self::Each(_)
            | Self::Steps(_)
            | Self::Run(_) => &[],
        }
    }

    /// The steps within it.
    pub(in crate::definition) fn within(&self) -> &'y [StepYaml] {
        match self {
            Self::Parallel(steps) | Self::Steps(steps) => &steps.value,
            Self::Each(each) => &each.steps.value,
            Self::Claude(_)
            | Self::Tool(_)
            | Self::Agent(_)
            | Self::Switch(_)
            | Self::Approval(_)
            | Self::Sleep(_)
            | Self::Until(_)
            | Self::Run(_)
            | Self::End(_) => &[],
        }
    }
}

impl StepYaml {
    /// What it does: one thing, if it is right.
    pub(in crate::definition) fn kinds(&self) -> Vec<KindYaml<'_>> {
        let kinds = [
            self.claude.as_deref().map(KindYaml::Claude),
            self.tool.as_ref().map(KindYaml::Tool),
            self.agent.as_deref().map(KindYaml::Agent),
            self.switch.as_ref().map(KindYaml::Switch),
            self.parallel.as_ref().map(KindYaml::Parallel),
            self.for_each.as_deref().map(KindYaml::Each),
            self.steps.as_ref().map(KindYaml::Steps),
            self.approval.as_deref().map(KindYaml::Approval),
            self.sleep.as_ref().map(KindYaml::Sleep),
            self.until.as_ref().map(KindYaml::Until),
            self.run.as_deref().map(KindYaml::Run),
            self.end.as_deref().map(KindYaml::End),
        ];
        kinds.into_iter().flatten().collect()
    }

    /// The keys beside what it does, and where each is given.
    pub(in crate::definition) fn beside(&self) -> Vec<(&'static str, Location)> {
        fn place<T>(given: Option<&Spanned<T>>) -> Option<Location> {
            given.map(|given| given.referenced)
        }
        let keys = [
            ("with", place(self.with.as_ref())),
            ("compensate", place(self.compensate.as_deref())),
            ("approve", place(self.approve.as_ref())),
            ("then", place(self.then.as_ref())),
            ("timeout", place(self.timeout.as_ref())),
            ("retry", place(self.retry.as_deref())),
            ("on_error", place(self.on_error.as_ref())),
        ];
        let given = keys.into_iter().map(|(key, place)| Some((key, place?)));
        given.flatten().collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::definition) struct RetryYaml {
    pub(in crate::definition) times: Spanned<u32>,
    #[serde(default)]
    pub(in crate::definition) pause: Option<Spanned<Span>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::definition) struct ClaudeYaml {
    #[serde(default)]
    pub(in crate::definition) model: Option<Spanned<String>>,
    pub(in crate::definition) prompt: Spanned<String>,
    #[serde(default)]
    pub(in crate::definition) output: Option<Spanned<Value>>,
    #[serde(default)]
    pub(in crate::definition) fallback: Vec<Spanned<String>>,
    #[serde(default)]
    pub(in crate::definition) max_tokens: Option<Spanned<u32>>,
    #[serde(default)]
    pub(in crate::definition) patience: Option<Spanned<Span>>,
    #[serde(default)]
    pub(in crate::definition) unavailable: Unavailable,
    #[serde(default)]
    pub(in crate::definition) usd: Option<Spanned<f64>>,
    #[serde(default)]
    pub(in crate::definition) batch: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::definition) struct AgentYaml {
    #[serde(default)]
    pub(in crate::definition) model: Option<Spanned<String>>,
    pub(in crate::definition) goal: Spanned<String>,
    pub(in crate::definition) tools: Spanned<Vec<Spanned<String>>>,
    pub(in crate::definition) ends: Spanned<Vec<Spanned<Name>>>,
    #[serde(default)]
    pub(in crate::definition) max_loops: Option<Spanned<u32>>,
    #[serde(default)]
    pub(in crate::definition) parallel: Option<Spanned<u32>>,
    #[serde(default)]
    pub(in crate::definition) confidence: Option<FloorYaml>,
    #[serde(default)]
    pub(in crate::definition) review: Option<ReviewYaml>,
    #[serde(default)]
    pub(in crate::definition) fallback: Vec<Spanned<String>>,
    #[serde(default)]
    pub(in crate::definition) max_tokens: Option<Spanned<u32>>,
    #[serde(default)]
    pub(in crate::definition) patience: Option<Spanned<Span>>,
    #[serde(default)]
    pub(in crate::definition) unavailable: Unavailable,
    #[serde(default)]
    pub(in crate::definition) usd: Option<Spanned<f64>>,
    #[serde(default)]
    pub(in crate::definition) batch: Option<Spanned<bool>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::definition) struct FloorYaml {
    pub(in crate::definition) min: Spanned<f64>,
    pub(in crate::definition) below: Spanned<Name>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::definition) struct ReviewYaml {
    #[serde(default)]
    pub(in crate::definition) model: Option<Spanned<String>>,
    pub(in crate::definition) every: Spanned<u32>,
    #[serde(default)]
    pub(in crate::definition) prompt: Option<Spanned<String>>,
    #[serde(default)]
    pub(in crate::definition) fallback: Vec<Spanned<String>>,
    #[serde(default)]
    pub(in crate::definition) max_tokens: Option<Spanned<u32>>,
    #[serde(default)]
    pub(in crate::definition) patience: Option<Spanned<Span>>,
    #[serde(default)]
    pub(in crate::definition) usd: Option<Spanned<f64>>,
}

/// One way of a switch: `when` and `to`, or `else` alone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::definition) struct CaseYaml {
    #[serde(default)]
    pub(in crate::definition) when: Option<Spanned<String>>,
    #[serde(default)]
    pub(in crate::definition) to: Option<Spanned<Name>>,
    #[serde(default, rename = "else")]
    pub(in crate::definition) otherwise: Option<Spanned<Name>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::definition) struct EachYaml {
    #[serde(rename = "in")]
    pub(in crate::definition) list: Spanned<String>,
    #[serde(default, rename = "as")]
    pub(in crate::definition) item: Option<Spanned<Name>>,
    #[serde(default)]
    pub(in crate::definition) width: Option<Spanned<u32>>,
    #[serde(default, rename = "max")]
    pub(in crate::definition) most: Option<Spanned<u32>>,
    pub(in crate::definition) steps: Spanned<Vec<StepYaml>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::definition) struct ApprovalYaml {
    pub(in crate::definition) show: Spanned<Value>,
    #[serde(default)]
    pub(in crate::definition) timeout: Option<Spanned<Span>>,
    #[serde(default)]
    pub(in crate::definition) on_timeout: Option<Spanned<OnTimeout>>,
    #[serde(default)]
    pub(in crate::definition) notify: Option<CallYaml>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::definition) struct RunYaml {
    pub(in crate::definition) workflow: Spanned<Name>,
    #[serde(default)]
    pub(in crate::definition) with: Option<Spanned<Value>>,
    #[serde(default)]
    pub(in crate::definition) usd: Option<Spanned<f64>>,
}
