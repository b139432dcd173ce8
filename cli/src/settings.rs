//! Settings: flags win over environment variables, these over the TOML file, these over the defaults. All three have the same
//! names: `--nats-url`, `FLOTILLA_NATS_URL`, `nats_url`.

mod access;
mod claude;
mod environment;
mod file;
mod variables;

use std::{
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use flotilla_common::units::{ByteSize, Span};
use serde::Deserialize;

#[cfg(test)]
pub(crate) use variables::WITHOUT_FLAG;
pub(crate) use variables::unknown;

/// Settings as given; `None` is "not given".
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[command(next_help_heading = "Settings")]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Settings file in TOML [default: flotilla.toml, if there is one]
    #[arg(long, env = "FLOTILLA_CONFIG", global = true)]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// NATS [default: nats://127.0.0.1:4222; `up` starts one]
    #[arg(long, env = "FLOTILLA_NATS_URL", global = true, hide_env_values = true)]
    pub(crate) nats_url: Option<String>,
    /// Redis [default: redis://127.0.0.1:6379; `up` starts one]
    #[arg(
        long,
        env = "FLOTILLA_REDIS_URL",
        global = true,
        hide_env_values = true
    )]
    pub(crate) redis_url: Option<String>,
    /// Servers of a NATS cluster that keep each stream: 1, 3 or 5; for streams that are made, not for those that are there [default: 1]
    #[arg(long, env = "FLOTILLA_REPLICAS", global = true)]
    pub(crate) replicas: Option<usize>,
    /// Where HTTP is served [default: 127.0.0.1:8080; planners and executors alone serve none unless told]
    #[arg(long, env = "FLOTILLA_HTTP", global = true)]
    pub(crate) http: Option<SocketAddr>,
    /// Folder of workflows and tools [default: ./workflows]
    #[arg(long, env = "FLOTILLA_WORKFLOWS", global = true)]
    pub(crate) workflows: Option<PathBuf>,
    /// Folder for the data of what `up` starts [default: ./.flotilla]
    #[arg(long, env = "FLOTILLA_DATA", global = true)]
    pub(crate) data: Option<PathBuf>,
    /// Table of models and prices in TOML [default: built in]
    #[arg(long, env = "FLOTILLA_MODELS", global = true)]
    pub(crate) models: Option<PathBuf>,
    /// How long a worker may be silent before its work is handed to another one; the whole fleet must agree [default: 30s]
    #[arg(long, env = "FLOTILLA_ACK_WAIT", global = true)]
    pub(crate) ack_wait: Option<Span>,
    /// How long a shutdown waits for work in hand [default: 25s]
    #[arg(long, env = "FLOTILLA_DRAIN", global = true)]
    pub(crate) drain: Option<Span>,
    /// Work in hand at once in this process [default: gateway 256, planner 4096, executor: its tools' concurrency]
    #[arg(long, env = "FLOTILLA_SLOTS", global = true)]
    pub(crate) slots: Option<usize>,
    /// Largest event that a gateway takes over HTTP, 64MiB at most [default: 1MiB]
    #[arg(long, env = "FLOTILLA_EVENT_BYTES_MAX", global = true)]
    pub(crate) event_bytes_max: Option<ByteSize>,
    /// Events that may wait for their runs; from nine tenths of it on, gateways answer 503 [default: 250000]
    #[arg(long, env = "FLOTILLA_PENDING_MAX", global = true)]
    pub(crate) pending_max: Option<u64>,
    /// How long blobs stay after the end of their run [default: 30d]
    #[arg(long, env = "FLOTILLA_BLOBS_KEEP", global = true)]
    pub(crate) blobs_keep: Option<Span>,
    /// Who may watch runs live by one gateway at once [default: 4000]
    #[arg(long, env = "FLOTILLA_WATCHERS_MAX", global = true)]
    pub(crate) watchers_max: Option<usize>,
    /// Longest single Claude call [default: 10m]
    #[arg(long, env = "FLOTILLA_CALL_TIMEOUT", global = true)]
    pub(crate) call_timeout: Option<Span>,
    /// How long a step's Claude call is tried before the step escalates or the run waits [default: 15m]
    #[arg(long, env = "FLOTILLA_CALL_PATIENCE", global = true)]
    pub(crate) call_patience: Option<Span>,
    /// First pause of a run that waits because Claude does not answer; later ones are longer [default: 30s]
    #[arg(long, env = "FLOTILLA_PARK_PAUSE", global = true)]
    pub(crate) park_pause: Option<Span>,
    /// How long questions are collected before they are sent as one batch [default: 2s]
    #[arg(long, env = "FLOTILLA_BATCH_LINGER", global = true)]
    pub(crate) batch_linger: Option<Span>,
    /// Questions of one batch, at most [default: 1000]
    #[arg(long, env = "FLOTILLA_BATCH_ITEMS", global = true)]
    pub(crate) batch_items: Option<usize>,
    /// First pause before a batch is looked at; later ones are longer [default: 5s]
    #[arg(long, env = "FLOTILLA_BATCH_LOOK", global = true)]
    pub(crate) batch_look: Option<Span>,
    /// Longest time that creating a batch may take; the whole fleet must agree [default: 2m]
    #[arg(long, env = "FLOTILLA_BATCH_CREATE_TIMEOUT", global = true)]
    pub(crate) batch_create_timeout: Option<Span>,
    /// Longest time until a Claude call's answer begins to stream [default: 2m]
    #[arg(long, env = "FLOTILLA_FIRST_BYTE_TIMEOUT", global = true)]
    pub(crate) first_byte_timeout: Option<Span>,
    /// Whether Claude's answers are streamed: `true` or `false` [default: true]
    #[arg(long, env = "FLOTILLA_CLAUDE_STREAM", global = true)]
    pub(crate) claude_stream: Option<bool>,
    /// Whether Claude's prompt cache is used: `true` or `false`, for a server that refuses `cache_control` [default: true]
    #[arg(long, env = "FLOTILLA_CLAUDE_CACHE", global = true)]
    pub(crate) claude_cache: Option<bool>,
    /// Where Claude is [default: https://api.anthropic.com; `up` starts a simulated one when there is no key]
    #[arg(long, env = "ANTHROPIC_BASE_URL", global = true)]
    pub(crate) anthropic_base_url: Option<String>,
    /// Where a simulated Claude is, asked when there is no key: for trying things out
    #[arg(long, env = "FLOTILLA_SIM_URL", global = true)]
    pub(crate) sim_url: Option<String>,
    /// File with the Claude key; the key itself only as ANTHROPIC_API_KEY
    #[arg(long, env = "ANTHROPIC_API_KEY_FILE", global = true)]
    pub(crate) anthropic_api_key_file: Option<PathBuf>,
    /// Log lines as `text` or `json` [default: text on a terminal, else json]
    #[arg(long, env = "FLOTILLA_LOG", global = true)]
    pub(crate) log: Option<LogKind>,
    /// Whether requests must show a token: `tokens`, or `off`, on loopback alone [default: tokens]
    #[arg(long, env = "FLOTILLA_AUTH", global = true)]
    pub(crate) auth: Option<AuthKind>,
    /// File with the certificate, in PEM, that a gateway shows; with `--tls-key` it speaks TLS [default: none]
    #[arg(long, env = "FLOTILLA_TLS_CERT", global = true)]
    pub(crate) tls_cert: Option<PathBuf>,
    /// File with the certificate's private key, in PEM
    #[arg(long, env = "FLOTILLA_TLS_KEY", global = true)]
    pub(crate) tls_key: Option<PathBuf>,
    /// File with certificates, in PEM, that commands trust besides the system's when the gateway shows them
    #[arg(long, env = "FLOTILLA_CA", global = true)]
    pub(crate) ca: Option<PathBuf>,
    /// File with the token that commands show the gateway; the token itself only as FLOTILLA_TOKEN [env: FLOTILLA_TOKEN_FILE] [default:
    /// what `up` left in <data>/token, for a gateway on this machine]
    #[arg(long, global = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// Where `submit`, `runs`, `show` find the gateway [default: http://<http>]
    #[arg(long, env = "FLOTILLA_URL", global = true)]
    pub(crate) url: Option<String>,
    /// Set when Claude is simulated: it takes any key.
    #[arg(skip)]
    #[serde(skip)]
    pub(crate) simulated: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogKind {
    Text,
    Json,
}

/// Whether requests must show a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthKind {
    Tokens,
    Off,
}

const CONFIG_FILE: &str = "flotilla.toml";
/// The token that commands show, and the file that has it.
const TOKEN: &str = "FLOTILLA_TOKEN";
const TOKEN_FILE: &str = "FLOTILLA_TOKEN_FILE";
/// Files with addresses that have a password in them.
const NATS_URL_FILE: &str = "FLOTILLA_NATS_URL_FILE";
const REDIS_URL_FILE: &str = "FLOTILLA_REDIS_URL_FILE";
const NATS_URL: &str = "nats://127.0.0.1:4222";
const REDIS_URL: &str = "redis://127.0.0.1:6379";
/// A gateway holds an event's JSON in memory, several times as large.
const EVENT_BYTES_MAX: usize = 64 << 20;
const EVENT_BYTES: usize = 1 << 20;
const PENDING_MAX: u64 = 250_000;
const BLOBS_KEEP: Duration = Duration::from_secs(30 * 86_400);
const WATCHERS_MAX: usize = 4_000;
const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

macro_rules! fill {
    ($to:ident from $from:ident: $($field:ident),+) => { $( $to.$field = $to.$field.or($from.$field); )+ };
}

impl Settings {
    /// Adds what the TOML file and the `…_FILE` variables say.
    ///
    /// # Errors
    /// An unreadable or wrong file, with line and column.
    pub(crate) fn complete(self) -> anyhow::Result<Self> {
        self.completed(|variable| std::env::var_os(variable))
    }

    /// The same with such `…_FILE` variables of NATS and Redis.
    fn completed(mut self, file_of: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<Self> {
        // A flag wins over the token itself, and that over every other file.
        if self.token_file.is_none() && secret(TOKEN).is_none() {
            self.token_file = std::env::var_os(TOKEN_FILE).map(PathBuf::from);
        }
        for (setting, variable) in [
            (&mut self.nats_url, NATS_URL_FILE),
            (&mut self.redis_url, REDIS_URL_FILE),
        ] {
            if let Some(file) = file_of(variable).filter(|_| setting.is_none()) {
                *setting = Some(read_secret(Path::new(&file))?);
            }
        }
        // What is still open then: variables win over it.
        if let Some(path) = self.file() {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let file: Self = toml::from_str(&text)
                .map_err(|e| anyhow!("{}, {}", path.display(), file::wrong(&text, &e)))?;
            if secret(TOKEN).is_none() {
                fill!(self from file: token_file);
            }
            fill!(self from file: auth, tls_cert, tls_key, ca, nats_url, redis_url, replicas, http, workflows, data, models, ack_wait, drain, slots, event_bytes_max, pending_max, blobs_keep, watchers_max, call_timeout,
                call_patience, park_pause, batch_linger, batch_items, batch_look, batch_create_timeout, first_byte_timeout, claude_stream, claude_cache, anthropic_base_url, sim_url, anthropic_api_key_file, log, url);
        }
        self.simulate()?;
        if self.slots == Some(0) {
            bail!("FLOTILLA_SLOTS must be at least 1");
        }
        if !(1..=100_000).contains(&self.batch().items_max) {
            bail!(
                "FLOTILLA_BATCH_ITEMS must be from 1 to 100000, which is what the provider takes"
            );
        }
        if self.ack_wait().as_millis() < 500 {
            bail!(
                "FLOTILLA_ACK_WAIT must be at least 500ms: workers tell that they live every third of it"
            );
        }
        if self.park_pause().as_secs() < 1 {
            bail!(
                "FLOTILLA_PARK_PAUSE must be at least 1s: a parked run looks again so soon, again and again"
            );
        }
        Ok(self)
    }

    /// The settings file: the one that is named, or that is in this folder.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let here = || Some(PathBuf::from(CONFIG_FILE)).filter(|path| path.exists());
        self.config.clone().or_else(here)
    }

    pub(crate) fn nats_url(&self) -> &str {
        self.nats_url.as_deref().unwrap_or(NATS_URL)
    }

    pub(crate) fn redis_url(&self) -> &str {
        self.redis_url.as_deref().unwrap_or(REDIS_URL)
    }

    /// How many servers keep a stream.
    ///
    /// # Errors
    /// A number that JetStream does not take.
    pub(crate) fn replicas(&self) -> anyhow::Result<usize> {
        let replicas = self.replicas.unwrap_or(1);
        if ![1, 3, 5].contains(&replicas) {
            bail!(
                "FLOTILLA_REPLICAS must be 1, 3 or 5: the servers of a NATS cluster that keep a stream, an odd number"
            );
        }
        Ok(replicas)
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.http.unwrap_or(HTTP)
    }

    pub(crate) fn workflows(&self) -> PathBuf {
        self.workflows.clone().unwrap_or_else(|| "workflows".into())
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| ".flotilla".into())
    }

    pub(crate) fn ack_wait(&self) -> Duration {
        self.ack_wait.map_or(Duration::from_secs(30), |span| span.0)
    }

    pub(crate) fn drain(&self) -> Duration {
        self.drain.map_or(Duration::from_secs(25), |span| span.0)
    }

    /// Largest event over HTTP, in bytes.
    ///
    /// # Errors
    /// It is more than a gateway can hold.
    pub(crate) fn event_bytes_max(&self) -> anyhow::Result<usize> {
        let bytes = self.event_bytes_max.map_or(EVENT_BYTES, |size| size.0);
        if !(1..=EVENT_BYTES_MAX).contains(&bytes) {
            bail!("FLOTILLA_EVENT_BYTES_MAX must be from 1B to 64MiB");
        }
        Ok(bytes)
    }

    pub(crate) fn pending_max(&self) -> u64 {
        self.pending_max.unwrap_or(PENDING_MAX)
    }

    pub(crate) fn blobs_keep(&self) -> Duration {
        self.blobs_keep.map_or(BLOBS_KEEP, |span| span.0)
    }

    pub(crate) fn watchers_max(&self) -> usize {
        self.watchers_max.unwrap_or(WATCHERS_MAX)
    }

    /// Where the gateway is, for commands that talk to it.
    pub(crate) fn url(&self) -> String {
        self.url.clone().unwrap_or_else(|| self.url_at(self.http()))
    }
}

/// A secret of the environment; blank is none.
fn secret(variable: &str) -> Option<String> {
    let text = std::env::var(variable).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn read_secret(file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read the secret file {}", file.display()))?;
    let text = text.trim();
    if text.is_empty() {
        bail!("the secret file {} is empty", file.display());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
