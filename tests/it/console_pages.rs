//! The console's pages about the whole fleet, as a browser without JavaScript sees them: with nothing in it, with much going wrong,
//! and when somebody does something about it.

mod acts;
mod looks;

use flotilla_common::definition::percent_encoded;
use flotilla_tests::{Fleet, PATIENCE, Sink, eventually};
use reqwest::{Client, Response, header, redirect::Policy};
use serde_json::json;

use crate::flows::{incident, incidents};

/// Pages that show the whole fleet.
const PAGES: [&str; 7] = [
    "/",
    "/dlq",
    "/fleet",
    "/cost",
    "/workflows",
    "/tools",
    "/workflows/incident",
];
/// What somebody sends who wants it to be more than a text.
const HOSTILE: &str = "</pre><script>alert(1)</script>\"><img src=x onerror=alert(2)>\u{202e}";

/// A page, or what came in its place.
struct Page {
    status: u16,
    location: Option<String>,
    html: String,
}

impl Page {
    async fn of(response: Response) -> Self {
        let location = response.headers().get(header::LOCATION);
        Self {
            status: response.status().as_u16(),
            location: location.map(|to| to.to_str().unwrap().to_owned()),
            html: response.text().await.unwrap(),
        }
    }

    /// What its forms carry.
    fn csrf(&self) -> &str {
        let after = self.html.split("name=\"csrf\" value=\"").nth(1);
        after.and_then(|rest| rest.split('"').next()).unwrap_or("")
    }

    #[track_caller]
    fn has(&self, text: &str) {
        assert!(self.html.contains(text), "no {text:?} in {}", self.html);
    }

    #[track_caller]
    fn lacks(&self, text: &str) {
        assert!(!self.html.contains(text), "{text:?} in {}", self.html);
    }
}

/// A browser that is told nothing but what a page says, and follows nothing by itself.
struct Browser {
    http: Client,
    base: String,
    cookie: Option<String>,
}

impl Browser {
    fn of(fleet: &Fleet) -> Self {
        Self {
            http: Client::builder().redirect(Policy::none()).build().unwrap(),
            base: fleet.api().base().to_owned(),
            cookie: None,
        }
    }

    async fn get(&self, path: &str) -> Page {
        let request = self.http.get(format!("{}{path}", self.base));
        self.send(request.header(header::ACCEPT, "text/html")).await
    }

    /// A page that must be there.
    async fn see(&self, path: &str) -> Page {
        let page = self.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.html);
        page
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let pair = |(name, value): &(&str, &str)| format!("{name}={}", percent_encoded(value));
        let body: Vec<_> = fields.iter().map(pair).collect();
        let request = self.http.post(format!("{}{path}", self.base));
        let request = request
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "text/html")
            .body(body.join("&"));
        self.send(request).await
    }

    /// Sends a form of the page at `on`, and gives the page that it leads to.
    async fn act(&self, on: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        let page = self.see(on).await;
        page.has(&format!("action=\"{path}\""));
        let mut all = vec![("csrf", page.csrf())];
        all.extend_from_slice(fields);
        let answer = self.post(path, &all).await;
        assert_eq!(answer.status, 303, "{path}: {}", answer.html);
        self.see(&answer.location.unwrap()).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Page {
        let request = match &self.cookie {
            Some(cookie) => request.header(header::COOKIE, cookie),
            None => request,
        };
        Page::of(request.send().await.unwrap()).await
    }
}

async fn fleet(sink: &Sink) -> Fleet {
    Fleet::builder()
        .workflows(incidents(sink, "idempotent"))
        .start()
        .await
}

/// Publishes what nobody can read, and waits for its letter; gives its number.
async fn unreadable(fleet: &Fleet, text: &str) -> u64 {
    let before = letters(fleet).await;
    let jetstream = fleet.nats.jetstream().await;
    let sent = jetstream.publish("events.test.incident", text.to_owned().into());
    sent.await.unwrap().await.unwrap();
    eventually("there is one letter more", PATIENCE, || async {
        let now = letters(fleet).await;
        match now.iter().find(|seq| !before.contains(seq)) {
            Some(seq) => Ok(*seq),
            None => Err(now),
        }
    })
    .await
}

async fn letters(fleet: &Fleet) -> Vec<u64> {
    let groups: serde_json::Value = fleet.api().get("/v1/dead").await.json();
    let mut found = Vec::new();
    for group in groups["groups"].as_array().unwrap() {
        let print = group["fingerprint"].as_str().unwrap();
        let path = format!("/v1/dead?fingerprint={print}");
        let listed: serde_json::Value = fleet.api().get(&path).await.json();
        let letters = listed["letters"].as_array().unwrap();
        found.extend(letters.iter().filter_map(|letter| letter["seq"].as_u64()));
    }
    found
}

/// A run that waits because nothing may be spent.
async fn parked(fleet: &Fleet, id: &str) -> String {
    let ceiling = json!({"usd": 0, "by": HOSTILE.replace('\u{202e}', "")});
    let set = fleet
        .api()
        .put("/v1/ceilings/workflow/incident", &ceiling)
        .await;
    assert_eq!(set.status, 200, "{}", set.text);
    let run = fleet.submit(&incident(id)).await.runs.remove(0);
    eventually("the run is parked", PATIENCE, || async {
        match fleet.run(&run).await {
            Some(view) if view.run.status == "parked" => Ok(()),
            view => Err(view.map(|view| view.run.status)),
        }
    })
    .await;
    run
}
