//! Versions as texts that stand for themselves.

use std::{fs, path::Path};

use proptest::{collection::vec, prelude::*};

use super::*;

const HOLIDAY: &str = "\
workflow: holiday
version: 3
on: {event: desk.asked}
model: haiku
approvals: {notify: {tool: page, with: {text: '{{ approval.hash }}'}}}
steps:
  - id: look
    claude: {prompt: ./prompts/ask.md, output: {$ref: schemas/s.json}}
  - id: room
    tool: book
    with: {room: '{{ event.data.room }}'}
    compensate: {tool: cancel@1, with: {id: x}}
  - id: rest
    run: {workflow: remediate}
";

fn models() -> Models {
    Models::built_in().expect("the built-in table is right")
}

fn bundle(files: &[(&str, &str)], name: &str) -> Bundle {
    let sources = sources(files);
    let catalogue = parse(files).unwrap_or_else(|problems| panic!("{problems}"));
    let bundles = catalogue.bundles(&sources, &models());
    let mut bundles = bundles.expect("they are bundled").into_iter();
    let found = bundles.find(|bundle| bundle.workflow.as_str() == name);
    found.expect("it is there")
}

fn desk() -> Vec<(&'static str, &'static str)> {
    let files = [
        ("desk/w.yaml", HOLIDAY),
        ("desk.yaml", DESK),
        ("tools.yaml", TOOLS),
        ("desk/remediate.yaml", REMEDIATE),
        ("desk/prompts/other.md", "Nobody asks this."),
    ];
    let beside = [
        ("desk/prompts/ask.md", FILES[0].1),
        ("desk/schemas/s.json", FILES[3].1),
    ];
    files.into_iter().chain(beside).collect()
}

#[test]
fn a_bundle_has_what_its_version_uses_and_nothing_else() {
    let bundle = bundle(&desk(), "holiday");
    let paths: Vec<_> = bundle.files.keys().map(String::as_str).collect();
    let expected = [
        "prompts/ask.md",
        "schemas/s.json",
        "tools.yaml",
        "workflow.yaml",
    ];
    assert_eq!(paths, expected);
    assert_eq!(bundle.files["workflow.yaml"], HOLIDAY);
    let tools = bundle.tools().expect("tools");
    let names: Vec<_> = tools.iter().map(|tool| tool.tool.as_str()).collect();
    assert_eq!(names, ["book", "cancel", "page"]);
    // One a line, so that two versions are compared with ease.
    assert_eq!(bundle.files["tools.yaml"].lines().count(), 4);

    let workflow = bundle.compile(&models()).expect("it compiles alone");
    assert_eq!(workflow.pin, bundle.pin());
    let bytes = bundle.encode().expect("it is small");
    assert_eq!(Bundle::read(&bytes).expect("it is ours"), bundle);
}

#[test]
fn the_same_version_in_other_folders_and_beside_other_files_is_the_same_bundle() {
    let elsewhere: Vec<(String, &str)> = desk()
        .into_iter()
        .map(|(path, text)| (format!("ops/{path}"), text))
        .collect();
    let newer = TOOLS.replace("version: 1", "version: 9");
    let mut files: Vec<(&str, &str)> = elsewhere
        .iter()
        .map(|(path, text)| (path.as_str(), *text))
        .collect();
    files.push(("more.yaml", &newer));
    assert_eq!(bundle(&files, "holiday"), bundle(&desk(), "holiday"));
}

#[test]
fn a_tool_without_a_version_stays_the_one_it_was() {
    let second = DESK
        .replace("version: 1", "version: 2")
        .replace("[book,", "[book2,");
    let mut files = desk();
    files.push(("desk2.yaml", &second));
    let bundle = bundle(&files, "holiday");
    let tools = bundle.tools().expect("tools");
    let versions: Vec<_> = tools
        .iter()
        .map(|tool| format!("{}@{}", tool.tool, tool.version))
        .collect();
    // `book` is undone by the newest `cancel`, and the step names the first one.
    assert_eq!(versions, ["book@2", "cancel@1", "cancel@2", "page@2"]);
    let workflow = bundle.compile(&models()).expect("it compiles");
    let used = workflow.tools();
    let book = used.iter().find(|tool| tool.name.as_str() == "book");
    assert_eq!(book.map(|tool| tool.version), Some(2));
}

#[test]
fn what_undoes_a_tool_that_undoes_is_there_too() {
    let tool = |name: &str, more: &str| {
        format!(
            "  - {{tool: {name}, version: 1, description: d, effect: once, input: {{type: object}}, command: [x]{more}}}\n"
        )
    };
    let [a, b, c] = [("a", "b"), ("b", "c"), ("c", "")].map(|(name, undo)| match undo {
        "" => tool(name, ""),
        undo => tool(name, &format!(", compensate: {{tool: {undo}}}")),
    });
    let chain = format!("{TOOLS}{a}{b}{c}");
    let workflow = format!("{TOP}steps:\n  - {{id: x, tool: a}}\n");
    let files = [("tools.yaml", chain.as_str()), ("w.yaml", &workflow)];
    let tools = bundle(&files, "w").tools().expect("tools");
    let names: Vec<_> = tools.iter().map(|tool| tool.tool.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn every_example_stands_for_itself() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workflows");
    let mut files = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(folder) = open.pop() {
        for item in fs::read_dir(folder).expect("a folder") {
            let path = item.expect("an item").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let text = fs::read_to_string(&path).expect("a text");
                let relative = path.strip_prefix(&root).expect("below it");
                files.push((relative.display().to_string(), text));
            }
        }
    }
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let catalogue = parse(&files).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(catalogue.newest().count() > 0);
}

#[test]
fn what_is_not_what_it_says_or_of_another_flotilla_is_told() {
    let mut changed = bundle(&desk(), "holiday");
    let text = changed.files.get_mut("prompts/ask.md").expect("a prompt");
    text.push_str("And be quick.");
    let problem = changed.compile(&models()).expect_err("other texts");
    assert!(matches!(problem, BundleError::Digest { .. }), "{problem}");
    assert!(problem.to_string().contains("`holiday` version 3"));

    let mut newer = bundle(&desk(), "holiday");
    let text = newer.files.get_mut(WORKFLOW_FILE).expect("a workflow");
    text.push_str("  - {id: x, telepathy: yes}\n");
    let problem = newer.compile(&models()).expect_err("a newer language");
    assert!(
        problem.to_string().contains("workflow.yaml:15:13"),
        "{problem}"
    );

    let bytes = bundle(&desk(), "holiday").encode().expect("small");
    let text = String::from_utf8(bytes).expect("JSON");
    for (bad, expected) in [
        (text.replace("{\"v\":1", "{\"v\":7"), "version 7"),
        ("{\"v\":1}".to_owned(), "missing field"),
        ("no".to_owned(), "cannot be read"),
    ] {
        let problem = Bundle::read(bad.as_bytes()).expect_err(expected);
        assert!(problem.to_string().contains(expected), "{problem}");
    }
}

#[test]
fn a_bundle_too_large_to_be_kept_names_its_largest_files() {
    let long = "How bad is {{ event.data.x }}? ".repeat(35_000);
    let mut files = desk();
    files.retain(|(path, _)| !path.ends_with("ask.md"));
    files.push(("desk/prompts/ask.md", &long));
    let problem = bundle(&files, "holiday").encode().expect_err("too large");
    let text = problem.to_string();
    assert!(
        text.contains("`holiday` version 3 has")
            && text.contains("prompts/ask.md (1085000 bytes), "),
        "{text}"
    );
}

#[test]
fn a_tool_is_compiled_alone_and_its_digest_is_of_its_source() {
    let tools = bundle(&desk(), "holiday").tools().expect("tools");
    let book = &tools[0];
    let tool = book.compile().expect("it compiles");
    assert_eq!((tool.name.as_str(), tool.version), ("book", 1));
    let read = ToolText::read(&book.encode().expect("JSON")).expect("ours");
    assert_eq!(read, *book);
    let edited = DESK.replace("[book,", "[rebook,");
    let mut files = desk();
    files.retain(|(path, _)| *path != "desk.yaml");
    files.push(("desk.yaml", &edited));
    let other = bundle(&files, "holiday").tools().expect("tools");
    assert_ne!(other[0].digest, book.digest);
    assert_eq!(other[1], tools[1]);
}

#[test]
fn a_deprecated_tool_warns_where_it_is_used_and_changes_no_digest() {
    let before = bundle(&desk(), "holiday");
    let old = DESK.replace(
        "description: Books a room.",
        "description: Books a room.\n    deprecated: use `reserve@1`",
    );
    let mut files = desk();
    files.retain(|(path, _)| *path != "desk.yaml");
    files.push(("desk.yaml", &old));
    assert_eq!(bundle(&files, "holiday"), before);
    let catalogue = parse(&files).expect("no error");
    let shown: Vec<_> = catalogue.warnings().iter().map(|w| w.to_string()).collect();
    let expected = "\
desk/w.yaml:10:11: `book@1` is deprecated: use `reserve@1`
    |
 10 |     tool: book
    |           ^";
    assert_eq!(shown, [expected]);
    let book = catalogue.tools.get(&"book".parse().expect("a name"), 1);
    let instead = book.and_then(|tool| tool.deprecated.as_deref());
    assert_eq!(instead, Some("use `reserve@1`"));
    assert!(parse(&desk()).expect("right").warnings().is_empty());
}

/// Texts as people and programs write them: whatever YAML might take for something else is among them.
fn text() -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        Just("yes".to_owned()),
        Just("1e3".to_owned()),
        Just("~".to_owned()),
        Just(" # no comment".to_owned()),
        Just("a: b, - c".to_owned()),
        Just("\u{85}\u{2028}\u{feff}\u{7f}é😀\u{ffff}".to_owned()),
        Just("\"\\ \n\t\r/".to_owned()),
        Just("'it''s'".to_owned()),
    ];
    prop_oneof![odd, "[ -~]{0,20}", any::<String>()]
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        text().prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let map = vec((text(), inner.clone()), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(Into::into),
            map.prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_of_a_tool_comes_through_its_bundle_to_the_byte(
        descriptions in vec(text(), 1..4), example in value(), pinned in any::<bool>(), prompt in text(),
    ) {
        let tools: Vec<_> = (1..).zip(&descriptions).map(|(version, description)| serde_json::json!({
            "tool": "t", "version": version, "description": format!("x{description}"), "effect": "read",
            "input": {"type": "object", "examples": [example]}, "command": ["ls"],
        })).collect();
        // As YAML it is written by another hand, so that it is not our own escapes that are read first.
        let file = serde_json::json!({"tools": tools}).to_string();
        let file: String = file.chars().map(|c| match u32::from(c) {
            code @ (0x7f..=0xffff) => format!("\\u{code:04X}"),
            _ => c.to_string(),
        }).collect();
        let reference = if pinned { "t@1" } else { "t" };
        let workflow = format!("{TOP}steps:\n  - {{id: a, tool: {reference}}}\n  - {{id: b, claude: {{prompt: p.md}}}}\n");
        let prompt = prompt.replace(['{', '%'], "");
        let files = [("t.yaml", file.as_str()), ("w.yaml", &workflow), ("p.md", &prompt)];
        let sources = sources(&files);
        let catalogue = Catalogue::parse(&sources, &models());
        prop_assume!(catalogue.is_ok());
        let catalogue = catalogue.expect("just seen");
        let bundles = catalogue.bundles(&sources, &models());
        prop_assert!(bundles.is_ok(), "{}", bundles.unwrap_err());
        let bundle = &bundles.expect("just seen")[0];
        let compiled = bundle.compile(&models()).expect("it compiles");
        prop_assert_eq!(Some(&compiled), catalogue.pinned(&bundle.pin()));
        let version = u32::try_from(if pinned { 1 } else { tools.len() }).expect("few");
        prop_assert_eq!(compiled.tools()[0].version, version);
    }
}

#[test]
fn who_is_asked_whether_it_was_done_is_part_of_the_version() {
    let tools = |find: &str| {
        format!(
            "tools:
- {{tool: pay, version: 1, description: d, input: {{type: object}}, effect: once, reconcile: {{tool: find@1}}, command: [pay]}}
- {{tool: find, version: 1, description: d, input: {{type: object}}, effect: read, command: [{find}]}}
"
        )
    };
    let workflow =
        "workflow: w\nversion: 1\non: {event: a.b}\nsteps:\n  - {id: pay, tool: pay@1}\n";
    let of = |find: &str| bundle(&[("w.yaml", workflow), ("tools.yaml", &tools(find))], "w");
    let (one, other) = (of("look"), of("search"));
    let names = |bundle: &Bundle| -> Vec<String> {
        let tools = bundle.tools().expect("tools").into_iter();
        tools.map(|tool| tool.tool.to_string()).collect()
    };
    assert_eq!(names(&one), ["find", "pay"]);
    assert_ne!(one.pin().digest, other.pin().digest);
    let compiled = one.compile(&models()).expect("it compiles alone");
    assert_eq!(compiled.pin, one.pin());
}

#[test]
fn a_tool_of_a_server_that_its_file_names_stands_alone() {
    let tools = |command: &str, tool: &str| {
        format!(
            "mcp:\n  - {{server: clock, command: [{command}], env: [KEY]}}\ntools:\n  - tool: now\n    version: 1\n    description: d\n    input: {{type: object}}\n    effect: read\n    mcp: {{{tool}, tool: t, pin: 'sha256:{}'}}\n",
            "0".repeat(64)
        )
    };
    let workflow = format!("{TOP}steps: [{{id: a, tool: now}}]\n");
    let digest = |tools: &str| {
        let catalogue =
            parse(&[("tools.yaml", tools), ("w.yaml", &workflow)]).expect("it is right");
        let workflow = catalogue.newest().next().expect("a workflow");
        let tool = catalogue.tools.iter().next().expect("a tool");
        // What its server sees, it needs.
        assert!(tool.env.contains("KEY"));
        workflow.pin.digest.clone()
    };
    let listed = digest(&tools("srv", "server: clock"));
    // Another program is another tool, though the tool's own lines are the same.
    assert_ne!(listed, digest(&tools("other", "server: clock")));
    let near = parse(&[("tools.yaml", &tools("srv", "server: clok"))]).expect_err("no such server");
    assert!(near.to_string().contains("did you mean `clock`?"), "{near}");
}
