//! The demo's service as a process. The processes are this test binary, started again with the one test that serves.

mod fleet;
mod restart;
mod triage;

use std::{
    ffi::OsString,
    net::{SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use clap::Parser as _;
use tokio_util::sync::CancellationToken;

use super::{
    command::DemoService,
    probe,
    supervisor::{Launch, Status, Supervisor},
};

/// What a process of this binary is to be, and the arguments of the service. One variable, so that a child's role replaces its parent's.
const ROLE: &str = "FLOTILLA_TEST_ROLE";
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(clap::Parser)]
struct Cli {
    #[command(subcommand)]
    command: Top,
}

#[derive(clap::Subcommand)]
enum Top {
    #[command(subcommand)]
    DemoService(DemoService),
}

/// Serves, or supervises one that serves, when the environment says so; otherwise there is nothing to do.
#[tokio::test]
async fn a_process_of_this_binary_serves_when_told_to() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let (role, args) = role.split_once(' ').unwrap();
    if role == "supervise" {
        let _supervisor = Supervisor::start(again("serve", args), &CancellationToken::new());
        tokio::time::sleep(PATIENCE).await;
    } else {
        let args: Vec<String> = serde_json::from_str(args).unwrap();
        let Cli {
            command: Top::DemoService(service),
        } = Cli::parse_from(std::iter::once("flotilla".to_owned()).chain(args));
        service.run().await.unwrap();
    }
}

/// The name of the test above, as the test binary knows it: without the crate.
fn serving() -> String {
    let (_, module) = module_path!().split_once("::").unwrap();
    format!("{module}::a_process_of_this_binary_serves_when_told_to")
}

/// This binary again, in the given role.
fn again(role: &str, args: &str) -> Launch {
    Launch {
        program: std::env::current_exe().unwrap(),
        args: vec!["--exact".into(), serving().into(), "--nocapture".into()],
        env: vec![(ROLE.into(), format!("{role} {args}").into())],
    }
}

fn arguments(dir: &Path, http: SocketAddr, quota: &str) -> String {
    let args: Vec<OsString> = Launch::service(Path::new("flotilla"), dir, http, quota).args;
    let args: Vec<String> = args
        .into_iter()
        .map(|arg| arg.into_string().unwrap())
        .collect();
    serde_json::to_string(&args).unwrap()
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// A supervised service with an empty folder, well when this returns.
async fn supervised(dir: &Path, quota: &str) -> (Supervisor, SocketAddr) {
    let http = free_address();
    let supervisor = Supervisor::start(
        again("serve", &arguments(dir, http, quota)),
        &CancellationToken::new(),
    );
    probe::until(http, 200, PATIENCE).await.unwrap();
    (supervisor, http)
}

fn starts(supervisor: &Supervisor) -> u32 {
    let status = supervisor.status().borrow().clone();
    let Status::Running { starts, .. } = status else {
        panic!("it does not run: {status:?}")
    };
    starts
}
