//! The list of runs: every filter, on an index as full as it gets.

use flotilla_tests::{Fleet, PATIENCE, Redis, Sink, run_flotilla};
use serde_json::{Value, json};

use crate::flows::{incident, incidents};

const LINES: usize = 100_000;
/// As many lines as one request looks at
const LOOKED_AT: usize = 10_000;
/// When the first of them began
const BEGAN_MS: usize = 1_700_000_000_000;

/// Lines of one call
const CHUNK: usize = 2_000;

fn id(n: usize) -> String {
    format!("run_{n:032x}")
}

fn at(n: usize) -> String {
    let ms = i64::try_from(BEGAN_MS + n * 1_000).unwrap();
    jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
}

fn line(n: usize) -> Value {
    let dear = n == 1;
    json!({
        "id": id(n), "workflow": if dear { "rare" } else { "w" }, "version": 1, "tenant": tenant(n), "chain": n,
        "status": status(n), "started_at": at(n), "steps": 1, "model_calls": 1, "wasted_calls": 0, "input_tokens": 1,
        "cache_read_tokens": 0, "output_tokens": 1, "usd_nano": if dear { 9_000_000_000_u64 } else { 1_000 },
        "tools": if dear { ["rare"] } else { ["common"] },
    })
}

fn status(n: usize) -> &'static str {
    ["completed", "failed", "running", "waiting"][n % 4]
}

fn tenant(n: usize) -> &'static str {
    ["acme", "default"][n % 2]
}

/// Puts so many lines into the index, one run a second, as planners do.
async fn fill(redis: &Redis) {
    let script = redis::Script::new(
        "
        for i = 1, #ARGV, 3 do
          redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 1])
          redis.call('HSET', KEYS[2], ARGV[i + 1], ARGV[i + 2])
          local line = cjson.decode(ARGV[i + 2])
          redis.call('HINCRBY', KEYS[3], line.status .. ' ' .. line.tenant, 1)
          if line.status == 'waiting' then redis.call('ZADD', KEYS[4], ARGV[i], ARGV[i + 1]) end
        end",
    );
    let mut connection = redis.connection().await;
    for first in (1..=LINES).step_by(CHUNK) {
        let mut script = script.prepare_invoke();
        for key in ["runs", "summaries", "counts", "waiting"] {
            script.key(format!("flotilla:{{index}}:{key}"));
        }
        for n in first..(first + CHUNK).min(LINES + 1) {
            script
                .arg(BEGAN_MS + n * 1_000)
                .arg(id(n))
                .arg(line(n).to_string());
        }
        script.invoke_async::<()>(&mut connection).await.unwrap();
    }
}

/// All pages of a query: the ids, and how many pages it took.
async fn pages(fleet: &Fleet, query: &str) -> (Vec<String>, usize) {
    let mut found = Vec::new();
    let mut count = 0;
    let mut path = format!("/v1/runs?{query}");
    // A query may begin somewhere itself.
    let query = query.split("&cursor=").next().unwrap_or_default();
    loop {
        let answer = fleet.api().get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let page: Value = answer.json();
        assert_eq!(page["complete"], true);
        count += 1;
        let runs = page["runs"].as_array().unwrap();
        found.extend(
            runs.iter()
                .map(|run| run["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            return (found, count);
        };
        path = format!("/v1/runs?{query}&cursor={next}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_filter_answers_on_a_full_index_with_a_bounded_look_and_where_to_go_on() {
    let sink = Sink::start().await;
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;
    let [real] = fleet.submit(&incident("a")).await.runs.try_into().unwrap();
    fleet.wait_run_end(&real).await;
    fill(&fleet.redis).await;

    // What only the oldest line has is found by looking on, a bounded part at a time.
    let bound = LINES / LOOKED_AT + 2;
    for query in [
        "min_usd=5",
        "tool=rare",
        "workflow=rare",
        "q=rare",
        "workflow=rare&status=failed&status=running",
    ] {
        let (found, count) = pages(&fleet, query).await;
        assert_eq!(
            (found, count <= bound),
            (vec![id(1)], true),
            "{query}: {count}"
        );
        assert!(count > 5, "{query} took {count}");
    }
    // Whoever knows where, or which, need not look on.
    for (query, expected) in [
        (format!("q={}", id(77)), vec![id(77)]),
        (format!("q={}&tenant={}", id(77), tenant(78)), vec![]),
        (format!("until={}", at(2)), vec![id(1)]),
        (
            format!("since={}&until={}", at(2), at(4)),
            vec![id(3), id(2)],
        ),
        (
            format!("since={}&until={}&status=failed", at(2), at(8)),
            vec![id(5)],
        ),
        (
            format!("since={}&until={}&tenant=acme", at(2), at(6)),
            vec![id(4), id(2)],
        ),
        (
            format!("since={}&workflow=incident", at(LINES)),
            vec![real.clone()],
        ),
        (
            format!("since={}&until={}&tool=common", at(3), at(4)),
            vec![id(3)],
        ),
        ("since=1h".to_owned(), vec![real]),
        (format!("since={}&until={}", at(9), at(3)), vec![]),
    ] {
        let (found, count) = pages(&fleet, &query).await;
        assert_eq!((found, count), (expected, 1), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_statuses_are_one_list_however_it_is_cut_into_pages() {
    let sink = Sink::start().await;
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;
    fill(&fleet.redis).await;
    let wanted = ["waiting", "failed"];
    let until = at(301);
    let expected: Vec<String> = (1..=300)
        .rev()
        .filter(|n| wanted.contains(&status(*n)))
        .map(id)
        .collect();
    let query = format!("status=waiting&status=failed&until={until}");
    for limit in [7, 500] {
        let (found, _) = pages(&fleet, &format!("{query}&limit={limit}")).await;
        assert_eq!(found, expected, "{limit} at once");
    }
    // A page whose last run is gone from the index is gone on from all the same.
    let page: Value = fleet
        .api()
        .get(&format!("/v1/runs?{query}&limit=7"))
        .await
        .json();
    let mut connection = fleet.redis.connection().await;
    for key in ["runs", "waiting"] {
        let key = format!("flotilla:{{index}}:{key}");
        let gone = redis::cmd("ZREM").arg(key).arg(&expected[6]).to_owned();
        gone.query_async::<u64>(&mut connection).await.unwrap();
    }
    let next = page["next"].as_str().unwrap();
    let (rest, _) = pages(&fleet, &format!("{query}&cursor={next}")).await;
    assert_eq!(rest, expected[7..]);

    let count = |wanted: &str, of: Option<&str>| {
        let is_of = |n: &usize| status(*n) == wanted && of.is_none_or(|of| tenant(*n) == of);
        (1..=LINES).filter(is_of).count()
    };
    let counts: Value = fleet.api().get("/v1/runs/counts").await.json();
    assert_eq!(
        (&counts["total"], &counts["complete"]),
        (&json!(LINES), &json!(true))
    );
    assert_eq!(counts["counts"]["waiting"], count("waiting", None));
    assert_eq!(counts["counts"]["cancelled"], 0);
    let counts: Value = fleet.api().get("/v1/runs/counts?tenant=acme").await.json();
    assert_eq!(counts["counts"]["waiting"], count("waiting", Some("acme")));
    assert_eq!(counts["counts"]["failed"], count("failed", Some("acme")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_filter_is_refused_by_its_name() {
    let sink = Sink::start().await;
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;
    for (query, parameter) in [
        ("limit=0", "limit"),
        ("status=over", "status"),
        ("since=yesterday", "since"),
        ("sort=usd", "sort"),
        ("cursor=x", "cursor"),
    ] {
        let answer = fleet.api().get(&format!("/v1/runs?{query}")).await;
        assert_eq!(
            (answer.status, answer.content_type.as_str()),
            (400, "application/problem+json")
        );
        let problem: Value = answer.json();
        assert_eq!(problem["code"], "invalid_parameter");
        assert_eq!(problem["errors"][0]["parameter"], parameter, "{problem}");
        assert!(problem["errors"][0]["detail"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_found_by_the_tools_that_they_called_also_when_the_list_is_built_anew() {
    let sink = Sink::start().await;
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;
    let mut both = fleet.submit(&incident("a")).await.runs;
    let labels = json!({"alertname": "disk", "severity": "high"});
    let alert = json!({"id": "b", "source": "tests", "type": "alertmanager.alert", "data": {"status": "firing", "labels": labels}});
    both.extend(fleet.submit(&alert).await.runs);
    for run in &both {
        assert_eq!(fleet.wait_run_end(run).await.status, "completed");
    }
    let asked = async |query: &str| {
        let (mut found, _) = pages(&fleet, query).await;
        found.sort();
        found
    };
    let mut all = both.clone();
    all.sort();
    for _ in 0..2 {
        assert_eq!(asked("tool=announce").await, all);
        assert_eq!(asked("tool=repair").await, both[..1]);
        assert_eq!(asked("tool=repair&tool=announce").await, all);
        assert_eq!(asked("tool=announce&workflow=alert").await, both[1..]);
        // A part of a name is none.
        assert_eq!(asked("tool=rep").await, [""; 0]);
        fleet.redis.flush().await;
    }
    let shown: Value = fleet.api().get("/v1/runs?tool=repair").await.json();
    assert_eq!(shown["runs"][0]["tools"], json!(["announce", "repair"]));
    let url = fleet.api().base().to_owned();
    let told = run_flotilla(
        &["runs", "--tool", "repair"],
        &[("FLOTILLA_URL", &url)],
        PATIENCE,
    )
    .await;
    assert!(
        told.output.contains(&both[0]) && !told.output.contains(&both[1]),
        "{}",
        told.output
    );
}
