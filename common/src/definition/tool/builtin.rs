//! Tools that executors have without any program or service.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::{
    super::{
        problem::Report,
        schema::Schema,
        template::{Holes, Shape, Template},
    },
    Adapter, Effect,
    http::{Statuses, is_address, statuses},
    yaml::ToolYaml,
};
use crate::{ids::EventType, units::Span};

/// What begins so, the fleet says itself.
const OWN_EVENTS: &str = "flotilla";
/// How often a URL is looked at that is waited for.
const EVERY: Duration = Duration::from_secs(2);
const EVERY_MIN: Duration = Duration::from_millis(100);

/// What an executor does by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Builtin {
    /// Nothing: what was noted is its input, which is on the journal.
    Note,
    /// Publishes an event, which may start runs.
    EmitEvent {
        /// Its type, which no parameter chooses.
        kind: EventType,
        /// Its data.
        data: Shape,
    },
    /// Asks a URL until it answers as expected, or the tool's time is up.
    WaitForUrl {
        /// The address.
        url: Template,
        /// From one try to the next.
        every: Duration,
        /// The statuses that are waited for.
        expect: Vec<Statuses>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum BuiltinYaml {
    Note,
    EmitEvent(EmitYaml),
    WaitForUrl(WaitYaml),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EmitYaml {
    #[serde(rename = "type")]
    kind: Spanned<EventType>,
    data: Spanned<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitYaml {
    url: Spanned<String>,
    #[serde(default)]
    every: Option<Spanned<Span>>,
    #[serde(default)]
    expect: Vec<Spanned<Value>>,
}

impl BuiltinYaml {
    /// Its name, and what repeating it does.
    fn nature(&self) -> (&'static str, Effect) {
        match self {
            Self::Note => ("note", Effect::Read),
            Self::EmitEvent(_) => ("emit_event", Effect::Idempotent),
            Self::WaitForUrl(_) => ("wait_for_url", Effect::Read),
        }
    }
}

impl ToolYaml {
    pub(super) fn builtin(
        &self,
        report: &mut Report<'_>,
        builtin: &Spanned<BuiltinYaml>,
        input: Option<&Schema>,
    ) -> Option<Adapter> {
        let (name, effect) = builtin.value.nature();
        if self.effect != effect {
            let word = serde_json::to_value(effect).unwrap_or_default();
            let word = word.as_str().unwrap_or_default();
            let help = format!("write `effect: {word}`");
            let message = format!("`{name}` has another effect than this tool says");
            report.at(builtin.referenced, message, Some(&help));
        }
        let builtin = match &builtin.value {
            BuiltinYaml::Note => Builtin::Note,
            BuiltinYaml::EmitEvent(emit) => self.emit(report, emit, input)?,
            BuiltinYaml::WaitForUrl(wait) => self.wait(report, wait, input)?,
        };
        Some(Adapter::Builtin(builtin))
    }

    fn emit(
        &self,
        report: &mut Report<'_>,
        emit: &EmitYaml,
        input: Option<&Schema>,
    ) -> Option<Builtin> {
        let kind = &emit.kind.value;
        if kind.as_str().split('.').next() == Some(OWN_EVENTS) {
            let message = format!("`{kind}` is an event of the fleet's own");
            report.at(emit.kind.referenced, message, Some("give it another type"));
        }
        let data = match Shape::compile(&emit.data.value) {
            Ok(data) => data,
            Err(error) => {
                let message = format!("this does not compile: {error}");
                report.at(emit.data.referenced, message, None);
                return None;
            }
        };
        self.check_paths(report, emit.data.referenced, &data.paths(), input);
        Some(Builtin::EmitEvent {
            kind: kind.clone(),
            data,
        })
    }

    fn wait(
        &self,
        report: &mut Report<'_>,
        wait: &WaitYaml,
        input: Option<&Schema>,
    ) -> Option<Builtin> {
        is_address(report, &wait.url);
        let every = wait.every.as_ref().map_or(EVERY, |every| every.value.0);
        if let Some(given) = wait.every.as_ref().filter(|_| every < EVERY_MIN) {
            report.at(given.referenced, "`every` must be at least 100ms", None);
        }
        let expect = wait.expect.iter();
        let expect = expect.filter_map(|item| statuses(report, item)).collect();
        let url = self.template(report, &wait.url, Holes::Url, input)?;
        Some(Builtin::WaitForUrl { url, every, expect })
    }
}
