//! `flotilla demo`: the whole story, live. The service gets sick, an alert goes in, the fleet works on it, the terminal shows it.

use std::{
    ffi::OsString,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use flotilla_common::run::Status;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    alert::alert,
    load::fill,
    probe,
    supervisor::{Launch, Supervisor},
};
use crate::{
    child::{Child, free_port},
    client::Client,
    figures::totals,
    follow::follow,
    live::Following,
    roles,
    settings::Settings,
    style::{bold, dim, good},
    token,
};

const QUOTA: &str = "8MiB";
/// What the fleet's data are in, below the demo's folder.
const FLEET: &str = "fleet";
const PATIENCE: Duration = Duration::from_secs(30);
const FLEET_PATIENCE: Duration = Duration::from_secs(60);

/// The demo.
#[derive(Debug, Clone, clap::Args)]
pub struct Demo {
    /// Keep the fleet and the service running afterwards, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// Runs the demo; the status is 0 when the service is well again because of the fleet.
pub(crate) async fn run(settings: Settings, args: Demo) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let stop = roles::stop_on_signals()?;
    let folder = fresh_folder(&settings)?;
    let service_dir = folder.join("orders");
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let service = free_port(9800)?;
    let supervisor = Supervisor::start(Launch::service(&own, &service_dir, service, QUOTA), &stop);
    let mut fleet = None;
    let story = async {
        let since = sicken(service, &service_dir).await?;
        let (child, client, url) = start_fleet(&settings, &own, &folder, service).await?;
        fleet = Some(child);
        let well = triage(&client, service, &service_dir, since).await?;
        println!(
            "\n{}",
            dim(format!(
                "the whole demo took {:.1} s",
                begun.elapsed().as_secs_f64()
            ))
        );
        if args.keep {
            let token = Some(token::file(&folder.join(FLEET))).filter(|file| file.exists());
            keep(&url, token.as_deref(), service, &service_dir, &stop).await;
        } else {
            println!(
                "To keep it running and look around: {}",
                bold("make demo KEEP=1")
            );
        }
        anyhow::Ok(well)
    };
    let ended = tokio::select! {
        biased;
        () = async { stop.cancelled().await; if args.keep { std::future::pending::<()>().await } } => Err(anyhow::anyhow!("stopped before the end")),
        ended = story => ended,
    };
    if let Some(fleet) = fleet {
        fleet.stop().await;
    }
    supervisor.stop().await;
    ended.map(|well| {
        if well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    })
}

/// An empty folder for this demo's data: an old journal would know the old alerts.
fn fresh_folder(settings: &Settings) -> anyhow::Result<PathBuf> {
    let folder = settings.data().join("demo");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder.join("orders"))
        .with_context(|| format!("cannot make {}", folder.display()))?;
    folder
        .canonicalize()
        .with_context(|| format!("cannot use {}", folder.display()))
}

fn chapter(title: &str) {
    println!("\n{}", bold(title));
}

/// Drives the service until its disk quota is really full; gives when it got sick.
async fn sicken(service: SocketAddr, folder: &Path) -> anyhow::Result<Timestamp> {
    chapter("1. A service gets sick");
    println!(
        "   `orders` listens on http://{service}, its data folder {} may hold {QUOTA}",
        folder.display()
    );
    probe::until(service, 200, PATIENCE)
        .await
        .context("the demo's service does not come up")?;
    print!("   it is well; now customers order, and its log grows …");
    // The line goes on when the folder is full.
    drop(std::io::stdout().flush());
    let filled = fill(service, PATIENCE).await?;
    println!(
        " {} orders in {:.1} s",
        filled.orders,
        filled.took.as_secs_f64()
    );
    let health = probe::until(service, 503, PATIENCE).await?;
    println!(
        "   GET /healthz now says {}: {}",
        health.status, health.body
    );
    Ok(Timestamp::now())
}

/// Starts `flotilla up` as a process, with the environment that the demo's tools need.
async fn start_fleet(
    settings: &Settings,
    own: &Path,
    folder: &Path,
    service: SocketAddr,
) -> anyhow::Result<(Child, Client, String)> {
    chapter("2. The fleet starts");
    let http = free_port(settings.http().port())?;
    let url = format!("http://{http}");
    let args: [OsString; 5] = [
        "up".into(),
        "--http".into(),
        http.to_string().into(),
        "--data".into(),
        folder.join(FLEET).into(),
    ];
    let mut environment = settings.environment();
    environment.extend([
        ("FLOTILLA_BIN", own.into()),
        ("DEMO_DIR", folder.into()),
        ("DEMO_URL", format!("http://{service}").into()),
    ]);
    let mut child = Child::start("fleet", own, &args, folder, &environment)?;
    let ready = reqwest::Client::builder()
        .timeout(Duration::from_secs(2))
        .build()?;
    child
        .until(FLEET_PATIENCE, || {
            let request = ready.get(format!("{url}/readyz")).send();
            async move {
                request
                    .await
                    .is_ok_and(|response| response.status().is_success())
            }
        })
        .await?;
    let log = std::fs::read_to_string(folder.join("fleet.log")).unwrap_or_default();
    log.lines()
        .filter(|line| line.starts_with("  "))
        .for_each(|line| println!(" {line}"));
    let token = token::left_by_up(&folder.join(FLEET), &url)?;
    Ok((child, Client::new(&url, token.as_ref())?, url))
}

/// Sends the alert and shows the run; whether the service is well afterwards.
async fn triage(
    client: &Client,
    service: SocketAddr,
    folder: &Path,
    since: Timestamp,
) -> anyhow::Result<bool> {
    chapter("3. Alertmanager sends its alert; Claude decides, the executors act");
    let submitted = client.alertmanager(&alert(service, folder, since)).await?;
    let Some(run) = submitted.first().and_then(|event| event.runs.first()) else {
        bail!("the alert started no run; is the workflow incident-triage in FLOTILLA_WORKFLOWS?");
    };
    let shown = follow(Following::new(client, run)).await?;
    chapter("4. Summary");
    let Some(run) = shown.run else {
        bail!(
            "the run cannot be read: {}",
            shown.broken.unwrap_or_default()
        )
    };
    totals(&run).iter().for_each(|line| println!(" {line}"));
    let http = probe::client()?;
    let health = probe::health(&http, service).await?;
    let well = health.status == 200 && run.status == Status::Completed;
    let says = if health.status == 200 {
        good("well again")
    } else {
        format!("still {}", health.status)
    };
    println!(
        "   {} {says}: GET /healthz says {} {}",
        dim("service"),
        health.status,
        health.body
    );
    Ok(well)
}

async fn keep(
    url: &str,
    token: Option<&Path>,
    service: SocketAddr,
    folder: &Path,
    stop: &CancellationToken,
) {
    chapter("5. It keeps running until Ctrl-C; look around");
    let (flag, header) = match token.map(Path::display) {
        None => (String::new(), String::new()),
        Some(file) => (
            format!(" --token-file {file}"),
            format!(" -H \"authorization: Bearer $(cat {file})\""),
        ),
    };
    println!("   runs        flotilla runs --url {url}{flag}");
    println!("   one run     flotilla show RUN --url {url}{flag}");
    println!("   the API     curl -s {url}/v1/runs{header}");
    println!("   metrics     curl -s {url}/metrics");
    println!("   service     curl -i http://{service}/healthz");
    println!("   its folder  du -ah {}", folder.display());
    stop.cancelled().await;
}
