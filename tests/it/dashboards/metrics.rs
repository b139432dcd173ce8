//! The list of metrics, and what `docs/metrics.md` says of them.

use std::{collections::BTreeSet, fmt::Write as _};

use flotilla_common::io::telemetry::metric::{self, Kind};

use super::shipped::read;

/// Labels that are ids, or that somebody outside may choose.
const UNBOUNDED: [&str; 7] = ["run", "event", "id", "tenant", "worker", "url", "error"];
const BEGIN: &str = "<!-- metrics -->\n";
const END: &str = "<!-- /metrics -->";

/// The table of the documentation, made from the list.
fn table() -> String {
    let mut table =
        "| metric | kind | labels | in | |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for one in metric::ALL {
        let labels: Vec<String> = one.labels.iter().map(|name| format!("`{name}`")).collect();
        let labels = labels.join(" ");
        let (kind, unit, help) = (one.kind.as_str(), one.unit, one.help());
        let line = format!("| `{}` | {kind} | {labels} | {unit} | {help} |", one.name);
        writeln!(table, "{}", line.replace("  |", " |")).unwrap();
    }
    table
}

#[test]
fn every_metric_is_named_described_and_bounded() {
    let mut names = BTreeSet::new();
    for one in metric::ALL {
        let name = one.name;
        assert!(names.insert(name), "{name}");
        assert!(name.starts_with("flotilla_"), "{name}");
        assert_eq!(
            name.ends_with("_total"),
            one.kind == Kind::Counter,
            "{name}"
        );
        assert!(
            one.kind != Kind::Histogram || name.ends_with("_seconds"),
            "{name}"
        );
        assert!(one.help().ends_with('.') && !one.unit.is_empty(), "{name}");
        assert!(
            one.labels.iter().all(|label| !UNBOUNDED.contains(label)),
            "{name}"
        );
    }
}

#[test]
fn the_documentation_has_the_table_of_all_metrics() {
    let text = read("docs/metrics.md");
    let (_, rest) = text.split_once(BEGIN).unwrap();
    let (written, _) = rest.split_once(END).unwrap();
    assert!(
        written == table(),
        "docs/metrics.md should have:\n{}",
        table()
    );
}
