//! Steps that neither ask Claude nor hold others: a tool, a person, time, another workflow, the end.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::{
    super::{
        step::{
            ApprovalStep, ApprovalTerms, Compensate, EndStep, Notify, OnTimeout, RunStep, Sleep,
            ToolStep,
        },
        template::{Formula, Holes, Shape, Template},
        tool::{Tool, misfit},
        yaml::{ApprovalYaml, ApprovalsYaml, CallYaml, EndYaml, RunYaml, StepYaml},
    },
    Parser,
    scope::Gives,
};
use crate::{entry::Outcome, units::Span};

const OUTCOMES: [Outcome; 4] = [
    Outcome::Completed,
    Outcome::Escalated,
    Outcome::Failed,
    Outcome::Cancelled,
];

impl Parser<'_, '_> {
    pub(super) fn tool_step(
        &mut self,
        reference: &Spanned<String>,
        yaml: &StepYaml,
    ) -> Option<ToolStep> {
        let call = self.call(reference, yaml.with.as_ref());
        let input = call.as_ref().map(|(tool, _)| tool.input.clone());
        let input = input.map_or(Gives::Unknown, Gives::Answer);
        let undo = yaml.compensate.as_ref().map(|given| {
            let more = [("input", input), ("output", Gives::Unknown)];
            self.seeing(more, |parser| parser.beside(&given.value))
        });
        let (tool, with) = call?;
        Some(ToolStep {
            tool,
            with,
            compensate: match undo {
                None => None,
                Some(undo) => undo.map(|(tool, with)| Some(Compensate { tool, with }))?,
            },
            approve: yaml.approve.as_ref().map(|given| given.value),
        })
    }

    /// A tool that is used beside the steps.
    fn beside(&mut self, yaml: &CallYaml) -> Option<(Arc<Tool>, Shape)> {
        self.call(&yaml.tool, yaml.with.as_ref())
    }

    /// A tool and its parameters, as far as they are known.
    fn call(
        &mut self,
        reference: &Spanned<String>,
        with: Option<&Spanned<Value>>,
    ) -> Option<(Arc<Tool>, Shape)> {
        let tool = self.tool(reference);
        let empty = Value::Object(serde_json::Map::new());
        let (place, with) =
            with.map_or((reference.referenced, &empty), |w| (w.referenced, &w.value));
        let shape = self.shape("with", place, with);
        let (tool, shape) = (tool?, shape?);
        if let Some((message, help)) = misfit(&tool, with, &shape) {
            self.report.at(place, message, Some(&help));
        }
        Some((tool, shape))
    }

    pub(super) fn approval(&mut self, yaml: &ApprovalYaml) -> Option<ApprovalStep> {
        let show = self.shape("show", yaml.show.referenced, &yaml.show.value);
        let own = self.terms(
            yaml.timeout.as_ref(),
            yaml.on_timeout.as_ref(),
            yaml.notify.as_ref(),
        );
        let terms = ApprovalTerms {
            timeout: own.timeout.or(self.approvals.timeout),
            notify: own.notify.or_else(|| self.approvals.notify.clone()),
        };
        Some(ApprovalStep { show: show?, terms })
    }

    /// How the people of a whole workflow are asked.
    pub(super) fn approvals(&mut self, yaml: &ApprovalsYaml) -> ApprovalTerms {
        self.terms(
            yaml.timeout.as_ref(),
            yaml.on_timeout.as_ref(),
            yaml.notify.as_ref(),
        )
    }

    fn terms(
        &mut self,
        timeout: Option<&Spanned<Span>>,
        on_timeout: Option<&Spanned<OnTimeout>>,
        notify: Option<&CallYaml>,
    ) -> ApprovalTerms {
        let timeout = match (timeout, on_timeout) {
            (Some(timeout), Some(then)) => self
                .span("timeout", timeout)
                .map(|timeout| (timeout, then.value)),
            (Some(timeout), None) => {
                let message = "a timeout must say what then: approve, reject, escalate or fail";
                let help = "add `on_timeout: escalate` beside it";
                self.report.at(timeout.referenced, message, Some(help));
                None
            }
            (None, Some(then)) => {
                let message = "`on_timeout` says what then, but not when";
                self.report.at(
                    then.referenced,
                    message,
                    Some("add `timeout: 4h` beside it"),
                );
                None
            }
            (None, None) => None,
        };
        let more = [("approval", Gives::WAITING)];
        let notify = notify.and_then(|yaml| self.seeing(more, |parser| parser.beside(yaml)));
        ApprovalTerms {
            timeout,
            notify: notify.map(|(tool, with)| Notify { tool, with }),
        }
    }

    pub(super) fn sleep(&mut self, yaml: &Spanned<String>) -> Option<Sleep> {
        if yaml.value.contains("{{") {
            return self.expression("sleep", yaml).map(Sleep::ForValue);
        }
        match yaml.value.parse::<Span>() {
            Ok(span) if span.0.is_zero() => {
                self.report
                    .at(yaml.referenced, "`sleep` must be more than 0", None);
                None
            }
            Ok(span) => Some(Sleep::For(span.0)),
            Err(error) => {
                let help = "or a hole that gives seconds, such as '{{ event.data.minutes * 60 }}'";
                self.report
                    .at(yaml.referenced, error.to_string(), Some(help));
                None
            }
        }
    }

    pub(super) fn until(&mut self, yaml: &Spanned<String>) -> Option<Sleep> {
        if yaml.value.trim().parse::<Timestamp>().is_ok() {
            // A text is a value like any other.
            let text = Value::from(yaml.value.trim()).to_string();
            return Formula::compile(&text).ok().map(Sleep::Until);
        }
        let formula = self.expression("until", yaml)?;
        if formula.paths().is_empty() {
            let message = "`until` takes a time (RFC 3339, such as 2027-01-31T08:00:00Z)";
            let help = "or a hole that gives one, such as '{{ event.data.at }}'";
            self.report.at(yaml.referenced, message, Some(help));
            return None;
        }
        Some(Sleep::Until(formula))
    }

    pub(super) fn run(&mut self, yaml: &RunYaml) -> Option<RunStep> {
        self.runs.push(yaml.workflow.clone());
        let with = match &yaml.with {
            Some(given) => self.shape("with", given.referenced, &given.value),
            None => Some(Shape::Map(Vec::new())),
        };
        let usd = yaml.usd.as_ref();
        if self.has_ceiling && self.side_by_side && usd.is_none() {
            let message = "say `usd`: side by side, each needs its own share of `limits.usd`";
            self.report.at(
                yaml.workflow.referenced,
                message,
                Some("add `usd: 0.10` beside it"),
            );
        }
        Some(RunStep {
            workflow: yaml.workflow.value.clone(),
            with: with?,
            usd: usd.and_then(|given| self.usd("usd", given)),
        })
    }

    pub(super) fn end(&mut self, yaml: &Spanned<EndYaml>) -> Option<EndStep> {
        let (outcome, given) = match &yaml.value {
            EndYaml::Long(long) => (long.outcome, long.reason.as_ref()),
            EndYaml::Short(text) => {
                let found = OUTCOMES.into_iter().find(|one| one.to_string() == *text);
                if found.is_none() {
                    let known = OUTCOMES.map(|outcome| outcome.to_string()).join(", ");
                    let message = format!("`{text}` is none of {known}");
                    self.report.at(yaml.referenced, message, None);
                }
                (found?, None)
            }
        };
        let Some(given) = given else {
            return Some(EndStep {
                outcome,
                reason: None,
            });
        };
        match Template::compile(&given.value, Holes::Plain) {
            Ok(reason) => {
                self.check_paths(given.referenced, None, reason.paths());
                let reason = Some(reason);
                Some(EndStep { outcome, reason })
            }
            Err(error) => {
                let message = format!("`reason` does not compile: {error}");
                self.report.at(given.referenced, message, None);
                None
            }
        }
    }
}
