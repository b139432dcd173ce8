//! Pages and forms, whole without JavaScript.

use flotilla_tests::{PATIENCE, eventually};
use serde_json::{Value, json};

use super::{HOSTILE, Page, Stage};

/// What every page must be, whatever it is about.
fn guarded(page: &Page) {
    assert!(
        page.policy.contains("default-src 'none'"),
        "{}",
        page.policy
    );
    assert!(page.policy.contains("frame-ancestors 'none'"));
    assert!(
        page.kind.starts_with("text/html"),
        "{}: {}",
        page.kind,
        page.html
    );
    // The policy lets nothing of this work: a page that has it is broken.
    for inline in [" style=", " onclick=", "<style", "javascript:"] {
        assert!(!page.html.contains(inline), "{inline} in {}", page.html);
    }
    let scripts = page.html.matches("<script").count();
    assert_eq!(scripts, page.html.matches("<script src=\"/assets/").count());
    for part in [
        "<main id=\"main\"",
        "class=\"skip\"",
        "<nav aria-label=",
        "<h1",
    ] {
        assert!(page.html.contains(part), "no {part} in {}", page.html);
    }
}

/// Nothing of the hostile text is anything but text.
fn harmless(page: &Page) {
    guarded(page);
    for raw in ["<script>alert", "<img src=x", "</pre><script", "\u{202e}"] {
        assert!(!page.html.contains(raw), "{raw} in {}", page.html);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_fleet_says_what_to_do_and_what_is_not_there_is_a_page_too() {
    let stage = Stage::start("x").await;
    let runs = stage.get("/runs").await;
    guarded(&runs);
    assert_eq!(runs.status, 200);
    assert!(
        runs.html.contains("No runs yet") && runs.html.contains("flotilla submit --type test.desk")
    );
    let approvals = stage.get("/approvals").await;
    guarded(&approvals);
    assert!(approvals.html.contains("Nothing waits for you"));
    let filtered = stage.get("/runs?status=failed").await;
    assert!(filtered.html.contains("No run fits"), "{}", filtered.html);
    let none = format!("/runs/run_{}", "0".repeat(32));
    for (path, status) in [
        (none.as_str(), 404),
        ("/nothing", 404),
        ("/runs/x", 400),
        ("/runs?since=soon", 400),
    ] {
        let page = stage.get(path).await;
        assert_eq!(page.status, status, "{path}");
        guarded(&page);
    }
    let (_, after) = runs.html.split_once("href=\"/assets/console-").unwrap();
    let path = format!("/assets/console-{}", after.split_once('"').unwrap().0);
    let style = stage.get(&path).await;
    assert_eq!(
        (style.status, style.kind.as_str()),
        (200, "text/css; charset=utf-8")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_anybody_wrote_is_text_on_every_page() {
    let stage = Stage::start(HOSTILE).await;
    let run = stage.waiting(HOSTILE, HOSTILE).await;
    let page = format!("/runs/{run}");
    for path in ["/runs", "/approvals", page.as_str()] {
        let shown = eventually("the page shows the run", PATIENCE, async || {
            let shown = stage.get(path).await;
            if shown.html.contains(&run) {
                Ok(shown)
            } else {
                Err(shown.html)
            }
        })
        .await;
        harmless(&shown);
    }
    let shown = stage.get(&page).await;
    for part in ["&#60;script&#62;alert(1)", "{{7*7}}"] {
        assert!(shown.html.contains(part), "no {part} in {}", shown.html);
    }
    assert!(
        shown.html.contains("⟨U+202E⟩") || shown.html.contains("\\u202e"),
        "{}",
        shown.html
    );
    let asked = stage.get("/approvals").await;
    let verdict = format!("{page}/verdict");
    let typed = [
        ("csrf", ""),
        ("step", &asked.hidden("step")),
        ("hash", &asked.hidden("hash")),
        ("say", "change"),
        ("with", HOSTILE),
        ("reason", HOSTILE),
    ];
    let refused = stage.post(&verdict, &typed).await;
    assert_eq!(refused.status, 400);
    harmless(&refused);
    assert!(
        refused.html.contains("{{7*7}}"),
        "what was typed is still there"
    );
    let sent = stage
        .post(
            "/runs",
            &[("csrf", ""), ("type", HOSTILE), ("data", HOSTILE)],
        )
        .await;
    assert_eq!(sent.status, 400);
    harmless(&sent);
    let search = stage
        .get("/runs?q=%22%3E%3Cimg+src%3Dx+onerror%3Dalert(2)%3E")
        .await;
    harmless(&search);
    assert!(stage.parts().is_empty(), "nothing was done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_changes_what_is_asked_and_allows_it_with_forms_alone() {
    let stage = Stage::start("disk").await;
    let run = stage.waiting("1", "the disk").await;
    let verdict = format!("/runs/{run}/verdict");
    let asked = stage.get(&format!("/runs/{run}")).await;
    guarded(&asked);
    let (step, hash) = (asked.hidden("step"), asked.hidden("hash"));
    let say = async |said: &str, hash: &str, with: &str, reason: &str| {
        let fields = [
            ("csrf", ""),
            ("step", step.as_str()),
            ("hash", hash),
            ("say", said),
            ("with", with),
            ("reason", reason),
        ];
        stage.post(&verdict, &fields).await
    };
    // Not JSON, not what the tool takes, and a rejection that does not say why: nothing is sent, and what was typed stays.
    for (said, with, fault) in [
        ("change", "{\"part\": ", "is not JSON"),
        (
            "change",
            "{\"part\": 5, \"marker\": 1}",
            "is not as repair takes it",
        ),
        ("reject", "", "is missing"),
    ] {
        let refused = say(said, &hash, with, "").await;
        assert_eq!(refused.status, 400, "{said} {with}");
        assert!(
            refused.html.contains(fault),
            "no {fault:?} in {}",
            refused.html
        );
        assert!(refused.html.contains("Nothing was sent"));
        guarded(&refused);
    }
    // What the page had shown is not what is asked: the page says so, and shows that.
    let stale = say("approve", &"0".repeat(64), "", "").await;
    assert_eq!(stale.status, 409);
    assert!(
        stale.html.contains("This is what waits now"),
        "{}",
        stale.html
    );
    assert_eq!(stale.hidden("hash"), hash);
    assert!(stage.parts().is_empty(), "nothing was done so far");

    let said = say(
        "change",
        &hash,
        "{\"part\": \"fan\"}",
        "the fan, not the disk",
    )
    .await;
    assert_eq!(said.status, 303, "{}", said.html);
    assert_eq!(said.location, Some(format!("/runs/{run}?done=approved")));
    assert_eq!(stage.fleet.wait_run_end(&run).await.status, "completed");
    assert_eq!(stage.parts(), [json!("fan")]);
    let done = stage.get(&said.location.unwrap()).await;
    for part in [
        "Approved.",
        "approved by anyone",
        "the fan, not the disk",
        "With these parameters instead",
        "completed",
    ] {
        assert!(done.html.contains(part), "no {part:?} in {}", done.html);
    }
    let again = say("reject", &hash, "", "no").await;
    assert_eq!(again.status, 409, "the first verdict stands");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_started_found_told_and_stopped_from_its_pages() {
    let stage = Stage::start("disk").await;
    let event = [
        ("csrf", ""),
        ("type", "test.desk"),
        ("data", "{\"text\": \"by hand\"}"),
    ];
    let sent = stage.post("/runs", &event).await;
    assert_eq!(sent.status, 303, "{}", sent.html);
    let path = sent.location.unwrap();
    let run = path.strip_prefix("/runs/").unwrap().to_owned();
    stage.question(&run).await;
    let found = stage.get(&format!("/runs?q={run}")).await;
    assert_eq!(found.location, Some(path.clone()), "a whole id is that run");
    for (query, is_there) in [
        ("?workflow=desk", true),
        ("?status=waiting", true),
        ("?status=completed", false),
        ("?workflow=desk&status=waiting", true),
    ] {
        eventually("the list is as asked for", PATIENCE, async || {
            let page = stage.get(&format!("/runs{query}")).await;
            let is_so = page.html.contains(&run) == is_there;
            if is_so {
                Ok(())
            } else {
                Err(format!("{query}: {}", page.html))
            }
        })
        .await;
    }
    let tell = async |what: &str, fields: &[(&str, &str)]| {
        let fields: Vec<_> = [("csrf", "")].iter().chain(fields).copied().collect();
        let told = stage.post(&format!("{path}/tell/{what}"), &fields).await;
        assert_eq!(told.status, 303, "{what}: {}", told.html);
        stage.get(&told.location.unwrap()).await.html
    };
    assert!(
        tell("message", &[("text", "look at the fan")])
            .await
            .contains("The message is on the journal")
    );
    assert!(
        tell("raise", &[("usd", "2.50"), ("reason", "worth it")])
            .await
            .contains("The ceiling is set")
    );
    tell("pause", &[("reason", "lunch")]).await;
    shows(
        &stage,
        &path,
        "It does nothing until somebody tells it to go on",
    )
    .await;
    tell("resume", &[]).await;
    let bad = stage
        .post(
            &format!("{path}/tell/raise"),
            &[("csrf", ""), ("usd", "much")],
        )
        .await;
    assert_eq!(bad.status, 400);
    guarded(&bad);
    tell("cancel", &[("reason", "not needed"), ("compensate", "yes")]).await;
    assert_eq!(stage.fleet.wait_run_end(&run).await.status, "cancelled");
    tell("feedback", &[("text", "good fan"), ("verdict", "good")]).await;
    let page = stage.get(&path).await.html;
    for part in [
        "of $2.50",
        "not needed",
        "look at the fan",
        "good fan",
        "Retry from a step",
    ] {
        assert!(page.contains(part), "no {part:?} in {page}");
    }
    let view: Value = stage.fleet.api().get(&format!("/v1{path}")).await.json();
    let journal = view["journal"].as_array().unwrap();
    let by = journal
        .iter()
        .filter(|line| line["kind"] == "signalled")
        .map(|line| line["entry"]["by"].as_str());
    assert!(by.clone().count() >= 5 && by.flatten().all(|by| by == "anyone"));
}

/// Waits until a page says something.
async fn shows(stage: &Stage, path: &str, words: &str) {
    eventually("the page says so", PATIENCE, async || {
        let page = stage.get(path).await.html;
        if page.contains(words) {
            Ok(())
        } else {
            Err(format!("no {words:?} in {page}"))
        }
    })
    .await;
}
