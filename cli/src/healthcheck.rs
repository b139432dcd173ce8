//! `flotilla healthcheck`: whether the role of this very container or machine is ready, as an exit code. Images without a shell or
//! curl need it.

use std::{net::IpAddr, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};

use crate::settings::Settings;

const TIMEOUT: Duration = Duration::from_secs(4);

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let mut address = settings.http();
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        });
    }
    let url = format!("http://{address}/readyz");
    let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
    let answer = client
        .get(&url)
        .send()
        .await
        .with_context(|| format!("nothing answers at {url}"))?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    if !status.is_success() {
        bail!("not ready: {status} {text}");
    }
    println!("{text}");
    Ok(ExitCode::SUCCESS)
}
