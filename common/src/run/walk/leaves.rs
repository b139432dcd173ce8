//! Steps of one thing: an answer, a tool, a person, time, another run, the end.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Scope, Sight, Stand, Walk, broken, failed, of_another_kind};
use crate::{
    definition::{
        ApprovalStep, ApprovalTerms, ClaudeStep, EndStep, OnTimeout, Risk, RunStep, Shape, Sleep,
        Step, TemplateError, ToolStep,
    },
    entry::{Action, Approve, Decision, Outcome, ToolOutcome},
    ids::{Aside, Place, RunId, Slot, hex},
    money::Usd,
    run::{Ask, Draft, Said, StepState, prompt},
    units::Span,
};

/// Runs that can stand one in another: more is a workflow that runs itself.
const RUNS_DEEP_MAX: u32 = 8;
/// The longest sleep.
const SLEEP_MAX: Duration = Duration::from_secs(366 * 86_400);

impl<'a> Walk<'a> {
    pub(super) fn claude(
        &mut self,
        step: &'a Step,
        claude: &'a ClaudeStep,
        place: &Place,
        scope: &Scope<'a>,
    ) -> Stand {
        match self.run.step(place) {
            Some(StepState::Answer { .. }) => return Stand::Done,
            Some(_) => return of_another_kind(place),
            None => {}
        }
        let key = self.run.key(place);
        if self.is_asked(&key) {
            return Stand::Busy;
        }
        let (run, workflow) = (self.run, self.workflow);
        let request = self
            .sight(scope)
            .and_then(|sight| prompt::claude_step(run, workflow, step, claude, &sight));
        match request {
            Ok(request) => {
                let plain = scope.is_plain(step);
                let ask = || Ask::answer(run, workflow, &key, claude, request).plain(plain);
                self.ask(ask, &key)
            }
            Err(error) => broken(place, "its prompt", &error),
        }
    }

    pub(super) fn tool(
        &mut self,
        step: &'a Step,
        tool: &'a ToolStep,
        place: &Place,
        scope: &Scope<'a>,
    ) -> Stand {
        let slot = Slot {
            step: self.run.key(place),
            branch: 0,
        };
        let act = match self.run.step(place) {
            Some(StepState::Tool(act)) => act,
            Some(_) => return of_another_kind(place),
            None => return self.use_tool(tool, slot, place, scope),
        };
        if let Some(failure) = Self::not_allowed(act) {
            return Stand::Failed(failure);
        }
        let (outcome, problem) = match &act.outcome {
            None => return self.act(&slot, act),
            Some(ToolOutcome::Ok { .. }) => return Stand::Done,
            Some(ToolOutcome::Failed { error, message, .. }) => {
                (Outcome::Failed, format!("{error}: {message}"))
            }
            Some(ToolOutcome::Unknown { message }) => {
                (Outcome::Escalated, format!("outcome unknown: {message}"))
            }
        };
        let reason = format!("step `{}`: {} {problem}", step.id, act.action.tool);
        failed(outcome, "tool", reason)
    }

    fn use_tool(
        &mut self,
        step: &'a ToolStep,
        slot: Slot,
        place: &Place,
        scope: &Scope<'a>,
    ) -> Stand {
        let (sight, with) = match self.rendered(&step.with, scope) {
            Ok(rendered) => rendered,
            Err(error) => return broken(place, "its `with`", &error),
        };
        if let Err(fault) = step.tool.input.check(&with) {
            return broken(place, "its `with`", &fault);
        }
        let action = Action::new(&step.tool, with);
        if step.approve.unwrap_or(step.tool.risk == Risk::High) {
            let terms = &self.workflow.approvals;
            let drafts = asked(
                (&self.run.id, self.run.time()),
                terms,
                &slot,
                Some(action),
                Value::Null,
                &sight.facts,
            );
            self.due.drafts.extend(drafts);
            return Stand::Busy;
        }
        if self.is_full(&step.tool.name) {
            return Stand::Busy;
        }
        self.draft(place, action.into())
    }

    pub(super) fn approval(
        &mut self,
        step: &'a ApprovalStep,
        place: &Place,
        scope: &Scope<'a>,
    ) -> Stand {
        let approval = match self.run.step(place) {
            Some(StepState::Approval(approval)) => approval,
            Some(_) => return of_another_kind(place),
            None => return self.ask_person(step, place, scope),
        };
        let Some(verdict) = &approval.verdict else {
            return match approval.until {
                Some(until) => self.until(until),
                None => Stand::Busy,
            };
        };
        let (outcome, error) = match verdict.said {
            Said::Approved | Said::TimedOut(OnTimeout::Approve) => return Stand::Done,
            Said::Rejected => (Outcome::Failed, "rejected"),
            Said::TimedOut(OnTimeout::Escalate) => (Outcome::Escalated, "timeout"),
            Said::TimedOut(OnTimeout::Reject) => (Outcome::Failed, "rejected"),
            Said::TimedOut(OnTimeout::Fail) => (Outcome::Failed, "timeout"),
        };
        let by = verdict.by.as_deref().map(|by| format!("{by} rejected it"));
        let why = [by, verdict.reason.clone()].into_iter().flatten();
        let why = match why.collect::<Vec<_>>().join(": ") {
            none if none.is_empty() => "it was rejected".to_owned(),
            why => why,
        };
        failed(outcome, error, format!("step `{place}`: {why}"))
    }

    fn ask_person(&mut self, step: &'a ApprovalStep, place: &Place, scope: &Scope<'a>) -> Stand {
        let (sight, show) = match self.rendered(&step.show, scope) {
            Ok(rendered) => rendered,
            Err(error) => return broken(place, "its `show`", &error),
        };
        let slot = Slot {
            step: self.run.key(place),
            branch: 0,
        };
        let drafts = asked(
            (&self.run.id, self.run.time()),
            &step.terms,
            &slot,
            None,
            show,
            &sight.facts,
        );
        self.due.drafts.extend(drafts);
        Stand::Busy
    }

    pub(super) fn sleep(&mut self, sleep: &'a Sleep, place: &Place, scope: &Scope<'a>) -> Stand {
        match self.run.step(place) {
            Some(StepState::Sleep { until }) if *until <= self.run.clock => return Stand::Done,
            Some(StepState::Sleep { until }) => return self.until(*until),
            Some(_) => return of_another_kind(place),
            None => {}
        }
        let formula = match sleep {
            Sleep::For(span) => {
                let until = self.after(*span);
                return self.draft(place, Decision::Sleep { until });
            }
            Sleep::ForValue(formula) | Sleep::Until(formula) => formula,
        };
        let value = self
            .sight(scope)
            .and_then(|sight| formula.value(&sight.context()));
        let value = match value {
            Ok(value) => value,
            Err(error) => return broken(place, "its time", &error),
        };
        let until = match sleep {
            Sleep::Until(_) => value.as_str().and_then(|text| text.parse().ok()),
            Sleep::For(_) | Sleep::ForValue(_) => span(&value).map(|span| self.after(span)),
        };
        match until.filter(|until| *until <= self.after(SLEEP_MAX)) {
            Some(until) => self.draft(place, Decision::Sleep { until }),
            None => {
                let problem = format!("{value} is no time within a year");
                broken(place, "its time", &problem)
            }
        }
    }

    pub(super) fn sub_run(&mut self, step: &'a RunStep, place: &Place, scope: &Scope<'a>) -> Stand {
        match self.run.step(place) {
            Some(StepState::Run(child)) => {
                return match &child.outcome {
                    None => Stand::Busy,
                    Some(ToolOutcome::Ok { .. }) => Stand::Done,
                    Some(outcome) => sub_run_failed(place, &child.run, outcome),
                };
            }
            Some(_) => return of_another_kind(place),
            None => {}
        }
        let depth = self.run.depth();
        if depth >= RUNS_DEEP_MAX {
            let reason = format!("step `{place}`: runs stand {depth} deep, more is not allowed");
            return failed(Outcome::Failed, "depth", reason);
        }
        // What a call in flight may cost is not on the journal yet: what is left is known when it is back.
        if self.run.may_cost(self.workflow).is_some() && !self.busy.is_empty() {
            return Stand::Busy;
        }
        let (_, with) = match self.rendered(&step.with, scope) {
            Ok(rendered) => rendered,
            Err(error) => return broken(place, "its `with`", &error),
        };
        let key = self.run.key(place);
        let decision = Decision::Run {
            workflow: step.workflow.clone(),
            with,
            child: RunId::of_step(&step.workflow, &self.run.id, &key),
            usd_nano: self.allotted(step.usd),
        };
        self.draft(place, decision)
    }

    /// What a run within this one may cost: what its step says, and no more than is left.
    fn allotted(&self, wanted: Option<Usd>) -> Option<Usd> {
        let may = self.run.may_cost(self.workflow);
        let drafted = self.due.drafts.iter().filter_map(|draft| {
            if let Decision::Run { usd_nano, .. } = &draft.decision {
                *usd_nano
            } else {
                None
            }
        });
        let spent = self.run.cost() + self.run.held_by_items();
        let spent = drafted.fold(spent, std::ops::Add::add);
        let left = may.map(|may| may.less(spent));
        wanted.into_iter().chain(left).min()
    }

    pub(super) fn end(&mut self, step: &'a EndStep, place: &Place, scope: &Scope<'a>) -> Stand {
        let Some(reason) = &step.reason else {
            return Stand::End(step.outcome, None);
        };
        match self
            .sight(scope)
            .and_then(|sight| reason.render(&sight.context()))
        {
            Ok(reason) => Stand::End(step.outcome, Some(reason)),
            Err(error) => broken(place, "its `reason`", &error),
        }
    }

    /// What is seen here, and what a part of the definition is with it.
    fn rendered(
        &mut self,
        shape: &Shape,
        scope: &Scope<'a>,
    ) -> Result<(Sight, Value), TemplateError> {
        let sight = self.sight(scope)?;
        let value = shape.render(&sight.context())?;
        Ok((sight, value))
    }
}

fn sub_run_failed(place: &Place, run: &RunId, outcome: &ToolOutcome) -> Stand {
    let (kind, why) = match outcome {
        ToolOutcome::Ok { .. } => return Stand::Done,
        ToolOutcome::Failed { error, message, .. } if error.as_str() == "escalated" => {
            (Outcome::Escalated, message)
        }
        ToolOutcome::Failed { message, .. } => (Outcome::Failed, message),
        ToolOutcome::Unknown { message } => (Outcome::Escalated, message),
    };
    failed(kind, "run", format!("step `{place}`: {run}: {why}"))
}

/// A length of time: seconds, or a text such as `10m`.
fn span(value: &Value) -> Option<Duration> {
    if let Some(seconds) = value.as_f64() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let text: Span = value.as_str()?.parse().ok()?;
    Some(text.0)
}

/// The decision to ask a person, and the use of a tool that tells somebody.
pub(in crate::run) fn asked(
    (run, at): (&RunId, Timestamp),
    terms: &ApprovalTerms,
    slot: &Slot,
    action: Option<Action>,
    show: Value,
    facts: &Value,
) -> Vec<Draft> {
    let subject = match &action {
        Some(action) => json!(action),
        None => show.clone(),
    };
    let bound = json!([run, slot, subject]).to_string();
    let hash = hex(&Sha256::digest(bound));
    let until: Option<Timestamp> = terms
        .timeout
        .and_then(|(span, _)| at.checked_add(span).ok());
    let mut drafts = Vec::new();
    if let Some(notify) = &terms.notify {
        let mut facts = facts.clone();
        facts["approval"] = json!({"step": slot, "hash": hash, "show": subject, "until": until});
        let context = crate::definition::Context::new(&facts);
        // What cannot be told is not told: the approval waits all the same, and is seen in lists.
        if let Ok(with) = notify.with.render(&context)
            && notify.tool.input.check(&with).is_ok()
        {
            let beside = Slot {
                step: slot.step.clone().beside(Aside::Notify),
                branch: slot.branch,
            };
            let action = Action::new(&notify.tool, with);
            drafts.push(Draft::at(beside, action.into()));
        }
    }
    let approve = Decision::Approve(Box::new(Approve {
        hash,
        show,
        action,
        until,
        on_timeout: terms.timeout.map(|(_, then)| then),
    }));
    drafts.insert(0, Draft::at(slot.clone(), approve));
    drafts
}
