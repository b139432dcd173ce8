//! Definitions of a running fleet, over HTTP and by the command line.

mod hostile;
mod switches;
mod versions;
mod wrong;

use flotilla_tests::{Answer, Finished, Fleet, PATIENCE, Workflows, run_flotilla};
use serde_json::{Value, json};

/// What the fleets here run besides, so that they have something.
const STILL: &str = "
workflow: still
version: 1
on: {event: test.still}
steps:
  - {id: rest, sleep: 1h}
";

/// A workflow `desk` of this version, whose tool lists `path`.
fn desk(version: u32, path: &str) -> [(&'static str, String); 3] {
    let workflow = format!(
        "workflow: desk\nversion: {version}\non: {{event: test.desk}}\nsteps:\n  - {{id: look, tool: list@{version}}}\n  - {{id: sure, approval: {{show: 'Is it?'}}}}\n  - {{id: ask, claude: {{model: haiku, prompt: ask.md}}}}\n"
    );
    let tool = format!(
        "tools:\n  - tool: list\n    version: {version}\n    description: Lists.\n    effect: read\n    input: {{type: object}}\n    command: [ls, {path}]\n"
    );
    [
        ("desk/workflow.yaml", workflow),
        ("desk/ask.md", format!("What is wrong? ({version})\n")),
        ("tools.yaml", tool),
    ]
}

/// The same as the body of a request.
fn body(version: u32, path: &str) -> Value {
    let files = desk(version, path).into_iter();
    let files: serde_json::Map<String, Value> = files
        .map(|(path, text)| (path.to_owned(), json!(text)))
        .collect();
    json!({"files": files, "by": "ann"})
}

/// A gateway alone.
async fn gateway() -> Fleet {
    Fleet::builder()
        .workflows(Workflows::files(&[("still.yaml", STILL)]))
        .planners(0)
        .executors(0)
        .start()
        .await
}

async fn apply(fleet: &Fleet, body: &Value) -> Answer {
    fleet.api().post_json("/v1/definitions", body).await
}

/// Runs a command against the fleet; gives whether it did what was asked, and what it said.
async fn says(fleet: &Fleet, args: &[&str]) -> (Option<i32>, String) {
    let env = [("FLOTILLA_URL", fleet.api().base()), ("USER", "ann")];
    let Finished { status, output } = run_flotilla(args, &env, PATIENCE).await;
    (status.code(), output)
}

/// The same for a command that must succeed.
async fn told(fleet: &Fleet, args: &[&str]) -> String {
    let (code, output) = says(fleet, args).await;
    assert_eq!(code, Some(0), "{args:?}: {output}");
    output
}

/// The same for one that must fail.
async fn refused(fleet: &Fleet, args: &[&str]) -> String {
    let (code, output) = says(fleet, args).await;
    // Where what it is about is not there, that is another failure than any.
    assert!(matches!(code, Some(1 | 3)), "{args:?}: {output}");
    output
}
