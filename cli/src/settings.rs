//! Settings: flags win over environment variables, these over the TOML file, these over the defaults. All three have the same
//! names: `--nats-url`, `FLOTILLA_NATS_URL`, `nats_url`.

use std::{
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use flotilla_common::units::{ByteSize, Span};
use flotilla_planner::{BatchConfig, ClaudeConfig, Key};
use serde::Deserialize;

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
    /// How long blobs stay after the end of their run [default: 30d]
    #[arg(long, env = "FLOTILLA_BLOBS_KEEP", global = true)]
    pub(crate) blobs_keep: Option<Span>,
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
    /// File with the Claude key; the key itself only as ANTHROPIC_API_KEY
    #[arg(long, env = "ANTHROPIC_API_KEY_FILE", global = true)]
    pub(crate) anthropic_api_key_file: Option<PathBuf>,
    /// Log lines as `text` or `json` [default: text on a terminal, else json]
    #[arg(long, env = "FLOTILLA_LOG", global = true)]
    pub(crate) log: Option<LogKind>,
    /// Where `submit`, `runs`, `show` find the gateway [default: http://<http>]
    #[arg(long, env = "FLOTILLA_URL", global = true)]
    pub(crate) url: Option<String>,
    /// Set by `up` when Claude is simulated: it takes any key.
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

const CONFIG_FILE: &str = "flotilla.toml";
const NATS_URL: &str = "nats://127.0.0.1:4222";
const REDIS_URL: &str = "redis://127.0.0.1:6379";
/// A gateway holds an event's JSON in memory, several times as large.
const EVENT_BYTES_MAX: usize = 64 << 20;
const EVENT_BYTES: usize = 1 << 20;
const BLOBS_KEEP: Duration = Duration::from_secs(30 * 86_400);
const PARK_PAUSE: Duration = Duration::from_secs(30);
const BASE_URL: &str = "https://api.anthropic.com";
const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

macro_rules! fill {
    ($to:ident from $from:ident: $($field:ident),+) => { $( $to.$field = $to.$field.or($from.$field); )+ };
}

impl Settings {
    /// Adds what the TOML file and the `…_FILE` variables say.
    ///
    /// # Errors
    /// An unreadable or wrong file, with line and column.
    pub(crate) fn complete(mut self) -> anyhow::Result<Self> {
        let path = match &self.config {
            Some(path) => Some(path.clone()),
            None => Some(PathBuf::from(CONFIG_FILE)).filter(|path| path.exists()),
        };
        if let Some(path) = path {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let file: Self =
                toml::from_str(&text).map_err(|e| anyhow!("{}: {e}", path.display()))?;
            fill!(self from file: nats_url, redis_url, http, workflows, data, models, ack_wait, drain, slots, event_bytes_max, blobs_keep, call_timeout,
                call_patience, park_pause, batch_linger, batch_items, batch_look, batch_create_timeout, first_byte_timeout, claude_stream, claude_cache, anthropic_base_url, anthropic_api_key_file, log, url);
        }
        for (setting, variable) in [
            (&mut self.nats_url, "FLOTILLA_NATS_URL"),
            (&mut self.redis_url, "FLOTILLA_REDIS_URL"),
        ] {
            let file = std::env::var_os(format!("{variable}_FILE")).filter(|_| setting.is_none());
            if let Some(file) = file {
                *setting = Some(read_secret(Path::new(&file))?);
            }
        }
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

    /// The settings as variables, for a process of ours that is to have the same ones.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        fn shown<T: std::fmt::Display>(value: Option<&T>) -> Option<OsString> {
            value.map(|value| value.to_string().into())
        }
        let path = |path: Option<&PathBuf>| path.map(|path| path.clone().into_os_string());
        let log = self.log.map(|log| match log {
            LogKind::Text => OsString::from("text"),
            LogKind::Json => OsString::from("json"),
        });
        let all = [
            ("FLOTILLA_CONFIG", path(self.config.as_ref())),
            ("FLOTILLA_NATS_URL", shown(self.nats_url.as_ref())),
            ("FLOTILLA_REDIS_URL", shown(self.redis_url.as_ref())),
            ("FLOTILLA_HTTP", shown(self.http.as_ref())),
            ("FLOTILLA_WORKFLOWS", path(self.workflows.as_ref())),
            ("FLOTILLA_DATA", path(self.data.as_ref())),
            ("FLOTILLA_MODELS", path(self.models.as_ref())),
            ("FLOTILLA_ACK_WAIT", shown(self.ack_wait.as_ref())),
            ("FLOTILLA_DRAIN", shown(self.drain.as_ref())),
            ("FLOTILLA_SLOTS", shown(self.slots.as_ref())),
            (
                "FLOTILLA_EVENT_BYTES_MAX",
                shown(self.event_bytes_max.map(|size| size.0).as_ref()),
            ),
            ("FLOTILLA_BLOBS_KEEP", shown(self.blobs_keep.as_ref())),
            ("FLOTILLA_CALL_TIMEOUT", shown(self.call_timeout.as_ref())),
            ("FLOTILLA_CALL_PATIENCE", shown(self.call_patience.as_ref())),
            ("FLOTILLA_PARK_PAUSE", shown(self.park_pause.as_ref())),
            ("FLOTILLA_BATCH_LINGER", shown(self.batch_linger.as_ref())),
            ("FLOTILLA_BATCH_ITEMS", shown(self.batch_items.as_ref())),
            ("FLOTILLA_BATCH_LOOK", shown(self.batch_look.as_ref())),
            (
                "FLOTILLA_BATCH_CREATE_TIMEOUT",
                shown(self.batch_create_timeout.as_ref()),
            ),
            (
                "FLOTILLA_FIRST_BYTE_TIMEOUT",
                shown(self.first_byte_timeout.as_ref()),
            ),
            ("FLOTILLA_CLAUDE_STREAM", shown(self.claude_stream.as_ref())),
            ("FLOTILLA_CLAUDE_CACHE", shown(self.claude_cache.as_ref())),
            (
                "ANTHROPIC_BASE_URL",
                shown(self.anthropic_base_url.as_ref()),
            ),
            (
                "ANTHROPIC_API_KEY_FILE",
                path(self.anthropic_api_key_file.as_ref()),
            ),
            ("FLOTILLA_LOG", log),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    pub(crate) fn nats_url(&self) -> &str {
        self.nats_url.as_deref().unwrap_or(NATS_URL)
    }

    pub(crate) fn redis_url(&self) -> &str {
        self.redis_url.as_deref().unwrap_or(REDIS_URL)
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

    pub(crate) fn blobs_keep(&self) -> Duration {
        self.blobs_keep.map_or(BLOBS_KEEP, |span| span.0)
    }

    /// How Claude is called; what is not set here is as its client has it.
    ///
    /// # Errors
    /// No key, or a key file that cannot be read.
    pub(crate) fn claude(&self) -> anyhow::Result<ClaudeConfig> {
        let (key, auth_token) = (self.api_key()?, self.auth_token());
        if key.is_none() && auth_token.is_none() {
            bail!(
                "no Claude key: set ANTHROPIC_API_KEY (or ANTHROPIC_API_KEY_FILE, or ANTHROPIC_AUTH_TOKEN); to try without one, `flotilla up` starts a simulated Claude"
            );
        }
        let plain = ClaudeConfig::new(self.base_url());
        let span = |given: Option<Span>, plain| given.map_or(plain, |span| span.0);
        Ok(ClaudeConfig {
            key,
            auth_token,
            stream: self.claude_stream.unwrap_or(plain.stream),
            cache: self.claude_cache.unwrap_or(plain.cache),
            first_byte_timeout: span(self.first_byte_timeout, plain.first_byte_timeout),
            call_timeout: span(self.call_timeout, plain.call_timeout),
            patience: span(self.call_patience, plain.patience),
            ..plain
        })
    }

    pub(crate) fn park_pause(&self) -> Duration {
        self.park_pause.map_or(PARK_PAUSE, |span| span.0)
    }

    /// How batches are made and looked at.
    pub(crate) fn batch(&self) -> BatchConfig {
        let plain = BatchConfig::default();
        let span = |given: Option<Span>, plain| given.map_or(plain, |span| span.0);
        BatchConfig {
            linger: span(self.batch_linger, plain.linger),
            items_max: self.batch_items.unwrap_or(plain.items_max),
            first_look: span(self.batch_look, plain.first_look),
            create_timeout: span(self.batch_create_timeout, plain.create_timeout),
            ..plain
        }
    }

    pub(crate) fn base_url(&self) -> &str {
        self.anthropic_base_url.as_deref().unwrap_or(BASE_URL)
    }

    /// Where the gateway is, for commands that talk to it.
    pub(crate) fn url(&self) -> String {
        self.url
            .clone()
            .unwrap_or_else(|| format!("http://{}", self.http()))
    }

    /// The Claude key, from the environment or the file it names; `None` when there is none.
    ///
    /// # Errors
    /// A key file that cannot be read.
    pub(crate) fn api_key(&self) -> anyhow::Result<Option<Key>> {
        if self.simulated {
            return Ok(Some(Key::new("simulated".into())));
        }
        let key = match (secret("ANTHROPIC_API_KEY"), &self.anthropic_api_key_file) {
            (Some(key), _) => Some(key),
            (None, Some(file)) => Some(read_secret(file)?),
            (None, None) => None,
        };
        Ok(key.map(Key::new))
    }

    /// The token for a gateway in front of Claude, from the environment; `None` when there is none, or Claude is simulated.
    pub(crate) fn auth_token(&self) -> Option<Key> {
        let token = secret("ANTHROPIC_AUTH_TOKEN").filter(|_| !self.simulated);
        token.map(Key::new)
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
