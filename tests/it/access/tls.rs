//! The gateway by TLS.

use std::{fs, path::PathBuf};

use flotilla_tests::{Fleet, PATIENCE, Process, eventually, flotilla, free_port, run_flotilla};
use reqwest::{Certificate, Client, Version};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{asking, token_in};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("it/access/tls")
        .join(name)
}

fn trusting(name: &str) -> Client {
    let certificate = Certificate::from_pem(&fs::read(file(name)).unwrap()).unwrap();
    Client::builder()
        .no_proxy()
        .tls_certs_only([certificate])
        .timeout(PATIENCE)
        .build()
        .unwrap()
}

/// A gateway of this fleet that shows the certificate in these files.
fn gateway(fleet: &Fleet, http: &str, certificate: &str, key: &str) -> Process {
    let env = [
        ("FLOTILLA_NATS_URL", fleet.nats.url()),
        ("FLOTILLA_REDIS_URL", fleet.redis.url()),
        (
            "FLOTILLA_WORKFLOWS",
            fleet.workflows().folder().display().to_string(),
        ),
        ("FLOTILLA_ACK_WAIT", "2s".to_owned()),
        ("FLOTILLA_HTTP", http.to_owned()),
        ("FLOTILLA_TLS_CERT", certificate.to_owned()),
        ("FLOTILLA_TLS_KEY", key.to_owned()),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value));
    Process::start(
        "secured",
        flotilla(),
        &["gateway"],
        &env,
        &fleet.folder().join("secured.log"),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_speaks_tls_and_shows_a_new_certificate_when_there_is_one() {
    let fleet = asking().start().await;
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    let put = |name: &str| {
        fs::copy(file(&format!("{name}.key")), &key).unwrap();
        fs::copy(file(&format!("{name}.pem")), &certificate).unwrap();
    };
    put("one");
    let http = format!("127.0.0.1:{}", free_port());
    let gateway = gateway(
        &fleet,
        &http,
        certificate.to_str().unwrap(),
        key.to_str().unwrap(),
    );
    let url = format!("https://{http}");
    let ready = async |client: &Client| {
        let answer = client.get(format!("{url}/readyz")).send().await;
        answer
            .map(|answer| (answer.status().as_u16(), answer.version()))
            .map_err(|error| format!("{error:?}"))
    };
    let one = trusting("one.pem");
    let seen = eventually("it answers by TLS", PATIENCE, async || ready(&one).await).await;
    assert_eq!(seen, (200, Version::HTTP_2));
    // Whoever says nothing, or no TLS, keeps nobody waiting.
    let silent = TcpStream::connect(&http).await.unwrap();
    let mut plain = TcpStream::connect(&http).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(ready(&trusting("one.pem")).await.unwrap().0, 200);
    assert!(
        ready(&trusting("other.pem")).await.is_err(),
        "another certificate is trusted"
    );
    drop(silent);
    let ca = file("one.pem");
    let token = token_in(&fs::read_to_string(fleet.folder().join("gateway.log")).unwrap());
    let env = [
        ("FLOTILLA_CA", ca.to_str().unwrap()),
        ("FLOTILLA_TOKEN", &token),
    ];
    let runs = run_flotilla(&["runs", "--url", &url], &env, PATIENCE).await;
    assert!(runs.status.success(), "{}", runs.output);
    let untrusting = run_flotilla(&["runs", "--url", &url], &env[1..], PATIENCE).await;
    assert!(!untrusting.status.success(), "{}", untrusting.output);
    put("other");
    let pid = Pid::from_raw(gateway.pid().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let seen = eventually("it shows the other one", PATIENCE, async || {
        ready(&trusting("other.pem")).await
    })
    .await;
    assert_eq!(seen.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_cannot_be_used_stops_the_start() {
    let fleet = asking().start().await;
    let http = format!("127.0.0.1:{}", free_port());
    let (one, other) = (file("one.pem"), file("other.key"));
    let (one, other) = (one.to_str().unwrap(), other.to_str().unwrap());
    for (certificate, key, word) in [
        (one, other, "FLOTILLA_TLS_KEY"),
        (one, one, "no private key"),
        (other, other, "no certificate"),
        ("/nowhere", other, "/nowhere"),
    ] {
        let mut refused = gateway(&fleet, &http, certificate, key);
        let status = refused.wait_exit(PATIENCE).await;
        assert!(
            !status.success() && refused.log().contains(word),
            "{word}: {}",
            refused.log()
        );
        fs::remove_file(fleet.folder().join("secured.log")).unwrap();
    }
}
