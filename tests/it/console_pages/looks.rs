//! What is shown.

use flotilla_tests::{Fleet, PATIENCE, Sink, eventually};

use super::{Browser, HOSTILE, PAGES, fleet, parked, unreadable};
use crate::flows::incident;

/// Waits until a page says something that the fleet tells within a moment.
async fn shows(browser: &Browser, path: &str, text: &str) {
    eventually(&format!("{path} says {text:?}"), PATIENCE, || async {
        let page = browser.see(path).await;
        if page.html.contains(text) {
            Ok(())
        } else {
            Err(page.html)
        }
    })
    .await;
}

fn assert_whole(path: &str, html: &str) {
    assert!(html.contains("<h1"), "{path} has no heading");
    assert!(
        html.ends_with("</html>") || html.trim_end().ends_with("</html>"),
        "{path} is cut"
    );
    assert!(
        !html.contains(" style="),
        "{path} has a style that the policy forbids"
    );
    assert!(
        !html.contains("NaN") && !html.contains(">inf"),
        "{path} shows no number"
    );
    let mut ids: Vec<&str> = html
        .split(" id=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(all, ids.len(), "{path} has an id twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_with_nothing_in_it_is_shown_with_what_to_do_first() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let browser = Browser::of(&fleet);
    for path in PAGES {
        let page = browser.see(path).await;
        assert_whole(path, &page.html);
    }
    let overview = browser.see("/").await;
    overview.has("No runs yet");
    overview.has("flotilla apply workflows/");
    overview.has("/v1/events -H");
    overview.has("name=\"data\"");
    overview.has("Nothing in the last hour");
    browser.see("/dlq").await.has("No dead letters");
    browser
        .see("/cost")
        .await
        .has("Claude was not asked in these days");
    let workflow = browser.see("/workflows/incident").await;
    workflow.has("version 1");
    workflow.has("workflow: incident");
    browser
        .see("/tools")
        .await
        .has("Tells people that something happened.");
    let none = browser.get("/workflows/nobodys").await;
    assert_eq!(none.status, 404);
    none.has("nobodys");
    assert_eq!(browser.get("/dlq/99").await.status, 404);
    assert_eq!(browser.get("/dlq/cause/zz").await.status, 400);
    let wrong = browser.get("/cost?from=yesterday").await;
    assert_eq!(wrong.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_on_the_overview_and_each_leads_to_where_it_can_be_mended() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let browser = Browser::of(&fleet);
    let done = fleet.submit(&incident("1")).await.runs.remove(0);
    fleet.wait_run_end(&done).await;
    let run = parked(&fleet, "2").await;
    unreadable(&fleet, &format!("{{ {HOSTILE}")).await;
    let said = serde_json::json!({"state": "open", "by": "mara", "reason": "it is moved"});
    fleet.api().put("/v1/tools/repair/breaker", &said).await;
    shows(&browser, "/", "the breaker of tool repair is open").await;
    shows(&browser, "/", "href=\"/dlq\">1 dead letter").await;
    shows(&browser, "/", "href=\"/runs?status=parked\"").await;
    let overview = browser.see("/").await;
    overview.lacks("No runs yet");
    overview.has(&run);
    overview.has("completed");
    // A chart is a picture with its words and its numbers.
    overview.has("role=\"img\" aria-labelledby=\"ended-t ended-d\"");
    overview.has("completed: in all 1 runs");
    shows(&browser, "/fleet", "class=\"badge bad\">open").await;
    let worker = browser.see("/fleet").await;
    for role in ["gateway", "planner", "executor"] {
        worker.has(&format!("<td>{role}</td>"));
    }
    let cost = browser.see("/cost?days=30&by=model").await;
    cost.has("Spent by model");
    cost.has(&format!("href=\"/runs/{done}\""));
    cost.has(" of $0<");
    for path in PAGES {
        assert_whole(path, &browser.see(path).await.html);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_anybody_wrote_is_text_on_every_page() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let browser = Browser::of(&fleet);
    let letter = unreadable(&fleet, &format!("{{ {HOSTILE}")).await;
    let said = serde_json::json!({"state": "open", "by": HOSTILE.replace('\u{202e}', ""), "reason": HOSTILE});
    fleet.api().put("/v1/tools/repair/breaker", &said).await;
    let off = serde_json::json!({"reason": HOSTILE});
    fleet.api().put("/v1/switches/tool/announce", &off).await;
    let event = serde_json::json!({"id": HOSTILE, "source": HOSTILE, "type": "test.incident", "data": {"text": HOSTILE}});
    fleet.submit(&event).await;
    parked(&fleet, "2").await;
    let letter = format!("/dlq/{letter}");
    for path in PAGES.into_iter().chain([letter.as_str()]) {
        let page = browser.see(path).await;
        page.lacks("<script>alert");
        page.lacks("<img src=x");
        page.lacks("\u{202e}");
    }
    let shown = browser.see(&letter).await;
    shown.has("&#60;script&#62;alert(1)&#60;/script&#62;");
    shown.has("\u{27e8}U+202E\u{27e9}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_hears_what_is_new_on_the_overview() {
    let sink = Sink::start().await;
    let fleet: Fleet = fleet(&sink).await;
    let browser = Browser::of(&fleet);
    fleet
        .wait_run_end(&fleet.submit(&incident("1")).await.runs[0])
        .await;
    shows(&browser, "/", "completed").await;
    let request = browser.http.get(format!("{}/pulse", browser.base));
    let mut stream = request.send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let run = fleet.submit(&incident("2")).await.runs.remove(0);
    let mut heard = String::new();
    let hears = async {
        while !(heard.contains("event: frag") && heard.contains(&run)) {
            let chunk = stream.chunk().await.unwrap();
            heard += &String::from_utf8_lossy(&chunk.expect("the stream goes on"));
        }
    };
    flotilla_tests::within("the new run is told of", PATIENCE, hears).await;
    assert!(heard.contains("\"id\":\"newest\""), "{heard}");
}
