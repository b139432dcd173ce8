//! What a request takes from its answer, who it says it is, and answers that come compressed.

use std::{fs, path::Path, process::Command};

use flotilla_tests::{PATIENCE, Process, eventually, free_port};
use serde_json::json;

use crate::{
    server::Server,
    trial::{Result, Trial},
};

fn get(url: &str, more: &str) -> String {
    format!("timeout: 20s\nhttp: {{url: '{url}', {more}}}")
}

#[tokio::test]
async fn a_pointer_takes_its_part_of_the_answer() -> Result<()> {
    let server = Server::start().await?;
    let url = server.url("/problem");
    let ended = Trial::new(&get(&url, "result: /a"))?.run(json!({})).await?;
    assert_eq!(ended.output, json!({"status": 200, "body": 1}));
    let ended = Trial::new(&get(&url, "result: /b/c"))?
        .run(json!({}))
        .await?;
    assert_eq!(ended.kind, "reply");
    assert!(
        ended.message.ends_with("nothing at `/b/c`"),
        "{}",
        ended.message
    );
    assert_eq!(ended.output["body"], json!({"a": 1}));
    Ok(())
}

#[tokio::test]
async fn only_the_statuses_that_are_expected_are_no_failure() -> Result<()> {
    let server = Server::start().await?;
    for (status, expect, kind) in [
        (404, "[200, 404]", "ok"),
        (204, "[2xx]", "ok"),
        (200, "[201]", "status"),
        (500, "[2xx, 404]", "status"),
        (409, "['4xx']", "ok"),
    ] {
        let url = server.url(&format!("/status/{status}"));
        let ended = Trial::new(&get(&url, &format!("expect: {expect}")))?;
        let ended = ended.run(json!({})).await?;
        assert_eq!(
            (ended.kind.as_str(), &ended.output["status"]),
            (kind, &json!(status)),
            "{expect}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_bearer_token_comes_from_where_its_reference_says_and_is_never_told() -> Result<()> {
    let server = Server::start().await?;
    let url = server.url("/echo");
    let lines = get(&url, "auth: {bearer: 'env:API_TOKEN'}");
    let ended = Trial::with_env(&lines, &[("API_TOKEN", "first-token")])?;
    let ended = ended.run(json!({})).await?;
    assert_eq!(
        server.last()?.headers["authorization"],
        "Bearer first-token"
    );
    let told = &ended.output["body"]["headers"]["authorization"];
    assert_eq!(told, "Bearer [redacted:API_TOKEN]");
    assert_eq!(Trial::new(&lines)?.run(json!({})).await?.kind, "config");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("token");
    let lines = get(
        &url,
        &format!("auth: {{bearer: 'file:{}'}}", file.display()),
    );
    let trial = Trial::new(&lines)?;
    assert_eq!(trial.run(json!({})).await?.kind, "config");
    for token in ["second-token", "third-token"] {
        fs::write(&file, format!("{token}\n"))?;
        let ended = trial.run(json!({})).await?;
        assert_eq!(
            server.last()?.headers["authorization"],
            format!("Bearer {token}")
        );
        assert!(
            !ended.output.to_string().contains(token),
            "{}",
            ended.output
        );
    }
    fs::write(&file, "two\nlines")?;
    assert_eq!(trial.run(json!({})).await?.kind, "config");
    Ok(())
}

#[tokio::test]
async fn a_compressed_answer_is_unpacked_up_to_the_limit() -> Result<()> {
    let server = Server::start().await?;
    let run = async |path: &str| {
        Trial::new(&get(&server.url(path), ""))?
            .run(json!({}))
            .await
    };
    let ended = run("/gzip").await?;
    assert_eq!(ended.output["body"], json!({"packed": true}));
    assert_eq!(server.last()?.headers["accept-encoding"], "gzip");
    // 64 MiB of zeros in less than 64 KiB.
    let ended = run("/gzip-bomb").await?;
    assert_eq!(
        (ended.kind.as_str(), &ended.output["truncated"]),
        ("ok", &json!(true))
    );
    assert!(ended.output.to_string().len() < 70_000);
    let ended = run("/gzip-broken").await?;
    assert_eq!(ended.kind, "reply", "{}", ended.message);
    Ok(())
}

/// What the server answers: the name on the certificate of who asks.
const TLS_SERVER: &str = r#"
import http.server, json, ssl, sys
folder = sys.argv[1]
class Asked(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        who = dict(field[0] for field in self.connection.getpeercert()["subject"])
        body = json.dumps(who).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{folder}/server.pem", f"{folder}/server.key")
context.load_verify_locations(f"{folder}/ca.pem")
context.verify_mode = ssl.CERT_REQUIRED
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Asked)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

/// An authority and two certificates by it, in a folder.
const CERTIFICATES: &str = r#"
set -eu
cd "$1"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=authority -days 2
for who in server client; do
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $who.key -out $who.csr -subj /CN=$who
    printf 'subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' >ext
    openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $who.pem -days 2 -extfile ext
done
"#;

#[tokio::test]
async fn a_tool_has_an_authority_and_a_certificate_of_its_own() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let made = Command::new("sh")
        .args(["-c", CERTIFICATES, "sh"])
        .arg(folder.path())
        .output()?;
    assert!(
        made.status.success(),
        "openssl: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    let port = free_port();
    let log = folder.path().join("log");
    let at = folder.path().display().to_string();
    let args = ["-c", TLS_SERVER, &at, &port.to_string()];
    let _server = Process::start("tls", Path::new("python3"), &args, &[], &log);
    let listens = || async {
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .map(drop)
    };
    eventually("the server listens", PATIENCE, listens).await;
    let url = format!("https://127.0.0.1:{port}/");
    let file = |name: &str| format!("'file:{at}/{name}'");
    let own = format!("cert: {}, key: {}", file("client.pem"), file("client.key"));
    let tls = format!("tls: {{ca: {}, {own}}}", file("ca.pem"));
    let ended = Trial::new(&get(&url, &tls))?.run(json!({})).await?;
    assert_eq!(ended.kind, "ok", "{}", ended.message);
    assert_eq!(ended.output["body"], json!({"commonName": "client"}));
    // Without its certificate it is sent away, and without the authority it believes nobody.
    let alone = format!("tls: {{ca: {}}}", file("ca.pem"));
    assert_ne!(
        Trial::new(&get(&url, &alone))?.run(json!({})).await?.kind,
        "ok"
    );
    let ended = Trial::new(&get(&url, &format!("tls: {{{own}}}")))?
        .run(json!({}))
        .await?;
    assert_eq!(ended.kind, "connect", "{}", ended.message);
    let missing = format!("tls: {{ca: {}}}", file("nowhere.pem"));
    let ended = Trial::new(&get(&url, &missing))?.run(json!({})).await?;
    assert_eq!(ended.kind, "config");
    let wrong = format!("tls: {{ca: {}}}", file("client.key"));
    let ended = Trial::new(&get(&url, &wrong))?.run(json!({})).await?;
    assert_eq!(ended.kind, "config", "{}", ended.message);
    Ok(())
}

#[tokio::test]
async fn a_redirect_that_is_expected_is_an_answer_and_not_followed() -> Result<()> {
    let (server, other) = (Server::start().await?, Server::start().await?);
    let url = server.url(&format!("/to?{}", other.url("/echo")));
    let trial = Trial::new(&get(&url, "expect: [307]"))?;
    let ended = trial.run(json!({})).await?;
    assert_eq!(ended.output, json!({"status": 307, "body": "elsewhere"}));
    assert!(other.seen().is_empty());
    Ok(())
}
