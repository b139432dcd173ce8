//! `effects`: what a run was to do outside, under which keys, and what is known of it.

use std::process::ExitCode;

use flotilla_common::{
    definition::Effect,
    entry::Found,
    ids::RunId,
    run::{EffectLine, Known},
};
use serde::Deserialize;

use crate::{
    client::Client,
    figures::millis,
    output::Output,
    style::{bad, bold, dim, good, one_line, plain, warn, width, wrap},
};

const INDENT: &str = "    ";

/// Whose effects to list.
#[derive(Debug, clap::Args)]
pub(crate) struct Effects {
    /// The run
    run: RunId,
    #[command(flatten)]
    output: Output,
}

/// What the gateway answers, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Ledger {
    unknown: usize,
    effects: Vec<EffectLine>,
}

pub(crate) async fn run(client: &Client, args: Effects) -> anyhow::Result<ExitCode> {
    let told = client.effects(&args.run).await?;
    if args.output.json() {
        println!("{told}");
        return Ok(ExitCode::SUCCESS);
    }
    let ledger: Ledger = serde_json::from_value(told)?;
    lines(&ledger).iter().for_each(|line| println!("{line}"));
    Ok(ExitCode::SUCCESS)
}

fn lines(ledger: &Ledger) -> Vec<String> {
    let head = match (ledger.effects.len(), ledger.unknown) {
        (0, _) => "it has done nothing outside yet".to_owned(),
        (all, 0) => format!("{all} effects, none of them in doubt"),
        (all, unknown) => {
            let unknown = bad(format!("nobody knows whether {unknown} of them were done"));
            format!("{all} effects; {unknown}")
        }
    };
    let effects = ledger.effects.iter().flat_map(effect);
    std::iter::once(head).chain(effects).collect()
}

fn effect(line: &EffectLine) -> Vec<String> {
    let kind = line
        .effect
        .map_or("not loaded here", |effect| match effect {
            Effect::Read => "read",
            Effect::Idempotent => "idempotent",
            Effect::Once => "once",
        });
    let mut lines = vec![format!(
        "{} {} {}@{} {}",
        standing(&line.outcome),
        bold(&line.slot),
        line.tool,
        line.version,
        dim(format!("({kind}) key {}", line.key)),
    )];
    let took = line.took_ms.map(|took| format!(", took {}", millis(took)));
    let ended = line.ended_at.map_or_else(
        || "not ended".to_owned(),
        |at| {
            let tries = if line.tries == 1 { "try" } else { "tries" };
            let by = line.worker.as_deref().unwrap_or_default();
            format!(
                "ended {at:.0}, {} {tries}{} by {}",
                line.tries,
                took.unwrap_or_default(),
                one_line(by, 80)
            )
        },
    );
    lines.push(dim(format!(
        "{INDENT}decided {:.0}, {ended}",
        line.decided_at
    )));
    lines.push(dim(format!(
        "{INDENT}with {}",
        one_line(&plain(&line.with), 300)
    )));
    match &line.outcome {
        Known::Pending | Known::Ok => {}
        Known::Failed { message, .. } | Known::Unknown { message } => {
            lines.extend(wrapped(message));
        }
    }
    if let Some(asked) = &line.reconciled {
        let found = match asked.found {
            Found::Done => "it was done; what is recorded of it is its result",
            Found::NotDone => "it had not been done",
            Found::Unknown => "it could not say",
        };
        lines.extend(wrapped(&format!(
            "{}@{} was asked, because {}: {found}",
            asked.tool, asked.version, asked.doubt
        )));
    }
    if let Some(undoing) = &line.compensated_by {
        let how = standing(&undoing.outcome);
        lines.push(format!(
            "{INDENT}undone by {} ({}): {how}",
            undoing.tool, undoing.slot
        ));
    }
    if let Some(to_do) = &line.to_do {
        let to_do = wrapped(to_do);
        lines.extend(to_do.into_iter().map(warn));
    }
    lines
}

fn standing(outcome: &Known) -> String {
    match outcome {
        Known::Pending => dim("pending"),
        Known::Ok => good("ok"),
        Known::Failed { error, .. } => warn(format!("failed ({error})")),
        Known::Unknown { .. } => bad("unknown"),
    }
}

fn wrapped(text: &str) -> Vec<String> {
    let wrapped = wrap(&one_line(text, 2_000), width() - INDENT.len());
    let indented = wrapped.into_iter().map(|line| format!("{INDENT}{line}"));
    indented.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_ledger_names_key_tool_outcome_and_what_to_do() {
        let told = json!({"run": "run_1", "unknown": 1, "effects": [{
            "key": "run_1.pay.0", "step": "pay", "tool": "pay", "version": 2, "effect": "once", "with": {"bill": "x\u{1b}[2J"},
            "decided": 4, "decided_at": "2026-11-21T10:00:00Z", "ended_at": "2026-11-21T10:00:09Z", "tries": 1, "took_ms": 1500,
            "worker": "executor-1", "outcome": {"kind": "unknown", "message": "nobody knows"},
            "reconciled": {"tool": "find", "version": 1, "found": "unknown", "doubt": "it was lost"},
            "compensated_by": {"step": "pay!undo", "tool": "refund", "outcome": {"kind": "ok"}},
            "to_do": "look for the key"}]});
        let ledger: Ledger = serde_json::from_value(told).expect("as the gateway says it");
        let text = lines(&ledger).join("\n");
        for part in [
            "nobody knows whether 1 of them were done",
            "pay@2",
            "(once) key run_1.pay.0",
            "ended 2026-11-21T10:00:09Z, 1 try",
            "find@1 was asked, because it was lost: it could not say",
            "undone by refund (pay!undo): ok",
            "look for the key",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "nothing moves the cursor");
    }
}
