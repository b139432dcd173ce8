//! Runs within runs: a child is started where its parent's journal says so, told when its parent ends, and tells its parent how it
//! ended. Each of these may be done twice; the second time changes nothing.

use flotilla_common::{
    definition::Workflow,
    entry::{Body, Kind, Outcome, Parent, RESERVED_RUN, Resulted, Signalled, Started, ToolOutcome},
    event::Event,
    ids::{Name, RunId, StepKey},
    io::{
        clock,
        journal::{JournalError, decode},
        lessons::Lesson,
    },
    money::Usd,
    names::subject,
    run::{Child, Run, SIGNAL_CANCEL},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tracing::debug;

use crate::{handle::Planner, stop::Stop};

/// The type of the event that starts a run within a run.
const EVENT_RUN: &str = "flotilla.run";
/// By how much the times of an entry and of the message that has it may differ: by far less, unless nats-server's clock was set.
const CLOCKS_APART: SignedDuration = SignedDuration::from_mins(1);
/// Who wrote a result that no executor did.
const PLANNER: &str = "planner";

impl Planner {
    /// Starts the runs within this one that have not ended; those that were started before are not started again.
    pub(crate) async fn start_children(&self, run: &Run) -> Result<(), Stop> {
        if run.end.is_some() {
            return Ok(());
        }
        let children = run.steps.iter().filter_map(|(place, state)| {
            let child = state.child().filter(|child| child.outcome.is_none())?;
            Some((run.key(place), child))
        });
        for (step, child) in children {
            self.start_child(run, step, child).await?;
        }
        Ok(())
    }

    async fn start_child(&self, run: &Run, step: StepKey, child: &Child) -> Result<(), Stop> {
        let picked = self.definitions.picked(&child.workflow, &child.run).await;
        let Some(workflow) = picked else {
            let message = format!("no version of workflow `{}` is active", child.workflow);
            let outcome = failed("definition", message)?;
            return self.unless_begun(&run.id, step, child, outcome).await;
        };
        let started = Started {
            workflow: workflow.pin.clone(),
            event: event(run, &step, child)?,
            parent: Some(Parent {
                run: run.id.clone(),
                step: step.clone(),
                decided: child.decided,
                depth: run.depth().saturating_add(1),
                usd_nano: child.allotted,
            }),
            lessons: self.lessons.newest(&workflow.pin, workflow.lessons).await,
            forked: None,
            received: None,
        };
        let payload = encode(&Body::Started(started))?;
        let start = || {
            self.journal
                .start(&child.run, &child.workflow, payload.clone(), None)
        };
        match self.patient(start).await? {
            Ok(_) => {
                debug!(child = %child.run, "started");
                Ok(())
            }
            // The one that was started before, or nothing but a signal that came too soon.
            Err(JournalError::Conflict(_)) => {
                let outcome = failed("cancelled", "it was cancelled before it began".into())?;
                self.unless_begun(&run.id, step, child, outcome).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Tells how a run within `run` came to nothing, unless it was started before.
    async fn unless_begun(
        &self,
        run: &RunId,
        step: StepKey,
        child: &Child,
        outcome: ToolOutcome,
    ) -> Result<(), Stop> {
        let entries = self.patient(|| self.journal.read(&child.run)).await??;
        let begun = entries
            .iter()
            .any(|entry| matches!(entry.body, Body::Started(_)));
        if begun {
            return Ok(());
        }
        self.tell(run, step, child.decided, outcome, None).await
    }

    /// A run that is to stop takes those within it along.
    pub(crate) async fn cancel_children(&self, run: &Run) -> Result<(), Stop> {
        let Some(why) = stops(run) else {
            return Ok(());
        };
        let signal: Name = SIGNAL_CANCEL.parse()?;
        // A signal before its beginning would stand in the way of it.
        self.start_children(run).await?;
        for child in run.children() {
            let id = format!("{}.parent", child.run);
            let signalled = Signalled {
                id: id.clone(),
                by: Some(run.id.to_string()),
                reason: Some(why.clone()),
                compensate: run.cancel.as_ref().is_some_and(|it| it.compensate),
                ..Signalled::default()
            };
            let payload = encode(&Body::Signalled(signalled))?;
            let tell = || {
                self.journal
                    .signal(&child.run, &signal, &id, payload.clone())
            };
            self.patient(tell).await??;
        }
        Ok(())
    }

    /// What an ended run leaves to do: those within it stop, later ones learn from it, and the one above learns how it ended. For
    /// the last, only one that completed needs its definition. `again`: all of it may have been done long ago.
    pub(crate) async fn end_family(
        &self,
        run: &Run,
        workflow: Option<&Workflow>,
        again: bool,
    ) -> Result<(), Stop> {
        self.cancel_children(run).await?;
        if let Some((workflow, lesson)) = workflow.and_then(|one| Some((one, lesson(run, one)?))) {
            self.lessons.add(&workflow.pin, lesson).await;
        }
        let Some((parent, end)) = run
            .begun
            .as_ref()
            .and_then(|begun| begun.parent.as_ref())
            .zip(run.end.as_ref())
        else {
            return Ok(());
        };
        let outcome = match end.outcome {
            Outcome::Completed => match workflow {
                Some(workflow) => ToolOutcome::Ok {
                    output: run.output(workflow),
                },
                None => failed(
                    "output",
                    "it completed, and what it gave cannot be told".into(),
                )?,
            },
            Outcome::Escalated | Outcome::Failed | Outcome::Cancelled => {
                let why = end.reason.clone().unwrap_or_default();
                failed(&end.outcome.to_string(), why)?
            }
        };
        let Parent {
            run: above,
            step,
            decided,
            ..
        } = parent;
        // JetStream forgets a message's id after a while: what wakes a run long after its end, its deadline say, would tell it again.
        if again && self.was_told(above, *decided, end.at).await? {
            return Ok(());
        }
        let child = Some((&run.id, run.cost()));
        self.tell(above, step.clone(), *decided, outcome, child)
            .await
    }

    /// Whether the journal of `run` says how the run ended, at `end`, that this decision of its started. What says so was written a
    /// moment later: what was written long before, by hundreds of others perhaps, need not be read.
    async fn was_told(&self, run: &RunId, decided: u64, end: Timestamp) -> Result<bool, Stop> {
        let results = subject::entry(run, Kind::Resulted, &RESERVED_RUN.parse()?);
        let since = end.checked_sub(CLOCKS_APART).unwrap_or(end);
        let first = || self.journal.raw_page_since(&results, since);
        let mut page = self.patient(first).await??;
        loop {
            // One that cannot be read is none: a second result changes nothing.
            let mut entries = page
                .messages
                .iter()
                .filter_map(|raw| decode(raw).ok().flatten());
            if entries.any(|entry| is_result_of(&entry.body, decided)) {
                return Ok(true);
            }
            let Some(next) = page.next else {
                return Ok(false);
            };
            page = self
                .patient(|| self.journal.raw_page(&results, next))
                .await??;
        }
    }

    /// Writes how a run within `run` ended.
    async fn tell(
        &self,
        run: &RunId,
        step: StepKey,
        decided: u64,
        outcome: ToolOutcome,
        child: Option<(&RunId, Usd)>,
    ) -> Result<(), Stop> {
        let tool: Name = RESERVED_RUN.parse()?;
        let id = format!("{run}.{}.{decided}", step.token());
        let resulted = Resulted {
            step,
            branch: 0,
            decided,
            tool: tool.clone(),
            outcome,
            took_ms: 0,
            attempts: 1,
            worker: child.map_or_else(|| PLANNER.to_owned(), |(run, _)| run.to_string()),
            usd_nano: child.map(|(_, cost)| cost),
            reconciled: None,
        };
        let payload = encode(&Body::Resulted(resulted))?;
        let write = || self.journal.result(run, &tool, &id, payload.clone());
        self.patient(write).await??;
        Ok(())
    }
}

fn is_result_of(body: &Body, decision: u64) -> bool {
    match body {
        Body::Resulted(resulted) => resulted.decided == decision,
        Body::Started(_) | Body::Decided(_) | Body::Signalled(_) | Body::Fired(_) => false,
    }
}

/// What a run taught that needed a person, or failed, where its workflow wants to know.
fn lesson(run: &Run, workflow: &Workflow) -> Option<Lesson> {
    let end = run.end.as_ref().filter(|_| workflow.lessons > 0)?;
    let reason = end.reason.as_deref().unwrap_or("no reason given");
    let text = match end.outcome {
        Outcome::Escalated => format!("a run escalated: {reason}"),
        Outcome::Failed => format!("a run failed: {reason}"),
        Outcome::Completed | Outcome::Cancelled => return None,
    };
    Some(Lesson::new(&run.id, end.at, &text))
}

/// Why what runs within this run must stop.
fn stops(run: &Run) -> Option<String> {
    let ended = run
        .end
        .as_ref()
        .map(|end| format!("its parent has ended: {}", end.outcome));
    let cancelled = run.cancel.as_ref().map(|cancel| cancel.reason.clone());
    let failing = run.failing.as_ref().map(|failing| failing.reason.clone());
    ended.or(cancelled).or(failing)
}

/// The event that starts a run within a run: its parent's, as far as it says who pays.
fn event(run: &Run, step: &StepKey, child: &Child) -> Result<Event, Stop> {
    let kind = EVENT_RUN.parse()?;
    let mut event = Event::new(kind, run.id.to_string(), step.token(), child.with.clone());
    if let Some(begun) = &run.begun {
        event.extensions = begun.event.extensions.clone();
    }
    Ok(event)
}

fn failed(error: &str, message: String) -> Result<ToolOutcome, Stop> {
    Ok(ToolOutcome::Failed {
        error: error.parse()?,
        message,
        output: None::<Value>,
    })
}

fn encode(body: &Body) -> Result<Vec<u8>, Stop> {
    body.encode(clock::now())
        .map_err(|e| Stop::Dead(e.to_string()))
}
