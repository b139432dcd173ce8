//! Known ways of leading a request to where it must not go: each is refused, and nothing reaches the server on loopback.

use serde_json::json;

use crate::{
    server::Server,
    trial::{Result, Trial},
};

/// What a parameter says in the place of a host.
const HOSTS: [&str; 30] = [
    // Names, with and without the root's dot, in any case.
    "localhost",
    "localhost.",
    "LocalHost",
    "x.localhost",
    // Every spelling of an address: short, decimal, octal, hex, mixed.
    "127.1",
    "127.0.1",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0x7f000001",
    "0x7f.0x0.0x0.0x1",
    "127.0.0.1.",
    // Letters that become digits and dots on the way.
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "１２７.0.0.1",
    // "This host", private networks, metadata services of clouds.
    "0.0.0.0",
    "0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "100.100.100.200",
    "192.0.0.192",
    // Credentials, ports and the rest of a URL in the place of a host.
    "user@127.0.0.1",
    "user:word@127.0.0.1",
    "example.com@127.0.0.1",
    "127.0.0.1#",
    "127.0.0.1?",
    "127.0.0.1/",
    "127.0.0.1\\@example.com",
];

/// What a parameter says in the place of a whole URL, where the definition lets it; `PORT` is the server's.
const URLS: [&str; 14] = [
    "http://[::1]:PORT/",
    "http://[::]:PORT/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[::ffff:7f00:1]:PORT/",
    "http://[0:0:0:0:0:ffff:7f00:0001]:PORT/",
    "http://[::127.0.0.1]:PORT/",
    "http://[64:ff9b::127.0.0.1]:PORT/",
    "http://[2002:7f00:1::]:PORT/",
    "http://[fd00:ec2::254]/latest/meta-data",
    "http://[fe80::1]:PORT/",
    "http://example.com:80@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT\\@example.com/",
    "http:\\\\127.0.0.1:PORT/",
    "http:127.0.0.1:PORT/",
];

#[tokio::test]
async fn no_spelling_of_a_host_leads_to_a_private_address() -> Result<()> {
    let server = Server::start().await?;
    let port = server.port;
    let lines =
        |hole: &str| format!("timeout: 5s\nhttp: {{url: 'http://{{{{ {hole} }}}}:{port}/echo'}}");
    for host in HOSTS {
        for hole in ["input.a", "input.a | safe"] {
            let ended = Trial::new(&lines(hole))?.run(json!({"a": host})).await?;
            // Some are no host at all once they are escaped.
            let refused = ["refused", "input"].contains(&ended.kind.as_str());
            assert!(
                refused,
                "{host} ({hole}): {}: {}",
                ended.kind, ended.message
            );
        }
    }
    assert!(server.seen().is_empty());
    Ok(())
}

#[tokio::test]
async fn no_spelling_of_a_url_leads_to_a_private_address() -> Result<()> {
    let server = Server::start().await?;
    let lines = "timeout: 5s\nhttp: {url: '{{ input.a | safe }}'}";
    for url in URLS {
        let url = url.replace("PORT", &server.port.to_string());
        let ended = Trial::new(lines)?.run(json!({"a": url})).await?;
        let refused = ["refused", "input"].contains(&ended.kind.as_str());
        assert!(refused, "{url}: {}: {}", ended.kind, ended.message);
    }
    assert!(server.seen().is_empty());
    Ok(())
}

#[tokio::test]
async fn no_redirect_leads_to_a_private_address_by_another_name() -> Result<()> {
    let (server, inside) = (Server::start().await?, Server::start().await?);
    for host in [
        "localhost",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "127.0.0.1",
    ] {
        let to = format!("http://{host}:{}/echo", inside.port);
        let lines = format!("http: {{url: '{}'}}", server.url(&format!("/to?{to}")));
        let ended = Trial::new(&lines)?.run(json!({})).await?;
        assert_eq!(ended.kind, "redirect", "{to}: {}", ended.message);
    }
    assert!(inside.seen().is_empty());
    Ok(())
}
