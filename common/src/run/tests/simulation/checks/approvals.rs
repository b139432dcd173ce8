//! What needs a person is done when one said so, to exactly that, in time.

use super::{super::super::*, Track, folded};
use crate::definition::{OnTimeout, Risk, StepKind};

/// Whether an action that is about to be done may be done.
pub(in super::super) fn is_allowed(track: &Track, entry: &Entry) -> Result<(), String> {
    let Body::Decided(decided) = &entry.body else {
        return Ok(());
    };
    let Decision::Act {
        tool,
        version,
        with,
    } = &decided.decision
    else {
        return Ok(());
    };
    if decided.step.aside.is_some() || !needs_person(track, decided, tool) {
        return Ok(());
    }
    let before: Vec<&Entry> = folded(&track.journal)
        .into_iter()
        .take_while(|one| one.seq != entry.seq)
        .collect();
    let same = |link: &Decided| link.step == decided.step && link.branch == decided.branch;
    let asked = before
        .iter()
        .enumerate()
        .rev()
        .find_map(|(at, one)| match &one.body {
            Body::Decided(link) if same(link) => match &link.decision {
                Decision::Approve(approve) => Some((at, approve)),
                _ => None,
            },
            _ => None,
        });
    let told = format!("{} `{tool}`", decided.step);
    let Some((at, approve)) = asked else {
        return Err(format!("{told} is done and nobody was asked"));
    };
    let Some(action) = approve
        .action
        .as_ref()
        .filter(|action| action.tool == *tool && action.version == *version)
    else {
        return Err(format!(
            "{told} is done, and a person was asked for something else"
        ));
    };
    let verdict = before
        .iter()
        .skip(at)
        .find_map(|one| verdict(one, decided, approve));
    match verdict {
        None => Err(format!("{told} is done before anybody said yes")),
        Some(Err(no)) => Err(format!("{told} is done though {no}")),
        Some(Ok(modified)) => {
            let wanted = modified.as_ref().unwrap_or(&action.with);
            let fits = wanted == with;
            fits.then_some(())
                .ok_or_else(|| format!("{told} is done with {with}, and {wanted} was allowed"))
        }
    }
}

fn needs_person(track: &Track, decided: &Decided, tool: &Name) -> bool {
    let step = track.workflow.step(&decided.step.step);
    match step.map(|step| &step.kind) {
        Some(StepKind::Tool(step)) => step.approve.unwrap_or(step.tool.risk == Risk::High),
        Some(StepKind::Agent(agent)) => agent
            .tools
            .iter()
            .any(|one| one.name == *tool && one.risk == Risk::High),
        _ => false,
    }
}

/// What an entry says to a question: yes, perhaps with other parameters, or no, and why.
fn verdict(
    entry: &Entry,
    decided: &Decided,
    approve: &crate::entry::Approve,
) -> Option<Result<Option<Value>, String>> {
    match &entry.body {
        Body::Signalled(signalled) => {
            let judged = signalled.approval.as_ref()?;
            let is_it = judged.hash == approve.hash
                && judged.step == decided.step
                && judged.branch == decided.branch;
            match entry.address.name.as_str() {
                SIGNAL_APPROVE if is_it => Some(Ok(judged.with.clone())),
                SIGNAL_REJECT if is_it => Some(Err("a person said no".into())),
                _ => None,
            }
        }
        Body::Fired(_) if entry.address.name.as_str() == TIMER_WAKE => {
            approve.until.filter(|until| *until <= entry.at)?;
            match approve.on_timeout {
                Some(OnTimeout::Approve) => Some(Ok(None)),
                _ => Some(Err("its time was up".into())),
            }
        }
        _ => None,
    }
}
