//! Where nobody knows whether a `once` tool was done, its `reconcile` tool is asked, under the same claim and under the asked tool's
//! own limits. What it says is the result, or allows the tool to run once more, or leaves it unknown.

use std::time::Duration;

use flotilla_common::{
    definition::{Context, Effect, Reconcile},
    entry::{Found, Reconciled, ToolOutcome},
    io::{store::Lease, worker::HAND_BACK_PAUSE},
};
use serde_json::{Value, json};
use tracing::info;

use crate::{
    action::Action,
    adapter::{
        Call,
        failure::{Class, Failure},
    },
    handle::{Executor, Stop, attempts, retry},
    run::{Begin, Tried, charged},
    tools::Ready,
};

/// What the key of a question ends with.
const ASKED: &str = "!reconcile";

/// What asking gave.
#[derive(Debug)]
struct Answer {
    found: Found,
    /// Where it was done: what the use gave.
    output: Value,
    /// Where it could not say: why.
    message: Option<String>,
}

impl Answer {
    fn unknown(message: impl Into<String>) -> Self {
        Self {
            found: Found::Unknown,
            output: Value::Null,
            message: Some(message.into()),
        }
    }
}

/// A doubt about an action.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// Why nobody knows whether it was done.
    pub(crate) why: String,
    /// Whether it may be run now, if it was not done.
    pub(crate) may_run: bool,
    /// How long this executor's own try took, if there was one.
    pub(crate) took: Duration,
    /// How often it may have been tried.
    pub(crate) attempts: u32,
    /// How it is begun, if it may be.
    pub(crate) begin: Begin,
}

impl Executor {
    /// Clears up a doubt where the tool says whom to ask, and ends or runs the action accordingly.
    pub(crate) async fn clear_up(
        &self,
        action: &Action,
        ready: &Ready,
        mut lease: Lease,
        doubt: Doubt,
    ) -> Result<(), Stop> {
        let Some(reconcile) = &ready.tool.reconcile else {
            let message = doubt.why;
            let outcome = ToolOutcome::Unknown { message };
            let resulted = self.resulted(action, outcome, doubt.took, doubt.attempts);
            return self.finish(action, charged(ready, resulted), lease).await;
        };
        let asking = self.ask(action, reconcile);
        let asked = self
            .unless_abandoned(self.holding(&mut lease, asking))
            .await;
        let Some(Some(answer)) = asked else {
            return self.leave_in_doubt(lease).await;
        };
        info!(tool = %reconcile.tool.name, found = ?answer.found, "asked whether it was done");
        let reconciled = Reconciled {
            tool: reconcile.tool.name.clone(),
            version: reconcile.tool.version,
            found: answer.found,
            doubt: doubt.why.clone(),
            message: answer.message.clone(),
        };
        let outcome = match answer.found {
            Found::Done => ToolOutcome::Ok {
                output: answer.output,
            },
            Found::NotDone if doubt.may_run => {
                let begin = doubt.begin.after(reconciled);
                return self.run(action, ready, lease, begin).await;
            }
            Found::NotDone => {
                let why = format!(
                    "{}; `{}` says that it was not done, and it was tried often enough",
                    doubt.why, reconcile.tool.name
                );
                Failure::new(Class::GivenUp, why).into_outcome(&action.tool)
            }
            Found::Unknown => {
                let said = answer.message.unwrap_or_default();
                let message = format!("{}; {said}", doubt.why);
                ToolOutcome::Unknown { message }
            }
        };
        let mut resulted = self.resulted(action, outcome, doubt.took, doubt.attempts);
        resulted.reconciled = Some(Box::new(reconciled));
        self.finish(action, charged(ready, resulted), lease).await
    }

    /// Our end came before anybody had answered: whoever comes next asks.
    pub(crate) async fn leave_in_doubt(&self, lease: Lease) -> Result<(), Stop> {
        self.abandon(&lease).await;
        let why = "stopping before it was found out whether it was done";
        Err(retry(HAND_BACK_PAUSE, why))
    }

    /// Asks; `None` when the stop came first.
    async fn ask(&self, action: &Action, reconcile: &Reconcile) -> Option<Answer> {
        let tool = &reconcile.tool;
        let name = &tool.name;
        if let Some(off) = self
            .definitions
            .current()
            .switches()
            .tool(name, tool.version)
        {
            return Some(Answer::unknown(format!(
                "`{name}` was not asked: it is {off}"
            )));
        }
        let facts = json!({
            "input": action.with,
            "run": action.run.as_str(),
            "step": action.slot.step.to_string(),
            "idempotency_key": action.slot.idempotency_key(&action.run),
        });
        let with = match reconcile.with.render(&Context::new(&facts)) {
            Ok(with) => with,
            Err(error) => return Some(Answer::unknown(format!("`{name}` was not asked: {error}"))),
        };
        let Some(ready) = self.tools.get(name, tool.version) else {
            let message = format!("`{name}` was not asked: this executor does not have it");
            return Some(Answer::unknown(message));
        };
        if let Err(faults) = ready.tool.input.check(&with) {
            let message = format!("`{name}` was not asked: its parameters do not fit: {faults}");
            return Some(Answer::unknown(message));
        }
        if ready.tool.effect != Effect::Read {
            let message = format!("`{name}` was not asked: it is not `read` any more");
            return Some(Answer::unknown(message));
        }
        let mut call = Call::new(&ready.tool, &with, &action.run, &action.slot);
        // A service that answers a known key from memory must not take the question for the thing itself.
        call.idempotency_key.push_str(ASKED);
        let output = match self.attempt(&ready, &call, None).await.ok()? {
            Tried::Ended(output) => output,
            Tried::Refused(open) => {
                let message = format!("`{name}` was not asked: {}", open.why);
                return Some(Answer::unknown(message));
            }
            Tried::Stopping => return None,
        };
        self.rates.heard(&ready.tool, output.told).await;
        Some(match output.outcome {
            ToolOutcome::Ok { output } => read(output, name.as_str()),
            ToolOutcome::Failed { message, .. } | ToolOutcome::Unknown { message } => {
                Answer::unknown(format!("`{name}` was asked, and failed: {message}"))
            }
        })
    }

    /// The doubt about an action whose tool was not run by this executor.
    pub(crate) fn doubt_of_others(
        lease: &Lease,
        why: String,
        may_run: bool,
        begin: Begin,
    ) -> Doubt {
        Doubt {
            why,
            may_run,
            took: Duration::ZERO,
            attempts: attempts(lease) - 1,
            begin,
        }
    }
}

/// Reads an answer: the JSON object itself, the body of a response, or what a command wrote.
fn read(output: Value, tool: &str) -> Answer {
    let mut said = match (output.get("done"), output.get("body"), output.get("stdout")) {
        (None, Some(body), _) => body.clone(),
        (None, None, Some(Value::String(text))) => serde_json::from_str(text).unwrap_or_default(),
        (Some(_), _, _) | (None, None, _) => output,
    };
    let found = match said.get("done") {
        Some(Value::Bool(true)) => Found::Done,
        Some(Value::Bool(false)) => Found::NotDone,
        Some(Value::String(word)) if word == "unknown" => {
            return Answer::unknown(format!("`{tool}` was asked, and does not know either"));
        }
        Some(_) | None => {
            return Answer::unknown(format!(
                "`{tool}` was asked, and answered something else than `done`: true, false or \"unknown\""
            ));
        }
    };
    Answer {
        found,
        output: said
            .get_mut("output")
            .map(Value::take)
            .filter(|_| found == Found::Done)
            .unwrap_or_default(),
        message: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_wherever_it_stands_and_nothing_else_is_taken_for_one() {
        let output = json!({"id": 7});
        let answer = json!({"done": true, "output": output});
        for whole in [
            answer.clone(),
            json!({"status": 200, "body": answer}),
            json!({"exit_code": 0, "stdout": answer.to_string()}),
        ] {
            let read = read(whole, "find");
            assert_eq!((read.found, &read.output), (Found::Done, &output));
        }
        let not = read(
            json!({"body": {"done": false, "output": "of no use"}}),
            "find",
        );
        assert_eq!((not.found, not.output), (Found::NotDone, Value::Null));
        for doubtful in [
            json!({"body": {"done": "unknown"}}),
            json!({"body": {"done": "yes"}}),
            json!({"body": {"done": null}}),
            json!({"body": "done"}),
            json!({"body": {}, "done_": true}),
            json!({"exit_code": 0, "stdout": "done: true"}),
            json!([true]),
            Value::Null,
        ] {
            let read = read(doubtful.clone(), "find");
            assert_eq!(read.found, Found::Unknown, "{doubtful}");
            assert!(read.message.is_some());
        }
    }
}
