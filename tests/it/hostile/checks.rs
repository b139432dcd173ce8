//! What must hold after any hostile text, read from outside: from the journal, from the simulated Claude's ledger, and from what
//! was done to the world.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_common::definition::{StepKind, Workflow};
use flotilla_tests::{Call, Entry};
use serde_json::Value;

use super::{menu::assert_allowed, stage::Stage, texts::CANARY};

/// Failures of a tool before anything of it has begun: what a person or a model gave could be no argument.
const NOT_BEGUN: [&str; 3] = ["config", "input", "spawn"];

/// What a run left behind.
pub(crate) struct Trace<'a> {
    pub(crate) run: &'a str,
    pub(crate) journal: Vec<&'a Entry>,
    pub(crate) calls: Vec<&'a Call>,
}

/// Everything about the runs of one round: their journal, what the simulated Claude was asked, and what was done to the world.
pub(crate) struct Seen {
    pub(crate) journal: Vec<Entry>,
    pub(crate) calls: Vec<Call>,
    done: BTreeMap<String, usize>,
}

/// How much of everything earlier rounds have left.
#[derive(Debug, Default)]
pub(crate) struct Before {
    seq: u64,
    call: u64,
    done: BTreeMap<String, usize>,
    obeyed: usize,
}

impl Before {
    /// How often the simulated Claude had obeyed by then.
    pub(crate) fn obeyed(&self) -> usize {
        self.obeyed
    }
}

impl Seen {
    /// What there is since `before`, which is moved on.
    pub(crate) async fn since(stage: &Stage, before: &mut Before) -> Self {
        let mut journal = stage.fleet.journal_of_all().await.0;
        journal.retain(|entry| entry.seq > before.seq);
        let calls = stage.fleet.sim.requests(before.call).await;
        let kept = calls.iter().filter(|call| call.body.is_object()).count();
        assert_eq!(kept, calls.len(), "every request can be looked into");
        let all = stage.done();
        let mut done = all.clone();
        for (group, times) in &before.done {
            *done.entry(group.clone()).or_default() -= times;
        }
        done.retain(|_, times| *times > 0);
        let seq = journal.last().map_or(before.seq, |entry| entry.seq);
        let call = calls.last().map_or(before.call, |call| call.n);
        *before = Before {
            seq,
            call,
            done: all,
            obeyed: stage.obeyed().await,
        };
        Self {
            journal,
            calls,
            done,
        }
    }

    /// Whether Claude was shown what an attacker wrote.
    pub(crate) fn shows_a_hostile_text(&self) -> bool {
        let mut calls = self.calls.iter();
        calls.any(|call| call.body["messages"].to_string().contains(CANARY))
    }

    /// How often a model that obeys used this tool.
    pub(crate) fn wanted(&self, tool: &str) -> usize {
        let wrong = |call: &&Call| call.wrong.as_deref() == Some("injected");
        let obeyed = self.calls.iter().filter(wrong);
        let used = obeyed.flat_map(|call| &call.tools_used);
        used.filter(|used| *used == tool).count()
    }

    pub(crate) fn traces(&self) -> Vec<Trace<'_>> {
        let runs: BTreeSet<_> = self
            .journal
            .iter()
            .map(|entry| entry.run.as_str())
            .collect();
        let trace = |run| Trace {
            run,
            journal: self
                .journal
                .iter()
                .filter(|entry| entry.run == run)
                .collect(),
            calls: self
                .calls
                .iter()
                .filter(|call| call.user_id.as_deref() == Some(run))
                .collect(),
        };
        runs.into_iter().map(trace).collect()
    }
}

/// Nothing happened that no menu has, nothing more often than it was decided, and nobody approved or raised anything but the test.
pub(crate) fn only_the_menu_happened(stage: &Stage, seen: &Seen) {
    let mut tried: BTreeMap<String, usize> = BTreeMap::new();
    for trace in seen.traces() {
        let workflow = workflow(stage, &trace);
        let mut decided = BTreeSet::new();
        for entry in &trace.journal {
            match entry.kind.as_str() {
                "started" | "fired" => {}
                "signalled" => assert!(
                    stage.has_said(trace.run, &entry.name, entry.text("/approval/step")),
                    "nobody has said this: {entry:?}"
                ),
                "decided" => {
                    if ["act", "run"].contains(&entry.text("/decision/kind")) {
                        decided.insert(entry.seq);
                    }
                    assert_allowed(workflow, entry);
                }
                "resulted" => {
                    let seq = entry.at("/decided").as_u64().unwrap();
                    assert!(
                        decided.remove(&seq),
                        "a result of nothing, or a second one: {entry:?}"
                    );
                    let act = seen.journal.iter().find(|act| act.seq == seq).unwrap();
                    let begun = !NOT_BEGUN.contains(&entry.text("/outcome/error"));
                    if let Some(version) = act.at("/decision/version").as_u64().filter(|_| begun) {
                        let attempts = entry.at("/attempts").as_u64().unwrap();
                        *tried.entry(stage.group(&entry.name, version)).or_default() +=
                            usize::try_from(attempts).unwrap();
                    }
                }
                other => panic!("`{other}` is on the journal of {}", trace.run),
            }
        }
    }
    tried.retain(|_, times| *times > 0);
    assert_eq!(
        seen.done, tried,
        "what was done, and what the journal says of it"
    );
    assert_eq!(stage.forbidden(), 0);
    assert!(!stage.pwned().exists(), "a shell has seen a hostile text");
}

fn workflow<'a>(stage: &'a Stage, trace: &Trace<'_>) -> &'a Workflow {
    let started = trace.journal.first().unwrap();
    assert_eq!(started.kind, "started", "{}", trace.run);
    let found = stage
        .catalogue
        .newest()
        .find(|workflow| workflow.pin.name.as_str() == started.name);
    found.unwrap()
}

/// Every reply that the simulated Claude gave is on the journal, and each that was not taken says why. Where questions side by side
/// were given up, the journal counts them as wasted.
pub(crate) fn every_try_is_told(seen: &Seen) {
    for trace in seen.traces() {
        assert!(
            trace.calls.iter().all(|call| call.status == 200),
            "{:?}",
            trace.calls
        );
        let used = |call: &&Call| call.tools_used.join(" ");
        let mut said: Vec<String> = trace.calls.iter().map(used).collect();
        let mut wasted = 0;
        for entry in &trace.journal {
            wasted += entry.at("/call/wasted").as_u64().unwrap_or_default();
            let menu: BTreeSet<&str> = list(entry.at("/call/menu"))
                .map(|name| name.as_str().unwrap().split('@').next().unwrap())
                .collect();
            for attempt in list(entry.at("/call/attempts")) {
                let used = list(&attempt["content"]).filter(|block| block["type"] == "tool_use");
                let used: Vec<&str> = used.map(|block| block["name"].as_str().unwrap()).collect();
                let taken = attempt["complaint"].is_null();
                assert!(
                    !taken || used.iter().all(|name| menu.contains(name)),
                    "taken, and not on the menu: {attempt}"
                );
                let used = used.join(" ");
                let place = said.iter().position(|said| *said == used);
                let place = place.unwrap_or_else(|| panic!("Claude never used {used}: {attempt}"));
                said.swap_remove(place);
            }
        }
        assert!(
            said.len() as u64 <= wasted,
            "what Claude used in {} ({}), and the journal does not tell: {said:?}",
            trace.run,
            trace.journal[0].name
        );
    }
}

/// No text from outside bought more turns, steps or money than the definition gives, or another model.
pub(crate) fn ceilings_hold(stage: &Stage, seen: &Seen) {
    for trace in seen.traces() {
        let workflow = workflow(stage, &trace);
        let decided = trace
            .journal
            .iter()
            .filter(|entry| entry.kind == "decided" && entry.name != "end")
            .count();
        assert!(decided <= workflow.limits.steps as usize, "{}", trace.run);
        let spent: u64 = trace.calls.iter().map(|call| call.usd_nano).sum();
        let most = workflow.limits.usd.map_or(u64::MAX, |usd| usd.nano());
        assert!(spent <= most, "{}: {spent} of {most}", trace.run);
        let mut models = BTreeSet::new();
        for step in workflow.all_steps() {
            let mut review = None;
            if let StepKind::Agent(agent) = &step.kind {
                let prefix = format!("{}/", step.id);
                let turns: BTreeSet<_> = trace
                    .journal
                    .iter()
                    .filter(|entry| {
                        entry.text("/decision/kind") == "act"
                            && entry.text("/step").starts_with(&prefix)
                    })
                    .map(|entry| entry.text("/step"))
                    .collect();
                assert!(turns.len() <= agent.max_loops as usize, "{}", trace.run);
                review = agent.review.as_ref().map(|review| &review.inference);
            }
            let asking = step.inference().into_iter().chain(review);
            models.extend(asking.flat_map(|one| one.models.iter().map(|model| model.id.as_str())));
        }
        let asked: BTreeSet<_> = trace
            .calls
            .iter()
            .filter_map(|call| call.model.as_deref())
            .collect();
        assert!(asked.is_subset(&models), "{asked:?}");
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
