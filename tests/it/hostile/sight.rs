//! What can be seen: prompts, the journal, logs, and what the commands print.

use std::collections::BTreeSet;

use flotilla_common::definition::percent_encoded;
use flotilla_tests::{CLAUDE_KEY, Entry, PATIENCE, run_flotilla};
use serde_json::Value;

use super::{
    checks::Seen,
    stage::{NATS_PASSWORD, Stage},
    texts::{CANARY, SUM},
};

/// Commands started to look at the runs of one round, at most: each is a process.
const LOOKS_MAX: usize = 6;

/// In prompts, what came from outside stands in the marks of data or in what a tool returned; and the marks cannot be closed or
/// opened from inside, however that is spelled.
pub(crate) fn data_stays_in_its_marks(seen: &Seen) {
    for call in &seen.calls {
        let mut texts: Vec<&str> = blocks(&call.body["system"]).collect();
        for message in call.body["messages"].as_array().into_iter().flatten() {
            if message["role"] == "user" {
                texts.extend(blocks(&message["content"]));
            }
        }
        for text in texts {
            let outside = outside(text);
            assert!(!outside.contains(CANARY), "outside of the marks: {outside}");
            let skeleton = skeleton(text);
            for mark in ["<data", "</data"] {
                let (real, seen) = (text.matches(mark).count(), skeleton.matches(mark).count());
                assert_eq!(real, seen, "`{mark}` in {text}");
            }
        }
        assert!(
            !call.body["tools"].to_string().contains(CANARY),
            "nothing is added to a menu"
        );
    }
}

fn blocks(content: &Value) -> impl Iterator<Item = &str> {
    let blocks = content.as_array().into_iter().flatten();
    blocks.filter_map(|block| block["text"].as_str())
}

/// What stands outside of `<data>…</data>`.
fn outside(text: &str) -> String {
    let mut outside = String::new();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once("<data>") {
        outside += before;
        (_, rest) = tail.split_once("</data>").expect("each mark is closed");
    }
    outside + rest
}

/// The text as a careless reader takes it: without what cannot be seen, in plain letters.
fn skeleton(text: &str) -> String {
    let plain = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap(),
        c => c.to_ascii_lowercase(),
    };
    let text = text.replace("\\n", "\n");
    text.chars()
        .filter(|c| !c.is_whitespace() && !c.is_control() && !is_invisible(*c))
        .map(plain)
        .collect()
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// No secret, and nothing that a template in data would have come to, is on the journal, in a log, in a prompt, or in what the
/// commands print; and what they print moves no cursor and turns no text around.
pub(crate) async fn nothing_is_revealed(stage: &Stage, seen: &Seen) {
    let mut places = Vec::new();
    for entry in &seen.journal {
        places.push((
            format!("the journal at {}", entry.seq),
            entry.payload.to_string(),
        ));
    }
    for call in &seen.calls {
        places.push((format!("request {}", call.n), call.body.to_string()));
    }
    let roles = stage.fleet.planners.iter().chain(&stage.fleet.executors);
    for role in roles.chain([&stage.fleet.gateway]) {
        let log = role.log();
        assert!(
            !log.contains('\u{1b}'),
            "the log of {} moves the cursor",
            role.name()
        );
        places.push((format!("the log of {}", role.name()), log));
    }
    places.extend(explanations(stage, seen).await);
    places.extend(printed(stage, seen).await);
    let secrets = stage.secrets.values().map(String::as_str);
    let secrets: Vec<&str> = secrets.chain([CLAUDE_KEY, NATS_PASSWORD, SUM]).collect();
    for (place, text) in &places {
        for secret in &secrets {
            assert!(!text.contains(secret), "{secret} is in {place}: {text}");
        }
    }
}

/// The API's explanation of every step that Claude decided.
async fn explanations(stage: &Stage, seen: &Seen) -> Vec<(String, String)> {
    let mut told = Vec::new();
    // Any decision may also tell what was given up beside it, which explains nothing of its own.
    let by_claude = |entry: &&Entry| {
        let kind = entry.text("/decision/kind");
        entry.at("/call").is_object() && ["answer", "act", "finish"].contains(&kind)
    };
    let decided = seen.journal.iter().filter(by_claude);
    let asked: BTreeSet<_> = decided
        .filter(|entry| stage.asks_claude(entry.text("/step")))
        .map(|entry| (&entry.run, entry.text("/step")))
        .collect();
    for (run, step) in asked {
        let path = format!("/v1/runs/{run}/explain/{}", percent_encoded(step));
        let answer = stage.fleet.api().get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let explained: Value = answer.json();
        assert_eq!(explained["prompt"]["verdict"], "same", "{path}");
        told.push((path, answer.text));
    }
    told
}

/// What `show` and `explain` print of some runs.
async fn printed(stage: &Stage, seen: &Seen) -> Vec<(String, String)> {
    let mut printed = Vec::new();
    let url = ["--url", stage.fleet.api().base()];
    let traces = seen.traces();
    let every = traces.len().div_ceil(LOOKS_MAX / 2).max(1);
    for trace in traces.iter().step_by(every) {
        let asked = trace
            .journal
            .iter()
            .rfind(|entry| entry.at("/call").is_object());
        let explain = asked.map(|entry| vec!["explain", trace.run, entry.text("/step")]);
        for args in explain.into_iter().chain([vec!["show", trace.run]]) {
            let output = run_flotilla(&[&args[..], &url[..]].concat(), &[], PATIENCE)
                .await
                .output;
            let odd = output
                .chars()
                .find(|c| (c.is_control() && *c != '\n') || is_invisible(*c));
            assert_eq!(odd, None, "{args:?} prints it: {output:?}");
            printed.push((args.join(" "), output));
        }
    }
    printed
}
