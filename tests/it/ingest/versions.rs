//! Event types: what their events hold, and how old ones become new ones.

use serde_json::{Value, json};

use super::{event_of, fleet, problem, run_of};
use crate::dead::only_letter;

const WORKFLOW: &str = "workflow: orders\nversion: 1\non: {event: order.created, when: event.data.cents > 100}\nsteps: [{id: done, end: completed}]\noutput: {cents: '{{ event.data.cents }}'}\n";
const FIRST: &str = "event: order.created\nversion: 1\nschema: {type: object, required: [total], properties: {total: {type: number}}}\nexample: {total: 1}\n";
const SECOND: &str = "event: order.created\nversion: 2\nschema: {$ref: schemas/order.json}\nadapt: {from: 1, with: {cents: '{{ (event.data.total * 100) | int }}'}}\n";
const ORDER: &str = r#"{"type": "object", "required": ["cents"], "properties": {"cents": {"type": "integer"}}, "additionalProperties": false}"#;
const UNUSED: &str = "event: order.seen\nversion: 1\nschema: {type: object}\n";

fn definitions() -> Vec<(&'static str, &'static str)> {
    vec![
        ("orders.yaml", WORKFLOW),
        ("events/order.created.1.yaml", FIRST),
        ("events/order.created.2.yaml", SECOND),
        ("events/schemas/order.json", ORDER),
        ("events/order.seen.yaml", UNUSED),
    ]
}

fn order(id: &str, schema: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "shop", "type": "order.created", "dataschema": schema, "data": data})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_event_is_a_new_one_when_its_run_begins() {
    let fleet = fleet(&definitions()).await;
    let post = async |event: &Value| {
        let kind = "application/cloudevents+json";
        fleet
            .api()
            .post("/v1/events", kind, event.to_string())
            .await
    };
    let old = order("1", "order.created/1", json!({"total": 2.5}));
    let run = run_of(&post(&old).await);
    let event = event_of(&fleet, &run).await;
    assert_eq!(event["data"], json!({"cents": 250}));
    assert_eq!(event["dataschema"], "order.created/2");
    assert_eq!(event["adaptedfrom"], "order.created/1");
    // The condition sees the new one, too.
    let cheap = post(&order("2", "order.created/1", json!({"total": 0.5}))).await;
    assert_eq!(cheap.json::<Value>()["runs"], json!([]));

    let wrong = problem(
        &post(&order("3", "order.created/2", json!({"cents": "x"}))).await,
        422,
    );
    assert_eq!(wrong["errors"][0]["pointer"], "/data/cents");
    let unknown = problem(&post(&order("3", "order.created/3", json!({}))).await, 422);
    assert_eq!(unknown["errors"][0]["pointer"], "/dataschema");
    assert!(
        unknown["detail"]
            .as_str()
            .unwrap()
            .contains("has version 1, 2")
    );

    // What is declared is known, also where nothing is triggered by it.
    let seen = json!({"type": "order.seen", "data": {}});
    assert_eq!(fleet.submit(&seen).await.runs, Vec::<String>::new());
    fleet.wait_intake().await;
    assert_eq!(fleet.runs().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_nats_old_events_are_adapted_and_wrong_ones_are_dead_letters() {
    let fleet = fleet(&definitions()).await;
    let old = order("1", "order.created/1", json!({"total": 3}));
    fleet.publish_event("order.created", &old, None).await;
    fleet
        .publish_event("order.created", &json!({"cents": 200}), None)
        .await;
    fleet.wait_intake().await;
    let mut cents = Vec::new();
    for run in fleet.runs().await {
        cents.push(event_of(&fleet, &run.id).await["data"]["cents"].as_i64());
    }
    cents.sort_unstable();
    assert_eq!(cents, [Some(200), Some(300)]);

    fleet
        .publish_event("order.created", &json!({"cents": "many"}), None)
        .await;
    let letter = only_letter(&fleet).await;
    let reason = letter["reason"].as_str().unwrap();
    assert!(
        reason.contains("none of `order.created` version 2: /cents"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_comes_to_a_running_fleet_and_an_old_one_never_changes() {
    let mut first = definitions();
    first.retain(|(path, _)| !path.contains("order.created.2"));
    let cents = WORKFLOW.replace("cents", "total").replace("> 100", "> 0");
    first[0].1 = &cents;
    let fleet = fleet(&first).await;
    let post = async |event: &Value| {
        let kind = "application/cloudevents+json";
        fleet
            .api()
            .post("/v1/events", kind, event.to_string())
            .await
    };
    run_of(&post(&order("1", "order.created/1", json!({"total": 3}))).await);
    let newer = WORKFLOW.replace("version: 1", "version: 2");
    let apply = async |second: &str| {
        let files = json!({"orders.yaml": newer, "e/1.yaml": FIRST, "e/2.yaml": second, "e/schemas/order.json": ORDER});
        fleet
            .api()
            .post_json("/v1/definitions", &json!({"files": files}))
            .await
    };
    let applied = apply(SECOND).await;
    assert_eq!(applied.status, 200, "{}", applied.text);
    let applied: Value = applied.json();
    let outcomes: Vec<_> = applied["inlets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["version"].clone(), one["outcome"].clone()))
        .collect();
    assert_eq!(
        outcomes,
        [(json!(1), json!("unchanged")), (json!(2), json!("created"))]
    );
    let run = run_of(&post(&order("2", "order.created/1", json!({"total": 3}))).await);
    assert_eq!(event_of(&fleet, &run).await["data"], json!({"cents": 300}));

    let changed = apply(&SECOND.replace("* 100", "* 1000")).await;
    let refused = problem(&changed, 409);
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("give this one `version: 3`"),
        "{refused}"
    );
}
