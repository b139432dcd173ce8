//! What is too large for the journal: kept by reference, never whole in a process's memory, given to tools of its own run only.

mod server;
mod store;

use std::fs;

use flotilla_tests::{Fleet, PATIENCE, Process, RoleOptions, Workflows, eventually, run_flotilla};
use serde_json::{Value, json};

use server::{BYTES, Server};

/// How much more memory an executor may have used after it had to do with [`BYTES`] three times. Whole, they would be more.
/// What the allocator keeps for the next time is some 40 MiB, of however much.
const GROWTH_MAX: usize = BYTES / 3 * 2;

fn files(server: &Server) -> Vec<(String, String)> {
    let workflow = |name: &str, steps: &str| {
        let text =
            format!("workflow: {name}\nversion: 1\non: {{event: test.{name}}}\nsteps:\n{steps}");
        (format!("{name}.yaml"), text)
    };
    let tool = |name: &str, input: &str, more: &str| {
        format!(
            "  - {{tool: {name}, version: 1, description: d, effect: idempotent, timeout: 60s, input: {{type: object, properties: {{{input}}}}}, {more}}}\n"
        )
    };
    let url = |path: &str| server.url(path);
    let doc = "doc: {x-blob: path}";
    let tools = [
        tool(
            "fetch",
            "",
            &format!("http: {{url: '{}', download: true}}", url("/big")),
        ),
        tool(
            "short",
            "",
            &format!(
                "http: {{url: '{}', download: {{limit: 1MiB}}}}",
                url("/big")
            ),
        ),
        tool(
            "missing",
            "",
            &format!("http: {{url: '{}', download: true}}", url("/missing")),
        ),
        tool(
            "packed",
            "",
            &format!("http: {{url: '{}', download: true}}", url("/packed")),
        ),
        tool("count", doc, "command: [wc, -c, '{{ input.doc }}']"),
        tool(
            "copy",
            doc,
            "stdout: blob, command: [cat, '{{ input.doc }}']",
        ),
        tool(
            "send",
            "doc: {type: string}",
            &format!(
                "http: {{method: PUT, url: '{}', body_from: '{{{{ input.doc }}}}'}}",
                url("/put")
            ),
        ),
        tool(
            "long",
            "",
            "output_limit: 256KiB, command: [head, -c, '200000', /dev/zero]",
        ),
    ];
    let given = "{doc: '{{ steps.fetch.output.body }}'}";
    vec![
        (
            "tools.yaml".to_owned(),
            format!("tools:\n{}", tools.concat()),
        ),
        workflow(
            "big",
            &format!(
                "  - {{id: fetch, tool: fetch}}\n  - {{id: count, tool: count, with: {given}}}\n  - {{id: copy, tool: copy, with: {given}}}\n  - {{id: send, tool: send, with: {{doc: \"{{{{ steps.copy.output.stdout['$blob'].id }}}}\"}}}}\n"
            ),
        ),
        workflow("short", "  - {id: act, tool: short}\n"),
        workflow("missing", "  - {id: act, tool: missing}\n"),
        workflow("packed", "  - {id: act, tool: packed}\n"),
        workflow("long", "  - {id: act, tool: long}\n"),
        workflow(
            "event",
            "  - {id: act, tool: count, with: {doc: '{{ event.data }}'}}\n",
        ),
        workflow(
            "lying",
            "  - {id: long, tool: long}\n  - {id: act, tool: count, with: {doc: {$blob: {id: \"{{ steps.long.output.stdout['$blob'].id }}\", bytes: 1, sha256: '00', type: text/plain}}}}\n",
        ),
        workflow(
            "given",
            "  - {id: act, tool: count, with: {doc: '{{ event.data.doc }}'}}\n",
        ),
    ]
}

struct Stage {
    fleet: Fleet,
    server: Server,
}

impl Stage {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    /// The same with these variables.
    async fn with(env: &[(&str, &str)]) -> Self {
        let server = Server::start().await;
        let mut fleet = Fleet::builder().workflows(Workflows::files(&files(&server)));
        for (name, value) in env {
            fleet = fleet.env(name, value);
        }
        let fleet = fleet.start().await;
        Self { fleet, server }
    }

    async fn submit(&self, name: &str, data: Value) -> String {
        let event = json!({"specversion": "1.0", "type": format!("test.{name}"), "source": "test", "id": name, "data": data});
        let [run] = self.fleet.submit(&event).await.runs.try_into().unwrap();
        run
    }

    /// What came of a tool's use in a run that has ended.
    async fn outcome(&self, run: &str, tool: &str) -> Value {
        self.fleet.wait_run_end(run).await;
        let journal = self.fleet.journal(run).await;
        let result = journal.of("resulted", Some(tool)).next();
        result.expect("its result").at("/outcome").clone()
    }

    /// (blobs, uploads) that there are.
    async fn kept(&self) -> (usize, usize) {
        store::kept(&self.fleet.nats).await
    }
}

/// The most memory that a process has had, in bytes.
fn peak(process: &Process) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<usize>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_goes_from_tool_to_tool_and_is_never_whole_in_memory() {
    let stage = Stage::new().await;
    let small = stage.submit("long", json!({})).await;
    stage.fleet.wait_run_end(&small).await;
    let before = peak(&stage.fleet.executors[0]);
    let run = stage.submit("big", json!({})).await;
    assert_eq!(stage.fleet.wait_run_end(&run).await.status, "completed");
    let grown = peak(&stage.fleet.executors[0]).saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown} bytes more");

    let fetched = stage.outcome(&run, "fetch").await;
    let body = &fetched["output"]["body"];
    assert_eq!(body["$blob"]["bytes"], BYTES);
    assert_eq!(body["$blob"]["sha256"], stage.server.sha256());
    assert_eq!(body["$blob"]["type"], "text/csv");
    assert!(body["begins"].as_str().unwrap().starts_with("0123"));
    assert!(fetched.to_string().len() < 2_000);
    let counted = stage.outcome(&run, "count").await;
    let counted = counted["output"]["stdout"].as_str().unwrap();
    assert!(counted.starts_with(&format!("{BYTES} ")), "{counted}");
    // The file that it was is gone.
    let path = counted.split_whitespace().nth(1).unwrap();
    assert!(path.contains("flotilla-blobs-") && !fs::exists(path).unwrap());
    let copied = &stage.outcome(&run, "copy").await["output"]["stdout"]["$blob"];
    assert_eq!(copied["sha256"], body["$blob"]["sha256"]);
    let sent = stage.server.put();
    assert_eq!(
        sent,
        (
            BYTES,
            stage.server.sha256(),
            "text/plain; charset=utf-8".to_owned()
        )
    );
    // Of the small run one, of this one two: the type of what `cat` writes is another.
    assert_eq!(stage.kept().await, (3, 3));

    let id = body["$blob"]["id"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("big");
    let env = [("FLOTILLA_URL", stage.fleet.api().base())];
    let args = ["blob", &run, id, "-o", file.to_str().unwrap()];
    let told = run_flotilla(&args, &env, PATIENCE).await;
    assert!(told.status.success(), "{}", told.output);
    assert_eq!(server::sha256_of(&file), stage.server.sha256());
    let told = run_flotilla(&["show", &run], &env, PATIENCE).await;
    assert!(told.output.contains(id), "{}", told.output);
    let none = ["blob", &small, id];
    let told = run_flotilla(&none, &env, PATIENCE).await;
    assert!(
        !told.status.success() && told.output.contains("has no blob"),
        "{}",
        told.output
    );
    let answer = reqwest::get(format!(
        "{}/v1/runs/{run}/blobs/{id}",
        stage.fleet.api().base()
    ))
    .await
    .unwrap();
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/octet-stream");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert!(header("content-disposition").starts_with("attachment"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_long_and_what_is_a_failure_is_not_kept_and_what_is_packed_is_unpacked() {
    let stage = Stage::new().await;
    let run = stage.submit("short", json!({})).await;
    assert_eq!(stage.outcome(&run, "short").await["error"], "too_large");
    let run = stage.submit("missing", json!({})).await;
    let missing = stage.outcome(&run, "missing").await;
    assert_eq!(
        (&missing["error"], &missing["output"]["body"]),
        (&json!("status"), &json!("nothing here"))
    );
    assert_eq!(stage.kept().await, (0, 0));
    let run = stage.submit("packed", json!({})).await;
    let packed = &stage.outcome(&run, "packed").await["output"]["body"]["$blob"];
    assert_eq!(
        (&packed["bytes"], &packed["sha256"]),
        (&json!(BYTES), &json!(stage.server.sha256()))
    );
    let run = stage.submit("long", json!({})).await;
    let long = stage.outcome(&run, "long").await;
    assert_eq!(long["output"]["exit_code"], 0);
    assert!(
        long["output"]["stdout"]["$blob"]["bytes"]
            .as_u64()
            .is_some_and(|bytes| bytes > 40_000),
        "{long}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_that_dies_in_the_middle_leaves_one_blob() {
    let mut stage = Stage::new().await;
    stage.server.hold();
    let run = stage.submit("big", json!({})).await;
    eventually("half of it is there", PATIENCE, || async {
        match stage.kept().await {
            (0, 1) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    stage.fleet.executors.remove(0).kill9();
    stage.server.release();
    let other = stage.fleet.executor(RoleOptions::default()).await;
    stage.fleet.executors.push(other);
    assert_eq!(stage.fleet.wait_run_end(&run).await.status, "completed");
    assert_eq!(stage.server.requests(), 2);
    // The upload that was cut off goes with its run.
    assert_eq!(stage.kept().await, (2, 3));
    store::remove_of(&stage.fleet.nats, &run).await;
    assert_eq!(stage.kept().await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_to_another_runs_blob_and_one_that_is_not_true_are_refused() {
    let stage = Stage::new().await;
    let own = stage.submit("big", json!({})).await;
    let body = stage.outcome(&own, "fetch").await["output"]["body"].clone();
    for (at, doc) in [body.clone(), body["$blob"]["id"].clone(), json!("no blob")]
        .into_iter()
        .enumerate()
    {
        let event = json!({"specversion": "1.0", "type": "test.given", "source": "test", "id": at.to_string(), "data": {"doc": doc}});
        let [run] = stage.fleet.submit(&event).await.runs.try_into().unwrap();
        let outcome = stage.outcome(&run, "count").await;
        let expected = if at == 2 { "input" } else { "refused" };
        assert_eq!(outcome["error"], expected, "{outcome}");
    }
    let run = stage.submit("lying", json!({})).await;
    assert_eq!(stage.outcome(&run, "count").await["error"], "refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_5_mb_is_referred_to_and_its_tool_gets_all_of_it() {
    let stage = Stage::with(&[("FLOTILLA_EVENT_BYTES_MAX", "8MiB")]).await;
    let data = json!({"text": "0123456789".repeat(500_000)});
    let run = stage.submit("event", data.clone()).await;
    let counted = stage.outcome(&run, "count").await;
    let counted = counted["output"]["stdout"].as_str().unwrap().to_owned();
    assert!(
        counted.starts_with(&format!("{} ", data.to_string().len())),
        "{counted}"
    );
    let started = stage.fleet.journal(&run).await;
    let event = started
        .of("started", None)
        .next()
        .unwrap()
        .at("/event/data")
        .clone();
    assert_eq!(event["$blob"]["type"], "application/json");
    assert!(
        event["begins"]
            .as_str()
            .unwrap()
            .starts_with(r#"{"text":"0123"#)
    );
    // The same event again is the same run, and the same blob.
    assert_eq!(stage.submit("event", data).await, run);
    assert_eq!(stage.kept().await, (1, 1));
    let event = json!({"type": "test.event", "data": "x".repeat(9 << 20)});
    let url = format!("{}/v1/events", stage.fleet.api().base());
    let refused = reqwest::Client::new().post(url).json(&event).send().await;
    assert_eq!(refused.unwrap().status(), 413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_go_some_time_after_their_runs_end_and_those_of_no_run_too() {
    let stage = Stage::with(&[("FLOTILLA_BLOBS_KEEP", "3s")]).await;
    stage.server.hold();
    let living = stage.submit("big", json!({})).await;
    let ended = stage.submit("long", json!({})).await;
    stage.fleet.wait_run_end(&ended).await;
    let none = format!("run_{}", "0".repeat(32));
    store::put_for(&stage.fleet.nats, &none).await;
    eventually("what is over is gone", PATIENCE, || async {
        match store::runs(&stage.fleet.nats).await {
            runs if runs == [living.clone()] => Ok(()),
            runs => Err(runs),
        }
    })
    .await;
    // All this time it has had half of its answer in the object store.
    stage.server.release();
    assert_eq!(stage.fleet.wait_run_end(&living).await.status, "completed");
    eventually("the last is gone", PATIENCE, || async {
        match stage.kept().await {
            (0, 0) => Ok(()),
            kept => Err(kept),
        }
    })
    .await;
}
