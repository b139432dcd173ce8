//! Claude is asked again what runs were asked: the same answers differ nowhere, and a change shows exactly where it matters.

use std::time::Duration;

use flotilla_tests::{PATIENCE, Sink, within};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{fleet, incident, objects, typed, workflows};

const RUNS: usize = 64;
/// Every so many is odd.
const ODD_EVERY: usize = 9;
/// Decisions of Claude's in one run: a shape, two turns, a text.
const DECISIONS: usize = 4;

fn text(n: usize) -> String {
    let odd = if n.is_multiple_of(ODD_EVERY) {
        "odd "
    } else {
        ""
    };
    format!("the {odd}disk of host {n}")
}

/// The report, and the exit status.
async fn replayed(fleet: &flotilla_tests::Fleet, args: &[&str]) -> (Value, Option<i32>) {
    let args = [&["replay", "--since", "1h", "--json"], args].concat();
    let ran = typed(fleet, &args).await;
    let report = objects(&ran.output).pop();
    let report = report.unwrap_or_else(|| panic!("no report in {}", ran.output));
    (report, ran.status.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_differs_nowhere_a_change_exactly_where_it_matters_and_nobody_hears_of_it() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let events: Vec<Value> = (0..RUNS).map(|n| incident(n, &text(n))).collect();
    let submitted = stream::iter(&events).map(|event| fleet.submit(event));
    submitted.buffer_unordered(16).collect::<Vec<_>>().await;
    fleet.wait_ends(RUNS, 3 * PATIENCE).await;
    let (calls, effects) = (fleet.sim.ledger().await.len(), sink.effects().len());
    assert_eq!(calls, RUNS * DECISIONS);

    // Everything that is published, by whomever, from here on.
    let client = fleet.nats.client().await;
    let mut heard = client.subscribe("runs.>").await.unwrap();
    client.flush().await.unwrap();
    let done = CancellationToken::new();
    let listening = {
        let done = done.clone();
        tokio::spawn(async move {
            let mut subjects = Vec::new();
            loop {
                tokio::select! {
                    biased;
                    message = heard.next() => subjects.extend(message.map(|it| it.subject.to_string())),
                    () = done.cancelled() => return subjects,
                }
            }
        })
    };

    let (report, status) = replayed(&fleet, &["--usd", "5"]).await;
    assert_eq!(status, Some(0), "{report}");
    let all = json!(RUNS * DECISIONS);
    for (field, expected) in [
        ("/runs", &json!(RUNS)),
        ("/decisions", &all),
        ("/compared", &all),
        ("/by/same", &all),
        ("/same_prompts", &all),
        ("/differ", &json!(0)),
        ("/cases", &json!([])),
        ("/complete", &json!(true)),
    ] {
        assert_eq!(report.pointer(field), Some(expected), "{field}: {report}");
    }
    assert_eq!(
        fleet.sim.ledger().await.len(),
        2 * calls,
        "each was asked once more"
    );
    let cost = |side: &str| report[side]["usd_nano"].as_u64().unwrap();
    assert!(cost("recorded") > 0 && cost("now") > 0);

    // A candidate whose words matter for some of the events.
    let second = workflows(&sink, "How bad is this?", "Second wording: how bad?");
    let folder = second.folder().display().to_string();
    let args = [
        "--workflow",
        "incident",
        "--workflow",
        &folder,
        "--usd",
        "5",
    ];
    let (report, status) = replayed(&fleet, &args).await;
    let odd = RUNS.div_ceil(ODD_EVERY);
    assert_eq!(
        (status, &report["differ"]),
        (Some(1), &json!(odd)),
        "{report}"
    );
    assert_eq!(
        (&report["by"]["answer"], &report["by"]["same"]),
        (&json!(odd), &json!(RUNS * DECISIONS - odd))
    );
    assert_eq!(
        report["same_prompts"],
        json!(RUNS * (DECISIONS - 1)),
        "of the other steps"
    );
    for case in report["cases"].as_array().unwrap() {
        assert_eq!(case["step"], "classify");
        assert_eq!(case["recorded"]["decisions"][0]["output"]["level"], "high");
        assert_eq!(case["now"]["decisions"][0]["output"]["level"], "low");
        let explain = case["explain"].as_str().unwrap();
        assert!(explain.starts_with("flotilla explain run_"), "{explain}");
        assert!(explain.ends_with(" classify"), "{explain}");
    }

    assert_eq!(sink.effects().len(), effects, "nothing was done");
    // Whoever listens does hear what is published.
    let after = fleet.submit(&incident(RUNS, "the last disk")).await;
    let after = after.runs.first().cloned().unwrap();
    fleet.wait_run_end(&after).await;
    done.cancel();
    let subjects = within("the listener ends", Duration::from_secs(10), listening).await;
    let subjects = subjects.unwrap();
    let (own, others): (Vec<_>, Vec<_>) = subjects.iter().partition(|it| it.contains(&after));
    assert_eq!(others, Vec::<&String>::new(), "nothing was published");
    assert!(!own.is_empty());

    limits_are_kept(&fleet, &sink).await;
}

/// A step, a model, a number, an amount; what a candidate does not have.
async fn limits_are_kept(fleet: &flotilla_tests::Fleet, sink: &Sink) {
    let before = fleet.sim.calls_to("claude-opus-5-5").await.len();
    let args = [
        "--model", "opus", "--step", "sum", "--limit", "5", "--usd", "1",
    ];
    let (report, status) = replayed(fleet, &args).await;
    assert_eq!(
        (status, &report["compared"], &report["cut"]),
        (Some(0), &json!(5), &json!(true))
    );
    let after = fleet.sim.calls_to("claude-opus-5-5").await.len();
    assert_eq!(after - before, 5, "asked of that model");

    let renamed = workflows(sink, "id: sum", "id: summary");
    let folder = renamed.folder().display().to_string();
    let args = ["--workflow", &folder, "--step", "sum", "--usd", "1"];
    let (report, status) = replayed(fleet, &args).await;
    assert_eq!((status, &report["compared"]), (Some(0), &json!(0)));
    assert_eq!(
        report["not_comparable"],
        json!({"it has no step `sum`": RUNS + 1})
    );

    let calls = fleet.sim.ledger().await.len();
    let (report, status) = replayed(fleet, &["--step", "sum", "--usd", "0.000001"]).await;
    assert_eq!(
        (status, &report["compared"]),
        (Some(6), &json!(0)),
        "{report}"
    );
    let ran = typed(fleet, &["replay", "--since", "1h"]).await;
    assert_eq!(ran.status.code(), Some(2), "{}", ran.output);
    assert!(
        ran.output.contains("say what it may cost: --usd 0."),
        "{}",
        ran.output
    );
    let ran = typed(fleet, &["replay", "--since", "1h", "--model", "gpt"]).await;
    assert_eq!(ran.status.code(), Some(2), "{}", ran.output);
    assert_eq!(fleet.sim.ledger().await.len(), calls, "nobody was asked");
}
