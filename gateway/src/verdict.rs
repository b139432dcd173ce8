//! `POST /v1/runs/{id}/approve` and `/reject`: what a person says to a question of a run. A verdict counts for exactly the action
//! that was asked for, once: the first one stands, whoever says another.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::{ConnectInfo, Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
    routing::{MethodRouter, post},
};
use flotilla_common::{
    entry::{Approve, Body as Told, Decision, Entry, Judged, Signalled},
    ids::{IdError, Name, RunId, Slot},
    io::{
        clock,
        http::{Peer, Problem},
    },
    names,
    run::{Run, SIGNAL_APPROVE, SIGNAL_REJECT},
};
use serde_json::Value;

use crate::{
    fields::{Fields, wrong},
    history::{self, History},
    problem::{ask_journal, bad_request, conflict, unavailable},
    routes::App,
    signal::{self, Sent},
};

/// Longest body: it may bring parameters of a tool.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Looks at the journal: one more when somebody else was quicker.
const LOOKS_MAX: u32 = 3;

/// What a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// Yes.
    Approved,
    /// No.
    Rejected,
}

impl Said {
    /// The signal's name.
    fn signal(self) -> &'static str {
        match self {
            Self::Approved => SIGNAL_APPROVE,
            Self::Rejected => SIGNAL_REJECT,
        }
    }

    fn in_words(signal: &str) -> &'static str {
        if signal == SIGNAL_APPROVE {
            "approved"
        } else {
            "rejected"
        }
    }
}

/// A verdict as it came in.
#[derive(Debug, Clone)]
struct Wish {
    said: Said,
    slot: Slot,
    /// What they saw; `None`: whatever waits there.
    hash: Option<String>,
    /// Parameters in place of those that were asked for.
    with: Option<Value>,
    /// Its own id, where it has one.
    id: Option<String>,
    by: Option<String>,
    reason: Option<String>,
    from: String,
}

/// How a question stands.
#[derive(Debug, PartialEq)]
enum Standing<'a> {
    /// It waits.
    Open(&'a Approve),
    /// The same was said before, with this id and sequence.
    Said(String, u64),
}

/// The route of a verdict.
pub(crate) fn route(said: Said) -> MethodRouter<Arc<App>> {
    post(
        move |State(app): State<Arc<App>>,
              ConnectInfo(peer): ConnectInfo<Peer>,
              id: Result<Path<String>, PathRejection>,
              headers: HeaderMap,
              body: Body| async move {
            let run = history::run_id(id)?;
            let wish = read(said, &headers, body, peer).await?;
            judge(&app, run, wish).await
        },
    )
}

/// Says something to a question that came some other way than as a request of its own.
pub(crate) async fn say(
    app: &App,
    run: RunId,
    said: Said,
    fields: Fields,
    peer: Peer,
) -> Result<(), Problem> {
    let wish = wish(said, fields, peer)?;
    judge(app, run, wish).await.map(|_| ())
}

async fn read(said: Said, headers: &HeaderMap, body: Body, peer: Peer) -> Result<Wish, Problem> {
    wish(
        said,
        Fields::read(headers, body, BODY_BYTES_MAX).await?,
        peer,
    )
}

fn wish(said: Said, mut fields: Fields, peer: Peer) -> Result<Wish, Problem> {
    let has_id = fields.has("id");
    let common = signal::common(&mut fields)?;
    let slot = fields.id("step")?;
    let (with, known) = match said {
        Said::Approved => {
            let known = r#"{"step", "hash"?, "with"?, "reason"?, "by"?, "id"?}"#;
            (fields.value("with")?, known)
        }
        Said::Rejected => {
            if common.reason.is_none() {
                let why = "is missing: whoever asked is told why";
                return Err(wrong("reason", why));
            }
            (None, r#"{"step", "reason", "hash"?, "by"?, "id"?}"#)
        }
    };
    let hash = fields.text("hash", HASH_LENGTH)?;
    fields.end(known)?;
    Ok(Wish {
        said,
        slot: slot.ok_or_else(|| wrong("step", "is missing"))?,
        hash,
        with,
        id: has_id.then_some(common.id),
        by: common.by,
        reason: common.reason,
        from: peer.0.to_string(),
    })
}

/// Characters of an approval's hash: SHA-256 as hex.
const HASH_LENGTH: usize = 64;

async fn judge(app: &App, id: RunId, wish: Wish) -> Result<(StatusCode, Json<Sent>), Problem> {
    for _ in 0..LOOKS_MAX {
        let History { run, entries, slot } = History::read(app, &id).await?;
        let approve = match standing(&run, &entries, &wish)? {
            Standing::Said(said, seq) => return Ok(sent(id, said, seq)),
            Standing::Open(approve) => approve,
        };
        fits(app, &run, approve, wish.with.as_ref())?;
        let signalled = wish.signalled(&approve.hash);
        if let Some((entry, before)) = signal::of_id(&entries, &signalled.id) {
            return Err(signal::another_of_id(entry, before));
        }
        let message_id = names::signal::verdict_message(&id, &wish.slot, &approve.hash);
        drop((entries, slot));
        let said = signalled.id.clone();
        let name: Name = wish
            .said
            .signal()
            .parse()
            .map_err(|e: IdError| bad_request(e.to_string()))?;
        let payload = Told::Signalled(signalled)
            .encode(clock::now())
            .map_err(|e| bad_request(e.to_string()))?;
        let written = app.journal.signal(&id, &name, &message_id, payload);
        let accepted = ask_journal(written).await?;
        if !accepted.duplicate {
            return Ok(sent(id, said, accepted.seq));
        }
        // Somebody was quicker, or this is what an answer that was lost has told: the journal knows what was said.
    }
    Err(unavailable(
        "a verdict was said at this moment, and the journal does not show it yet; try again",
    ))
}

fn sent(run: RunId, id: String, seq: u64) -> (StatusCode, Json<Sent>) {
    let noted = None;
    let sent = Sent {
        run,
        id,
        seq,
        noted,
    };
    (StatusCode::ACCEPTED, Json(sent))
}

impl Wish {
    fn signalled(&self, hash: &str) -> Signalled {
        let id = self.id.clone();
        Signalled {
            id: id.unwrap_or_else(|| names::signal::verdict(&self.slot, hash)),
            by: self.by.clone(),
            reason: self.reason.clone(),
            from: Some(self.from.clone()),
            approval: Some(Judged {
                step: self.slot.step.clone(),
                branch: self.slot.branch,
                hash: hash.to_owned(),
                with: self.with.clone(),
            }),
            ..Signalled::default()
        }
    }
}

/// How the question stands that a verdict is for, as the journal tells it.
fn standing<'a>(run: &Run, entries: &'a [Entry], wish: &Wish) -> Result<Standing<'a>, Problem> {
    let slot = &wish.slot;
    let Some(asked) = entries.iter().find_map(|entry| asked_at(entry, slot)) else {
        return Err(no_such(run, slot));
    };
    if wish.hash.as_ref().is_some_and(|hash| *hash != asked.hash) {
        return Err(conflict(format!(
            "what waits at `{slot}` is another action now (hash {})",
            asked.hash
        )));
    }
    if let Some((entry, before)) = first_verdict(run, entries, slot) {
        let name = entry.address.name.as_str();
        let with = before.approval.as_ref().and_then(|it| it.with.as_ref());
        if name == wish.said.signal() && with == wish.with.as_ref() {
            return Ok(Standing::Said(before.id.clone(), entry.seq));
        }
        let by = before.by.as_deref().unwrap_or("somebody");
        let otherwise = match with {
            Some(_) => " with other parameters",
            None => "",
        };
        let said = Said::in_words(name);
        let at = entry.at;
        return Err(conflict(format!(
            "`{slot}` is answered already: {by} {said} it{otherwise} at {at}"
        )));
    }
    signal::has_not_ended(run)?;
    if let Some(cancel) = &run.cancel {
        let why = &cancel.reason;
        return Err(conflict(format!("the run is about to stop: {why}")));
    }
    if run.approvals().any(|(open, ..)| open == *slot) {
        return Ok(Standing::Open(asked));
    }
    Err(conflict(too_late(run, slot, asked)))
}

/// What was asked there, if this entry asks it: a slot is asked for once.
fn asked_at<'a>(entry: &'a Entry, slot: &Slot) -> Option<&'a Approve> {
    let Told::Decided(decided) = &entry.body else {
        return None;
    };
    let Decision::Approve(approve) = &decided.decision else {
        return None;
    };
    let is_there = decided.step == slot.step && decided.branch == slot.branch;
    is_there.then_some(approve)
}

/// The verdict that counts: one that came too late is on the journal too, but nothing rests on it.
fn first_verdict<'a>(
    run: &Run,
    entries: &'a [Entry],
    slot: &Slot,
) -> Option<(&'a Entry, &'a Signalled)> {
    let rests = entries.iter().filter_map(|entry| match &entry.body {
        Told::Decided(decided) => Some(&decided.rests),
        Told::Started(_) | Told::Resulted(_) | Told::Signalled(_) | Told::Fired(_) => None,
    });
    let counted: BTreeSet<u64> = rests.chain([&run.pending]).flatten().copied().collect();
    entries.iter().find_map(|entry| {
        let Told::Signalled(signalled) = &entry.body else {
            return None;
        };
        let judged = signalled.approval.as_ref()?;
        let is_there = judged.step == slot.step && judged.branch == slot.branch;
        (is_there && counted.contains(&entry.seq)).then_some((entry, signalled))
    })
}

fn no_such(run: &Run, slot: &Slot) -> Problem {
    let waiting: Vec<String> = run
        .approvals()
        .filter(|_| run.end.is_none())
        .take(10)
        .map(|(slot, ..)| format!("`{slot}`"))
        .collect();
    let there = if waiting.is_empty() {
        "nothing of this run waits for a person".to_owned()
    } else {
        format!("what waits for a person is {}", waiting.join(", "))
    };
    let detail = format!("nobody was asked for `{slot}`; {there}");
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// Why something does not wait any more that nobody answered.
fn too_late(run: &Run, slot: &Slot, asked: &Approve) -> String {
    if run.key(&slot.step.place()).again != slot.step.again {
        return format!(
            "what was asked for at `{slot}` is void: the step was begun anew, and asks again where it must"
        );
    }
    match (asked.until, asked.on_timeout) {
        (Some(until), Some(then)) if until <= run.clock => {
            let then = serde_json::to_value(then).unwrap_or_default();
            let then = then.as_str().unwrap_or_default();
            format!("nobody answered `{slot}` until {until}, and its definition says then: {then}")
        }
        (Some(_) | None, _) => format!("`{slot}` does not wait for a person any more"),
    }
}

/// Whether other parameters are ones that the tool takes.
fn fits(app: &App, run: &Run, asked: &Approve, with: Option<&Value>) -> Result<(), Problem> {
    let Some(with) = with else {
        return Ok(());
    };
    let Some(action) = &asked.action else {
        let problem = "is for an action; what waits there is a question";
        return Err(wrong("with", problem));
    };
    let pin = run.begun.as_ref().map(|begun| &begun.pin);
    let catalogue = app.current.catalogue();
    let Some(workflow) = pin.and_then(|pin| catalogue.pinned(pin)) else {
        return Err(conflict(
            "this gateway does not have the version of the definition that the run is pinned to: nobody here can say whether the tool takes these parameters",
        ));
    };
    let tools = workflow.tools();
    let mut tools = tools.into_iter();
    let tool = tools.find(|tool| tool.name == action.tool && tool.version == action.version);
    let Some(tool) = tool else {
        let problem = format!("there is no tool {}@{}", action.tool, action.version);
        return Err(conflict(problem));
    };
    let checked = tool.input.check(with);
    checked.map_err(|faults| {
        let placed = faults.starts_with('/');
        let (place, fault) = match faults.split_once(": ") {
            Some((place, fault)) if placed => (place, fault),
            Some(_) | None => ("", faults.as_str()),
        };
        let problem = format!("is not as {} takes it: {fault}", action.tool);
        wrong(&format!("with{place}"), &problem)
    })
}

#[cfg(test)]
mod tests;
