//! Whoever watches sees what is their tenant's, for as long as their token holds.

use flotilla_tests::{Event, Fleet, PATIENCE, Sse, eventually, within};
use reqwest::{Client, Method, header};
use serde_json::json;

use super::{Asker, asking, first_token};

/// So that there is a middle of a run
const LATENCY_MS: u64 = 200;
const RUNS: usize = 4;

/// A client of streams that shows this token.
fn shows(token: &str) -> Client {
    let value = format!("Bearer {token}").parse().unwrap();
    let headers = [(header::AUTHORIZATION, value)].into_iter().collect();
    let client = Client::builder().no_proxy().default_headers(headers);
    client.build().unwrap()
}

async fn made(fleet: &Fleet, wanted: serde_json::Value) -> String {
    let admin = Asker::new(fleet.api().base(), &first_token(fleet));
    admin.make(&wanted).await
}

async fn begin(asker: &Asker, source: &str, id: usize) -> String {
    let event = json!({"type": "test.small", "id": id.to_string(), "source": source, "data": {}});
    let (status, sent) = asker.send(Method::POST, "/v1/events", &event).await;
    assert_eq!(status, 202, "{sent}");
    sent["runs"][0].as_str().unwrap().to_owned()
}

/// Reads a list's stream until all of these runs have completed; gives all runs that it told of.
async fn until_completed(list: &mut Sse, mut open: Vec<String>) -> Vec<String> {
    let mut told = Vec::new();
    while !open.is_empty() {
        let event: Event = list.next().await.expect("it goes on");
        assert_eq!(event.data["more"], 0, "how busy others are is not told");
        for line in event.data["runs"].as_array().unwrap() {
            let run = line["id"].as_str().unwrap();
            told.push(run.to_owned());
            if line["status"] == "completed" {
                open.retain(|other| other != run);
            }
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tenants_watch_their_own_runs_and_there_are_no_others() {
    let fleet = asking().start().await;
    fleet.sim.latency_ms(LATENCY_MS).await;
    let base = fleet.api().base().to_owned();
    let mut watched = Vec::new();
    for tenant in ["acme", "other"] {
        let wanted = json!({"name": tenant, "tenant": tenant, "scopes": ["admin"]});
        let token = made(&fleet, wanted).await;
        let (asker, client) = (Asker::new(&base, &token), shows(&token));
        let list = Sse::open_by(&client, &format!("{base}/v1/live"), None).await;
        watched.push((tenant, asker, client, list.unwrap(), Vec::new()));
    }
    for id in 0..RUNS {
        for (tenant, asker, _, _, runs) in &mut watched {
            runs.push(begin(asker, tenant, id).await);
        }
    }
    let all: Vec<Vec<String>> = watched.iter().map(|(.., runs)| runs.clone()).collect();
    for (index, (tenant, _, client, list, runs)) in watched.iter_mut().enumerate() {
        let live = |run: &str| format!("{base}/v1/runs/{run}/live");
        let first = live(&runs[0]);
        let mut own = eventually("its run can be watched", PATIENCE, || {
            Sse::open_by(client, &first, None)
        })
        .await;
        for foreign in &all[1 - index] {
            let refused = Sse::open_by(client, &live(foreign), None).await;
            let (status, text) = refused.unwrap_err();
            assert_eq!(status, 404, "{tenant}: {text}");
            let page = Sse::open_by(client, &format!("{base}/runs/{foreign}/live"), None).await;
            assert_eq!(page.unwrap_err().0, 404, "{tenant}");
        }
        assert_eq!(own.rest().await.last().unwrap().data["run"], runs[0]);
        let told = until_completed(list, runs.clone()).await;
        assert!(
            told.iter().all(|run| runs.contains(run)),
            "{tenant}: {told:?} of {runs:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_token_that_it_was_asked_for_by() {
    let fleet = asking().start().await;
    fleet.sim.latency_ms(600_000).await;
    let base = fleet.api().base().to_owned();
    let admin = Asker::new(&base, &first_token(&fleet));
    let run = begin(&admin, "tests", 1).await;
    let wanted = json!({"name": "desk", "scopes": ["read"]});
    let client = shows(&made(&fleet, wanted).await);
    let short = json!({"name": "short", "scopes": ["read"], "expires": "2s"});
    let short = shows(&made(&fleet, short).await);
    let urls =
        ["/v1/live", "/pulse", "/runs/live", "/approvals/live"].map(|path| format!("{base}{path}"));
    let urls = urls
        .into_iter()
        .chain(["/v1/runs", "/runs"].map(|path| format!("{base}{path}/{run}/live")));
    let mut desks = Vec::new();
    let mut expiring = Sse::open_by(&short, &format!("{base}/v1/live"), None)
        .await
        .unwrap();
    for url in urls {
        let opened = eventually(&url, PATIENCE, || Sse::open_by(&client, &url, None)).await;
        desks.push((url.clone(), opened));
    }
    let admins = shows(&first_token(&fleet));
    let url = format!("{base}/v1/runs/{run}/live");
    let mut others = Sse::open_by(&admins, &url, None).await.unwrap();
    let (status, revoked) = admin
        .send(Method::DELETE, "/v1/tokens/desk", &json!(null))
        .await;
    assert_eq!(status, 200, "{revoked}");
    for (url, stream) in &mut desks {
        let rest = within(url, PATIENCE, stream.rest()).await;
        assert!(
            rest.iter().all(|event| event.kind != "bye"),
            "the gateway stays: {rest:?}"
        );
        let (status, text) = Sse::open_by(&client, url, None).await.unwrap_err();
        assert_eq!(status, 401, "{text}");
    }
    within("it expires", PATIENCE, expiring.rest()).await;
    // That of another token goes on, to the run's end.
    let cancel = format!("/v1/runs/{run}/cancel");
    assert_eq!(admin.send(Method::POST, &cancel, &json!({})).await.0, 202);
    let heard = others.rest().await;
    assert_eq!(heard.last().unwrap().kind, "end", "{heard:?}");
}
