//! The keys of the reference and of the JSON Schemas are those of the parser.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{parse, read};

/// A key that there is nowhere.
const UNKNOWN: &str = "zz_unknown";

/// Places that have keys: as the reference and the schemas call them, and a file with `ZZ` where an unknown key would stand.
const PLACES: [(&str, &str); 33] = [
    ("workflow", "workflow: w\nZZ\n"),
    ("on", "workflow: w\nversion: 1\non: {ZZ}\n"),
    ("limits", "workflow: w\nlimits: {ZZ}\n"),
    ("lessons", "workflow: w\nlessons: {ZZ}\n"),
    ("approvals", "workflow: w\napprovals: {ZZ}\n"),
    ("on_failure", "workflow: w\non_failure: {ZZ}\n"),
    ("call", "workflow: w\napprovals: {notify: {ZZ}}\n"),
    ("step", "workflow: w\nsteps: [{ZZ}]\n"),
    ("retry", "workflow: w\nsteps: [{retry: {ZZ}}]\n"),
    ("claude", "workflow: w\nsteps: [{claude: {ZZ}}]\n"),
    ("agent", "workflow: w\nsteps: [{agent: {ZZ}}]\n"),
    (
        "confidence",
        "workflow: w\nsteps: [{agent: {confidence: {ZZ}}}]\n",
    ),
    ("review", "workflow: w\nsteps: [{agent: {review: {ZZ}}}]\n"),
    ("case", "workflow: w\nsteps: [{switch: [{ZZ}]}]\n"),
    ("for_each", "workflow: w\nsteps: [{for_each: {ZZ}}]\n"),
    ("approval", "workflow: w\nsteps: [{approval: {ZZ}}]\n"),
    ("run", "workflow: w\nsteps: [{run: {ZZ}}]\n"),
    ("end", "workflow: w\nsteps: [{end: {ZZ}}]\n"),
    ("tool", "tools: [{ZZ}]\n"),
    ("http", "tools: [{http: {ZZ}}]\n"),
    ("download", "tools: [{http: {download: {ZZ}}}]\n"),
    ("tool_rate", "tools: [{rate: {ZZ}}]\n"),
    ("tool_retry", "tools: [{retry: {ZZ}}]\n"),
    ("breaker", "tools: [{breaker: {ZZ}}]\n"),
    ("cool", "tools: [{breaker: {cool: {ZZ}}}]\n"),
    ("auth", "tools: [{http: {auth: {ZZ}}}]\n"),
    ("tls", "tools: [{http: {tls: {ZZ}}}]\n"),
    ("program", "tools: [{limits: {ZZ}}]\n"),
    ("nats", "tools: [{nats: {ZZ}}]\n"),
    ("mcp", "tools: [{mcp: {ZZ}}]\n"),
    ("server", "mcp: [{ZZ}]\n"),
    ("emit_event", "tools: [{builtin: {emit_event: {ZZ}}}]\n"),
    ("wait_for_url", "tools: [{builtin: {wait_for_url: {ZZ}}}]\n"),
];

/// The same of event types and hooks, which have a page of their own.
const INLETS: [(&str, &str); 7] = [
    ("event", "event: a.b\nZZ\n"),
    ("adapt", "event: a.b\nadapt: {ZZ}\n"),
    ("hook", "hook: h\nZZ\n"),
    ("verify", "hook: h\nverify: {ZZ}\n"),
    ("token", "hook: h\nverify: {token: {ZZ}}\n"),
    ("hmac", "hook: h\nverify: {hmac: {ZZ}}\n"),
    ("map", "hook: h\nmap: {ZZ}\n"),
];

/// The keys that the parser knows at a place, as it tells who has written another one.
fn of_parser(file: &str) -> BTreeSet<String> {
    let wrong = file.replace("ZZ", &format!("{UNKNOWN}: 1"));
    let told = parse(&[("w.yaml".to_owned(), wrong)].into()).unwrap_err();
    let [problem] = told.0.as_slice() else {
        panic!("{told}");
    };
    let known = problem
        .message
        .strip_prefix(&format!("there is no `{UNKNOWN}` here; there are "))
        .unwrap_or_else(|| panic!("{file}: {told}"));
    known.split(", ").map(str::to_owned).collect()
}

fn schemas() -> [Value; 2] {
    ["docs/workflow.schema.json", "docs/tools.schema.json"]
        .map(|file| serde_json::from_str(&read(file)).unwrap())
}

/// The part of the schemas that says what stands at a place.
fn of_schema<'s>([workflow, tools]: &'s [Value; 2], place: &str) -> &'s Value {
    match place {
        "workflow" => workflow,
        "tool" | "http" | "download" | "tool_rate" | "tool_retry" | "breaker" | "cool" | "auth"
        | "tls" | "program" | "nats" | "mcp" | "server" | "emit_event" | "wait_for_url" => {
            &tools["$defs"][place]
        }
        other => &workflow["$defs"][other],
    }
}

fn properties(schema: &Value) -> BTreeSet<String> {
    let properties = schema["properties"].as_object().expect("properties");
    properties.keys().cloned().collect()
}

/// The rows of the reference's table of a place: (key, default).
fn of_reference(page: &str, place: &str) -> Vec<(String, String)> {
    let mark = format!("<!-- keys: {place} -->\n");
    let (_, table) = page
        .split_once(&mark)
        .unwrap_or_else(|| panic!("no table of `{place}`"));
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| {
        let mut cells = row.trim_matches('|').split(" | ").map(str::trim);
        let key = cells.next().unwrap().trim_matches('`');
        (key.to_owned(), cells.next().unwrap().to_owned())
    });
    cells.collect()
}

#[test]
fn the_schemas_have_the_keys_of_the_parser_everywhere() {
    let schemas = schemas();
    for (place, file) in PLACES {
        let schema = of_schema(&schemas, place);
        assert_eq!(properties(schema), of_parser(file), "{place}");
        assert_eq!(schema["additionalProperties"], false, "{place}");
        let told = schema["properties"].as_object().unwrap().values();
        assert!(
            told.clone()
                .all(|one| one["description"].is_string() || one["$ref"].is_string()),
            "{place}: a key that is not explained"
        );
    }
    assert_eq!(
        properties(&schemas[1]["$defs"]["call"]),
        properties(&schemas[0]["$defs"]["call"])
    );
    assert_eq!(
        properties(&schemas[1]),
        BTreeSet::from(["mcp".to_owned(), "tools".to_owned()])
    );
}

#[test]
fn no_place_with_keys_is_left_out() {
    let known: BTreeSet<&str> = PLACES.iter().map(|(place, _)| *place).collect();
    let [workflow, tools] = schemas();
    let defined = [&workflow, &tools].into_iter().flat_map(|schema| {
        let defined = schema["$defs"].as_object().unwrap();
        defined.keys().cloned().collect::<Vec<_>>()
    });
    for place in defined {
        assert!(known.contains(place.as_str()), "{place}");
    }
}

#[test]
fn the_tables_of_the_reference_have_every_key_with_its_default() {
    let schemas = schemas();
    let page = format!("{}{}", read("docs/workflows.md"), read("docs/tools.md"));
    for (place, _) in PLACES {
        let schema = of_schema(&schemas, place);
        let rows = of_reference(&page, place);
        let keys: BTreeSet<String> = rows.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(keys, properties(schema), "{place}");
        assert_eq!(keys.len(), rows.len(), "{place}: a key twice");
        let required = schema["required"].as_array().into_iter().flatten();
        let required: BTreeSet<&str> = required.filter_map(Value::as_str).collect();
        for (key, told) in rows {
            let default = &schema["properties"][&key]["default"];
            let default = default
                .as_str()
                .map_or_else(|| default.to_string(), str::to_owned);
            let is_required = required.contains(key.as_str());
            assert_eq!(told == "required", is_required, "{place}.{key}: {told}");
            if default != "null" {
                assert_eq!(told, format!("`{default}`"), "{place}.{key}");
            }
        }
    }
}

#[test]
fn the_tables_of_events_have_every_key_of_the_parser() {
    let page = read("docs/events.md");
    for (place, file) in INLETS {
        let rows = of_reference(&page, place).into_iter();
        let keys: BTreeSet<String> = rows.map(|(key, _)| key).collect();
        assert_eq!(keys, of_parser(file), "{place}");
    }
}
