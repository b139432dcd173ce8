//! Something that greets like a nats-server of any version, and can do no more than that.

use std::net::Ipv4Addr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A listener that says it is a nats-server of some version, and answers PING. Dropped, it is gone.
#[derive(Debug)]
pub struct FakeNats {
    port: u16,
    listener: JoinHandle<()>,
}

impl FakeNats {
    /// Starts one, of the given version: `2.9.10`.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start(version: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("listen");
        let port = listener.local_addr().expect("it is bound").port();
        let greeting = format!(
            "INFO {{\"server_id\":\"FAKE\",\"server_name\":\"fake\",\"version\":\"{version}\",\"proto\":1,\
             \"host\":\"127.0.0.1\",\"port\":{port},\"headers\":true,\"jetstream\":true,\"max_payload\":1048576}}\r\n"
        );
        let listener = tokio::spawn(async move {
            let mut guests = JoinSet::new();
            while let Ok((guest, _)) = listener.accept().await {
                guests.spawn(greet(guest, greeting.clone()));
            }
        });
        Self { port, listener }
    }

    /// `nats://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl Drop for FakeNats {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn greet(mut guest: TcpStream, greeting: String) {
    let (from, mut to) = guest.split();
    let mut lines = BufReader::new(from).lines();
    if to.write_all(greeting.as_bytes()).await.is_err() {
        return;
    }
    while let Ok(Some(line)) = lines.next_line().await {
        if line.starts_with("PING") && to.write_all(b"PONG\r\n").await.is_err() {
            return;
        }
    }
}
