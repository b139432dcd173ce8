//! Prometheus's rules as they are shipped.

use std::{collections::BTreeMap, process::Command};

use serde::Deserialize;

use super::{
    prometheus::promtool,
    shipped::{files, read, root},
};

const FOLDER: &str = "deploy/prometheus/rules";
/// Where people find what to do.
const RUNBOOK: &str = "docs/operations.md";
const SEVERITIES: [&str; 2] = ["warning", "critical"];

/// A rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) alert: Option<String>,
    pub(crate) record: Option<String>,
    pub(crate) expr: String,
    #[serde(rename = "for")]
    pub(crate) lasts: Option<String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
struct File {
    groups: Vec<Group>,
}

/// All of them.
pub(crate) fn all() -> Vec<Rule> {
    let files = files(FOLDER, ".yml").into_iter();
    let read = files.map(|name| -> File {
        let text = read(&format!("{FOLDER}/{name}"));
        serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
    });
    let groups = read.flat_map(|file| file.groups);
    groups.flat_map(|group| group.rules).collect()
}

/// What an alert compares with its threshold, which stands at its end.
pub(crate) fn left_side(expression: &str) -> String {
    let (left, threshold) = [" > ", " < "]
        .iter()
        .filter_map(|operator| expression.rsplit_once(operator))
        .max_by_key(|(left, _)| left.len())
        .unwrap_or_else(|| panic!("no threshold: {expression}"));
    assert!(threshold.trim().parse::<f64>().is_ok(), "{expression}");
    left.to_owned()
}

/// The name of a heading in links to it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars()
        .filter(|c| c.is_alphanumeric() || *c == '-')
        .collect()
}

#[test]
fn every_alert_says_how_bad_it_is_and_where_to_read_what_to_do() {
    let text = read(RUNBOOK);
    let lines = text.lines().filter(|line| line.starts_with('#'));
    let headings: Vec<String> = lines
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect();
    let mut alerts = 0;
    for rule in all() {
        let Some(name) = rule.alert else {
            continue;
        };
        alerts += 1;
        let severity = rule.labels.get("severity");
        assert!(
            severity.is_some_and(|s| SEVERITIES.contains(&s.as_str())),
            "{name}"
        );
        assert!(rule.lasts.is_some(), "{name}");
        assert!(rule.annotations.contains_key("summary"), "{name}");
        let runbook = rule
            .annotations
            .get("runbook")
            .unwrap_or_else(|| panic!("{name}"));
        let section = runbook.strip_prefix(&format!("{RUNBOOK}#"));
        let section = section.unwrap_or_else(|| panic!("{name}: {runbook}"));
        assert!(
            headings.iter().any(|one| one == section),
            "{name}: {section}"
        );
        assert!(
            read("docs/metrics.md").contains(&format!("`{name}`")),
            "{name}"
        );
    }
    assert!(alerts >= 20, "{alerts}");
}

#[test]
fn promtool_takes_the_configuration_and_alerts_fire_when_they_should_and_not_else() {
    let folder = root().join("deploy/prometheus");
    for arguments in [
        &["check", "config", "prometheus.yml"][..],
        &["check", "rules", "rules/alerts.yml", "rules/recording.yml"],
        &["test", "rules", "tests/alerts.yml"],
    ] {
        let ran = Command::new(promtool())
            .args(arguments)
            .current_dir(&folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{arguments:?}: {said}");
        assert!(said.contains("SUCCESS"), "{arguments:?}: {said}");
    }
}
