//! Tools that are services: the reference's example in Python, and two official MCP servers, used by one workflow.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use flotilla_tests::{
    Finished, Fleet, Nats, PATIENCE, Process, Workflows, eventually, run_flotilla,
};
use serde_json::{Value, json};

const REFERENCE: &str = include_str!("../../docs/tools.md");

/// The first block of a kind after a heading of the reference.
fn block(heading: &str, kind: &str) -> String {
    let (_, section) = REFERENCE.split_once(heading).expect("the heading");
    let (_, block) = section
        .split_once(&format!("```{kind}\n"))
        .expect("a block");
    let (block, _) = block.split_once("```").expect("its end");
    block.to_owned()
}

fn indented(block: &str) -> String {
    block.lines().map(|line| format!("  {line}\n")).collect()
}

/// What `deploy/get-tools --sdk` fetches.
fn fetched(program: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let program = root.join(program);
    assert!(
        program.exists(),
        "there is no {}; `deploy/get-tools --sdk` makes it",
        program.display()
    );
    program
}

/// Python with a NATS client and an MCP server.
fn python() -> PathBuf {
    fetched(".tools/services/run")
}

/// The reference's service, serving.
async fn service(nats: &Nats, folder: &Path) -> Process {
    let script = folder.join("service.py");
    std::fs::write(&script, block("## `nats`", "python")).unwrap();
    let env = [("NATS_URL".to_owned(), nats.url())];
    let log = folder.join("service.log");
    let args = [script.display().to_string()];
    let process = Process::start("service", &python(), &args, &env, &log);
    eventually("the service serves", PATIENCE, || async {
        if process.log().contains("ready") {
            Ok(())
        } else {
            Err(process.log())
        }
    })
    .await;
    process
}

/// An official server in Python, and one in JavaScript.
fn servers() -> String {
    let clock = json!([python(), "-m", "mcp_server_time", "--local-timezone=UTC"]);
    let everything = json!([fetched(".tools/mcp/run")]);
    format!(
        "mcp:\n  - {{server: clock, command: {clock}}}\n  - {{server: everything, command: {everything}}}\n"
    )
}

async fn cli(folder: &Path, args: &[&str], nats: &str) -> Finished {
    let folder = folder.display().to_string();
    let env = [
        ("FLOTILLA_WORKFLOWS", folder.as_str()),
        ("FLOTILLA_NATS_URL", nats),
    ];
    run_flotilla(args, &env, Duration::from_secs(120)).await
}

/// A server's own list, as tools to paste: of those, one.
async fn listed(server: &str, tool: &str) -> String {
    let only = Workflows::files(&[("servers.yaml", servers())]);
    let listed = cli(only.folder(), &["tools", "mcp", server], "").await;
    assert!(listed.status.success(), "{}", listed.output);
    let mut tools = listed.output.split("\n  - ");
    let one = tools.find(|text| text.starts_with(&format!("tool: \"{tool}\"\n")));
    let one = one.unwrap_or_else(|| panic!("no `{tool}` in {}", listed.output));
    format!("  - {}\n", one.trim_end())
}

const TRIP: &str = "
workflow: trip
version: 1
on: {event: test.trip}
steps:
  - id: price
    tool: quote
    with: {seats: '{{ event.data.seats }}'}
  - id: arrival
    tool: convert_time
    with: {source_timezone: UTC, time: '{{ event.data.at }}', target_timezone: Asia/Tokyo}
  - id: cry
    tool: echo
    with: {message: 'All aboard, {{ event.data.seats }} of you!'}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_uses_a_service_in_python_and_two_official_mcp_servers() {
    let tools = format!(
        "{}tools:\n{}{}{}",
        servers(),
        indented(&block("## `nats`", "yaml tool")),
        listed("clock", "convert_time").await,
        listed("everything", "echo").await
    );
    let workflows = Workflows::files(&[("trip.yaml", TRIP), ("tools.yaml", &tools)]);
    let fleet = Fleet::builder().workflows(workflows).start().await;
    let folder = tempfile::tempdir().unwrap();
    let _service = service(&fleet.nats, folder.path()).await;
    let trip = |id: &str, seats: u32| json!({"id": id, "source": "tests", "type": "test.trip", "data": {"seats": seats, "at": "12:30"}});
    let run = fleet.submit(&trip("1", 3)).await.runs.remove(0);
    assert_eq!(fleet.wait_run_end(&run).await.status, "completed");
    let journal = fleet.journal(&run).await;
    let result = |tool: &str, pointer: &str| -> Value {
        let entry = journal
            .of("resulted", Some(tool))
            .next()
            .expect("its result");
        entry.at(&format!("/outcome/output{pointer}")).clone()
    };
    assert_eq!(result("quote", ""), json!({"price": 60, "for": run}));
    let arrival = result("convert_time", "/structured/target/datetime");
    assert!(
        arrival.as_str().is_some_and(|at| at.contains("T21:30:00")),
        "{arrival}"
    );
    let cried = result("echo", "");
    assert!(
        cried.to_string().contains("All aboard, 3 of you!"),
        "{cried}"
    );
    // What the service refuses, in its own words.
    let run = fleet.submit(&trip("2", 101)).await.runs.remove(0);
    assert_eq!(fleet.wait_run_end(&run).await.status, "failed");
    let journal = fleet.journal(&run).await;
    let failed = journal
        .of("resulted", Some("quote"))
        .next()
        .expect("its result");
    assert_eq!(failed.text("/outcome/error"), "sold_out");
    assert!(
        failed
            .text("/outcome/message")
            .contains("no flight has so many seats")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_is_tried_by_itself_and_says_what_it_did() {
    let nats = Nats::start().await;
    let folder = tempfile::tempdir().unwrap();
    let _service = service(&nats, folder.path()).await;
    let tools = format!("tools:\n{}", indented(&block("## `nats`", "yaml tool")));
    let workflows = Workflows::files(&[("tools.yaml", tools)]);
    let test = async |args: &[&str]| cli(workflows.folder(), args, &nats.url()).await;
    let tried = test(&[
        "tools",
        "test",
        "quote",
        "--with",
        r#"{"seats": 2}"#,
        "--json",
    ])
    .await;
    assert!(tried.status.success(), "{}", tried.output);
    let told: Value = serde_json::from_str(&tried.output).unwrap();
    assert_eq!(
        (&told["adapter"], &told["outcome"]["output"]["price"]),
        (&json!("nats"), &json!(40))
    );
    let tried = test(&["tools", "test", "quote@1", "--with", r#"{"seats": 200}"#]).await;
    assert!(!tried.status.success());
    assert!(
        tried.output.contains(
            "failed sold_out: the service failed (sold_out): no flight has so many seats"
        ),
        "{}",
        tried.output
    );
    let tried = test(&["tools", "test", "quote", "--with", r#"{"seats": "two"}"#]).await;
    assert!(
        !tried.status.success() && tried.output.contains("do not fit the tool's schema"),
        "{}",
        tried.output
    );
    let tried = test(&["tools", "test", "quotes"]).await;
    assert!(
        !tried.status.success() && tried.output.contains("there are: quote@1"),
        "{}",
        tried.output
    );
}
