//! `explain`: how a step, or a turn of an agent, was decided, and what Claude saw when it was.

use std::process::ExitCode;

use flotilla_common::{
    claude::{Request, Role, SystemBlock},
    entry::{Attempt, Call},
    ids::{RunId, StepKey},
    run::{Chosen, Explained, Prompt, Verdict},
};
use serde_json::Value;

use crate::{
    client::Client,
    decision::in_words,
    figures::{millis, number},
    output::Output,
    style::{bold, dim, good, one_line, plain, warn, width, wrap},
};

/// Lines of one block of a prompt or a reply; `--json` has them all.
const LINES_MAX: usize = 60;
const INDENT: &str = "  ";

/// What to explain.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The run
    run: RunId,
    /// The step, or the turn of an agent: severity, triage/3
    step: StepKey,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(client: &Client, args: Explain) -> anyhow::Result<ExitCode> {
    let explained = client.explain(&args.run, &args.step).await?;
    if args.output.json() {
        println!("{explained}");
    } else {
        let explained: Explained = serde_json::from_value(explained)?;
        lines(&explained).iter().for_each(|line| println!("{line}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(explained: &Explained) -> Vec<String> {
    let pin = &explained.workflow;
    let mut lines = vec![format!(
        "{} {} {}",
        bold(&explained.step),
        bold(&pin.name),
        dim(format!(
            "v{} (digest {:.12}) · {}",
            pin.version, pin.digest, explained.run
        )),
    )];
    for wait in &explained.waits {
        let waited = format!(
            "waited from {} ({}): {}",
            wait.at,
            wait.by,
            one_line(&wait.why, 300)
        );
        lines.push(format!("{INDENT}{}", warn(waited)));
    }
    lines.extend(explained.decisions.iter().flat_map(decision));
    match &explained.call {
        None => lines.push(format!("{INDENT}{}", dim("Claude was not asked for this"))),
        Some(call) => lines.extend(figures(call)),
    }
    if let Some(prompt) = &explained.prompt {
        lines.push(verdict(prompt));
    }
    if let Some(call) = &explained.call {
        for (number, attempt) in (1..).zip(&call.attempts) {
            lines.extend(reply(number, attempt));
        }
    }
    let request = explained
        .prompt
        .as_ref()
        .and_then(|prompt| prompt.request.as_ref());
    lines.extend(request.into_iter().flat_map(asked));
    lines
}

fn decision(chosen: &Chosen) -> Vec<String> {
    let what = in_words(&chosen.decision, 600);
    let sure = chosen.confidence.map(|c| dim(format!(" · sure {c:.2}")));
    let mut lines = vec![format!(
        "{INDENT}{what}{} {}",
        sure.unwrap_or_default(),
        dim(format!("· entry {} at {}", chosen.seq, chosen.at))
    )];
    let reasoning = one_line(chosen.reasoning.as_deref().unwrap_or_default(), 2_000);
    let wrapped = wrap(&reasoning, width() - 8);
    lines.extend(
        wrapped
            .into_iter()
            .map(|line| format!("{INDENT}{INDENT}{}", dim(line))),
    );
    lines
}

/// One line per figure of the call.
fn figures(call: &Call) -> Vec<String> {
    let line = |name: &str, text: String| format!("{INDENT}{} {text}", dim(format!("{name:<8}")));
    let asked = match call.asked.as_str() {
        "" => String::new(),
        same if same == call.model => String::new(),
        other => format!(", asked first was {other}"),
    };
    let usage = &call.usage;
    let mut lines = vec![line("model", format!("{}{asked}", call.model))];
    lines.extend(
        call.fallbacks
            .iter()
            .map(|why| line("", warn(one_line(why, 300)))),
    );
    let menu = match call.menu.join(", ") {
        none if none.is_empty() => "none: a text was asked for".to_owned(),
        menu => menu,
    };
    lines.push(line("menu", menu));
    lines.push(line(
        "tokens",
        format!(
            "{} in ({} from cache, {} written to it), {} out",
            number(usage.prompt_tokens()),
            number(usage.cache_read_input_tokens),
            number(usage.cache_creation_input_tokens),
            number(usage.output_tokens)
        ),
    ));
    let wasted = match call.wasted {
        0 => String::new(),
        lost => format!(
            ", and {lost} lost call(s) of {} at most",
            call.wasted_usd_nano
        ),
    };
    if let Some(batch) = &call.batch {
        lines.push(line("batch", one_line(batch, 80)));
    }
    lines.push(line("cost", format!("{}{wasted}", call.usd_nano)));
    lines.push(line("time", millis(call.took_ms)));
    lines
}

fn verdict(prompt: &Prompt) -> String {
    let digest = prompt.digest.as_deref().unwrap_or("unknown");
    let why = prompt.why.as_deref().unwrap_or_default();
    let said = match prompt.verdict {
        Verdict::Same => good(format!("the same prompt as was sent, sha256 {digest:.16}")),
        Verdict::Differs => warn(format!("another prompt than was sent: {why}")),
        Verdict::NotLoaded => warn(format!("the prompt cannot be shown: {why}")),
    };
    format!("{INDENT}{} {said}", dim(format!("{:<8}", "prompt")))
}

fn reply(number: usize, attempt: &Attempt) -> Vec<String> {
    let verdict = match &attempt.complaint {
        None => good("taken"),
        Some(complaint) => warn(format!("not taken: {}", one_line(complaint, 600))),
    };
    let request = attempt.request_id.as_deref().unwrap_or("no request id");
    let about = dim(format!(
        "· {} · {}",
        millis(attempt.took_ms),
        one_line(request, 80)
    ));
    let mut lines = vec![
        String::new(),
        format!("{} {verdict} {about}", bold(format!("reply {number}"))),
    ];
    lines.extend(attempt.content.iter().flat_map(block));
    lines
}

/// The first attempt's request.
fn asked(request: &Request) -> Vec<String> {
    let mut lines = vec![String::new(), bold("system")];
    for SystemBlock::Text { text, .. } in &request.system {
        lines.extend(quoted(text));
    }
    for message in &request.messages {
        let who = match message.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        lines.push(bold(who));
        lines.extend(message.content.iter().flat_map(block));
    }
    lines
}

/// A content block as people read it.
fn block(block: &Value) -> Vec<String> {
    let name = block["name"].as_str().unwrap_or_default();
    match block["type"].as_str() {
        Some("text") => quoted(block["text"].as_str().unwrap_or_default()),
        Some("tool_use") => quoted(&format!("uses {name} {}", block["input"])),
        Some("tool_result") => {
            let failed = if block["is_error"] == true {
                " (error)"
            } else {
                ""
            };
            quoted(&format!("result{failed}: {}", plain(&block["content"])))
        }
        _ => quoted(&block.to_string()),
    }
}

fn quoted(text: &str) -> Vec<String> {
    let wide = width() - 6;
    // A blank line stays one; what could move the cursor does not.
    let all: Vec<String> = text
        .lines()
        .flat_map(|line| {
            let wrapped = wrap(&one_line(line, 8_000), wide);
            if wrapped.is_empty() {
                vec![String::new()]
            } else {
                wrapped
            }
        })
        .collect();
    let more = all.len().saturating_sub(LINES_MAX);
    let shown = all.iter().take(LINES_MAX);
    let mut lines: Vec<String> = shown
        .map(|line| format!("{INDENT}{} {line}", dim("│")))
        .collect();
    if more > 0 {
        lines.push(format!(
            "{INDENT}{}",
            dim(format!("│ … {more} more lines, see --json"))
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_explanation_names_the_model_the_menu_the_verdict_and_what_was_rejected() {
        let attempt = |complaint: Option<&str>| {
            json!({"content": [{"type": "tool_use", "id": "t", "name": "rm", "input": {"a": "x\u{1b}[2J"}}],
                "complaint": complaint, "request_id": "req_7", "took_ms": 12})
        };
        let explained = json!({
            "run": "run_00000000000000000000000000000000",
            "workflow": {"name": "w", "version": 3, "digest": "0123456789abcdef"},
            "step": "triage/2",
            "waits": [],
            "decisions": [{"seq": 9, "at": "2026-11-21T10:00:00Z", "branch": 0, "reasoning": "Because.", "confidence": 0.9,
                "decision": {"kind": "act", "tool": "look", "version": 1, "with": {"path": "/"}}}],
            "call": {"model": "b", "batch": "msgbatch_1", "asked": "a", "menu": ["look@1", "resolve"], "prompt": "dd", "usage": {"input_tokens": 5, "output_tokens": 2},
                "usd_nano": 0, "took_ms": 12, "fallbacks": ["a: overloaded"], "attempts": [attempt(Some("`rm` is not on the menu")), attempt(None)]},
            "prompt": {"verdict": "not_loaded", "why": "workflow w version 3 is not loaded here", "digest": null, "request": null},
        });
        let explained: Explained =
            serde_json::from_value(explained).expect("as the gateway says it");
        let text = lines(&explained).join("\n");
        for part in [
            "triage/2 w v3 (digest 0123456789ab)",
            "look@1 {\"path\":\"/\"} · sure 0.90",
            "b, asked first was a",
            "a: overloaded",
            "look@1, resolve",
            "msgbatch_1",
            "the prompt cannot be shown: workflow w version 3 is not loaded here",
            "reply 1 not taken: `rm` is not on the menu · 12 ms · req_7",
            "reply 2 taken",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "nothing moves the cursor");
    }
}
