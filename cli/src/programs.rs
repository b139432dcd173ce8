//! How the programs are called that stand beside a fleet: `up`, `bench` and `chaos` start them alike.

use std::{ffi::OsString, net::SocketAddr, path::Path};

use flotilla_common::units::Span;

/// Arguments of a nats-server there, with its streams in this folder.
pub(crate) fn nats(address: SocketAddr, store: &Path) -> Vec<OsString> {
    let port = address.port().to_string();
    let args = ["-js", "-a", "127.0.0.1", "-p", &port, "-sd"].map(OsString::from);
    args.into_iter().chain([store.into()]).collect()
}

/// Arguments of a redis-server there, with its log in this folder.
pub(crate) fn redis(address: SocketAddr, folder: &Path) -> Vec<OsString> {
    let port = address.port().to_string();
    let args = [
        "--bind",
        "127.0.0.1",
        "--port",
        &port,
        "--appendonly",
        "yes",
        "--save",
        "",
        "--maxmemory-policy",
        "noeviction",
        "--dir",
    ];
    let args = args.map(OsString::from).into_iter();
    args.chain([folder.into()]).collect()
}

/// Arguments of a simulated Claude there.
pub(crate) fn sim(
    address: SocketAddr,
    data: &Path,
    policies: &Path,
    latency: Span,
) -> Vec<OsString> {
    vec![
        "sim".into(),
        "--http".into(),
        address.to_string().into(),
        "--policies".into(),
        policies.into(),
        "--latency".into(),
        latency.to_string().into(),
        "--ledger".into(),
        data.join("claude-ledger.jsonl").into(),
    ]
}
