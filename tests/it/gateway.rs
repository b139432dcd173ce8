//! What the gateway answers, above all to what is wrong.

use flotilla_tests::{Answer, Fleet, PATIENCE, Sink, eventually};
use serde_json::{Value, json};

use crate::flows::{cloud_event, incident, incidents};

const JSON: &str = "application/json";

async fn fleet(sink: &Sink) -> Fleet {
    Fleet::builder()
        .workflows(incidents(sink, "idempotent"))
        .start()
        .await
}

/// RFC 9457: the type, the parts, and the status said twice alike. Gives the detail.
fn problem(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.content_type, "application/problem+json");
    let problem: Value = answer.json();
    assert_eq!(problem["status"], status);
    for part in ["type", "title", "detail"] {
        assert!(problem[part].is_string(), "no {part} in {problem}");
    }
    problem["detail"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_events_are_refused_with_what_is_wrong_and_leave_nothing() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let post = async |content_type: &str, body: String| {
        fleet.api().post("/v1/events", content_type, body).await
    };

    let cut = r#"{"type": "test.incident", "data": {"#;
    let detail = problem(&post(JSON, cut.to_owned()).await, 400);
    assert!(detail.contains("line 1"), "{detail}");
    problem(&post(JSON, json!({"data": {}}).to_string()).await, 400);
    problem(&post(JSON, "[]".to_owned()).await, 400);
    // A CloudEvent without what one must have
    problem(
        &post("application/cloudevents+json", incident("a").to_string()).await,
        400,
    );

    let unknown = json!({"type": "test.nobody-waits-for-this", "data": {}});
    let detail = problem(&post(JSON, unknown.to_string()).await, 422);
    assert!(detail.contains("test.nobody-waits-for-this"), "{detail}");
    assert!(
        detail.contains("test.incident"),
        "it says what is known: {detail}"
    );

    let mut large = incident("large");
    large["data"]["text"] = json!("x".repeat(2 << 20));
    problem(&post(JSON, large.to_string()).await, 413);
    problem(&post("text/plain", incident("a").to_string()).await, 415);

    fleet.wait_intake().await;
    assert!(fleet.journal_of_all().await.0.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_json_and_cloud_events_start_runs_that_can_be_looked_at() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let plain = fleet.submit(&incident("a")).await;
    let answer = fleet
        .api()
        .post(
            "/v1/events",
            "application/cloudevents+json",
            cloud_event("b").to_string(),
        )
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let accepted: Value = answer.json();
    assert_eq!(
        (&accepted["id"], &accepted["source"]),
        (&json!("b"), &json!("tests"))
    );

    let run = &plain.runs[0];
    let end = fleet.wait_run_end(run).await;
    assert_eq!(
        (end.workflow.as_str(), end.version, end.model_calls),
        ("incident", 1, 3)
    );
    assert!(
        end.ended_at.is_some() && end.usd_nano > 0 && end.output_tokens > 0,
        "{end:?}"
    );

    // The API's journal is the journal.
    let view = fleet.run(run).await.unwrap();
    let journal = fleet.journal(run).await;
    let shown: Vec<_> = view
        .journal
        .iter()
        .map(|line| (line.seq, &line.entry))
        .collect();
    let kept: Vec<_> = journal
        .0
        .iter()
        .map(|entry| (entry.seq, &entry.payload))
        .collect();
    assert_eq!(shown, kept);
    let kinds: Vec<_> = view
        .journal
        .iter()
        .map(|line| format!("{}.{}", line.kind, line.name))
        .collect();
    assert_eq!(kinds[..2], ["started.incident", "decided.claude"]);
    assert_eq!(kinds.last().unwrap(), "decided.end");

    // From a sequence on: what came after it.
    let since = view.journal[1].seq;
    let rest: Value = fleet
        .api()
        .get(&format!("/v1/runs/{run}?since={since}"))
        .await
        .json();
    assert_eq!(
        rest["journal"].as_array().unwrap().len(),
        view.journal.len() - 2
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_listed_by_page_status_and_workflow() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    for id in ["a", "b", "c"] {
        let [run] = fleet.submit(&incident(id)).await.runs.try_into().unwrap();
        fleet.wait_run_end(&run).await;
    }
    let list =
        async |query: &str| -> Value { fleet.api().get(&format!("/v1/runs?{query}")).await.json() };
    let count = |page: &Value| page["runs"].as_array().map_or(0, Vec::len);

    let first = list("limit=2").await;
    assert_eq!(count(&first), 2);
    let second = list(&format!(
        "limit=2&cursor={}",
        first["next"].as_str().unwrap()
    ))
    .await;
    assert_eq!((count(&second), &second["next"]), (1, &Value::Null));
    assert_eq!(count(&list("status=completed").await), 3);
    assert_eq!(count(&list("status=failed").await), 0);
    assert_eq!(count(&list("workflow=incident").await), 3);
    assert_eq!(count(&list("workflow=alert").await), 0);
    problem(&fleet.api().get("/v1/runs?cursor=nonsense").await, 400);
    problem(&fleet.api().get("/v1/runs?status=nonsense").await, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_said_so() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let nobody = format!("/v1/runs/run_{}", "0".repeat(32));
    problem(&fleet.api().get(&nobody).await, 404);
    problem(&fleet.api().get("/v1/runs/nonsense").await, 400);
    problem(&fleet.api().get("/v1/nothing").await, 404);
    problem(&fleet.api().get("/v1/events").await, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alertmanagers_webhook_makes_an_event_of_each_alert() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let alert = |name: &str, status: &str, fingerprint: &str| {
        json!({
            "status": status,
            "labels": {"alertname": name, "severity": "critical", "instance": "host-1"},
            "annotations": {"summary": "it is full"},
            "startsAt": "2026-11-21T07:00:00.000Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.example/graph",
            "fingerprint": fingerprint,
        })
    };
    let body = json!({
        "version": "4", "groupKey": "{}:{alertname=\"DiskFull\"}", "truncatedAlerts": 0, "status": "firing",
        "receiver": "flotilla", "groupLabels": {"alertname": "DiskFull"}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://alertmanager.example",
        "alerts": [alert("DiskFull", "firing", "f1"), alert("DiskSlow", "resolved", "f2")],
    })
    .to_string();
    let answer = fleet
        .api()
        .post("/v1/hooks/alertmanager", JSON, body.as_str())
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let accepted: Value = answer.json();
    let events = accepted["events"].as_array().unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(
        events[1]["runs"],
        json!([]),
        "no workflow is for what is resolved"
    );
    let run = events[0]["runs"][0].as_str().unwrap();
    assert_eq!(fleet.wait_run_end(run).await.status, "completed");
    let started = fleet.journal(run).await;
    let data = started.0[0].at("/event/data");
    assert_eq!(
        (&data["labels"]["instance"], &data["receiver"]),
        (&json!("host-1"), &json!("flotilla"))
    );

    // Alertmanager repeats itself until something changes.
    let again: Value = fleet
        .api()
        .post("/v1/hooks/alertmanager", JSON, body)
        .await
        .json();
    assert_eq!(
        (
            &again["events"][0]["duplicate"],
            &again["events"][0]["runs"][0]
        ),
        (&json!(true), &json!(run))
    );

    problem(
        &fleet.api().post("/v1/hooks/alertmanager", JSON, "{").await,
        400,
    );
    problem(
        &fleet
            .api()
            .post("/v1/hooks/alertmanager", JSON, r#"{"alerts": 1}"#)
            .await,
        400,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_says_how_it_is() {
    let sink = Sink::start().await;
    let mut fleet = fleet(&sink).await;
    let [run] = fleet.submit(&incident("a")).await.runs.try_into().unwrap();
    fleet.wait_run_end(&run).await;
    for role in [&fleet.gateway, &fleet.planners[0], &fleet.executors[0]] {
        for path in ["/healthz", "/readyz"] {
            let answer = role.api().get(path).await;
            assert_eq!(
                answer.status,
                200,
                "{} {path}: {}",
                role.name(),
                answer.text
            );
        }
        let metrics = role.api().get("/metrics").await;
        assert!(
            metrics.content_type.starts_with("text/plain"),
            "{}",
            metrics.content_type
        );
        assert!(
            metrics.text.contains("flotilla_"),
            "{}: {}",
            role.name(),
            metrics.text
        );
    }

    // Alive without NATS, but not ready; and ready again by itself.
    fleet.nats.kill();
    eventually("the gateway is not ready", PATIENCE, || async {
        let answer = fleet.api().get("/readyz").await;
        if answer.status == 503 {
            Ok(())
        } else {
            Err(answer)
        }
    })
    .await;
    assert_eq!(fleet.api().get("/healthz").await.status, 200);
    fleet.nats.restart().await;
    fleet.wait_ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_no_planner_has_seen_are_listed() {
    let sink = Sink::start().await;
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .planners(0)
        .start()
        .await;
    let [run] = fleet.submit(&incident("a")).await.runs.try_into().unwrap();
    fleet.wait_intake().await;
    let listed: Value = fleet.api().get("/v1/runs").await.json();
    assert_eq!(listed["complete"], true);
    assert_eq!(listed["runs"][0]["id"], json!(run));
    assert_eq!(listed["runs"][0]["status"], "running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_another_gateway_promised_start_here_too() {
    let sink = Sink::start().await;
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .planners(0)
        .start()
        .await;
    let pin = |name: &str| json!({"name": name, "version": 2, "digest": "0a".repeat(32)});
    let promise = json!({"starts": [pin("incident"), pin("newer")]}).to_string();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Flotilla-Promise", promise.as_str());
    let event =
        json!({"specversion": "1.0", "type": "test.newer", "id": "a", "source": "s", "data": {}});
    let jetstream = fleet.nats.jetstream().await;
    jetstream
        .publish_with_headers("events.test.newer", headers, event.to_string().into())
        .await
        .unwrap()
        .await
        .unwrap();
    fleet.wait_intake().await;
    let listed: Value = fleet.api().get("/v1/runs").await.json();
    let mut names: Vec<_> = listed["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| {
            (
                run["workflow"].as_str().unwrap().to_owned(),
                run["version"].as_u64().unwrap(),
            )
        })
        .collect();
    names.sort();
    assert_eq!(names, [("incident".to_owned(), 2), ("newer".to_owned(), 2)]);
    let started = fleet.journal_of_all().await.of("started", None).count();
    assert_eq!(started, 2);
}
