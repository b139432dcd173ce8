//! The secrets of webhooks: read where the definition says, anew for every request, so that they can be changed at any time.

use flotilla_common::{
    definition::{Hook, Secret},
    io::http::Problem,
};
use tracing::error;

use crate::problem::unavailable;

/// Longest file with a secret, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A hook's secrets; those that are missing are left out, as long as there is one.
pub(super) async fn all(hook: &Hook) -> Result<Vec<Vec<u8>>, Problem> {
    let mut found = Vec::new();
    for secret in hook.verify.secrets() {
        match one(secret).await {
            Ok(text) => found.push(text.into_bytes()),
            Err(problem) => error!(hook = %hook.name, problem, "a secret cannot be used"),
        }
    }
    if found.is_empty() {
        // Whose fault it is is in the log, and not for whoever asks.
        return Err(unavailable("this hook is not set up; send it again later"));
    }
    Ok(found)
}

async fn one(secret: &Secret) -> Result<String, String> {
    let (text, place) = match secret {
        Secret::Env(name) => (std::env::var(name).unwrap_or_default(), name),
        Secret::File(path) => {
            let read = async {
                if tokio::fs::metadata(path).await?.len() > FILE_BYTES_MAX {
                    return Err(std::io::ErrorKind::FileTooLarge.into());
                }
                tokio::fs::read_to_string(path).await
            };
            let read: Result<String, std::io::Error> = read.await;
            (read.map_err(|error| format!("{path}: {error}"))?, path)
        }
    };
    match text.trim() {
        "" => Err(format!("there is none in {place}")),
        text => Ok(text.to_owned()),
    }
}
