//! Asks the demo's service how it is.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One answer of `/healthz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The HTTP status: 200 when well, 503 when sick.
    pub status: u16,
    /// What it said.
    pub body: Value,
}

/// How long one question may take.
const QUESTION: Duration = Duration::from_secs(2);

/// How long between two questions while waiting.
const PAUSE: Duration = Duration::from_millis(20);

/// An HTTP client for the service: connections are kept, every request is bounded in time.
///
/// # Errors
/// When no client can be made.
pub fn client() -> anyhow::Result<reqwest::Client> {
    // reqwest wants a TLS provider even for plain HTTP; that one is set already is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(QUESTION)
        .no_proxy()
        .build()
        .context("no HTTP client")
}

/// One question.
///
/// # Errors
/// When nobody answers, or not with JSON.
pub async fn health(client: &reqwest::Client, http: SocketAddr) -> anyhow::Result<Health> {
    let answer = client.get(format!("http://{http}/healthz")).send().await?;
    Ok(Health {
        status: answer.status().as_u16(),
        body: answer.json().await?,
    })
}

/// Asks until the service answers with `status`.
///
/// # Errors
/// When it does not within `patience`; the error says what it answered last.
pub async fn until(http: SocketAddr, status: u16, patience: Duration) -> anyhow::Result<Health> {
    let client = client()?;
    let end = Instant::now() + patience;
    loop {
        let seen = health(&client, http).await;
        match seen {
            Ok(health) if health.status == status => return Ok(health),
            Ok(health) if Instant::now() >= end => {
                anyhow::bail!(
                    "{http}/healthz still answers {} after {patience:?}: {}",
                    health.status,
                    health.body
                )
            }
            Err(error) if Instant::now() >= end => {
                return Err(
                    error.context(format!("{http}/healthz does not answer after {patience:?}"))
                );
            }
            Ok(_) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
