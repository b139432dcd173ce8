//! What a token lets its bearer do, until it does not hold any more.

use flotilla_tests::{PATIENCE, RoleOptions, eventually, run_flotilla};
use reqwest::Method;
use serde_json::json;

use super::{Asker, asking, first_token};

const RUN: &str = "run_00000000000000000000000000000000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_scope_opens_its_own_routes_and_no_others() {
    let fleet = asking().start().await;
    let admin = Asker::new(fleet.api().base(), &first_token(&fleet));
    let run = |what: &str| format!("/v1/runs/{RUN}/{what}");
    let event = json!({"type": "test.nobody", "data": {}});
    // What gets through is told what is wrong with it.
    let routes = [
        (Method::POST, "/v1/events".to_owned(), event, "ingest"),
        (Method::GET, "/v1/runs".to_owned(), json!(null), "read"),
        (Method::GET, run("journal"), json!(null), "read"),
        (Method::POST, run("cancel"), json!({}), "approve"),
        (Method::POST, run("approve"), json!({}), "approve"),
        (Method::POST, run("raise"), json!({}), "admin"),
        (
            Method::DELETE,
            "/v1/ceilings/workflow/x".to_owned(),
            json!(null),
            "admin",
        ),
        (
            Method::POST,
            "/v1/definitions".to_owned(),
            json!({}),
            "admin",
        ),
        (
            Method::DELETE,
            "/v1/dead/1".to_owned(),
            json!(null),
            "admin",
        ),
        (Method::GET, "/v1/tokens".to_owned(), json!(null), "admin"),
        (Method::GET, "/v1/audit".to_owned(), json!(null), "admin"),
    ];
    for (scope, may) in [
        ("ingest", &["ingest"][..]),
        ("read", &["read"]),
        ("approve", &["read", "approve"]),
        ("admin", &["ingest", "read", "approve", "admin"]),
    ] {
        let token = admin.make(&json!({"name": scope, "scopes": [scope]})).await;
        let asker = Asker::new(fleet.api().base(), &token);
        for (method, path, body, needs) in &routes {
            let (status, answer) = asker.send(method.clone(), path, body).await;
            let refused = status == 403;
            assert_eq!(
                refused,
                !may.contains(needs),
                "{scope}: {method} {path}: {status} {answer}"
            );
            if refused {
                assert_eq!(answer["scope"], *needs, "{answer}");
                assert!(
                    answer["detail"].as_str().unwrap().contains(needs),
                    "{answer}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_revoked_or_expired_is_refused_by_every_gateway() {
    let mut fleet = asking().start().await;
    let mut second = fleet.start_gateway(RoleOptions::default());
    second.wait_ready().await;
    let admin = Asker::new(fleet.api().base(), &first_token(&fleet));
    let token = admin.make(&json!({"name": "ci", "scopes": ["read"]})).await;
    let ways = [fleet.api().base(), second.api().base()].map(|base| Asker::new(base, &token));
    let gets = async |expected: u16| {
        for way in &ways {
            eventually(
                &format!("{expected} at {}", way.base),
                PATIENCE,
                async || match way.send(Method::GET, "/v1/runs", &json!(null)).await {
                    (status, _) if status == expected => Ok(()),
                    (status, answer) => Err(format!("{status} {answer}")),
                },
            )
            .await;
        }
    };
    gets(200).await;
    let again = json!({"name": "ci", "scopes": ["read"]});
    let (taken, answer) = admin.send(Method::POST, "/v1/tokens", &again).await;
    assert_eq!(taken, 409, "a name is one token's: {answer}");
    let (status, revoked) = admin
        .send(Method::DELETE, "/v1/tokens/ci", &json!(null))
        .await;
    assert_eq!(
        (status, &revoked["holds"]),
        (200, &json!(false)),
        "{revoked}"
    );
    gets(401).await;
    let short = admin
        .make(&json!({"name": "ci", "scopes": ["read"], "expires": "1s"}))
        .await;
    let short = Asker::new(fleet.api().base(), &short);
    eventually("it has expired", PATIENCE, async || {
        match short.send(Method::GET, "/v1/runs", &json!(null)).await.0 {
            401 => Ok(()),
            status => Err(status),
        }
    })
    .await;
    let (status, last) = admin
        .send(Method::DELETE, "/v1/tokens/first", &json!(null))
        .await;
    assert_eq!(status, 409, "nobody could make tokens any more: {last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_of_tokens_holds_while_nats_is_away() {
    let mut fleet = asking().start().await;
    let admin = Asker::new(fleet.api().base(), &first_token(&fleet));
    fleet.nats.kill();
    let nobody = Asker::new(fleet.api().base(), "flt_x");
    assert_eq!(
        nobody
            .send(Method::GET, "/v1/runs?limit=1", &json!(null))
            .await
            .0,
        401
    );
    assert_eq!(
        admin
            .send(Method::GET, "/v1/runs?limit=1", &json!(null))
            .await
            .0,
        200
    );
    fleet.nats.restart().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_sends_as_much_as_it_may_and_is_told_when_to_come_again() {
    let fleet = asking().start().await;
    let admin = Asker::new(fleet.api().base(), &first_token(&fleet));
    let wanted = json!({"name": "slow", "scopes": ["ingest"], "rate": "1/s"});
    let slow = Asker::new(fleet.api().base(), &admin.make(&wanted).await);
    let mut refused = None;
    for _ in 0..200 {
        let event = json!({"type": "test.small", "data": {}});
        let answer = slow.request(Method::POST, "/v1/events", &event).await;
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("so many, and none refused");
    let later: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=3).contains(&later), "{later}");
    let problem: serde_json::Value = refused.json().await.unwrap();
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("1 requests a second"),
        "{problem}"
    );
    assert_eq!(
        admin.send(Method::GET, "/v1/runs", &json!(null)).await.0,
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_make_list_and_revoke_tokens_also_where_none_is_left() {
    let fleet = asking().start().await;
    let base = fleet.api().base();
    let (url, first, nats) = (base.to_owned(), first_token(&fleet), fleet.nats.url());
    let flotilla = async |line: &str, token: &str| {
        let args: Vec<&str> = line.split(' ').collect();
        let env = [
            ("FLOTILLA_URL", url.as_str()),
            ("FLOTILLA_NATS_URL", &nats),
            ("FLOTILLA_TOKEN", token),
        ];
        run_flotilla(&args, &env, PATIENCE).await
    };
    let made = flotilla(
        "token create ops --scope read --scope ingest --tenant acme --expires 90d",
        &first,
    )
    .await;
    assert!(made.status.success(), "{}", made.output);
    let token = made.output.trim();
    assert_eq!(
        (token.len(), token.lines().count()),
        (53, 1),
        "alone on stdout: {}",
        made.output
    );
    assert_eq!(
        Asker::new(base, token)
            .send(Method::GET, "/v1/runs", &json!(null))
            .await
            .0,
        200
    );
    let refused = flotilla("token list", token).await;
    assert!(
        !refused.status.success() && refused.output.contains("admin"),
        "{}",
        refused.output
    );
    let list = flotilla("token list", &first).await;
    for word in ["first", "ops", "ingest, read", "acme"] {
        assert!(list.output.contains(word), "{}", list.output);
    }
    assert!(!list.output.contains("flt_"), "{}", list.output);
    let revoked = flotilla("token revoke ops", &first).await;
    assert!(revoked.status.success(), "{}", revoked.output);
    assert_eq!(
        Asker::new(base, token)
            .send(Method::GET, "/v1/runs", &json!(null))
            .await
            .0,
        401
    );
    // The last one can go on NATS alone, and another one come.
    let last = flotilla("token revoke first --direct", &first).await;
    assert!(last.status.success(), "{}", last.output);
    let again = flotilla("token create again --scope admin --direct", &first).await;
    let again = again.output.trim().to_owned();
    eventually(
        "the new one is known, the old one is not",
        PATIENCE,
        async || {
            let asks = async |token: &str| {
                Asker::new(base, token)
                    .send(Method::GET, "/v1/tokens", &json!(null))
                    .await
                    .0
            };
            match (asks(&again).await, asks(&first).await) {
                (200, 401) => Ok(()),
                seen => Err(seen),
            }
        },
    )
    .await;
}
