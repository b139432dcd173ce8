//! Anthropic's own Python SDK can talk to the simulated Claude.

use std::{path::Path, process::Command, time::Duration};

use flotilla_tests::{Process, eventually, flotilla, free_port};

#[tokio::test(flavor = "multi_thread")]
async fn the_official_sdk_can_talk_to_the_simulated_claude() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let python = repository.join(".tools/python/run");
    assert!(
        python.exists(),
        "there is no {}; `deploy/get-tools --sdk` makes it",
        python.display()
    );
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let args = [
        "sim",
        "--http",
        &format!("127.0.0.1:{port}"),
        "--policies",
        folder.path().to_str().unwrap(),
    ];
    let mut sim = Process::start(
        "sim",
        flotilla(),
        &args,
        &[],
        &folder.path().join("sim.log"),
    );
    eventually(
        "the simulated Claude listens",
        Duration::from_secs(60),
        async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .map(drop)
        },
    )
    .await;
    let script = repository.join("tests/it/sdk.py");
    let url = format!("http://127.0.0.1:{port}");
    let ran =
        tokio::task::spawn_blocking(move || Command::new(python).arg(script).arg(url).output())
            .await;
    let ran = ran.unwrap().unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(String::from_utf8_lossy(&ran.stdout).contains("content"));
    assert!(sim.terminate(Duration::from_secs(30)).await.success());
}
