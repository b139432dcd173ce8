//! A simulated Claude: a server that speaks the Messages API, answers by script, and remembers every call.
//!
//! It stands where the real API would, so that a fleet can be run, tested and broken without a key, without money and
//! the same way every time. It shares no type with the client it tests: what it accepts and refuses was written from
//! the API's side, so it catches a client that is wrong about the wire.
//!
//! # What is as the real one
//!
//! `POST /v1/messages` and `GET /v1/models`, over HTTP/1.1 and over HTTP/2 with prior knowledge. Requests are checked
//! as the API checks them, and refused in its words and shape; every reply has a `request-id`. `tool_choice`,
//! `max_tokens`, `stop_sequences`, `output_config.format` and `stream` are obeyed. The prompt cache keeps the API's
//! rules (breakpoints, order, look-back, minimum, life), so the cache counters of `usage` are what a bill would show;
//! only the size of a token is an estimate, 3.5 bytes each. Schemas that the API promises to keep to (`strict` tools,
//! formats) are refused where it could not compile them.
//!
//! Not simulated: thinking blocks, server tools, images as anything but their bytes, batches, rate limits.
//!
//! # Policies
//!
//! A policy says what the model answers. It reads the conversation, above all what the tools returned, and has no
//! state of its own: the same request gets the same answer, however often it is sent and after whatever crash.
//!
//! ```yaml
#![doc = include_str!("../tests/fixtures/disk-triage.yaml")]
//! ```
//!
//! The first rule whose `when` is true answers, in the first policy whose `when` is true and that has such a rule.
//! Files are tried in the order of their paths. A rule has one action, or none and at least one of the last three:
//!
//! | key | answer |
//! | --- | --- |
//! | `use`, `with` | a tool_use; without `with`, a minimal input that fits the tool's schema |
//! | `uses` | a list of such, for several at once |
//! | `say` | text, also before a tool_use |
//! | `refuse` | stop_reason `refusal`, with this explanation |
//! | `error` | `{status, type, message, details, retry_after}`; only the status is needed |
//! | `hang` | silence for so long; alone, then 504 |
//! | `stop` | another stop_reason; `max_tokens` also cuts the answer |
//! | `latency` | replaces the server's latency |
//! | `usage` | replaces figures: `input_tokens`, `output_tokens`, `cache_read_input_tokens`, `cache_creation_input_tokens` |
//!
//! Expressions (`when`) and templates (all other texts) are MiniJinja. A text that is exactly one `{{ … }}` keeps its
//! value's type, and must not be undefined. They see:
//!
//! | name | value |
//! | --- | --- |
//! | `system` | the system prompt's text |
//! | `user` | the first user turn's text |
//! | `text` | the text of the last user turn that has any, tool results not counted |
//! | `turns` | number of assistant turns so far |
//! | `calls` | list of `{tool, input, result, json, error}`: result as text, and parsed where it is JSON |
//! | `last` | the last of them; undefined, and so is all that is in it, where there is none |
//! | `model`, `user_id` | as sent; `user_id` is `metadata.user_id` |
//! | `tools` | list of names |
//! | `tool_choice` | as sent, with `type` and `name`; `{type: auto}` where nothing was |
//!
//! Filters for what tools print: `lines`, `find_line(part)`, `find_lines(part)`, `column(n)` (the nth word, from 1, or
//! from the end if negative), `between(start, end)`, `number` (the first number in a text) and `from_json`; with an
//! undefined input they give an undefined answer. An undefined is less than any number. MiniJinja's own filters and
//! tests are there, methods such as `.startswith()` are not.
//!
//! Mistakes stop the start, with file, line and column. What shows only when a rule runs (an undefined value, a wrong
//! type) is a 400 that names the policy and the line, so that no client repeats it and somebody sees it.
//!
//! Where no rule matches, a default answers. If a tool must be used, it is the one used least so far in the
//! conversation, among those the one that requires the fewest values, with minimal values that fit its schema (a share
//! between 0 and 1 is 0.9). So a whole run comes to its end without any policy. If no tool must be used, it is text,
//! or JSON where a format asks for it. A policy cannot answer outside `tool_choice`: where it tries, the default stands
//! in.
//!
//! # What a test sees and changes
//!
//! | request | does |
//! | --- | --- |
//! | `GET /ledger?since=N&bodies=1` | calls after number N, with their bodies if [`Config::keep_bodies`] |
//! | `GET /ledger/summary` | totals: calls, undelivered, by status, tokens by kind, in flight and the most at once |
//! | `DELETE /ledger` | forgets calls and totals; numbers go on |
//! | `GET /control` | the settings below |
//! | `PUT /control` | `{latency_ms, fail: {status, type, message, details, retry_after, count}, hang}`; what is absent stays, `fail: null` ends it |
//! | `GET /healthz` | 200 |
//!
//! Every call is in the ledger: valid or not, answered or lost. The entry is made just before the end of the answer
//! goes out, so whoever has an answer finds its entry. A client that left before is `delivered: false`, with the status
//! and the usage that its answer would have had: what a lost call costs. One that leaves in the instant of sending
//! cannot be told from one that stayed. The last 200,000 calls are kept in memory, all of them in [`Config::ledger`].
//!
//! `fail` answers valid requests with an error, `count` times or until it is ended. `hang: true` holds all replies
//! until `hang: false`, for ten minutes at most.
//!
//! # How it carries load
//!
//! A request costs its parsing, its hashing and a few microseconds of expressions, all compiled at the start. What
//! requests share is locked for a few instructions and never across an await: the settings, the ledger's ring, and the
//! cache in 64 shards. A waiting call is a timer and its connection's share; nothing polls.
//!
//! It has no authentication worth the name, and anyone who reaches it can change its settings: listen on loopback.

mod answer;
mod cache;
mod call;
mod control;
mod error;
mod fill;
mod ledger;
mod messages;
mod models;
mod policy;
mod prompt;
mod read;
mod reply;
mod server;
mod strict;
mod tokens;
mod validate;
mod wire;

pub use server::{Server, bind};

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a server is set up. [`Config::default`] listens on a free port of loopback and has no policies.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub http: SocketAddr,
    /// Policy files, and folders searched for them: every `*.yaml` with a top-level key `policies`.
    pub policies: Vec<PathBuf>,
    /// How long a message takes. Errors are quick.
    pub latency: Duration,
    /// File that gets one JSON line per call, appended.
    pub ledger: Option<PathBuf>,
    /// Keep the last 1,000 request bodies (at most 256 MiB) for `GET /ledger?bodies=1`.
    pub keep_bodies: bool,
    /// No log line per call.
    pub quiet: bool,
    /// HTTP/2 streams open at once on one connection. A public endpoint allows about 100; the default, 10,000, lets
    /// one connection carry a whole load test.
    pub max_streams: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            policies: Vec::new(),
            latency: Duration::ZERO,
            ledger: None,
            keep_bodies: false,
            quiet: false,
            max_streams: 10_000,
        }
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The ledger file cannot be opened.
    #[error("cannot open the ledger {}: {source}", path.display())]
    Ledger {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Policies have mistakes.
    #[error("{}", listed(problems))]
    Policies {
        /// All mistakes, at least one.
        problems: Vec<Problem>,
    },
}

/// A mistake in a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Problem {
    fn of_file(file: &Path, message: String) -> Self {
        Self {
            file: file.to_owned(),
            line: 1,
            column: 1,
            message,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file.display(),
            self.line,
            self.column,
            self.message
        )
    }
}

fn listed(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
