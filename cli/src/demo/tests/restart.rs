//! The service: filled, sick, restarted, well; and nothing left behind.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, again, arguments, free_address, starts, supervised};
use crate::demo::{
    folder::log_path,
    load::fill,
    pidfile::Process,
    probe,
    restart::restart,
    service,
    supervisor::{Launch, Status, Supervisor},
};

async fn until_gone(process: &Process) {
    let end = Instant::now() + PATIENCE;
    while process.is_running().unwrap() {
        assert!(Instant::now() < end, "process {} still runs", process.pid);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn orders_fill_the_quota_until_the_service_is_sick_and_a_restart_makes_it_well() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (supervisor, http) = supervised(dir, "8MiB").await;
    let client = probe::client().unwrap();
    let sick_pid = Process::read(dir).unwrap().unwrap().pid;

    let filled = fill(http, PATIENCE).await.unwrap();
    println!("sick after {} orders in {:?}", filled.orders, filled.took);
    let health = probe::health(&client, http).await.unwrap();
    assert_eq!(health.status, 503);
    assert_eq!(
        health.body["reason"],
        "disk quota exceeded: 8.0 MiB of 8.0 MiB used"
    );
    assert_eq!(
        client
            .get(format!("http://{http}/orders"))
            .send()
            .await
            .unwrap()
            .status(),
        503
    );
    let log = fs::read_to_string(log_path(dir)).unwrap();
    assert!(
        log.ends_with("ERROR cannot write: disk quota exceeded (8.0 MiB of 8.0 MiB used)\n"),
        "{log}"
    );
    assert!(log_path(dir).with_extension("log.7").exists());

    let report = restart(dir, "run_1.triage.3.0", PATIENCE).await.unwrap();
    println!("{}", serde_json::to_string(&report).unwrap());
    assert_eq!(
        (report.pid_before, report.health.status),
        (Some(sick_pid), 200)
    );
    assert_eq!(
        probe::health(&client, http).await.unwrap().body["pid"],
        report.pid
    );
    assert_eq!(starts(&supervisor), 2);
    assert!(
        !log_path(dir).with_extension("log.1").exists(),
        "a restart removes the rotated logs"
    );
    assert!(
        fs::read_to_string(log_path(dir))
            .unwrap()
            .contains("removed 7 rotated log files")
    );
    let orders: serde_json::Value = client
        .get(format!("http://{http}/orders"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(orders["orders"], filled.orders, "no accepted order is lost");
    supervisor.stop().await;
}

#[tokio::test]
async fn a_key_that_was_done_restarts_nothing_and_answers_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (supervisor, _) = supervised(dir.path(), "256KiB").await;
    let first = restart(dir.path(), "key-1", PATIENCE).await.unwrap();
    let (again, at_once) = tokio::join!(
        restart(dir.path(), "key-1", PATIENCE),
        restart(dir.path(), "key-1", PATIENCE)
    );
    assert_eq!(
        (again.unwrap(), at_once.unwrap()),
        (first.clone(), first.clone())
    );
    assert_eq!(starts(&supervisor), 2);
    let other = restart(dir.path(), "key-2", PATIENCE).await.unwrap();
    assert_eq!(
        (other.pid_before, starts(&supervisor)),
        (Some(first.pid), 3)
    );
    supervisor.stop().await;
}

#[tokio::test]
async fn the_same_key_at_the_same_time_is_one_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (supervisor, _) = supervised(dir.path(), "256KiB").await;
    let (one, two) = tokio::join!(
        restart(dir.path(), "key", PATIENCE),
        restart(dir.path(), "key", PATIENCE)
    );
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(starts(&supervisor), 2);
    supervisor.stop().await;
}

#[tokio::test]
async fn a_restart_cut_off_after_the_signal_is_finished_and_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let (supervisor, _) = supervised(dir.path(), "256KiB").await;
    restart(dir.path(), "key", PATIENCE).await.unwrap();
    // As if the command had been killed after its signal: the note is there, its report is not.
    let notes = dir.path().join("restarts.json");
    let mut kept: serde_json::Value = serde_json::from_slice(&fs::read(&notes).unwrap()).unwrap();
    let report = kept["key"]["report"].take();
    fs::write(&notes, kept.to_string()).unwrap();

    let finished = restart(dir.path(), "key", PATIENCE).await.unwrap();
    assert_eq!(finished.pid, report["pid"]);
    assert_eq!(
        finished.pid_before.map(i64::from),
        report["pid_before"].as_i64()
    );
    assert_eq!(starts(&supervisor), 2);
    supervisor.stop().await;
}

#[tokio::test]
async fn a_process_that_does_not_heed_the_signal_is_killed_at_half_time() {
    let dir = tempfile::tempdir().unwrap();
    let (supervisor, _) = supervised(dir.path(), "256KiB").await;
    let hung = Process::read(dir.path()).unwrap().unwrap();
    hung.signal(Signal::STOP).unwrap();
    let report = restart(dir.path(), "key", Duration::from_secs(5))
        .await
        .unwrap();
    assert!(
        report.took_ms >= 2_500 && report.pid != hung.pid,
        "{report:?}"
    );
    supervisor.stop().await;
}

#[tokio::test]
async fn a_folder_is_served_by_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let (supervisor, _) = supervised(dir.path(), "256KiB").await;
    let second = service::Settings {
        dir: dir.path().into(),
        http: free_address(),
        quota: 1 << 20,
        rotate_at: 1 << 20,
    };
    let error = service::run(second, CancellationToken::new())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("is served by process"),
        "{error}"
    );
    supervisor.stop().await;
}

#[tokio::test]
async fn stopping_and_dropping_a_supervisor_end_its_child() {
    let dir = tempfile::tempdir().unwrap();
    let (supervisor, _) = supervised(dir.path(), "256KiB").await;
    let child = Process::read(dir.path()).unwrap().unwrap();
    supervisor.stop().await;
    assert!(!child.is_running().unwrap());
    assert_eq!(
        Process::read(dir.path()).unwrap(),
        None,
        "a clean end removes the pid file"
    );

    let (supervisor, _) = supervised(dir.path(), "256KiB").await;
    let child = Process::read(dir.path()).unwrap().unwrap();
    drop(supervisor);
    until_gone(&child).await;
}

#[tokio::test]
async fn a_supervisor_killed_without_warning_leaves_no_orphan() {
    let dir = tempfile::tempdir().unwrap();
    let http = free_address();
    let Launch { program, args, env } = again("supervise", &arguments(dir.path(), http, "256KiB"));
    let mut supervisor = Command::new(program)
        .args(args)
        .envs(env)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    probe::until(http, 200, PATIENCE).await.unwrap();
    let orphan = Process::read(dir.path()).unwrap().unwrap();
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    until_gone(&orphan).await;
}

#[tokio::test]
async fn a_program_that_cannot_live_is_given_up_with_its_reason() {
    for (program, expected) in [
        ("/bin/false", "exit status: 1"),
        ("/no/such/program", "No such file"),
    ] {
        let launch = Launch {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
        };
        let supervisor = Supervisor::start(launch, &CancellationToken::new());
        let mut status = supervisor.status();
        let gave_up = status.wait_for(|status| matches!(status, Status::GaveUp { .. }));
        let seen = tokio::time::timeout(PATIENCE, gave_up)
            .await
            .unwrap()
            .unwrap()
            .clone();
        assert!(
            matches!(&seen, Status::GaveUp { reason } if reason.contains(expected)),
            "{seen:?}"
        );
    }
}
