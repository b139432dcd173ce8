//! Who we are to a server: a bearer token, and TLS of a tool's own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use flotilla_common::definition::{Adapter, Auth, HttpOptions, TlsFiles, Tool};
use reqwest::{
    Certificate, Client, ClientBuilder, Identity, Request,
    header::{AUTHORIZATION, HeaderValue},
};

use super::{
    Scene,
    failure::{Class, Failure},
};

/// Largest file with a token or with certificates, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Clients with TLS of their own that are kept; more are made anew.
const CLIENTS_MAX: usize = 64;

/// The bearer token that a tool's definition names, if it names one in a file: its variables are known already.
pub(super) async fn token_of_file(tool: &Tool) -> Result<Option<String>, Failure> {
    let Adapter::Http { options, .. } = &tool.adapter else {
        return Ok(None);
    };
    let Some(Auth::File(path)) = &options.auth else {
        return Ok(None);
    };
    let text = String::from_utf8(file(path).await?).unwrap_or_default();
    match text.trim() {
        "" => Err(config(format!("there is no token in {path}"))),
        token => Ok(Some(token.to_owned())),
    }
}

/// Puts the bearer token into a request, where its tool has one.
pub(super) fn authorize(
    request: &mut Request,
    options: &HttpOptions,
    scene: &Scene<'_>,
) -> Result<(), Failure> {
    let Some(auth) = &options.auth else {
        return Ok(());
    };
    let value = token(auth, scene).map(|token| HeaderValue::from_str(&format!("Bearer {token}")));
    let Some(Ok(mut value)) = value else {
        let message = "the tool's bearer token is missing, or no text that a header can have";
        return Err(Failure::new(Class::Config, message));
    };
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
    Ok(())
}

/// The token itself, wherever it is.
fn token<'s>(auth: &Auth, scene: &'s Scene<'_>) -> Option<&'s str> {
    match auth {
        Auth::Env(name) => scene.env.get(name).map(|token| token.trim()),
        Auth::File(_) => scene.token.as_deref(),
    }
}

/// What a client's TLS is made of. Files that were changed make another client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct TlsMaterial {
    ca: Option<Vec<u8>>,
    identity: Option<Vec<u8>>,
}

impl TlsMaterial {
    pub(super) async fn read(files: &TlsFiles) -> Result<Self, Failure> {
        let ca = match &files.ca {
            Some(path) => Some(file(path).await?),
            None => None,
        };
        let identity = match &files.identity {
            Some((cert, key)) => {
                let mut pem = file(cert).await?;
                pem.push(b'\n');
                pem.extend(file(key).await?);
                Some(pem)
            }
            None => None,
        };
        Ok(Self { ca, identity })
    }

    fn apply(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, Failure> {
        if let Some(ca) = &self.ca {
            let read = Certificate::from_pem_bundle(ca);
            let certs = read.ok().filter(|certs| !certs.is_empty());
            let certs = certs.ok_or_else(|| config("`tls.ca` has no certificate in PEM".into()))?;
            builder = builder.tls_certs_only(certs);
        }
        if let Some(pem) = &self.identity {
            let identity = Identity::from_pem(pem).map_err(|_| {
                config("`tls.cert` and `tls.key` are no certificate with its key in PEM".into())
            })?;
            builder = builder.identity(identity);
        }
        Ok(builder)
    }
}

/// Clients by what they believe and who they are, and whether they reach public addresses only.
#[derive(Debug, Clone, Default)]
pub(super) struct TlsClients(Arc<Mutex<HashMap<(TlsMaterial, bool), Client>>>);

impl TlsClients {
    pub(super) fn get(
        &self,
        material: TlsMaterial,
        public_only: bool,
        builder: ClientBuilder,
    ) -> Result<Client, Failure> {
        let key = (material, public_only);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known.get(&key) {
            return Ok(client.clone());
        }
        let built = key.0.apply(builder)?.build();
        let client = built.map_err(|error| config(format!("`tls` cannot be used: {error}")))?;
        if known.len() >= CLIENTS_MAX {
            known.clear();
        }
        known.insert(key, client.clone());
        Ok(client)
    }
}

fn config(message: String) -> Failure {
    Failure::new(Class::Config, message)
}

async fn file(path: &str) -> Result<Vec<u8>, Failure> {
    let read = async {
        let length = tokio::fs::metadata(path).await?.len();
        if length > FILE_BYTES_MAX {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        tokio::fs::read(path).await
    };
    read.await
        .map_err(|error: std::io::Error| config(format!("cannot read {path}: {error}")))
}
