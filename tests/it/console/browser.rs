//! The console in Chromium: live, with a keyboard, and with JavaScript off. Each script is one thing that people do.

mod cost;
mod letters;

use std::{path::Path, process::Stdio, time::Duration};

use flotilla_tests::Fleet;
use tokio::{process::Command, time::timeout};

use super::Stage;

/// A browser's start on a busy machine, and a page or two dozen.
const LIMIT: Duration = Duration::from_secs(120);

/// Has a script of `browser/` do what it does with a fleet's console; gives what it said.
async fn in_chromium(fleet: &Fleet, script: &str, told: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let modules = root.join(".tools/browser/node_modules");
    assert!(
        modules.exists(),
        "there is no {}; `deploy/get-tools --browser` makes it",
        modules.display()
    );
    let mut node = Command::new("node");
    node.arg(root.join("tests/it/console/browser").join(script))
        .arg(fleet.api().base())
        .arg(&modules)
        .args(told);
    let node = node.stdin(Stdio::null()).kill_on_drop(true).output();
    let done = timeout(LIMIT, node)
        .await
        .expect("the browser is done in time")
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let problems = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}\n{problems}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_watched_live_to_its_end_and_an_action_is_changed_and_allowed_in_a_browser() {
    let stage = Stage::start("disk").await;
    let said = in_chromium(&stage.fleet, "desk.mjs", &[]).await;
    let parts = stage.parts();
    assert_eq!(
        parts,
        ["fan", "fan"],
        "with JavaScript, and without: {said}"
    );
}
