//! Several files together: versions, digests, and which workflow an event starts.

use super::*;

const ASK: &str = "\
workflow: ask
version: 1
on: {event: disk.full}
model: haiku
steps:
  - id: look
    tool: disk_usage
    with: {path: /}
  - id: level
    claude: {prompt: prompts/ask.md, output: {$ref: schemas/s.json}}
";

fn digest(files: &[(&str, &str)]) -> String {
    let catalogue = parse(files).expect("these are right");
    let workflow = catalogue.newest().next().expect("there is one");
    workflow.pin.digest.clone()
}

fn with_ask<'a>(changed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let files = [("ask.yaml", ASK), ("tools.yaml", TOOLS)]
        .into_iter()
        .chain(FILES);
    let is_changed = |path: &str| changed.iter().any(|(other, _)| *other == path);
    let kept = files.filter(|(path, _)| !is_changed(path));
    kept.chain(changed.iter().copied()).collect()
}

#[test]
fn a_digest_changes_with_everything_that_makes_a_version_and_with_nothing_else() {
    let before = digest(&with_ask(&[]));
    assert_eq!(before.len(), 64);
    let newer = TOOLS
        .replace("version: 1", "version: 2")
        .replace("du, -h", "du, -k");
    let changes = [
        ("ask.yaml", ASK.replace("path: /", "path: /var")),
        (
            "prompts/ask.md",
            "How bad is it, {{ event.data.x }}?".to_owned(),
        ),
        ("schemas/s.json", FILES[3].1.replace("string", "integer")),
        ("tools.yaml", TOOLS.replace("du, -h", "du, -k")),
        // The workflow names no version, so it takes the newest.
        ("more.yaml", newer),
    ];
    for (path, text) in &changes {
        assert_ne!(digest(&with_ask(&[(path, text)])), before, "{path}");
    }
    let another = TOOLS
        .replace("tools:\n", "")
        .replace("disk_usage", "disk_free");
    let same = [
        ("tools.yaml", format!("# Looking only.\n{TOOLS}{another}")),
        ("prompts/other.md", "Nobody asks this.".to_owned()),
        (
            "later.yaml",
            ASK.replace("workflow: ask", "workflow: other")
                .replace("disk.full", "x"),
        ),
    ];
    for (path, text) in &same {
        let files = with_ask(&[(path, text)]);
        let catalogue = parse(&files).expect("these are right");
        let name = "ask".parse().expect("a name");
        let ask = catalogue
            .newest()
            .find(|workflow| workflow.pin.name == name);
        assert_eq!(
            ask.map(|ask| ask.pin.digest.as_str()),
            Some(before.as_str()),
            "{path}"
        );
    }
}

#[test]
fn what_one_file_gives_away_another_cannot_take() {
    let both = |goal: &str, prompt: &str| {
        let text = format!(
            "{TOP}steps:\n  - id: a\n    claude: {{prompt: a.md}}\n  - id: b\n    claude: {{prompt: b.md}}\n"
        );
        digest(&[("w.yaml", &text), ("a.md", goal), ("b.md", prompt)])
    };
    assert_ne!(both("one two", "three"), both("one", " two three"));
}

#[test]
fn new_runs_get_the_newest_version_and_a_run_stays_on_its_own() {
    let second = ASK.replace("version: 1", "version: 2");
    let other = ASK
        .replace("workflow: ask", "workflow: other")
        .replace("disk.full", "disk.empty");
    let files = with_ask(&[("ask2.yaml", &second), ("other.yaml", &other)]);
    let catalogue = parse(&files).expect("these are right");
    let ask = "ask".parse().expect("a name");
    let newest = catalogue.stable(&ask).expect("it is active");
    assert_eq!(newest.pin.version, 2);

    let mut all: Vec<_> = catalogue
        .newest()
        .map(|w| (w.pin.name.to_string(), w.pin.version))
        .collect();
    all.sort();
    assert_eq!(all, [("ask".to_owned(), 2), ("other".to_owned(), 1)]);

    let old = parse(&with_ask(&[])).expect("these are right");
    let old = &old.newest().next().expect("there is one").pin;
    let pinned = catalogue.pinned(old).expect("version 1 is still there");
    assert_eq!(pinned.pin.version, 1);
    let edited = Pin {
        digest: "0".repeat(64),
        ..old.clone()
    };
    assert!(
        catalogue.pinned(&edited).is_none(),
        "a version that was edited is another one"
    );
}

#[test]
fn a_tool_without_a_version_is_the_newest_and_with_one_exactly_that() {
    let second = TOOLS.replace("version: 1", "version: 2");
    let exact = ASK.replace("tool: disk_usage", "tool: disk_usage@1");
    for (workflow, version) in [(ASK, 2), (&exact, 1)] {
        let files = with_ask(&[("ask.yaml", workflow), ("tools2.yaml", &second)]);
        let catalogue = parse(&files).expect("these are right");
        let workflow = catalogue.newest().next().expect("there is one");
        let used: Vec<_> = workflow.tools().iter().map(|tool| tool.version).collect();
        assert_eq!(used, [version]);
    }
}

#[test]
fn two_files_with_the_same_version_are_told_apart() {
    let files = with_ask(&[("copy.yaml", ASK)]);
    let expected = "
copy.yaml:2:10: workflow `ask` version 1 is in ask.yaml already
   |
 2 | version: 1
   |          ^
 help: give this one another version
";
    refused("the same version", &files, expected);
    let expected = "
tools2.yaml:2:11: tool `disk_usage` version 1 is in tools.yaml already
   |
 2 |   - tool: disk_usage
   |           ^
 help: give this one another version
";
    refused(
        "the same tool",
        &with_ask(&[("tools2.yaml", TOOLS)]),
        expected,
    );
}

#[test]
fn a_broken_tool_is_told_once_and_not_again_by_those_who_use_it() {
    let unreadable = TOOLS.replace("effect: read", "effect: raed");
    let expected = "
tools.yaml:10:13: `raed` is none of read, idempotent, once
    |
 10 |     effect: raed
    |             ^
";
    refused(
        "an unreadable file",
        &with_ask(&[("tools.yaml", &unreadable)]),
        expected,
    );
    let wrong = TOOLS.replace("input.path", "input.pth");
    let expected = "
tools.yaml:11:23: `input.pth`: the tool's `input` has no property `pth`
    |
 11 |     command: [du, -h, '{{ input.pth }}']
    |                       ^
 help: it has: path, depth
";
    refused(
        "a wrong tool",
        &with_ask(&[("tools.yaml", &wrong)]),
        expected,
    );
}

#[test]
fn problems_of_all_files_come_together() {
    let workflow = ASK.replace("version: 1", "version: 0");
    let files = with_ask(&[
        ("ask.yaml", &workflow),
        ("notes.yml", "todo: [rest]"),
        ("policy.yaml", "policies: []"),
    ]);
    let expected = "
notes.yml: no definition: a definition file has `workflow:`, `tools:`, `event:` or `hook:` at its top level
 help: move other files out of the definitions' folder

ask.yaml:2:10: versions count from 1
   |
 2 | version: 0
   |          ^
";
    refused("two files", &files, expected);
}

#[test]
fn files_in_folders_find_what_is_beside_them() {
    let files = [
        ("ops/disk/ask.yaml", ASK),
        ("ops/tools.yml", TOOLS),
        ("ops/disk/prompts/ask.md", FILES[0].1),
        ("ops/disk/schemas/s.json", FILES[3].1),
    ];
    assert!(parse(&files).is_ok());
    let dotted = ASK.replace("prompts/ask.md", "./prompts/ask.md");
    let files: Vec<_> = files
        .into_iter()
        .filter(|(path, _)| !path.ends_with("ask.yaml"))
        .collect();
    let files: Vec<_> = files
        .into_iter()
        .chain([("ops/disk/ask.yaml", dotted.as_str())])
        .collect();
    assert!(parse(&files).is_ok());
}
