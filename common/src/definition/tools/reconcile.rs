//! What a tool says in `reconcile`: whom to ask whether it was done, once all files were read.

use super::{
    super::{
        problem::Report,
        tool::{Effect, Reconcile, Tool},
    },
    Beside, Tools,
};

/// What its holes see beside `input`.
const SEEN: [&str; 3] = ["idempotency_key", "run", "step"];

impl Tools {
    /// The tool that is asked, with what it is asked; `None` where something is wrong, which the report says.
    pub(super) fn reconcile(&self, asked: &Beside, report: &mut Report<'_>) -> Option<Reconcile> {
        let doubted = self.get(&asked.name, asked.version)?;
        let reference = &asked.call.tool;
        let before = report.problems.len();
        if let Some(effect) = repeated(doubted.effect) {
            let message = format!(
                "`reconcile` is for a tool that is `once`, and `{}` is `{effect}`",
                doubted.name
            );
            let help = "nothing is in doubt after a crash: it is run again; leave this out";
            report.at(reference.referenced, message, Some(help));
        }
        let (tool, with) = self.call(&asked.call, report, |path| unseen(doubted, path))?;
        if tool.effect != Effect::Read {
            let message = format!(
                "`{}` is not `read`, and asking whether something was done must change nothing",
                tool.name
            );
            let help = "name a tool with `effect: read` that looks it up";
            report.at(reference.referenced, message, Some(help));
        }
        (report.problems.len() == before).then_some(Reconcile { tool, with })
    }
}

/// The effect of a tool that is run again without asking.
fn repeated(effect: Effect) -> Option<&'static str> {
    match effect {
        Effect::Read => Some("read"),
        Effect::Idempotent => Some("idempotent"),
        Effect::Once => None,
    }
}

/// What is wrong with a path in the question about a use of `tool`.
fn unseen(tool: &Tool, path: &str) -> Option<(String, Option<String>)> {
    let mut parts = path.split('.');
    match (parts.next(), parts.next()) {
        (Some("input"), None) => None,
        (Some("input"), Some(field)) if tool.input.allows_property(field) => None,
        (Some("input"), Some(field)) => {
            let help = format!("it has: {}", tool.input.properties().join(", "));
            let message = format!("the tool's `input` has no property `{field}`");
            Some((message, Some(help)))
        }
        (Some(name), None) if SEEN.contains(&name) => None,
        _ => {
            let message = "who is asked whether it was done sees only input, idempotency_key, run and step; the output is what nobody knows";
            Some((message.into(), None))
        }
    }
}
