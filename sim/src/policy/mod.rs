//! Policies: scripts that read the conversation and say what the model answers.
//!
//! A policy holds no state. What it answers follows from the request alone, so the same request gets the same answer
//! however often it is sent, whoever sends it, and after whatever crash: as an ideal model would.

pub(crate) mod conversation;
mod file;
mod filters;
mod language;
mod load;

pub(crate) use load::{load, of_text};

use crate::error::{ApiError, kind_of};
use crate::wire::Request;
use language::{Expr, Text};
use minijinja::Value;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// All policies of a server, in the order they are tried.
#[derive(Debug, Default)]
pub(crate) struct Policies(Vec<Policy>);

#[derive(Debug)]
struct Policy {
    name: Arc<str>,
    when: Option<Expr>,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    when: Option<Expr>,
    action: Action,
    stop: Option<String>,
    latency: Option<Duration>,
    hang: Option<Duration>,
    usage: Option<UsageOverride>,
    /// `file:line`, for errors that show only when it runs.
    place: String,
}

#[derive(Debug)]
enum Action {
    /// Whatever the request can take: see [`crate::fill`].
    Anything,
    Answer {
        say: Option<Text>,
        uses: Vec<UseOf>,
    },
    Refuse(Text),
    Error {
        status: u16,
        kind: Option<String>,
        message: Option<Text>,
        details: Option<Box<serde_json::Value>>,
        retry_after: Option<f64>,
    },
}

#[derive(Debug)]
struct UseOf {
    tool: Text,
    with: Option<Tree>,
}

/// The `with` of a tool use: JSON whose strings are compiled.
#[derive(Debug)]
enum Tree {
    Text(Text, String),
    Scalar(serde_json::Value),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

/// Figures that replace the computed ones in `usage`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsageOverride {
    pub(crate) input_tokens: Option<u64>,
    pub(crate) output_tokens: Option<u64>,
    pub(crate) cache_read_input_tokens: Option<u64>,
    pub(crate) cache_creation_input_tokens: Option<u64>,
}

/// What a rule decided for one request.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    /// The policy's name and the index of the rule in it, from 0; `None` for the default answer.
    pub(crate) by: Option<(Arc<str>, usize)>,
    pub(crate) answer: Answer,
    /// A `stop_reason` other than the one that follows from the answer.
    pub(crate) stop: Option<String>,
    /// Replaces the server's latency.
    pub(crate) latency: Option<Duration>,
    /// Silence before the answer, on top of the latency.
    pub(crate) hang: Option<Duration>,
    pub(crate) usage: Option<UsageOverride>,
}

/// What to answer.
#[derive(Debug, Default)]
pub(crate) enum Answer {
    #[default]
    Anything,
    Message {
        say: Option<String>,
        /// Tool and input; without an input, a minimal one that fits the tool's schema.
        uses: Vec<(String, Option<serde_json::Value>)>,
    },
    Refuse(String),
    Error(ApiError),
}

impl Policies {
    /// The first rule that matches, in the first policy that has one; else the default answer.
    ///
    /// # Errors
    /// 400, where an expression cannot be evaluated or a value is undefined: a mistake in a policy must be seen, and
    /// a client does not repeat a 400.
    pub(crate) fn decide(&self, request: &Request) -> Result<Decision, ApiError> {
        if self.0.is_empty() {
            return Ok(Decision::default());
        }
        let conversation = conversation::of(request);
        for policy in &self.0 {
            let mistake = |place: &str, words: String| {
                ApiError::invalid(format!(
                    "simulated Claude, policy `{}` at {place}: {words}",
                    policy.name
                ))
            };
            if !holds(policy.when.as_ref(), &conversation)
                .map_err(|words| mistake("its `when`", words))?
            {
                continue;
            }
            for (index, rule) in policy.rules.iter().enumerate() {
                let mistake = |words| mistake(&rule.place, words);
                if holds(rule.when.as_ref(), &conversation).map_err(mistake)? {
                    let by = Some((Arc::clone(&policy.name), index));
                    return rule
                        .run(&conversation)
                        .map(|decision| Decision { by, ..decision })
                        .map_err(mistake);
                }
            }
        }
        Ok(Decision::default())
    }
}

fn holds(when: Option<&Expr>, conversation: &Value) -> Result<bool, String> {
    when.map_or(Ok(true), |when| {
        when.eval(conversation).map(|value| value.is_true())
    })
}

impl Rule {
    fn run(&self, conversation: &Value) -> Result<Decision, String> {
        let answer = match &self.action {
            Action::Anything => Answer::Anything,
            Action::Answer { say, uses } => Answer::Message {
                say: say
                    .as_ref()
                    .map(|say| say.string(conversation))
                    .transpose()?,
                uses: uses
                    .iter()
                    .map(|each| {
                        let with = each
                            .with
                            .as_ref()
                            .map(|with| with.value(conversation))
                            .transpose()?;
                        Ok((each.tool.string(conversation)?, with))
                    })
                    .collect::<Result<_, String>>()?,
            },
            Action::Refuse(words) => Answer::Refuse(words.string(conversation)?),
            Action::Error {
                status,
                kind,
                message,
                details,
                retry_after,
            } => Answer::Error(ApiError {
                status: *status,
                kind: kind.clone().unwrap_or_else(|| kind_of(*status).to_owned()),
                message: match message {
                    Some(message) => message.string(conversation)?,
                    None => "scripted by a policy".to_owned(),
                },
                details: details.clone(),
                retry_after: *retry_after,
                ..ApiError::new(*status, "")
            }),
        };
        Ok(Decision {
            by: None,
            answer,
            stop: self.stop.clone(),
            latency: self.latency,
            hang: self.hang,
            usage: self.usage.clone(),
        })
    }
}

impl Tree {
    fn value(&self, conversation: &Value) -> Result<serde_json::Value, String> {
        match self {
            Self::Text(text, place) => text
                .value(conversation)
                .map_err(|words| format!("{place}: {words}")),
            Self::Scalar(value) => Ok(value.clone()),
            Self::List(items) => items.iter().map(|item| item.value(conversation)).collect(),
            Self::Map(entries) => entries
                .iter()
                .map(|(key, tree)| Ok((key.clone(), tree.value(conversation)?)))
                .collect(),
        }
    }
}
