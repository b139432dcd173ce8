//! What was done to the world, by the sink's book.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_common::{
    entry::{Body, ToolOutcome},
    ids::RunId,
};

use super::{
    super::{
        evidence::{Evidence, run_of},
        load::Workload,
    },
    Found, runs_of,
};

/// Paths of tools whose effect may be done once.
const ONCE: [&str; 2] = ["/tell", "/slow"];

/// Effects that were done twice: two keys for one step, one key done twice, or one that may be done once and was asked for twice.
pub(in crate::chaos) fn doubled(evidence: &Evidence) -> Vec<String> {
    let mut keys: BTreeMap<(&str, &str, &str), BTreeSet<&str>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (key, effect) in &evidence.effects {
        let path = effect.path();
        let body = effect.bodies.first();
        let step = body.and_then(|body| body["step"].as_str());
        if let (Some(run), Some(step)) = (run_of(effect), step) {
            keys.entry((run, step, path)).or_default().insert(key);
        }
        if effect.executions > 1 {
            wrong.push(format!("{key} was done {} times", effect.executions));
        }
        if ONCE.contains(&path) && effect.requests > 1 {
            let times = effect.requests;
            wrong.push(format!(
                "{key} may be done once, and was asked for {times} times"
            ));
        }
        if effect
            .bodies
            .iter()
            .any(|body| Some(body) != effect.bodies.first())
        {
            wrong.push(format!("{key} stands for two different effects"));
        }
    }
    for ((run, step, path), keys) in keys {
        if keys.len() > 1 {
            wrong.push(format!(
                "{step} of {run} has several keys at {path}: {keys:?}"
            ));
        }
    }
    wrong
}

/// Verdicts that counted for something else than what was said.
pub(in crate::chaos) fn misapplied(evidence: &Evidence) -> Vec<String> {
    let mut wrong: Vec<String> = evidence
        .said
        .overruled
        .iter()
        .map(|run| format!("{run}: a second, other verdict was taken"))
        .collect();
    let mut paid: BTreeMap<&str, Vec<(u64, i64)>> = BTreeMap::new();
    for effect in evidence.effects_at("/pay") {
        let amounts = effect.bodies.iter().map(|body| body["amount"].as_u64());
        for (amount, at) in amounts.zip(&effect.at_ms) {
            let run = run_of(effect).unwrap_or_default();
            let amount = amount.unwrap_or_default();
            paid.entry(run).or_default().push((amount, *at));
        }
    }
    for (run, asked) in &paid {
        let said = run
            .parse()
            .ok()
            .and_then(|run: RunId| evidence.said.verdicts.get(&run));
        match said.map(|said| (said, said.verdict.amount())) {
            None => wrong.push(format!("{run}: it was paid, and nobody was asked")),
            Some((_, None)) => {
                wrong.push(format!("{run}: it was paid, and a person had refused it"))
            }
            Some((said, Some(amount))) => {
                if asked.iter().any(|(paid, _)| *paid != amount) {
                    wrong.push(format!("{run}: {amount} was allowed, and {asked:?} paid"));
                }
                if asked.iter().any(|(_, at)| *at < said.sent_ms) {
                    wrong.push(format!(
                        "{run}: it was paid before a person had said anything"
                    ));
                }
            }
        }
    }
    for run in runs_of(evidence, Workload::Approval) {
        let reports = evidence.effects_at("/report");
        let told_paid = reports
            .filter(|effect| run_of(effect) == Some(run.as_str()))
            .any(|effect| effect.bodies.iter().any(|body| body["said"] == "paid"));
        if told_paid && !paid.contains_key(run.as_str()) {
            wrong.push(format!("{run}: it says that it was paid, and it was not"));
        }
    }
    wrong
}

/// Bookings of failed runs that stand. Explained are those whose answer was lost: the journal has them as failed, and what failed is
/// not undone; and those that the run's end names for a person.
pub(in crate::chaos) fn not_undone(evidence: &Evidence) -> Found {
    let mut found = Found::default();
    let undone: BTreeSet<(&str, u64)> = evidence
        .effects_at("/unbook")
        .filter(|effect| effect.executions > 0)
        .filter_map(|effect| Some((run_of(effect)?, number(effect)?)))
        .collect();
    let reports = evidence.reports();
    for effect in evidence.effects_at("/book") {
        let (Some(run), Some(number)) = (run_of(effect), number(effect)) else {
            continue;
        };
        // A run that has not come to its end is lost, which is worse, and told there.
        let over = reports.contains_key(run);
        if effect.executions == 0 || !over || undone.contains(&(run, number)) {
            continue;
        }
        if is_known_as_done(evidence, run, number) {
            found.wrong.push(format!("{run}: booking {number} stands"));
        } else {
            found.explained += 1;
        }
    }
    found
}

fn number(effect: &flotilla_sim::sink::Effect) -> Option<u64> {
    effect.bodies.first()?["number"].as_u64()
}

/// Whether the journal says that this booking was done, and no person was told that it could not be undone.
fn is_known_as_done(evidence: &Evidence, run: &str, number: u64) -> bool {
    let step = if number == 1 { "first" } else { "second" };
    let Some(entries) = run
        .parse()
        .ok()
        .and_then(|run: RunId| evidence.journal.get(&run))
    else {
        return true;
    };
    let mut done = false;
    for entry in entries {
        match &entry.body {
            Body::Resulted(result) if result.step.to_string() == step => {
                done |= !matches!(result.outcome, ToolOutcome::Failed { .. });
            }
            Body::Resulted(result) if result.step.to_string().starts_with(&format!("{step}!")) => {
                // It could not be undone: the run's end names it.
                if !matches!(result.outcome, ToolOutcome::Ok { .. }) {
                    return false;
                }
            }
            Body::Resulted(_)
            | Body::Started(_)
            | Body::Decided(_)
            | Body::Signalled(_)
            | Body::Fired(_) => {}
        }
    }
    done
}
