//! Hostile ids, sources, types and tenants: they are refused, or are no more than a text.

use flotilla_tests::Fleet;
use serde_json::{Value, json};

use super::{
    example::examples,
    stage::Stage,
    texts::{self, Hostile},
};

/// As the type allows for `id` and `source`.
const LENGTH_MAX: usize = 512;

fn short(hostile: &Hostile) -> String {
    let end = hostile.text.floor_char_boundary(LENGTH_MAX);
    hostile.text[..end].to_owned()
}

/// Sends it; the runs that it starts, or none where it is refused with words.
async fn sent(fleet: &Fleet, event: &Value) -> Vec<String> {
    let body = event.to_string();
    let answer = fleet
        .api()
        .post("/v1/events", "application/json", body)
        .await;
    if answer.status == 202 {
        return answer.json::<flotilla_tests::Submitted>().runs;
    }
    // Where the attribute is wrong, or a workflow's condition cannot be told of such an event.
    assert!([400, 422].contains(&answer.status), "{}", answer.text);
    assert_eq!(answer.content_type, "application/problem+json");
    Vec::new()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_id_is_refused_or_is_a_text_and_leads_to_no_other_subject_key_or_run() {
    let mut all = examples().into_iter();
    let example = all
        .find(|example| example.name == "incident-triage")
        .unwrap();
    let stage = Stage::start(example, false).await;
    let mut runs = Vec::new();
    let mut taken = Vec::new();
    for hostile in texts::all(&stage.pwned()) {
        let text = short(&hostile);
        for attribute in [
            "id",
            "source",
            "subject",
            "time",
            "type",
            "tenant",
            "specversion",
            "traceparent",
            "data",
        ] {
            let mut event = stage.example.event.clone();
            event["id"] =
                format!("{attribute} {}", hostile.kind.replace(char::is_control, "")).into();
            event[attribute] = text.as_str().into();
            let started = sent(&stage.fleet, &event).await;
            if !started.is_empty() {
                taken.push(attribute);
            }
            runs.extend(started);
        }
        let path: String = text
            .bytes()
            .take(200)
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        for path in [
            format!("/v1/runs/{path}"),
            format!("/v1/runs/{path}/explain/{path}"),
            format!("/v1/runs?workflow={path}"),
        ] {
            let answer = stage.fleet.api().get(&path).await;
            assert!(
                (400..500).contains(&answer.status),
                "{path}: {} {}",
                answer.status,
                answer.text
            );
        }
        let signal = json!({"by": text, "reason": text, "usd": 1000});
        let answer = stage
            .fleet
            .api()
            .post_json(&format!("/v1/runs/{path}/raise"), &signal)
            .await;
        assert!((400..500).contains(&answer.status), "{}", answer.text);
    }
    for never in ["time", "type", "tenant", "specversion", "data"] {
        assert!(!taken.contains(&never), "a hostile `{never}` started a run");
    }
    assert!(taken.contains(&"id") && taken.contains(&"subject"));
    let each: std::collections::BTreeSet<_> = runs.iter().collect();
    assert_eq!(each.len(), runs.len(), "each is a run of its own");
    stage.settled(&runs).await;
    let journal = stage.fleet.journal_of_all().await.0;
    assert!(
        journal.iter().all(|entry| each.contains(&entry.run)),
        "nobody else's"
    );
    assert_eq!(stage.forbidden(), 0);
    for key in stage.fleet.redis.keys("*").await {
        assert!(!key.contains(texts::CANARY), "{key}");
    }
}
