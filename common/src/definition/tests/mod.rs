//! What definitions promise to the people who write them.

mod broken;
mod bundles;
mod inlets;
mod known;
mod language;
mod versions;

use super::*;
use crate::{claude::Models, entry::Pin};

/// The top of a workflow file: its steps begin in line 5.
const TOP: &str = "workflow: w\nversion: 1\non: {event: a.b}\nmodel: haiku\n";

const TOOLS: &str = "\
tools:
  - tool: disk_usage
    version: 1
    description: Shows how full a disk is.
    input:
      type: object
      required: [path]
      additionalProperties: false
      properties: {path: {type: string}, depth: {type: integer}}
    effect: read
    command: [du, -h, '{{ input.path }}']
";

/// More tools: one that is undone by another, and one that tells people.
const DESK: &str = "\
tools:
  - tool: book
    version: 1
    description: Books a room.
    input: {type: object, required: [room], properties: {room: {type: string}}, additionalProperties: false}
    effect: idempotent
    risk: high
    compensate: {tool: cancel, with: {id: '{{ output.id }}', room: '{{ input.room }}'}}
    command: [book, '{{ input.room }}']
  - tool: cancel
    version: 1
    description: Cancels a booking.
    input: {type: object, required: [id], properties: {id: {type: string}, room: {type: string}}, additionalProperties: false}
    effect: idempotent
    command: [cancel, '{{ input.id }}']
  - tool: page
    version: 1
    description: Calls somebody.
    input: {type: object, required: [text], properties: {text: {type: string}}, additionalProperties: false}
    effect: once
    command: [page, '{{ input.text }}']
";

/// A workflow that others can run.
const REMEDIATE: &str = "\
workflow: remediate
version: 1
on: {event: a.remedy}
model: haiku
steps:
  - id: fix
    claude: {prompt: hi}
";

/// Files beside the definitions.
const FILES: [(&str, &str); 5] = [
    ("prompts/ask.md", "How bad is {{ event.data.x }}?\n"),
    ("prompts/broken.md", "Hello.\n\n{% if event.data.x %}\n"),
    ("prompts/wrong.md", "Look at {{ events.data }}.\n"),
    (
        "schemas/s.json",
        r#"{"type": "object", "properties": {"level": {"type": "string"}}}"#,
    ),
    ("schemas/broken.json", "{"),
];

fn sources(files: &[(&str, &str)]) -> Sources {
    let owned = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    Sources(owned.collect())
}

/// Reads definitions. Of what is right, every version must be the same when it is compiled from its bundle alone.
fn parse(files: &[(&str, &str)]) -> Result<Catalogue, Problems> {
    let models = Models::built_in().expect("the built-in table is right");
    let sources = sources(files);
    let catalogue = Catalogue::parse(&sources, &models)?;
    for bundle in catalogue.bundles(&sources, &models).expect("bundles") {
        let alone = bundle.compile(&models).expect("it stands for itself");
        let whole = catalogue.pinned(&bundle.pin()).expect("it has this digest");
        // That a tool is deprecated is no part of it.
        assert!(alone == *whole || !catalogue.warnings().is_empty());
    }
    Ok(catalogue)
}

/// Checks the whole text that a user sees, to the letter.
#[track_caller]
fn refused(what: &str, files: &[(&str, &str)], expected: &str) {
    let shown = parse(files).map(drop).expect_err(what).to_string();
    assert_eq!(shown, expected.trim_matches('\n'), "{what}:\n{shown}\n");
}

/// Checks a table of broken definitions: `### what`, the definition, `==>`, what a user is told.
#[track_caller]
fn cases<'a>(table: &'a str, mut files: impl FnMut(&'a str) -> Vec<(&'a str, String)>) {
    for case in table.split("### ").skip(1) {
        let (what, rest) = case
            .split_once('\n')
            .expect("a line that says what is wrong");
        let (definition, expected) = rest.split_once("==>\n").expect("what a user is told");
        let files = files(definition);
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| (*path, text.as_str()))
            .collect();
        refused(what, &files, expected);
    }
}

/// The definition is a whole workflow file.
#[track_caller]
fn alone(table: &str) {
    cases(table, |text| vec![("w.yaml", text.to_owned())]);
}

/// The definition is the steps of a workflow, with some tools and files around it.
#[track_caller]
fn below_the_top(table: &str) {
    cases(table, |steps| {
        let around = FILES.into_iter().chain([("tools.yaml", TOOLS)]);
        let around = around.map(|(path, text)| (path, text.to_owned()));
        around
            .chain([("w.yaml", format!("{TOP}{steps}"))])
            .collect()
    });
}

/// The definition is all of a workflow but its top, with more tools and another workflow around it.
#[track_caller]
fn in_full(table: &str) {
    cases(table, |rest| {
        let around = [("desk.yaml", DESK), ("remediate.yaml", REMEDIATE)];
        let around = around.into_iter().chain([("tools.yaml", TOOLS)]);
        let around = around
            .chain(FILES)
            .map(|(path, text)| (path, text.to_owned()));
        around.chain([("w.yaml", format!("{TOP}{rest}"))]).collect()
    });
}

/// The definition is a file of tools.
#[track_caller]
fn as_tools(table: &str) {
    cases(table, |text| vec![("tools.yaml", text.to_owned())]);
}
