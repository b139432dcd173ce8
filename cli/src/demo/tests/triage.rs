//! Incident triage over the real service: what the workflow does in each situation, and what its tools refuse.

use std::{fs, net::SocketAddr, path::Path};

use flotilla_common::entry::Outcome;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    PATIENCE,
    fleet::{Fleet, definitions, flotilla},
    free_address, starts, supervised,
};
use crate::demo::{alert::alert, load::fill, probe};

/// The event's data, as the gateway makes it of Alertmanager's payload.
fn event_data(http: SocketAddr, dir: &Path) -> Value {
    let payload = alert(http, dir, Timestamp::now());
    let mut data = payload["alerts"][0].clone();
    for key in ["receiver", "groupLabels", "externalURL"] {
        data[key] = payload[key].clone();
    }
    data
}

#[tokio::test]
async fn a_service_whose_logs_used_up_its_quota_is_restarted_and_well_again() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("orders");
    let (supervisor, http) = supervised(&dir, "8MiB").await;
    fill(http, PATIENCE).await.unwrap();
    let fleet = Fleet::new(base.path(), http, flotilla(base.path())).await;

    let story = fleet.run(event_data(http, &dir)).await;

    let tools = [
        "disk_free",
        "check_health",
        "disk_usage",
        "tail_log",
        "processes",
        "restart_service",
        "check_health",
        "resolve",
    ];
    assert_eq!(story.path(), tools);
    assert_eq!(
        (story.outcome(), starts(&supervisor)),
        (Outcome::Completed, 2)
    );
    assert_eq!(
        probe::health(&fleet.client, http).await.unwrap().status,
        200
    );
    assert_eq!(story.answer("severity")["level"], "critical");
    let summary = story.answer("summary").as_str().unwrap();
    assert!(
        summary.contains("7 rotated files") && summary.contains("/healthz answers 200"),
        "{summary}"
    );
    let reasons: Vec<_> = story
        .journal
        .iter()
        .filter_map(|(_, decided)| decided.reasoning.as_deref())
        .collect();
    assert!(
        reasons
            .iter()
            .any(|reason| reason.contains("disk quota exceeded (8.0 MiB of 8.0 MiB used)")),
        "figures are quoted: {reasons:#?}"
    );
    supervisor.stop().await;
}

#[tokio::test]
async fn an_alert_that_is_over_is_resolved_without_a_restart() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("orders");
    let (supervisor, http) = supervised(&dir, "1MiB").await;
    let fleet = Fleet::new(base.path(), http, flotilla(base.path())).await;
    let story = fleet.run(event_data(http, &dir)).await;
    assert_eq!(story.path(), ["disk_free", "check_health", "resolve"]);
    assert_eq!(
        (story.outcome(), starts(&supervisor)),
        (Outcome::Completed, 1)
    );
    supervisor.stop().await;
}

#[tokio::test]
async fn a_quota_used_up_by_data_is_handed_to_a_person_and_nothing_is_restarted() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("orders");
    let (supervisor, http) = supervised(&dir, "1MiB").await;
    // Within the reserve, so that the log can still say what is wrong.
    fs::write(dir.join("archive.bin"), vec![0; (1 << 20) - (12 << 10)]).unwrap();
    let fleet = Fleet::new(base.path(), http, flotilla(base.path())).await;
    assert_eq!(
        fleet
            .client
            .get(format!("http://{http}/orders"))
            .send()
            .await
            .unwrap()
            .status(),
        503
    );
    let story = fleet.run(event_data(http, &dir)).await;
    assert_eq!(
        story.path(),
        [
            "disk_free",
            "check_health",
            "disk_usage",
            "tail_log",
            "processes",
            "escalate"
        ]
    );
    assert_eq!(
        (story.outcome(), starts(&supervisor)),
        (Outcome::Escalated, 1)
    );
    assert!(
        story
            .answer("summary")
            .as_str()
            .unwrap()
            .starts_with("A person is needed")
    );
    supervisor.stop().await;
}

#[tokio::test]
async fn a_restart_that_fails_is_not_tried_a_second_time() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("orders");
    let (supervisor, http) = supervised(&dir, "2MiB").await;
    fill(http, PATIENCE).await.unwrap();
    let fleet = Fleet::new(base.path(), http, "/bin/false".into()).await;
    let story = fleet.run(event_data(http, &dir)).await;
    assert_eq!(
        &story.path()[4..],
        ["processes", "restart_service", "escalate"]
    );
    assert_eq!(
        (story.outcome(), starts(&supervisor)),
        (Outcome::Escalated, 1)
    );
    supervisor.stop().await;
}

#[tokio::test]
async fn a_service_that_does_not_answer_at_all_is_handed_to_a_person() {
    let base = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(base.path(), free_address(), flotilla(base.path())).await;
    let story = fleet
        .run(event_data(free_address(), &base.path().join("orders")))
        .await;
    assert_eq!(story.path(), ["disk_free", "check_health", "escalate"]);
    assert_eq!(story.outcome(), Outcome::Escalated);
}

#[tokio::test]
async fn an_alert_about_something_else_is_handed_to_a_person() {
    let base = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(base.path(), free_address(), flotilla(base.path())).await;
    let about_nothing = fleet
        .run(json!({"status": "firing", "labels": {"alertname": "Watchdog"}}))
        .await;
    assert_eq!(
        (about_nothing.path(), about_nothing.outcome()),
        (vec!["disk_free", "escalate"], Outcome::Escalated)
    );
    let labels = json!({"alertname": "HighLatency", "service": "billing", "path": "/tmp", "severity": "page"});
    let of_another = fleet
        .run(json!({"status": "firing", "labels": labels}))
        .await;
    assert_eq!(
        (of_another.path(), of_another.outcome()),
        (vec!["disk_free", "escalate"], Outcome::Escalated)
    );
    assert_eq!(of_another.answer("severity")["level"], "warning");
}

#[test]
fn the_tools_take_what_they_are_for_and_nothing_else() {
    let catalogue = definitions();
    let fits = |tool: &str, input: Value| {
        catalogue
            .tools
            .get(&tool.parse().unwrap(), 1)
            .unwrap()
            .input
            .check(&input)
            .is_ok()
    };
    for path in [
        "/var/lib/orders",
        "/home/josé/My Data/.flotilla/demo/orders",
        "/tmp/.tmpAb12/orders",
    ] {
        assert!(
            fits("disk_free", json!({"path": path})) && fits("disk_usage", json!({"path": path})),
            "{path}"
        );
        assert!(
            fits(
                "tail_log",
                json!({"path": format!("{path}/logs/orders.log"), "lines": 5})
            ),
            "{path}"
        );
        assert!(
            fits(
                "tail_log",
                json!({"path": format!("{path}/logs/orders.log.12")})
            ),
            "{path}"
        );
    }
    assert!(fits("disk_free", json!({"path": "/"})) && !fits("disk_usage", json!({"path": "/"})));
    for path in [
        "",
        "orders",
        "-rf",
        "~/x",
        "/../etc",
        "/var/../etc",
        "/var/lib/..",
        "/var//lib",
        "/.",
        "/var/./x",
        "$HOME",
    ] {
        assert!(
            !fits("disk_free", json!({"path": path})) && !fits("disk_usage", json!({"path": path})),
            "{path}"
        );
        assert!(
            !fits("tail_log", json!({"path": format!("{path}/x.log")})) || path.is_empty(),
            "{path}"
        );
    }
    for path in [
        "/etc/shadow",
        "/var/log/../../etc/shadow.log",
        "/root/.ssh/id_rsa",
        "/x.log/../y",
        "/x.logs",
        "/x.log.gz",
        "/x.log\n/etc/shadow",
    ] {
        assert!(!fits("tail_log", json!({"path": path})), "{path}");
    }
    assert!(
        !fits("tail_log", json!({"path": "/x.log", "lines": 0}))
            && !fits("tail_log", json!({"path": "/x.log", "lines": 5000}))
    );
    for name in ["-e", "a b", "x;y", "", "sixteen-letters-"] {
        assert!(!fits("processes", json!({"name": name})), "{name}");
    }
    for tool in ["restart_service", "check_health"] {
        assert!(fits(tool, json!({"service": "orders"})), "{tool}");
        assert!(
            !fits(tool, json!({"service": "sshd"}))
                && !fits(tool, json!({"service": "orders", "force": true})),
            "{tool}"
        );
    }
}
