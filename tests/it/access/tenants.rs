//! What belongs to another tenant is not there.

use flotilla_tests::{Fleet, PATIENCE, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Asker, asking, first_token};

/// Sends an event, waits for the end of the run that it starts, and gives the run.
async fn run_of(fleet: &Fleet, asker: &Asker, id: &str) -> String {
    let event = json!({"type": "test.small", "id": id, "source": "tests", "data": {}});
    let (status, sent) = asker.send(Method::POST, "/v1/events", &event).await;
    assert_eq!(status, 202, "{sent}");
    let run = sent["runs"][0].as_str().unwrap().to_owned();
    let admin = Asker::new(fleet.api().base(), &first_token(fleet));
    eventually("the run ends", PATIENCE, async || {
        let (_, seen) = admin
            .send(Method::GET, &format!("/v1/runs/{run}"), &json!(null))
            .await;
        if seen["run"]["ended_at"].is_string() {
            Ok(())
        } else {
            Err(seen)
        }
    })
    .await;
    run
}

async fn tenant(fleet: &Fleet, name: &str) -> Asker {
    let admin = Asker::new(fleet.api().base(), &first_token(fleet));
    let wanted = json!({"name": name, "tenant": name, "scopes": ["admin"]});
    Asker::new(fleet.api().base(), &admin.make(&wanted).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_another_tenant_is_not_there_whatever_is_asked_of_it() {
    let fleet = asking().start().await;
    let (acme, other) = (tenant(&fleet, "acme").await, tenant(&fleet, "other").await);
    let run = run_of(&fleet, &acme, "1").await;
    let none = "run_00000000000000000000000000000000";
    let blob = "blob_00000000000000000000000000000000";
    let routes = [
        (Method::GET, String::new()),
        (Method::GET, "/journal".to_owned()),
        (Method::GET, "/live".to_owned()),
        (Method::GET, "/explain/say".to_owned()),
        (Method::GET, "/effects".to_owned()),
        (Method::GET, "/definition".to_owned()),
        (Method::GET, format!("/blobs/{blob}")),
        (Method::POST, "/cancel".to_owned()),
        (Method::POST, "/pause".to_owned()),
        (Method::POST, "/resume".to_owned()),
        (Method::POST, "/retry".to_owned()),
        (Method::POST, "/message".to_owned()),
        (Method::POST, "/feedback".to_owned()),
        (Method::POST, "/approve".to_owned()),
        (Method::POST, "/reject".to_owned()),
        (Method::POST, "/raise".to_owned()),
        (Method::POST, "/fork".to_owned()),
    ];
    for (method, what) in routes {
        let ask = async |run: &str| {
            let path = format!("/v1/runs/{run}{what}");
            other.send(method.clone(), &path, &json!({})).await
        };
        let (status, answer) = ask(&run).await;
        assert_eq!(status, 404, "{method} {what}: {answer}");
        // As of a run that never was.
        let (_, never) = ask(none).await;
        let told = |answer: &Value, run: &str| answer.to_string().replace(run, "");
        assert_eq!(told(&answer, &run), told(&never, none), "{method} {what}");
        // The same with another spelling of its id.
        let odd = run.replacen("run", "%72un", 1);
        assert_eq!(ask(&odd).await.0, 404, "{method} {what}");
    }
    let page = format!("/runs/{run}");
    assert_ne!(
        other.send(Method::GET, &page, &json!(null)).await.0,
        200,
        "{page}"
    );
    let own = acme
        .send(
            Method::GET,
            &format!("/v1/runs/{run}/journal"),
            &json!(null),
        )
        .await;
    assert_eq!(own.0, 200, "{}", own.1);
    let said = json!({"text": "well done", "by": "ana"});
    let (status, said) = acme
        .send(Method::POST, &format!("/v1/runs/{run}/feedback"), &said)
        .await;
    assert_eq!(status, 202, "{said}");
    let journal = fleet.journal(&run).await;
    let by = journal.0.iter().find(|entry| entry.name == "feedback");
    assert_eq!(by.unwrap().text("/by"), "ana (token acme)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_an_event_that_another_tenant_sent_is_told_nothing_of_its_run() {
    let fleet = asking().start().await;
    let (acme, other) = (tenant(&fleet, "acme").await, tenant(&fleet, "other").await);
    let run = run_of(&fleet, &acme, "1").await;
    let event = json!({"type": "test.small", "id": "1", "source": "tests", "data": {}});
    let wait = async |asker: &Asker| {
        asker
            .send(Method::POST, "/v1/events?wait=20s", &event)
            .await
    };
    let (status, theirs) = wait(&other).await;
    assert_eq!(status, 202, "{theirs}");
    assert!(theirs.get("ended").is_none(), "{theirs}");
    // Whose it is, and who sees all, gets it.
    let admin = Asker::new(fleet.api().base(), &first_token(&fleet));
    for asker in [&acme, &admin] {
        let (status, ended) = wait(asker).await;
        assert_eq!(status, 200, "{ended}");
        assert_eq!(ended["ended"][0]["run"], json!(run), "{ended}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_have_what_is_the_tenants_own() {
    let fleet = asking().start().await;
    let admin = Asker::new(fleet.api().base(), &first_token(&fleet));
    let (acme, other) = (tenant(&fleet, "acme").await, tenant(&fleet, "other").await);
    let (mine, theirs) = (
        run_of(&fleet, &acme, "1").await,
        run_of(&fleet, &other, "2").await,
    );
    let listed = async |asker: &Asker, path: &str| {
        let (status, answer) = asker.send(Method::GET, path, &json!(null)).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    };
    let runs = listed(&acme, "/v1/runs").await.to_string();
    assert!(runs.contains(&mine) && !runs.contains(&theirs), "{runs}");
    let runs = listed(&admin, "/v1/runs").await.to_string();
    assert!(runs.contains(&mine) && runs.contains(&theirs), "{runs}");
    for name in ["acme", "other"] {
        let (status, set) = admin
            .send(
                Method::PUT,
                &format!("/v1/ceilings/tenant/{name}"),
                &json!({"usd": 5}),
            )
            .await;
        assert_eq!(status, 200, "{set}");
    }
    let ceilings = listed(&acme, "/v1/ceilings").await;
    let names: Vec<_> = ceilings["ceilings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| &line["name"])
        .collect();
    assert_eq!(names, ["acme"]);
    for path in [
        "/v1/definitions",
        "/v1/tools",
        "/v1/approvals",
        "/v1/dead",
        "/v1/switches",
    ] {
        listed(&acme, path).await;
    }
    // What all share is not one tenant's to change, whatever its scope.
    for (method, path) in [
        (Method::PUT, "/v1/ceilings/tenant/acme"),
        (Method::POST, "/v1/definitions"),
        (Method::GET, "/v1/tokens"),
        (Method::POST, "/v1/tokens"),
        (Method::GET, "/v1/audit"),
        (Method::POST, "/v1/dead/redrive"),
        (Method::GET, "/v1/dead/redrives/1"),
        (Method::PUT, "/v1/switches/tool/t"),
    ] {
        let (status, answer) = acme.send(method.clone(), path, &json!({"usd": 9})).await;
        assert_eq!(status, 403, "{method} {path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_dead_letters_are_their_tenants() {
    let fleet = asking().start().await;
    let (acme, other) = (tenant(&fleet, "acme").await, tenant(&fleet, "other").await);
    let foreign = json!({"type": "test.small", "tenant": "other", "data": {}});
    let (status, answer) = acme.send(Method::POST, "/v1/events", &foreign).await;
    assert_eq!(status, 403, "{answer}");
    let unplaceable = json!({
        "specversion": "1.0", "id": "1", "source": "s", "type": "test.unknown", "tenant": "acme", "data": {}
    });
    fleet
        .publish_event("test.unknown", &unplaceable, None)
        .await;
    let letters = async |asker: &Asker| asker.send(Method::GET, "/v1/dead", &json!(null)).await.1;
    let seq = eventually("it is a dead letter", PATIENCE, async || {
        let seen = letters(&acme).await;
        seen["groups"][0]["seq"].as_u64().ok_or(seen)
    })
    .await;
    assert_eq!(letters(&other).await["groups"], json!([]));
    let path = format!("/v1/dead/{seq}");
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::POST, format!("{path}/redrive")),
        (Method::DELETE, path.clone()),
    ] {
        let (status, answer) = other.send(method.clone(), &path, &json!({})).await;
        assert_eq!(status, 404, "{method} {path}: {answer}");
        assert_eq!(answer["detail"], format!("there is no dead letter {seq}"));
    }
    assert_eq!(acme.send(Method::GET, &path, &json!(null)).await.0, 200);
    let (status, answer) = acme.send(Method::DELETE, &path, &json!(null)).await;
    assert_eq!(status, 200, "{answer}");
}
