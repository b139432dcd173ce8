//! The YAML blocks of the reference and of the README.

use std::collections::BTreeMap;

use crate::{parse, read};

/// What a part of a file needs around it.
const HEAD: &str = "workflow: example\nversion: 1\non: {event: example.happened}\nmodel: haiku\n";
const STEP: &str = "steps: [{id: only, tool: list_notes}]\n";

/// A block, and the line at which it begins.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) place: String,
    pub(crate) kind: Kind,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole file.
    Whole,
    /// A list of steps.
    Steps,
    /// Some of a workflow's keys.
    Workflow,
    /// Entries of a list of tools.
    Tool,
}

impl Block {
    /// As a whole file.
    pub(crate) fn whole(&self) -> String {
        let text = &self.text;
        let has = |key: &str| text.lines().any(|line| line.starts_with(key));
        match self.kind {
            Kind::Whole => text.clone(),
            Kind::Steps => format!("{HEAD}steps:\n{text}"),
            Kind::Workflow => {
                let head: String = HEAD
                    .split_inclusive('\n')
                    .filter(|line| !has(line.split(' ').next().unwrap_or(line)))
                    .collect();
                let steps = if has("steps:") { "" } else { STEP };
                format!("{head}{text}{steps}")
            }
            Kind::Tool => format!("tools:\n{text}"),
        }
    }

    /// A file of its own, in the folder of what it names.
    fn file(&self) -> String {
        format!("{}.yaml", self.place.replace('/', "-"))
    }

    /// Whether it is a workflow, as a whole.
    pub(crate) fn is_workflow(&self) -> bool {
        self.whole()
            .lines()
            .any(|line| line.starts_with("workflow:"))
    }
}

/// The blocks of a page.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let text = read(page);
    let mut found = Vec::new();
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let Some(kind) = line.strip_prefix("```yaml") else {
            continue;
        };
        let kind = match kind.trim() {
            "" => Kind::Whole,
            "steps" => Kind::Steps,
            "workflow" => Kind::Workflow,
            "tool" => Kind::Tool,
            other => panic!("{page}:{number}: there is no kind of block `{other}`"),
        };
        let inside = lines.by_ref().map(|(line, _)| line);
        let inside = inside.take_while(|line| *line != "```");
        let text = inside.map(|line| format!("{line}\n")).collect();
        let place = format!("{page}:{number}");
        found.push(Block { place, kind, text });
    }
    found
}

/// The files that the blocks name.
fn beside(folder: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let kind = r#"{"type": "object", "properties": {"level": {"enum": ["info", "note", "page"]}, "why": {"type": "string"}}}"#;
    files.insert("schemas/kind.json".to_owned(), kind.to_owned());
    let prompt = "How bad is {{ event.data.body }}?";
    files.insert("prompts/kind.md".to_owned(), prompt.to_owned());
    for file in [
        "prompts/severity.md",
        "prompts/triage.md",
        "schemas/severity.json",
    ] {
        files.insert(file.to_owned(), read(&format!("{folder}/{file}")));
    }
    files
}

#[test]
fn every_block_of_the_reference_and_of_the_readme_compiles() {
    let incidents = "workflows/incident-triage";
    for page in [
        "docs/workflows.md",
        "docs/tools.md",
        "docs/events.md",
        "README.md",
    ] {
        let blocks = blocks(page);
        assert!(!blocks.is_empty(), "{page} has no YAML");
        let mut shared = beside(incidents);
        if page == "README.md" {
            shared.insert(
                "tools.yaml".to_owned(),
                read(&format!("{incidents}/tools.yaml")),
            );
        }
        // Whole files are one catalogue; each of the others is tried beside them.
        let (whole, parts): (Vec<_>, Vec<_>) =
            blocks.iter().partition(|block| block.kind == Kind::Whole);
        for block in whole {
            shared.insert(block.file(), block.whole());
        }
        parse(&shared).unwrap_or_else(|problems| panic!("{page}:\n{problems}"));
        for block in parts {
            let mut files = shared.clone();
            files.insert(block.file(), block.whole());
            parse(&files).unwrap_or_else(|problems| panic!("{}:\n{problems}", block.place));
        }
    }
}

#[test]
fn a_block_that_is_wrong_would_be_noticed() {
    let right = blocks("docs/workflows.md");
    let parts = right.iter().filter(|block| block.kind == Kind::Steps);
    let mut tried = 0;
    for block in parts {
        let wrong = block.whole().replacen("- id: ", "- di: ", 1);
        let wrong = wrong.replacen("- {id: ", "- {di: ", usize::from(wrong == block.whole()));
        let refused = parse(&[("w.yaml".to_owned(), wrong)].into()).expect_err(&block.place);
        assert!(refused.to_string().contains("there is no `di` here"));
        tried += 1;
    }
    assert!(tried > 8);
}
