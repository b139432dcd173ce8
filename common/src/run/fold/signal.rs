//! Signals, and time that passes.

use super::{
    super::{
        Act, Approval, Cancel, Heard, Ruling, Run, SIGNAL_APPROVE, SIGNAL_CANCEL, SIGNAL_DEAD,
        SIGNAL_DROP, SIGNAL_MESSAGE, SIGNAL_PAUSE, SIGNAL_RAISE, SIGNAL_REDRIVE, SIGNAL_REJECT,
        SIGNAL_RESUME, SIGNAL_RETRY, Said, StepState,
    },
    Folded,
};
use crate::{
    definition::OnTimeout,
    entry::{Entry, Judged, Signalled, ToolOutcome},
    ids::{Name, Slot},
};

/// The class of an action that no person allowed.
const REJECTED: &str = "rejected";

impl Run {
    pub(super) fn signal(&mut self, entry: &Entry, signalled: &Signalled) -> Folded {
        if self.signals.contains(&signalled.id) {
            return Folded::Old;
        }
        let folded = match entry.address.name.as_str() {
            // A second cancel says nothing new, whoever sends it and however often.
            SIGNAL_CANCEL if self.cancel.is_none() => {
                self.cancel = Some(Cancel {
                    reason: told_by("cancelled", signalled),
                    compensate: signalled.compensate,
                });
                Folded::New
            }
            // Of these two, the one that was said last counts, in whatever order planners see them.
            SIGNAL_PAUSE => {
                if entry.seq > self.resumed_at {
                    self.paused = Some(told_by("paused", signalled));
                    self.paused_at = self.paused_at.max(entry.seq);
                }
                Folded::New
            }
            // Noted also where nothing waits: a rebuild must not find it unheard when something does.
            SIGNAL_RESUME => {
                if entry.seq > self.paused_at {
                    self.paused = None;
                    self.resumed_at = self.resumed_at.max(entry.seq);
                }
                self.wake();
                Folded::New
            }
            SIGNAL_RAISE => self.raise(signalled),
            SIGNAL_RETRY => self.retry_from(signalled),
            SIGNAL_MESSAGE => self.hear(signalled),
            SIGNAL_APPROVE => self.judge(signalled, Said::Approved),
            SIGNAL_REJECT => self.judge(signalled, Said::Rejected),
            name @ (SIGNAL_DEAD | SIGNAL_REDRIVE | SIGNAL_DROP)
                if self.dead.take(name, signalled) =>
            {
                Folded::New
            }
            _ => Folded::Old,
        };
        if folded == Folded::New {
            self.signals.insert(signalled.id.clone());
        }
        folded
    }

    fn retry_from(&mut self, signalled: &Signalled) -> Folded {
        let Some(step) = &signalled.step else {
            return Folded::Old;
        };
        self.retry = Some((step.clone(), told_by("asked", signalled)));
        self.wake();
        Folded::New
    }

    fn hear(&mut self, signalled: &Signalled) -> Folded {
        let Some(text) = &signalled.text else {
            return Folded::Old;
        };
        self.heard.push(Heard {
            by: signalled.by.clone(),
            text: text.clone(),
            step: signalled.step.clone(),
        });
        Folded::New
    }

    /// A verdict counts for exactly what it names, once, and in time.
    fn judge(&mut self, signalled: &Signalled, said: Said) -> Folded {
        let Some(judged) = &signalled.approval else {
            return Folded::Old;
        };
        let verdict = Ruling {
            said,
            by: signalled.by.clone(),
            reason: signalled.reason.clone(),
            with: judged.with.clone().filter(|_| said == Said::Approved),
        };
        match self.approval_mut(judged) {
            Some(Asked::Step(approval)) => approval.verdict = Some(verdict),
            Some(Asked::Act(act)) => settle(act, verdict),
            None => return Folded::Old,
        }
        Folded::New
    }

    /// Whether the state has come to what a verdict is on, or past it.
    pub(super) fn knows(&self, judged: &Judged) -> bool {
        let place = judged.step.place();
        let (now, then) = (self.key(&place).again, judged.step.again);
        if now != then {
            return now > then;
        }
        let Some(state) = self.steps.get(&place) else {
            return false;
        };
        let asked = matches!(state, StepState::Approval(_));
        let mut acts = state.acts_under(&self.key(&place)).into_iter();
        asked || acts.any(|(slot, _)| slot.step == judged.step && slot.branch == judged.branch)
    }

    /// What a verdict is on, if it waits and is exactly this.
    fn approval_mut(&mut self, judged: &Judged) -> Option<Asked<'_>> {
        let slot = Slot {
            step: judged.step.clone(),
            branch: judged.branch,
        };
        let place = slot.step.place();
        if self.key(&place).again != slot.step.again {
            return None;
        }
        let fits = |approval: &Approval| approval.is_open() && approval.hash == judged.hash;
        if let Some(StepState::Approval(_)) = self.steps.get(&place) {
            return match self.steps.get_mut(&place) {
                Some(StepState::Approval(approval)) if fits(approval) => {
                    Some(Asked::Step(approval))
                }
                _ => None,
            };
        }
        let act = self.act_mut(&slot)?;
        let is_asked = act.is_held() && act.hold.as_ref().is_some_and(fits);
        is_asked.then_some(Asked::Act(act))
    }

    /// Questions that nobody answered in time are answered as their definition says; says whether there were any.
    pub(super) fn expire(&mut self) -> bool {
        let clock = self.clock;
        let mut any = false;
        let late = |approval: &Approval| {
            let late = approval.is_open() && approval.until.is_some_and(|until| until <= clock);
            late.then(|| Ruling {
                said: Said::TimedOut(approval.on_timeout.unwrap_or(OnTimeout::Fail)),
                by: None,
                reason: Some("nobody answered in time".into()),
                with: None,
            })
        };
        for state in self.steps.values_mut() {
            if let StepState::Approval(approval) = state {
                if let Some(verdict) = late(approval) {
                    approval.verdict = Some(verdict);
                    any = true;
                }
                continue;
            }
            for act in state.acts_mut() {
                let held = act.hold.as_ref().filter(|_| act.is_held());
                if let Some(verdict) = held.and_then(late) {
                    settle(act, verdict);
                    any = true;
                }
            }
        }
        any
    }
}

/// What a person was asked for.
enum Asked<'a> {
    /// A step of its own.
    Step(&'a mut Approval),
    /// An action.
    Act(&'a mut Act),
}

/// An action that is not allowed has its result: nothing was done.
fn settle(act: &mut Act, verdict: Ruling) {
    let refused = match verdict.said {
        Said::Approved | Said::TimedOut(OnTimeout::Approve) => None,
        Said::Rejected => Some(told_by_verdict(&verdict)),
        Said::TimedOut(OnTimeout::Reject | OnTimeout::Escalate | OnTimeout::Fail) => {
            Some("nobody allowed it in time".to_owned())
        }
    };
    // The word is a name; the type cannot know.
    if let (Some(message), Ok(error)) = (refused, REJECTED.parse::<Name>()) {
        act.outcome = Some(ToolOutcome::Failed {
            error,
            message,
            output: None,
        });
    }
    if let Some(hold) = &mut act.hold {
        hold.verdict = Some(verdict);
    }
}

fn told_by_verdict(verdict: &Ruling) -> String {
    let by = verdict.by.as_deref().unwrap_or("a person");
    match &verdict.reason {
        Some(reason) => format!("{by} rejected it: {reason}"),
        None => format!("{by} rejected it"),
    }
}

fn told_by(what: &str, signalled: &Signalled) -> String {
    let by = signalled.by.as_deref().unwrap_or("somebody");
    let why = signalled.reason.as_deref();
    let why = why.map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{what} by {by}{why}")
}
