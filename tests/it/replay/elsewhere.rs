//! An exported run is folded where nothing runs, and says what was changed in it.

use std::{fs, path::Path};

use flotilla_tests::{Finished, PATIENCE, Sink, run_flotilla};
use serde_json::{Value, json};

use super::{fleet, incident, objects, typed};

/// Where there is no fleet and no definition.
async fn elsewhere(args: &[&str]) -> Finished {
    let env = [
        ("FLOTILLA_URL", "http://127.0.0.1:9"),
        ("FLOTILLA_WORKFLOWS", "/nowhere"),
    ];
    run_flotilla(args, &env, PATIENCE).await
}

async fn replayed(path: &Path, more: &[&str]) -> Finished {
    let path = path.to_str().unwrap();
    elsewhere(&[&["replay", path], more].concat()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exported_run_is_folded_where_nothing_runs_and_a_change_in_it_is_named() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let run = fleet.submit(&incident(1, "the disk")).await.runs.remove(0);
    let parent = json!({"type": "test.parent", "data": {"text": "it all"}});
    let parent = fleet.submit(&parent).await.runs.remove(0);
    for run in [&run, &parent] {
        fleet.wait_run_end(run).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.jsonl");
    let path = file.to_str().unwrap();
    let live = typed(&fleet, &["replay", &run, "--json"]).await;
    assert!(live.status.success(), "{}", live.output);
    let ran = typed(&fleet, &["export", &run, "-o", path]).await;
    assert!(ran.status.success(), "{}", ran.output);
    let ran = typed(&fleet, &["export", &run, "-o", path]).await;
    assert!(!ran.status.success(), "a file is not written over");
    let family = folder.path().join("family.jsonl");
    let args = [
        "export",
        &parent,
        "--with-children",
        "-o",
        family.to_str().unwrap(),
    ];
    let ran = typed(&fleet, &args).await;
    assert!(ran.output.contains("of 2 run(s)"), "{}", ran.output);
    let entries = fleet.journal(&run).await.0.len();
    drop(fleet);

    let there = replayed(&file, &["--json"]).await;
    assert!(there.status.success(), "{}", there.output);
    let states = objects(&there.output);
    assert_eq!(
        states,
        objects(&live.output),
        "the same there as here, to the digest"
    );
    assert_eq!(states.len(), entries + 1);
    assert_eq!(
        states[0]["standing"]["next"],
        json!(["ask Claude for classify"])
    );
    assert_eq!(states[entries]["chain"], "whole");
    let shown = replayed(&file, &[]).await;
    for part in [
        "the hash chain is whole",
        "step classify answered",
        "ask Claude for work/1",
    ] {
        assert!(
            shown.output.contains(part),
            "no {part:?} in {}",
            shown.output
        );
    }
    let last = states[entries - 1]["seq"].to_string();
    let at = replayed(&file, &["--at", &last, "--json"]).await;
    let at = objects(&at.output).remove(0);
    assert_eq!(
        (&at["run"]["end"]["outcome"], &at["standing"]["status"]),
        (&json!("completed"), &json!("completed"))
    );
    let none = replayed(&file, &["--at", "99999"]).await;
    assert!(
        none.output.contains("there is no entry 99999 in it"),
        "{}",
        none.output
    );
    let both = replayed(&family, &[]).await;
    assert_eq!(
        both.output.matches("the hash chain is whole").count(),
        2,
        "{}",
        both.output
    );
    changes_are_named(&file).await;
}

async fn changes_are_named(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let result = lines.iter().position(|line| {
        line["subject"]
            .as_str()
            .is_some_and(|subject| subject.ends_with("resulted.repair"))
    });
    let result = result.unwrap();
    let (seq, payload) = (
        &lines[result]["seq"],
        lines[result]["payload"].as_str().unwrap(),
    );
    let mut changed = lines.clone();
    changed[result]["payload"] = json!(payload.replacen("\"ok\":true", "\"ok\":false", 1));
    assert_ne!(changed, lines);
    let write = |name: &str, lines: &[Value]| {
        let path = file.with_file_name(name);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&path, text).unwrap();
        path
    };
    let path = write("changed.jsonl", &changed);
    let broken = replayed(&path, &["--json"]).await;
    assert_eq!(broken.status.code(), Some(1), "{}", broken.output);
    let last = objects(&broken.output).pop().unwrap();
    assert_eq!(last["chain"], "broken");
    assert!(
        last["problem"]
            .as_str()
            .unwrap()
            .contains("is broken at entry"),
        "{last}"
    );
    assert!(last["suspects"].as_array().unwrap().contains(seq), "{last}");

    let cut = write("cut.jsonl", &lines[..lines.len() - 1]);
    let cut = replayed(&cut, &[]).await;
    let expected = format!("line {}: the file was cut", lines.len() - 1);
    assert!(
        !cut.status.success() && cut.output.contains(&expected),
        "{}",
        cut.output
    );
    let rubbish = file.with_file_name("rubbish");
    fs::write(&rubbish, "rubbish").unwrap();
    let rubbish = replayed(&rubbish, &[]).await;
    assert!(
        rubbish.output.contains("line 1: this is not what"),
        "{}",
        rubbish.output
    );
    let nothing = elsewhere(&["replay", "no-such-file"]).await;
    assert!(
        nothing.output.contains("is no run, and no file"),
        "{}",
        nothing.output
    );
}
