//! A nats-server with JetStream, on its own port and its own store.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::process::Process;
use crate::server::{Server, program};
use crate::wait::{PATIENCE, within};

/// The test's own connection does not wait long for a server that is restarted.
const RECONNECT_AFTER: Duration = Duration::from_millis(50);

/// A running (or killed) nats-server. Its store goes when this is dropped.
pub struct Nats {
    server: Server,
    client: OnceCell<async_nats::Client>,
    /// The configuration, the store and the log
    folder: TempDir,
}

impl Nats {
    /// Starts one, and waits until its JetStream answers.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same, with more lines for its configuration file: `max_payload: 1MB`, say.
    ///
    /// # Panics
    /// When it does not start, with its log.
    pub async fn start_with(configuration: &str) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let root = folder.path().to_owned();
        let configuration = configuration.to_owned();
        let start = move |port: u16| {
            let mut text = String::new();
            let store = root.join("store");
            writeln!(
                text,
                "host: 127.0.0.1\nport: {port}\nserver_name: test_{port}"
            )
            .unwrap();
            writeln!(
                text,
                "jetstream {{ store_dir: {store:?}, max_file_store: 4GB }}"
            )
            .unwrap();
            writeln!(text, "{configuration}").unwrap();
            let file = root.join("nats.conf");
            fs::write(&file, text).expect("write nats.conf");
            let args = ["-c".as_ref(), file.as_os_str()];
            let log = root.join("nats.log");
            Process::start("nats-server", &program("nats-server"), &args, &[], &log)
        };
        let server = Server::start("nats-server", Box::new(start), |port| {
            Box::pin(answers(port))
        })
        .await;
        Self {
            server,
            client: OnceCell::new(),
            folder,
        }
    }

    /// `nats://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port())
    }

    /// Its port: the same for life.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// The folder that it keeps everything in.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// SIGKILL: what a crash is like.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// SIGTERM, and waits for its end.
    pub async fn stop(&mut self) {
        self.server.stop().await;
    }

    /// Starts it again on the same port and store; kills it first if it runs.
    pub async fn restart(&mut self) {
        self.server.restart().await;
    }

    /// The test's own connection, which comes back after a restart.
    ///
    /// # Panics
    /// When it cannot connect.
    pub async fn client(&self) -> async_nats::Client {
        let connect = async_nats::ConnectOptions::new()
            .reconnect_delay_callback(|_| RECONNECT_AFTER)
            .connect(self.url());
        let client = Box::pin(self.client.get_or_try_init(|| connect));
        within("connect to nats-server", PATIENCE, client)
            .await
            .expect("connect to nats-server")
            .clone()
    }

    /// The same, for JetStream.
    pub async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.client().await)
    }
}

async fn answers(port: u16) -> Result<(), String> {
    let asked = async {
        let client = async_nats::ConnectOptions::new()
            .connection_timeout(Duration::from_secs(2))
            .connect(format!("127.0.0.1:{port}"))
            .await
            .map_err(|error| error.to_string())?;
        let account = jetstream::new(client).query_account().await;
        account.map(|_| ()).map_err(|error| error.to_string())
    };
    match timeout(Duration::from_secs(5), asked).await {
        Ok(answer) => answer,
        Err(_) => Err("no answer for 5 s".to_owned()),
    }
}
