//! The dashboards as they are shipped.

use std::collections::BTreeSet;

use flotilla_common::io::telemetry::metric;
use serde_json::Value;

use super::{
    rules,
    shipped::{files, metrics_in, read},
};

const FOLDER: &str = "deploy/grafana/dashboards";
/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;

/// Name and content of each dashboard.
fn dashboards() -> Vec<(String, Value)> {
    let names = files(FOLDER, ".json").into_iter();
    names
        .map(|name| {
            let text = read(&format!("{FOLDER}/{name}"));
            let read = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
            (name, read)
        })
        .collect()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v Vec<Value> {
    let found = value[name].as_array();
    found.unwrap_or_else(|| panic!("no list {name} in {value}"))
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text at {pointer} of {value}"))
}

/// Every expression of every panel, by where it stands.
pub(crate) fn expressions() -> Vec<(String, String)> {
    let mut expressions = Vec::new();
    for (name, dashboard) in dashboards() {
        for panel in list(&dashboard, "panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let (title, id) = (text(panel, "/title"), text(target, "/refId"));
                let expression = text(target, "/expr").to_owned();
                expressions.push((format!("{name}: {title} ({id})"), expression));
            }
        }
    }
    expressions
}

/// Cells of the grid that a panel takes.
fn cells(panel: &Value) -> Vec<(u64, u64)> {
    let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
    let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
    assert!(w > 0 && h > 0 && x + w <= COLUMNS, "{}", panel["gridPos"]);
    (y..y + h)
        .flat_map(|row| (x..x + w).map(move |column| (column, row)))
        .collect()
}

fn assert_panel(at: &str, panel: &Value) {
    assert!(!text(panel, "/title").is_empty(), "{at}");
    if panel["type"] == "row" {
        return;
    }
    assert!(text(panel, "/description").ends_with('.'), "{at}");
    assert!(
        !text(panel, "/fieldConfig/defaults/unit").is_empty(),
        "{at}"
    );
    assert_eq!(text(panel, "/datasource/uid"), "${datasource}", "{at}");
    let steps = panel.pointer("/fieldConfig/defaults/thresholds/steps");
    assert!(
        steps.is_some_and(|steps| steps[0]["value"].is_null()),
        "{at}"
    );
    let targets = list(panel, "targets");
    assert!(!targets.is_empty(), "{at}");
    for target in targets {
        assert!(!text(target, "/expr").is_empty(), "{at}");
        assert_eq!(text(target, "/datasource/uid"), "${datasource}", "{at}");
        // A legend says which line is which.
        let several = text(target, "/expr").contains(" by (") && panel["type"] == "timeseries";
        assert!(
            !several || !text(target, "/legendFormat").is_empty(),
            "{at}"
        );
    }
}

#[test]
fn dashboards_are_whole_and_nothing_on_them_overlaps() {
    let mut uids = BTreeSet::new();
    for (name, dashboard) in dashboards() {
        assert!(dashboard["schemaVersion"].as_u64() >= Some(41), "{name}");
        assert!(uids.insert(text(&dashboard, "/uid").to_owned()), "{name}");
        let variables = list(&dashboard["templating"], "list");
        assert_eq!(variables[0]["type"], "datasource", "{name}");
        let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for panel in list(&dashboard, "panels") {
            let at = format!("{name}: {}", panel["title"]);
            assert_panel(&at, panel);
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{at}");
            for cell in cells(panel) {
                assert!(taken.insert(cell), "{at} overlaps at {cell:?}");
            }
        }
        let whole = dashboard.to_string();
        for variable in variables {
            let used = format!("${{{0}}} ${0}", text(variable, "/name"));
            let is_used = used.split(' ').any(|used| whole.contains(used));
            assert!(is_used, "{name}: {variable}");
        }
    }
    assert_eq!(uids.len(), 3);
}

#[test]
fn dashboards_name_metrics_that_there_are_and_leave_none_out() {
    let recorded: BTreeSet<String> = rules::all()
        .into_iter()
        .filter_map(|rule| rule.record)
        .collect();
    let known: BTreeSet<&str> = metric::ALL.iter().map(|one| one.name).collect();
    let rules = rules::all().into_iter();
    let rules = rules.map(|rule| (rule.alert.or(rule.record).unwrap(), rule.expr));
    let mut shown = BTreeSet::new();
    for (at, expression) in expressions().into_iter().chain(rules) {
        for name in metrics_in(&expression) {
            let is_known = known.contains(name.as_str()) || recorded.contains(&name);
            assert!(is_known, "{at}: there is no {name}");
            shown.insert(name);
        }
    }
    let all = known.iter().map(|name| (*name).to_owned());
    let unseen: Vec<String> = all
        .chain(recorded)
        .filter(|name| !shown.contains(name))
        .collect();
    assert_eq!(unseen, Vec::<String>::new());
}

#[test]
fn grafana_is_given_the_folder_and_the_datasource_that_compose_mounts() {
    let compose = read("docker-compose.yml");
    let provider = read("deploy/grafana/provisioning/dashboards/flotilla.yaml");
    let provider: Value = serde_saphyr::from_str(&provider).unwrap();
    let path = text(&provider, "/providers/0/options/path");
    assert!(
        compose.contains(&format!("- ./{FOLDER}:{path}:ro\n")),
        "{path}"
    );
    let source = read("deploy/grafana/provisioning/datasources/prometheus.yaml");
    let source: Value = serde_saphyr::from_str(&source).unwrap();
    assert_eq!(
        text(&source, "/datasources/0/url"),
        "http://prometheus:9090"
    );
    let every = format!(
        "scrape_interval: {}\n",
        text(&source, "/datasources/0/jsonData/timeInterval")
    );
    assert!(
        read("deploy/prometheus/prometheus.yml").contains(&every),
        "{every}"
    );
}
