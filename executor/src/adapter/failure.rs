//! Why a call did not work.

use std::time::Duration;

use flotilla_common::{
    definition::{Effect, Redaction, TemplateError, Tool},
    entry::{MISFIT, ToolOutcome},
    ids::Name,
};
use serde_json::Value;

use super::redact::Secrets;

/// The class of a failure: the `error` of a result, which workflows and models act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The executor lacks what the definition asks for.
    Config,
    /// The parameters cannot be used, although their schema allows them.
    Input,
    /// They would reach what they must not.
    Refused,
    /// The program did not start.
    Spawn,
    /// The program ended with another status than 0.
    Exit,
    /// The program was killed.
    Signal,
    /// The program was started, and then nothing could be seen of it any more.
    Lost,
    /// It took longer than the tool's timeout.
    Timeout,
    /// No connection: the request was not sent.
    Connect,
    /// The connection broke: the request may have been served.
    Network,
    /// A redirect that is not followed.
    Redirect,
    /// An HTTP status from 400 on.
    Status,
    /// What it returned does not fit what it says that it returns.
    Output,
    /// It answered that it failed.
    Service,
    /// It answered, and not as its definition says.
    Reply,
    /// It is another than the one that the catalogue took in.
    Changed,
    /// There is no such tool here.
    UnknownTool,
    /// Somebody has switched the tool off.
    SwitchedOff,
    /// What it returned is more than NATS takes.
    TooLarge,
    /// The run had ended before it was begun.
    Ended,
    /// It was handed out again and again, and nobody lived to settle it.
    GivenUp,
}

impl Class {
    /// Whether the tool was begun and nobody heard how it ended. A timeout counts from the beginning: whether a request was
    /// sent before it is not known either.
    fn is_in_doubt(self) -> bool {
        match self {
            Self::Signal | Self::Lost | Self::Timeout | Self::Network => true,
            Self::Config
            | Self::Input
            | Self::Refused
            | Self::Spawn
            | Self::Exit
            | Self::Connect
            | Self::Redirect
            | Self::Status
            | Self::Output
            | Self::Service
            | Self::Reply
            | Self::Changed
            | Self::UnknownTool
            | Self::SwitchedOff
            | Self::TooLarge
            | Self::Ended
            | Self::GivenUp => false,
        }
    }

    /// As it stands on the journal.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Input => "input",
            Self::Refused => "refused",
            Self::Spawn => "spawn",
            Self::Exit => "exit",
            Self::Signal => "signal",
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Network => "network",
            Self::Redirect => "redirect",
            Self::Status => "status",
            Self::Output => MISFIT,
            Self::Service => "service_error",
            Self::Reply => "reply",
            Self::Changed => "changed",
            Self::UnknownTool => "unknown_tool",
            Self::SwitchedOff => "switched_off",
            Self::TooLarge => "too_large",
            Self::Ended => "ended",
            Self::GivenUp => "given_up",
        }
    }
}

/// A call that did not work.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(super) class: Class,
    /// What the service itself says of it.
    said: Option<Box<Said>>,
    pub(super) message: String,
    pub(super) output: Option<Value>,
}

/// What a service says of its own failure.
#[derive(Debug, Default)]
struct Said {
    /// What it calls it, in the place of the class's name.
    named: Option<Name>,
    /// Whether the same call may go well later.
    retryable: Option<bool>,
    /// How long it wants to be left alone.
    retry_after: Option<Duration>,
}

/// Longest message, in characters.
const MESSAGE_LENGTH_MAX: usize = 1_000;

impl Failure {
    /// A failure without output.
    pub(crate) fn new(class: Class, message: impl Into<String>) -> Self {
        Self {
            class,
            said: None,
            message: message.into(),
            output: None,
        }
    }

    /// A hole of `place` cannot be filled with these parameters.
    pub(crate) fn hole(place: &str, error: &TemplateError) -> Self {
        Self::new(Class::Input, format!("{place}: {error}"))
    }

    /// The same with what the tool returned nevertheless.
    pub(crate) fn with(self, output: Value) -> Self {
        Self {
            output: Some(output),
            ..self
        }
    }

    /// The same as the service itself says it.
    pub(super) fn said(self, named: Option<Name>, retryable: Option<bool>) -> Self {
        Self {
            said: Some(Box::new(Said {
                named,
                retryable,
                retry_after: self.retry_after(),
            })),
            ..self
        }
    }

    /// The same with how long the other side wants to be left alone.
    pub(super) fn after(mut self, retry_after: Option<Duration>) -> Self {
        let said = self.said.take().map(|said| *said).unwrap_or_default();
        Self {
            said: Some(Box::new(Said {
                retry_after,
                ..said
            })),
            ..self
        }
    }

    /// How long the other side wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.said.as_ref()?.retry_after
    }

    /// Whether the service says that the same call may go well later; `None` where it says nothing of it.
    pub(super) fn retryable(&self) -> Option<bool> {
        self.said.as_ref()?.retryable
    }

    /// Its class.
    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// Why, for people.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// The same without secrets, and without what the tool's definition takes out.
    pub(super) fn redacted(self, secrets: &Secrets, redaction: &Redaction) -> Self {
        let clean = |output| redaction.output(secrets.value(output));
        Self {
            message: redaction.text(&secrets.text(&self.message)),
            output: self.output.map(clean),
            ..self
        }
    }

    /// As the outcome of a call of `tool`: where its effect may have happened and must not happen twice, that it is unknown.
    pub(super) fn of_call(self, tool: &Tool) -> ToolOutcome {
        if tool.effect != Effect::Once || !self.class.is_in_doubt() {
            return self.into_outcome(&tool.name);
        }
        let why: String = self.message.chars().take(MESSAGE_LENGTH_MAX).collect();
        ToolOutcome::Unknown {
            message: format!("{why}; so nobody knows whether it was done, and it is not repeated"),
        }
    }

    /// As an outcome of `tool`, when it was not begun or its end is known.
    pub(crate) fn into_outcome(self, tool: &Name) -> ToolOutcome {
        ToolOutcome::Failed {
            // Every class is a name (a test says so), so the tool's name never stands in.
            error: self
                .said
                .and_then(|said| said.named)
                .or_else(|| self.class.as_str().parse().ok())
                .unwrap_or_else(|| tool.clone()),
            message: self.message.chars().take(MESSAGE_LENGTH_MAX).collect(),
            output: self.output,
        }
    }
}

#[cfg(test)]
mod tests {
    use flotilla_common::entry::IN_DOUBT;

    use super::*;

    #[test]
    fn every_class_is_a_name() {
        for class in [
            Class::Config,
            Class::Input,
            Class::Refused,
            Class::Spawn,
            Class::Exit,
            Class::Signal,
            Class::Lost,
            Class::Timeout,
            Class::Connect,
            Class::Network,
            Class::Redirect,
            Class::Status,
            Class::Output,
            Class::Service,
            Class::Reply,
            Class::Changed,
            Class::UnknownTool,
            Class::TooLarge,
            Class::Ended,
            Class::GivenUp,
        ] {
            assert!(class.as_str().parse::<Name>().is_ok(), "{class:?}");
            let told = IN_DOUBT.contains(&class.as_str());
            assert_eq!(class.is_in_doubt(), told, "{class:?}");
        }
    }
}
