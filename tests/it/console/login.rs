//! How people come in, and what their browser's cookie alone cannot do.

use flotilla_tests::Fleet;
use reqwest::{Client, Response, redirect::Policy};

use crate::access::{asking, first_token};

/// A browser without JavaScript: it asks for pages, and does not follow where it is sent.
struct Visitor<'f> {
    fleet: &'f Fleet,
    http: Client,
}

impl Visitor<'_> {
    async fn get(&self, path: &str, cookie: &str) -> Response {
        let url = format!("{}{path}", self.fleet.api().base());
        let request = self.http.get(url).header("accept", "text/html");
        request.header("cookie", cookie).send().await.unwrap()
    }

    async fn post(&self, path: &str, cookie: &str, body: String) -> Response {
        let url = format!("{}{path}", self.fleet.api().base());
        let request = self
            .http
            .post(url)
            .header("accept", "text/html")
            .header("cookie", cookie);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(body).send().await.unwrap()
    }
}

fn header<'r>(answer: &'r Response, name: &str) -> &'r str {
    answer
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_becomes_a_cookie_that_reads_pages_and_changes_nothing_without_their_forms() {
    let fleet = asking().start().await;
    let token = first_token(&fleet);
    let http = Client::builder().redirect(Policy::none()).build().unwrap();
    let visitor = Visitor {
        fleet: &fleet,
        http,
    };

    let sent_away = visitor.get("/runs?status=failed", "").await;
    assert_eq!(sent_away.status(), 303);
    let login = header(&sent_away, "location").to_owned();
    assert!(login.starts_with("/login?next="), "{login}");
    let form = visitor.get(&login, "").await;
    assert!(header(&form, "content-security-policy").contains("default-src 'none'"));
    let form = form.text().await.unwrap();
    assert!(form.contains("value=\"/runs?status=failed\""), "{form}");
    assert!(!form.contains("aria-label=\"Pages\""), "nowhere to go yet");

    let wrong = format!("token={}&next=/runs", token.replace("flt_", "flt_x"));
    let refused = visitor.post("/login", "", wrong).await;
    assert_eq!(refused.status(), 401);
    assert!(refused.headers().get("set-cookie").is_none());
    let said = refused.text().await.unwrap();
    assert!(
        said.contains("unknown, expired or revoked") && !said.contains("flt_x"),
        "{said}"
    );

    let elsewhere = format!("token={token}&next=//evil.example/");
    let home = visitor.post("/login", "", elsewhere).await;
    assert_eq!(
        (home.status().as_u16(), header(&home, "location")),
        (303, "/")
    );
    let known = visitor
        .post("/login", "", format!("token=+{token}+&next=/runs"))
        .await;
    assert_eq!(
        (known.status().as_u16(), header(&known, "location")),
        (303, "/runs")
    );
    let cookie = header(&known, "set-cookie").to_owned();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "no {part} in the cookie");
    }
    let cookie = cookie.split_once(';').unwrap().0.to_owned();

    let page = visitor.get("/runs", &cookie).await;
    assert_eq!(page.status(), 200);
    let page = page.text().await.unwrap();
    assert!(page.contains("Log out") && page.contains("first") && !page.contains(&token));
    let (_, csrf) = page.split_once("name=\"csrf\" value=\"").unwrap();
    let csrf = csrf.split_once('"').unwrap().0.to_owned();
    let run = format!("run_{}", "0".repeat(32));
    for path in [
        "/runs".to_owned(),
        "/logout".to_owned(),
        format!("/runs/{run}/tell/cancel"),
        format!("/runs/{run}/verdict"),
    ] {
        for given in ["", "csrf=", "csrf=0123"] {
            let refused = visitor
                .post(&path, &cookie, format!("type=test.small&data=1&{given}"))
                .await;
            assert_eq!(refused.status(), 403, "{path} {given}");
        }
    }
    let sent = visitor
        .post(
            "/runs",
            &cookie,
            format!("type=test.small&data=1&csrf={csrf}"),
        )
        .await;
    assert_eq!(sent.status(), 303);
    assert!(header(&sent, "location").starts_with("/runs/run_"));

    let out = visitor
        .post("/logout", &cookie, format!("csrf={csrf}"))
        .await;
    assert_eq!(
        (out.status().as_u16(), header(&out, "location")),
        (303, "/login")
    );
    assert!(header(&out, "set-cookie").starts_with("flotilla_token=;"));
}
