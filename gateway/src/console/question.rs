//! A question to a person, as it is shown and answered: in the inbox, on its run's page, and again where an answer was not taken.

use flotilla_common::{
    definition::{OnTimeout, Risk},
    entry::{Body, Decision, Entry},
};
use jiff::Timestamp;

use super::{text, words::When};
use crate::{approvals::Waiting, routes::App};

/// A question.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) waiting: Waiting,
    /// The exact parameters of an action, or what is shown.
    pub(crate) what: String,
    /// Whether it is an action, whose parameters can be changed.
    pub(crate) is_action: bool,
    /// What the tool says that it does.
    pub(crate) does: Option<String>,
    /// Whether its definition calls the tool risky, and what repeating it does.
    pub(crate) is_risky: bool,
    pub(crate) effect: Option<String>,
    /// Why, in the words of the model that wants it.
    pub(crate) reasoning: Option<String>,
    pub(crate) confidence: Option<String>,
    pub(crate) since: When,
    pub(crate) until: Option<When>,
    /// What happens when nobody answers.
    pub(crate) then: Option<&'static str>,
    /// What the person had typed, where that was not taken, and why not.
    pub(crate) typed: Option<Typed>,
}

/// What a person typed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Typed {
    pub(crate) with: String,
    pub(crate) reason: String,
    pub(crate) fault: String,
}

impl Question {
    /// A question, with what the journal of its run says of it.
    pub(crate) fn new(app: &App, waiting: Waiting, entries: &[Entry], now: Timestamp) -> Self {
        let asked = entries.iter().find_map(|entry| {
            let Body::Decided(decided) = &entry.body else {
                return None;
            };
            let Decision::Approve(approve) = &decided.decision else {
                return None;
            };
            (approve.hash == waiting.hash).then_some(decided)
        });
        let catalogue = app.current.catalogue();
        let tool = waiting.tool.as_ref().zip(waiting.version);
        let tool = tool.and_then(|(name, version)| catalogue.tools.get(name, version));
        let shown = waiting.with.as_ref().unwrap_or(&waiting.show);
        Self {
            what: shown
                .as_str()
                .map_or_else(|| text::json(shown), str::to_owned),
            is_action: waiting.with.is_some(),
            does: tool.map(|tool| text::line(&tool.description, 300)),
            is_risky: tool.is_some_and(|tool| tool.risk == Risk::High),
            effect: tool.and_then(|tool| {
                Some(serde_json::to_value(tool.effect).ok()?.as_str()?.to_owned())
            }),
            reasoning: asked
                .and_then(|it| it.reasoning.as_deref())
                .map(text::words),
            confidence: asked
                .and_then(|it| it.confidence)
                .map(|sure| format!("{sure:.2}")),
            since: When::new(waiting.since, now),
            until: waiting.until.map(|until| When::new(until, now)),
            then: waiting.on_timeout.map(then),
            typed: None,
            waiting,
        }
    }

    /// An id for its parts on a page: the first of its hash, which is bound to the run and the step.
    pub(crate) fn id(&self) -> &str {
        self.waiting.hash.get(..16).unwrap_or(&self.waiting.hash)
    }

    /// What its form has in it for parameters: what was typed, or what was asked for.
    pub(crate) fn editable(&self) -> &str {
        self.typed.as_ref().map_or(&self.what, |typed| &typed.with)
    }

    /// What its form has in it for a reason.
    pub(crate) fn reason(&self) -> &str {
        self.typed.as_ref().map_or("", |typed| &typed.reason)
    }
}

fn then(on_timeout: OnTimeout) -> &'static str {
    match on_timeout {
        OnTimeout::Approve => "then it is approved",
        OnTimeout::Reject => "then it is rejected",
        OnTimeout::Escalate => "then the run escalates",
        OnTimeout::Fail => "then the run fails",
    }
}
