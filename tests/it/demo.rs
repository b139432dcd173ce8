//! What a newcomer does first: the demo, and `flotilla up` with a few commands beside it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use flotilla_tests::{PATIENCE, Process, eventually, flotilla, free_port, run_flotilla};
use serde_json::Value;

/// Everything starts from cold, on a machine that does other things.
const LIMIT: Duration = Duration::from_secs(120);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// PATH with what `make` fetched, as in `make demo`.
fn path() -> String {
    let tools = repository().join(".tools/bin");
    format!("{}:{}", tools.display(), std::env::var("PATH").unwrap())
}

/// Command lines of running processes that name this folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(folder)).collect()
}

async fn nothing_is_left(folder: &Path) {
    eventually(
        "nothing is left running",
        PATIENCE,
        async || match processes_of(folder) {
            left if left.is_empty() => Ok(()),
            left => Err(left),
        },
    )
    .await;
}

struct Up {
    process: Process,
    data: tempfile::TempDir,
    url: String,
}

impl Up {
    /// Sends the README's alert; gives the run that it starts.
    async fn alert(&self) -> String {
        let alert = fs::read(repository().join("docs/examples/alert.json")).unwrap();
        let hook = reqwest::Client::new()
            .post(format!("{}/v1/hooks/alertmanager", self.url))
            .header("content-type", "application/json")
            .body(alert);
        let sent = hook.send().await.unwrap().error_for_status().unwrap();
        let answer: Value = sent.json().await.unwrap();
        answer["events"][0]["runs"][0].as_str().unwrap().to_owned()
    }
}

/// `flotilla up` on this folder and a port of its own; with where its gateway will be.
fn start(name: &str, data: &Path) -> (Process, String) {
    let http = format!("127.0.0.1:{}", free_port());
    let workflows = repository().join("workflows");
    let (folder, workflows) = (data.to_str().unwrap(), workflows.to_str().unwrap());
    let args = [
        "up",
        "--http",
        &http,
        "--data",
        folder,
        "--workflows",
        workflows,
        "--ack-wait",
        "3s",
    ];
    let environment = [
        ("PATH".to_owned(), path()),
        ("FLOTILLA_AUTH".to_owned(), "off".to_owned()),
    ];
    let log = data.join(format!("{name}.log"));
    let process = Process::start(name, flotilla(), &args, &environment, &log);
    (process, format!("http://{http}"))
}

/// `flotilla up` on ports and data of its own, ready.
async fn up() -> Up {
    // The first one counts; the others find it there.
    drop(rustls::crypto::ring::default_provider().install_default());
    let data = tempfile::tempdir().unwrap();
    let (process, url) = start("up", data.path());
    eventually("flotilla is up", LIMIT, async || {
        let response = reqwest::get(format!("{url}/readyz"))
            .await
            .map_err(|e| e.to_string())?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(response.text().await.unwrap())
        }
    })
    .await;
    Up { process, data, url }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_makes_a_service_well_that_was_really_sick() {
    let data = tempfile::tempdir().unwrap();
    let http = format!("127.0.0.1:{}", free_port());
    let workflows = repository().join("workflows");
    let (folder, workflows) = (data.path().to_str().unwrap(), workflows.to_str().unwrap());
    let demo = run_flotilla(
        &[
            "demo",
            "--http",
            &http,
            "--data",
            folder,
            "--workflows",
            workflows,
            "--ack-wait",
            "3s",
        ],
        &[("PATH", &path())],
        LIMIT,
    )
    .await;
    assert!(demo.status.success(), "{}", demo.output);
    for said in [
        "now says 503",
        "disk quota exceeded",
        "disk_usage",
        "tail_log",
        "restart_service",
        "resolve",
        "end completed",
        "well again",
    ] {
        assert!(
            demo.output.contains(said),
            "it does not say `{said}`:\n{}",
            demo.output
        );
    }
    assert!(
        !demo.output.contains('\u{1b}'),
        "colours in a pipe:\n{}",
        demo.output
    );
    nothing_is_left(data.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_readme_says_works_on_a_fleet_that_is_up() {
    let mut up = up().await;
    let run = up.alert().await;

    let event = repository().join("workflows/incident-triage/event.json");
    let submitted = run_flotilla(
        &["submit", event.to_str().unwrap(), "--url", &up.url],
        &[],
        LIMIT,
    )
    .await;
    assert!(submitted.status.success(), "{}", submitted.output);
    assert!(
        submitted.output.contains("end escalated"),
        "{}",
        submitted.output
    );

    // The other examples need nothing but this fleet, which has made a folder for what they leave.
    for (example, left) in [
        ("contract-review", "contract-C-2026-118.md"),
        ("document-analysis", "report-D-31.md"),
        ("support-router", "queue-billing-T-1042.md"),
        ("research", "brief-Q-7.md"),
    ] {
        let event = repository().join(format!("workflows/{example}/event.json"));
        let args = ["submit", event.to_str().unwrap(), "--url", &up.url];
        let submitted = run_flotilla(&args, &[], LIMIT).await;
        assert!(
            submitted.status.success() && submitted.output.contains("end completed"),
            "{example}: {}",
            submitted.output
        );
        assert!(up.data.path().join("examples").join(left).is_file());
    }

    let shown = run_flotilla(&["show", &run, "--follow", "--url", &up.url], &[], LIMIT).await;
    assert!(
        shown.status.success() && shown.output.contains("severity"),
        "{}",
        shown.output
    );
    let journal = run_flotilla(&["show", &run, "--json", "--url", &up.url], &[], LIMIT).await;
    let journal: Value = serde_json::from_str(&journal.output).unwrap();
    assert!(journal["journal"].as_array().unwrap().len() > 5);
    let listed = run_flotilla(&["runs", "--url", &up.url], &[], LIMIT).await;
    assert!(
        listed.output.contains(&run) && listed.output.contains("escalated"),
        "{}",
        listed.output
    );

    let status = up.process.terminate(LIMIT).await;
    assert!(status.success(), "{status}: {}", up.process.log());
    nothing_is_left(up.data.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_is_killed_leaves_nothing_running_and_goes_on_where_it_was() {
    let mut up = up().await;
    let run = up.alert().await;
    up.process.kill9();
    nothing_is_left(up.data.path()).await;

    let (mut again, url) = start("again", up.data.path());
    eventually("the run ends on the same data", LIMIT, async || {
        let run: Value = async {
            reqwest::get(format!("{url}/v1/runs/{run}"))
                .await?
                .json()
                .await
        }
        .await
        .map_err(|e: reqwest::Error| e.to_string())?;
        if run["run"]["status"] == "escalated" {
            Ok(())
        } else {
            Err(run.to_string())
        }
    })
    .await;
    let status = again.terminate(LIMIT).await;
    assert!(status.success(), "{status}");
    nothing_is_left(up.data.path()).await;
}
