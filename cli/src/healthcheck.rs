//! `flotilla healthcheck`: whether the role of this very container or machine is ready, as an exit code. Images without a shell or
//! curl need it.

use std::{
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use reqwest::Response;

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
    let answer = ask(settings, address).await?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    if !status.is_success() {
        bail!("not ready: {status} {text}");
    }
    println!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// What serves there says. Where there is a certificate, a gateway speaks TLS alone, and every other role plain text alone.
async fn ask(settings: &Settings, address: SocketAddr) -> anyhow::Result<Response> {
    // It is this very machine, by an address that no certificate names.
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .tls_danger_accept_invalid_certs(true)
        .build()?;
    let at = |scheme: &str| format!("{scheme}://{address}/readyz");
    if settings.tls_cert.is_some() {
        match client.get(at("https")).send().await {
            Err(error) if error.is_connect() => {}
            answer => return answer.with_context(|| nothing(&at("https"))),
        }
    }
    let answer = client.get(at("http")).send().await;
    answer.with_context(|| nothing(&at("http")))
}

fn nothing(url: &str) -> String {
    format!("nothing answers at {url}")
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_role_that_speaks_plain_text_is_asked_so_also_where_there_is_a_certificate() {
        // Another test may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().route("/readyz", get(async || "ready"));
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
        for tls_cert in [None, Some("cert.pem".into())] {
            let settings = Settings {
                tls_cert,
                ..Settings::default()
            };
            let answer = ask(&settings, address).await.unwrap();
            assert_eq!(answer.text().await.unwrap(), "ready");
        }
        serving.abort();
    }
}
