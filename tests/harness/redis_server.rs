//! A redis-server on its own port. It keeps nothing on disk unless told to: losing it must cost nothing.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult};
use tempfile::TempDir;

use crate::process::Process;
use crate::server::{Server, program};

/// A running (or killed) redis-server.
pub struct Redis {
    server: Server,
    /// The log, and what it stores if told to
    _folder: TempDir,
}

impl Redis {
    /// Starts one, and waits until it answers a PING.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with more settings, as on its command line: `["--appendonly", "yes"]`, say.
    ///
    /// # Panics
    /// When it does not start, with its log.
    pub async fn start_with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let root = folder.path().to_owned();
        let settings: Vec<_> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let start = move |port: u16| {
            let port = port.to_string();
            let mut args = vec![
                "--bind",
                "127.0.0.1",
                "--port",
                &port,
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
            ];
            args.push(root.to_str().expect("a scratch folder has a plain name"));
            args.extend(settings.iter().map(String::as_str));
            let log = root.join("redis.log");
            Process::start("redis-server", &program("redis-server"), &args, &[], &log)
        };
        let server = Server::start("redis-server", Box::new(start), |port| {
            Box::pin(answers(port))
        })
        .await;
        Self {
            server,
            _folder: folder,
        }
    }

    /// `redis://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// Its port: the same for life.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// SIGKILL: what a crash is like.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// SIGTERM, and waits for its end.
    pub async fn stop(&mut self) {
        self.server.stop().await;
    }

    /// Starts it again on the same port; kills it first if it runs.
    pub async fn restart(&mut self) {
        self.server.restart().await;
    }

    /// A connection of the test's own.
    ///
    /// # Panics
    /// When it cannot connect.
    pub async fn connection(&self) -> MultiplexedConnection {
        connect(self.port()).await.expect("connect to redis-server")
    }

    /// FLUSHALL: everything it knew is gone.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn flush(&self) {
        let mut redis = self.connection().await;
        redis::cmd("FLUSHALL")
            .exec_async(&mut redis)
            .await
            .expect("FLUSHALL");
    }

    /// The keys that match a glob, as KEYS has it. A test's Redis is small.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn keys(&self, pattern: &str) -> Vec<String> {
        let mut redis = self.connection().await;
        redis::cmd("KEYS")
            .arg(pattern)
            .query_async(&mut redis)
            .await
            .expect("KEYS")
    }

    /// A field of a hash, if there.
    ///
    /// # Panics
    /// When it does not answer, or the key is no hash.
    pub async fn field(&self, key: &str, field: &str) -> Option<String> {
        let mut redis = self.connection().await;
        redis::cmd("HGET")
            .arg(key)
            .arg(field)
            .query_async(&mut redis)
            .await
            .expect("HGET")
    }
}

async fn connect(port: u16) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(5)))
        .set_response_timeout(Some(Duration::from_secs(10)));
    redis::Client::open(format!("redis://127.0.0.1:{port}"))?
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

async fn answers(port: u16) -> Result<(), String> {
    let asked = async {
        let mut redis = connect(port).await?;
        redis::cmd("PING").exec_async(&mut redis).await
    };
    asked
        .await
        .map_err(|error: redis::RedisError| error.to_string())
}
