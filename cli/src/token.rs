//! The tokens of a fleet, as this program makes and finds them.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use flotilla_common::{
    access::token::Secret,
    io::tokens::{self, Tokens},
};
use jiff::Timestamp;
use reqwest::Url;

/// What the token of `flotilla up` is in, below its folder of data.
const FILE: &str = "token";
/// What the first token of a fleet is called.
const FIRST: &str = "first";

/// Where the token of `flotilla up` is, if there is one.
pub(crate) fn file(data: &Path) -> PathBuf {
    data.join(FILE)
}

/// Makes the fleet's first token, if it never had one, and shows it: nobody can look it up later.
pub(crate) async fn first(tokens: &Tokens, by: &str) -> anyhow::Result<()> {
    let (secret, token) = tokens::admin(FIRST.parse()?, by)?;
    if Box::pin(tokens.first(&token)).await? {
        println!(
            "the fleet's first token, which may do everything; it is shown this once: {}",
            secret.reveal()
        );
    }
    Ok(())
}

/// Sees to it that there is a token in this folder that may do everything; gives the file.
pub(crate) async fn kept(tokens: &Tokens, data: &Path, by: &str) -> anyhow::Result<PathBuf> {
    let path = file(data);
    let known = Box::pin(tokens.list()).await?;
    let now = Timestamp::now();
    let there = read(&path).ok().flatten();
    let holds = |secret: &Secret| known.of(secret, now).is_some_and(|token| token.rules(now));
    if there.as_ref().is_some_and(holds) {
        return Ok(path);
    }
    let (mut secret, token) = tokens::admin(FIRST.parse()?, by)?;
    if !Box::pin(tokens.first(&token)).await? {
        let name = format!("{by}-{}", Timestamp::now().as_millisecond());
        let (other, token) = tokens::admin(name.parse()?, by)?;
        Box::pin(tokens.add(&token)).await?;
        secret = other;
    }
    write(&path, &secret).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// For nobody else's eyes from the beginning on.
fn write(path: &Path, secret: &Secret) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = fs::File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{}", secret.reveal())
}

/// The token that `flotilla up` has left in its folder, where the gateway is on this machine; `None` where there is none.
pub(crate) fn left_by_up(data: &Path, url: &str) -> anyhow::Result<Option<Secret>> {
    if is_loopback(url) {
        read(&file(data))
    } else {
        Ok(None)
    }
}

fn read(path: &Path) -> anyhow::Result<Option<Secret>> {
    match fs::read_to_string(path) {
        Ok(text) => parse(&text, &path.display().to_string()).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(anyhow!(
            "cannot read the token in {}: {error}",
            path.display()
        )),
    }
}

/// A token that people gave, and where.
pub(crate) fn parse(text: &str, from: &str) -> anyhow::Result<Secret> {
    text.trim()
        .parse()
        .map_err(|error| anyhow!("{from}: {error}"))
}

fn is_loopback(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_token_of_up_is_for_its_owner_and_for_gateways_on_this_machine() {
        let data = tempfile::tempdir().unwrap();
        let here = "http://127.0.0.1:8080";
        assert_eq!(left_by_up(data.path(), here).unwrap(), None);
        let secret = tokens::secret().unwrap();
        let path = data.path().join(FILE);
        fs::write(&path, "an old one, for all to read").unwrap();
        write(&path, &secret).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for url in [here, "http://localhost:1", "https://[::1]:1/"] {
            let left = left_by_up(data.path(), url).unwrap();
            assert_eq!(left.as_ref(), Some(&secret), "{url}");
        }
        for url in ["http://10.0.0.1:8080", "http://localhost.example", "x"] {
            assert_eq!(left_by_up(data.path(), url).unwrap(), None, "{url}");
        }
    }
}
