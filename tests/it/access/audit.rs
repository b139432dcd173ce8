//! Who did what can be told afterwards, and nothing tells a token.

use std::fs;

use flotilla_tests::{Fleet, PATIENCE, eventually, run_flotilla};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Asker, asking, first_token};

async fn entries(admin: &Asker) -> Vec<Value> {
    let (status, page) = admin
        .send(Method::GET, "/v1/audit?since=1h", &json!(null))
        .await;
    assert_eq!(status, 200, "{page}");
    page["entries"].as_array().unwrap().clone()
}

/// Everything that the fleet's processes have printed.
fn logs(fleet: &Fleet) -> String {
    let items = fs::read_dir(fleet.folder()).unwrap();
    let texts = items.filter_map(|item| fs::read_to_string(item.unwrap().path()).ok());
    texts.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_in_the_audit_with_who_and_why_before_it_is_answered() {
    let fleet = asking().start().await;
    let first = first_token(&fleet);
    let admin = Asker::new(fleet.api().base(), &first);
    let token = admin
        .make(&json!({"name": "ops", "scopes": ["admin"]}))
        .await;
    let ops = Asker::new(fleet.api().base(), &token);
    let path = "/v1/ceilings/workflow/small";
    let why = json!({"usd": 5, "reason": "month's end"});
    assert_eq!(ops.send(Method::PUT, path, &why).await.0, 200);
    let entries = entries(&admin).await;
    let routes: Vec<_> = entries.iter().map(|entry| &entry["route"]).collect();
    assert_eq!(routes, ["/v1/tokens", "/v1/ceilings/{scope}/{name}"]);
    let change = entries.last().unwrap();
    assert_eq!(change["who"]["name"], "ops");
    assert_eq!(change["who"]["id"].as_str().map(str::len), Some(16));
    assert_eq!(change["ids"], json!({"scope": "workflow", "name": "small"}));
    let rest = json!({"method": change["method"], "status": change["status"], "reason": change["reason"], "from": change["from"]});
    assert_eq!(
        rest,
        json!({"method": "PUT", "status": 200, "reason": "month's end", "from": "127.0.0.1"})
    );
    // Who set it is known where no name was said.
    let (_, ceilings) = admin.send(Method::GET, "/v1/ceilings", &json!(null)).await;
    assert_eq!(ceilings["ceilings"][0]["by"], "ops");
    // What reads, and what fails, changed nothing.
    assert_eq!(
        ops.send(Method::PUT, path, &json!({"usd": -1})).await.0,
        400
    );
    assert_eq!(self::entries(&admin).await.len(), 2);
    let env = [
        ("FLOTILLA_URL", fleet.api().base()),
        ("FLOTILLA_TOKEN", &first),
    ];
    let told = run_flotilla(&["audit", "--since", "1h"], &env, PATIENCE).await;
    for word in ["ops", "PUT /v1/ceilings/workflow/small", "month's end"] {
        assert!(told.output.contains(word), "{}", told.output);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_turned_away_is_told_as_often_as_it_was_and_no_token_is_told_at_all() {
    let fleet = asking().env("RUST_LOG", "trace").start().await;
    let first = first_token(&fleet);
    let admin = Asker::new(fleet.api().base(), &first);
    let reader = admin
        .make(&json!({"name": "reader", "scopes": ["read"]}))
        .await;
    let asker = Asker::new(fleet.api().base(), &reader);
    let wrong = format!("{}x", &reader[..52]);
    for _ in 0..3 {
        let nobody = Asker::new(fleet.api().base(), &wrong);
        assert_eq!(
            nobody.send(Method::GET, "/v1/runs", &json!(null)).await.0,
            401
        );
        assert_eq!(
            asker.send(Method::GET, "/v1/tokens", &json!(null)).await.0,
            403
        );
    }
    let refused = eventually("both are told", PATIENCE, async || {
        let all = entries(&admin).await;
        let refused: Vec<_> = all
            .into_iter()
            .filter(|entry| entry["status"] != 201)
            .collect();
        if refused.len() == 2 {
            Ok(refused)
        } else {
            Err(refused)
        }
    })
    .await;
    let mut told: Vec<_> = refused
        .iter()
        .map(|one| {
            (
                one["status"].as_u64(),
                one["who"]["name"].as_str(),
                one["times"].as_u64(),
            )
        })
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            (Some(401), Some("nobody known"), Some(3)),
            (Some(403), Some("reader"), Some(3))
        ]
    );
    let audit = serde_json::to_string(&entries(&admin).await).unwrap();
    let logs = logs(&fleet);
    assert!(logs.len() > 1_000);
    // The first one is shown once, on purpose.
    assert_eq!(logs.matches(&first).count(), 1);
    for secret in [&reader, &wrong] {
        let part = &secret[4..40];
        assert!(!logs.contains(part) && !audit.contains(part));
    }
}
