//! Dashboards, alerts and metrics: what is shipped under `deploy/` is right, and a real Prometheus has data for all of it.

mod fleet;
mod metrics;
mod panels;
mod prometheus;
mod rules;
mod shipped;

use std::collections::{BTreeMap, BTreeSet};

use flotilla_common::io::telemetry::metric;
use flotilla_tests::{PATIENCE, eventually};

use self::{fleet::Troubled, prometheus::Prometheus};

/// What everything is asked with that a dashboard leaves to whoever looks at it.
const RATE_INTERVAL: &str = "5m";

/// An expression as Grafana sends it with everything chosen.
fn as_sent(expression: &str) -> String {
    let all = ["$workflow", "$tool", "$model"];
    let sent = expression.replace("$__rate_interval", RATE_INTERVAL);
    all.iter().fold(sent, |sent, name| sent.replace(name, ".*"))
}

/// Every expression that is shipped, by where it stands. Of an alert its left side: what is compared with a threshold.
fn expressions() -> BTreeMap<String, String> {
    let panels = panels::expressions()
        .into_iter()
        .map(|(at, expression)| (at, as_sent(&expression)));
    let rules = rules::all().into_iter().flat_map(|rule| match rule.alert {
        Some(name) => vec![(format!("alert {name}"), rules::left_side(&rule.expr))],
        None => {
            let name = rule.record.expect("a rule records or alerts");
            vec![
                (format!("rule {name}"), rule.expr),
                (format!("record {name}"), name),
            ]
        }
    });
    panels.chain(rules).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_and_rule_has_data_from_a_fleet_in_trouble() {
    let mut troubled = Troubled::start().await;
    let prometheus = Prometheus::start(&troubled.targets()).await;
    // What happens before the first scrape is no increase.
    troubled.trouble("first").await;
    prometheus.until_scraped(&troubled.targets()).await;
    eventually("all of it is scraped once", 2 * PATIENCE, || async {
        match prometheus.missing(&fleet::seen_once()).await {
            missing if missing.is_empty() => Ok(()),
            missing => Err(missing),
        }
    })
    .await;
    troubled.trouble("second").await;

    let expressions = expressions();
    assert!(expressions.len() > 120, "{}", expressions.len());
    eventually(
        "every panel and every rule has data",
        2 * PATIENCE,
        || async {
            let missing = prometheus.missing(&expressions).await;
            if missing.is_empty() {
                Ok(())
            } else {
                Err(missing)
            }
        },
    )
    .await;

    let exposed = troubled.exposed().await;
    for (role, text) in &exposed {
        prometheus::promtool_check_metrics(role, text).await;
    }
    let names: BTreeSet<&str> = exposed
        .values()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let known: BTreeSet<&str> = metric::ALL.iter().map(|one| one.name).collect();
    let of_ours = names
        .into_iter()
        .filter(|name| name.starts_with("flotilla_"));
    assert_eq!(of_ours.collect::<BTreeSet<_>>(), known);
}
