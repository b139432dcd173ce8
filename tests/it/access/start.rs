//! How a fleet comes to its first token, and what a gateway asks of every request.

use std::{fs, time::Duration};

use flotilla_tests::{
    CLAUDE_KEY, Fleet, PATIENCE, Process, Proxy, RoleOptions, Workflows, eventually, flotilla,
    free_port, run_flotilla,
};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::{Asker, WORKFLOW, asking, first_token};

/// A request with these headers; the status, and the answer.
async fn send(fleet: &Fleet, method: Method, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let answer = request(fleet.api().base(), method, path, headers).await;
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

async fn request(base: &str, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let client = reqwest::Client::new();
    let mut request: RequestBuilder = client.request(method, format!("{base}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.timeout(PATIENCE).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_start_shows_a_token_once_and_every_gateway_asks_for_it() {
    let mut fleet = asking().start().await;
    let mut other = fleet.start_gateway(RoleOptions::default());
    other.wait_ready().await;
    fleet.replace_gateway(RoleOptions::default()).await;
    let folder: Vec<String> = fs::read_dir(fleet.folder())
        .unwrap()
        .filter_map(|item| fs::read_to_string(item.unwrap().path()).ok())
        .collect();
    let shown = folder
        .iter()
        .map(|log| log.matches("flt_").count())
        .sum::<usize>();
    assert_eq!(shown, 1, "shown once, by one of three gateways");
    let token = first_token(&fleet);
    let bearer = format!("Bearer {token}");
    let known = [("authorization", bearer.as_str())];
    for base in [fleet.api().base(), other.api().base()] {
        let answer = request(base, Method::GET, "/v1/runs", &known).await;
        assert_eq!(answer.status(), 200);
    }
    let none = request(fleet.api().base(), Method::GET, "/v1/runs", &[]).await;
    assert_eq!(none.status(), 401);
    assert_eq!(
        none.headers()["www-authenticate"],
        "Bearer realm=\"flotilla\""
    );
    assert_eq!(none.headers()["content-type"], "application/problem+json");
    let none: Value = none.json().await.unwrap();
    let wrong = "flt_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for wrong in [wrong, "x", &token[..52]] {
        let bearer = format!("Bearer {wrong}");
        let (status, answer) = send(
            &fleet,
            Method::GET,
            "/v1/runs",
            &[("authorization", &bearer)],
        )
        .await;
        assert_eq!(
            (status, &answer),
            (401, &none),
            "the same answer, whatever is wrong"
        );
    }
    for open in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(send(&fleet, Method::GET, open, &[]).await.0, 200, "{open}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_browser_sends_by_itself_changes_nothing_without_the_words_of_its_page() {
    let fleet = asking().start().await;
    let cookie = format!("flotilla_token={}", first_token(&fleet));
    let cookie = ("cookie", cookie.as_str());
    assert_eq!(
        send(&fleet, Method::GET, "/v1/runs", &[cookie]).await.0,
        200
    );
    // No such ceiling was ever set, which is only found out when the request gets through.
    let path = "/v1/ceilings/workflow/none";
    let (status, answer) = send(&fleet, Method::DELETE, path, &[cookie]).await;
    assert_eq!(status, 403, "{answer}");
    let wrong = ("x-csrf-token", "0123");
    assert_eq!(
        send(&fleet, Method::DELETE, path, &[cookie, wrong]).await.0,
        403
    );
    let csrf = super::csrf_of(&first_token(&fleet));
    let csrf = ("x-csrf-token", csrf.as_str());
    let (status, answer) = send(&fleet, Method::DELETE, path, &[cookie, csrf]).await;
    assert_eq!(status, 404, "{answer}");
    for foreign in [
        ("origin", "http://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let headers = [cookie, csrf, foreign];
        assert_eq!(
            send(&fleet, Method::DELETE, path, &headers).await.0,
            403,
            "{foreign:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tokens_only_this_machines_own_programs_get_through() {
    let fleet = Fleet::builder()
        .workflows(Workflows::files(&[("w.yaml", WORKFLOW)]))
        .start()
        .await;
    assert_eq!(send(&fleet, Method::GET, "/v1/runs", &[]).await.0, 200);
    let led_here = [("host", "evil.example")];
    assert_eq!(
        send(&fleet, Method::GET, "/v1/runs", &led_here).await.0,
        403
    );
    let path = "/v1/ceilings/workflow/none";
    assert_eq!(send(&fleet, Method::DELETE, path, &[]).await.0, 404);
    let foreign = [("origin", "http://evil.example")];
    assert_eq!(send(&fleet, Method::DELETE, path, &foreign).await.0, 403);
    let http = format!("0.0.0.0:{}", free_port());
    let environment = [("FLOTILLA_AUTH", "off"), ("FLOTILLA_HTTP", http.as_str())];
    let refused = run_flotilla(&["gateway"], &environment, PATIENCE).await;
    assert!(!refused.status.success());
    for word in ["FLOTILLA_AUTH", "FLOTILLA_HTTP", &http] {
        assert!(refused.output.contains(word), "{}", refused.output);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_show_the_token_that_they_are_given() {
    let fleet = asking().start().await;
    let base = fleet.api().base();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, first_token(&fleet)).unwrap();
    let (data, file) = (folder.path().to_str().unwrap(), file.to_str().unwrap());
    let runs = async |args: &[&str], env: &[(&str, &str)]| {
        let args: Vec<&str> = ["runs", "--url", base]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        run_flotilla(&args, env, PATIENCE).await
    };
    let none = runs(&["--data", "/nowhere"], &[]).await;
    assert!(!none.status.success());
    assert!(none.output.contains("FLOTILLA_TOKEN"), "{}", none.output);
    let token = first_token(&fleet);
    type Pair<'a> = (&'a str, &'a str);
    let ways: [(&[&str], &[Pair]); 5] = [
        (&["--token-file", file], &[("FLOTILLA_TOKEN", "flt_wrong")]),
        (&[], &[("FLOTILLA_TOKEN", &token)]),
        (&[], &[("FLOTILLA_TOKEN_FILE", file)]),
        (
            &[],
            &[
                ("FLOTILLA_TOKEN", &token),
                ("FLOTILLA_TOKEN_FILE", "/nowhere"),
            ],
        ),
        (&["--data", data], &[]),
    ];
    for (args, env) in ways {
        let done = runs(args, env).await;
        assert!(done.status.success(), "{args:?}: {}", done.output);
    }
    let wrong = runs(&[], &[("FLOTILLA_TOKEN", "flt_wrong")]).await;
    assert!(
        wrong.output.contains("FLOTILLA_TOKEN: this is no token"),
        "{}",
        wrong.output
    );
    assert!(!wrong.output.contains("flt_wrong"), "{}", wrong.output);
}

/// `flotilla up` with these data, ready.
async fn up(name: &str, fleet: &Fleet, data: &str) -> (Process, String) {
    let http = format!("127.0.0.1:{}", free_port());
    let args = ["up", "--http", &http, "--data", data];
    let env = [
        ("FLOTILLA_NATS_URL", fleet.nats.url()),
        ("FLOTILLA_REDIS_URL", fleet.redis.url()),
        (
            "FLOTILLA_WORKFLOWS",
            fleet.workflows().folder().display().to_string(),
        ),
        ("FLOTILLA_ACK_WAIT", "2s".to_owned()),
        ("ANTHROPIC_BASE_URL", fleet.sim.url()),
        ("ANTHROPIC_API_KEY", CLAUDE_KEY.to_owned()),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value));
    let process = Process::start(name, flotilla(), &args, &env, &fleet.folder().join(name));
    let url = format!("http://{http}");
    eventually("flotilla is up", PATIENCE, async || {
        let answer = reqwest::get(format!("{url}/readyz")).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(answer.status().to_string())
        }
    })
    .await;
    (process, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_keeps_a_token_for_its_owner_and_makes_another_when_that_one_is_not_known() {
    let fleet = asking().start().await;
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("token");
    let data = data.path().to_str().unwrap();
    let (mut process, url) = up("up-1", &fleet, data).await;
    let token = fs::read_to_string(&file).unwrap();
    let runs = run_flotilla(&["runs", "--url", &url, "--data", data], &[], PATIENCE).await;
    assert!(runs.status.success(), "{}", runs.output);
    assert!(
        process.log().contains(file.to_str().unwrap()),
        "{}",
        process.log()
    );
    assert!(!process.log().contains("flt_"), "{}", process.log());
    process.terminate(Duration::from_secs(30)).await;
    let (mut process, _) = up("up-2", &fleet, data).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), token);
    process.terminate(Duration::from_secs(30)).await;
    let unknown = "flt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    fs::write(&file, unknown).unwrap();
    let (_process, url) = up("up-3", &fleet, data).await;
    assert_ne!(fs::read_to_string(&file).unwrap(), unknown);
    let runs = run_flotilla(&["runs", "--url", &url, "--data", data], &[], PATIENCE).await;
    assert!(runs.status.success(), "{}", runs.output);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_good_at_every_gateway_from_the_moment_that_it_is_made() {
    let mut fleet = asking().start().await;
    let admin = Asker::new(fleet.api().base(), &first_token(&fleet));
    let far = Proxy::to(fleet.nats.port()).await;
    let mut other = fleet.start_gateway(RoleOptions::default().nats(far.url("nats")));
    other.wait_ready().await;
    // What the other one is told comes long after the token is shown there.
    far.delay(Duration::from_millis(200));
    let wanted = json!({"name": "new", "scopes": ["read"]});
    let new = Asker::new(other.api().base(), &admin.make(&wanted).await);
    let (status, told) = new.send(Method::GET, "/v1/runs", &Value::Null).await;
    assert_eq!(status, 200, "{told}");
}
