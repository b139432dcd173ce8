//! The kit that breaks fleets on purpose: green for this one, and red for each rule of the protocol that is broken. A kit that cannot
//! fail proves nothing.

use std::time::Duration;

use flotilla_tests::{Finished, run_flotilla};
use serde_json::Value;
use tokio::sync::Semaphore;

/// One kit at a time: each is ten busy processes.
static ALONE: Semaphore = Semaphore::const_new(1);
/// Much more than it takes, on a machine that does other things.
const LIMIT: Duration = Duration::from_secs(600);
/// How long nothing may come to its end before what has not is lost, where something will be.
const SOON: &str = "10s";

/// Runs it; gives its exit status and its scorecard.
async fn chaos(args: &[&str]) -> (Finished, Value) {
    let _alone = ALONE.acquire().await.unwrap();
    let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/bin");
    let path = format!("{tools}:{}", std::env::var("PATH").unwrap());
    let args: Vec<&str> = ["chaos", "--json"].iter().chain(args).copied().collect();
    let told = run_flotilla(&args, &[("PATH", &path)], LIMIT).await;
    let card = told.output.lines().find(|line| line.starts_with('{'));
    let card = card.unwrap_or_else(|| panic!("no scorecard: {}", told.output));
    let card = serde_json::from_str(card).unwrap();
    (told, card)
}

fn row<'a>(card: &'a Value, what: &str) -> &'a Value {
    let rows = card["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["what"] == what);
    row.unwrap_or_else(|| panic!("no row {what}: {card}"))
}

/// Plays one scene on a fleet that breaks one rule: it must show in that row of the scorecard, and was set up as it should be.
async fn is_seen(rule: &str, scene: &str, what: &str) {
    let args = [
        "--runs",
        "0",
        "--faults",
        scene,
        "--break",
        rule,
        "--patience",
        SOON,
    ];
    let (told, card) = chaos(&args).await;
    assert_eq!(told.status.code(), Some(1), "{card}");
    assert_eq!(
        (&card["passed"], &card["broken"]),
        (&Value::from(false), &Value::from(rule))
    );
    assert_eq!(row(&card, "other problems")["wrong"], 0, "{card}");
    assert!(row(&card, what)["wrong"].as_u64() > Some(0), "{card}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_in_the_smoke_profile() {
    let (told, card) = chaos(&["--seed", "8"]).await;
    assert!(told.status.success(), "{}", told.output);
    assert_eq!(card["passed"], true);
    for row in card["rows"].as_array().unwrap() {
        assert_eq!(row["wrong"], 0, "{card}");
    }
    // It was no walk in the park.
    assert!(card["runs"].as_u64() >= Some(150), "{card}");
    assert!(card["faults"].as_u64() >= Some(20), "{card}");
    assert!(
        row(&card, "approvals misapplied")["of"].as_u64() > Some(0),
        "{card}"
    );
    assert!(row(&card, "not undone")["of"].as_u64() > Some(0), "{card}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_acknowledges_before_it_appends_loses_runs() {
    is_seen("ack_before_append", "early-death", "runs lost").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_does_not_save_replies_pays_for_them_twice() {
    is_seen("reply_not_saved", "saved-reply", "calls paid twice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_expects_no_sequence_repeats_steps() {
    is_seen("expected_sequence", "late-append", "steps repeated").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_ignores_claims_doubles_effects() {
    is_seen("claim_ignored", "slow-worker", "effects doubled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_without_fences_loses_what_another_planner_knew() {
    is_seen("fencing", "fan-in", "runs lost").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_one_file_that_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    let name = file.to_str().unwrap();
    let args = [
        "--runs", "3", "--for", "5s", "--faults", "flush", "--html", name,
    ];
    let (told, card) = chaos(&args).await;
    assert!(told.status.success(), "{card}");
    let page = std::fs::read_to_string(file).unwrap();
    assert!(page.contains("<svg") && page.contains("flush"), "{page}");
    for from_elsewhere in ["http:", "https:", "src=", "<link", "@import"] {
        assert!(!page.contains(from_elsewhere), "{from_elsewhere}: {page}");
    }
}
