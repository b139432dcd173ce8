//! What of the settings is about who may do what: tokens, and TLS.

use std::{fs, net::SocketAddr};

use anyhow::{Context as _, anyhow, bail};
use flotilla_common::{
    access::token::Secret,
    io::tls::{Files, Tls},
};
use flotilla_gateway::Auth;
use reqwest::Certificate;

use super::{AuthKind, Settings, TOKEN, read_secret, secret};
use crate::token;

impl Settings {
    /// Whether requests to a gateway at this address must show a token.
    ///
    /// # Errors
    /// None are asked for where others than this machine's own programs get through.
    pub(crate) fn auth(&self) -> anyhow::Result<Auth> {
        match self.auth {
            None | Some(AuthKind::Tokens) => Ok(Auth::Tokens),
            Some(AuthKind::Off) if self.http().ip().is_loopback() => Ok(Auth::Off),
            Some(AuthKind::Off) => bail!(
                "FLOTILLA_AUTH is off, so anybody could do everything, but FLOTILLA_HTTP is {}: listen on 127.0.0.1, or ask for tokens (FLOTILLA_AUTH=tokens)",
                self.http()
            ),
        }
    }

    /// What a gateway at this address is asked by.
    pub(crate) fn url_at(&self, address: SocketAddr) -> String {
        let scheme = if self.tls_cert.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{address}")
    }

    /// What a gateway speaks in place of plain text; `None`: nothing.
    ///
    /// # Errors
    /// One file without the other, or a certificate that cannot be used.
    pub(crate) fn tls(&self) -> anyhow::Result<Option<Tls>> {
        match (self.tls_cert.clone(), self.tls_key.clone()) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(Tls::open(Files { certificate, key })?)),
            (Some(_), None) => bail!("FLOTILLA_TLS_CERT is set, FLOTILLA_TLS_KEY is not"),
            (None, Some(_)) => bail!("FLOTILLA_TLS_KEY is set, FLOTILLA_TLS_CERT is not"),
        }
    }

    /// Whom commands trust besides those that the system does.
    ///
    /// # Errors
    /// A file that cannot be read, or has no certificate.
    pub(crate) fn roots(&self) -> anyhow::Result<Vec<Certificate>> {
        let Some(file) = &self.ca else {
            return Ok(Vec::new());
        };
        let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let roots = Certificate::from_pem_bundle(&text);
        roots
            .ok()
            .filter(|roots| !roots.is_empty())
            .ok_or_else(|| anyhow!("there is no certificate in {}", file.display()))
    }

    /// What commands show the gateway; `None` when there is none.
    ///
    /// # Errors
    /// A file that cannot be read, or what is no token.
    pub(crate) fn token(&self) -> anyhow::Result<Option<Secret>> {
        if let Some(file) = &self.token_file {
            let text = read_secret(file)?;
            return token::parse(&text, &file.display().to_string()).map(Some);
        }
        match secret(TOKEN) {
            Some(text) => token::parse(&text, TOKEN).map(Some),
            None => token::left_by_up(&self.data(), &self.url()),
        }
    }
}
