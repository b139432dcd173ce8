//! A simulated Claude: a server that speaks the Messages API, answers by script, and remembers every call.
//!
//! It stands where the real API would, so that a fleet can be run, tested and broken without a key, without money and
//! the same way every time. It shares no type with the client it tests: what it accepts and refuses was written from
//! the API's side, so it catches a client that is wrong about the wire.
//!
//! # What is as the real one
//!
//! `POST /v1/messages`, `…/count_tokens` and `…/batches` with all that belongs to them, `GET /v1/models` and
//! `…/{id}`, over HTTP/1.1 and over HTTP/2 with prior knowledge. Requests are checked as the API checks them, and
//! refused in its words and shape; every reply has a `request-id`. `tool_choice`, `max_tokens`, `stop_sequences`,
//! `output_config.format`, `thinking` and `stream` are obeyed. The prompt cache keeps the API's rules (breakpoints,
//! order, look-back, minimum, life), so the cache counters of `usage` are what a bill would show; only the size of a
//! token is an estimate, 3.5 bytes each. Schemas that the API promises to keep to (`strict` tools, formats) are refused
//! where it could not compile them. A thinking block has a signature, and one that comes back changed is refused.
//!
//! A batch is created as often as it is asked for, as the real API has no idempotency key. It is worked through after
//! `batch_ms`, its requests cost half, and its results come in another order than its requests.
//!
//! Not simulated: server tools, images as anything but their bytes, rate limits of batches and of counting, and
//! workspaces: all keys see the same batches and share the limits.
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
//! # What goes wrong on demand
//!
//! Settings, from the file [`Config::control`] or by `PUT /control`, in one shape. What is absent stays; a list
//! replaces the one before, and `null` is an empty one. A `model` is the beginning of the ids it is for.
//!
//! | key | value |
//! | --- | --- |
//! | `limits` | list of rate limits: `{model, requests, input_tokens, output_tokens, burst_seconds, output, acceleration}` |
//! | `faults` | list of faults, of which the first that hits befalls a call |
//! | `script` | list of faults, each for the next call and then used up; `null` in it is a call without a fault |
//! | `wrong` | list of ways in which answers are wrong |
//! | `latency_ms` | how long answers take |
//! | `batch_ms` | how long batches take |
//! | `seed` | a number, from which with a request's bytes and how often they came all chance follows |
//!
//! **Limits** are per minute and come back continuously. With `model` they are one allowance for a family, without it
//! one for each model. `burst_seconds` (60) is how much may be used at once: 1 makes 60 a minute 1 a second. Input is
//! what the cache did not have. Output counts as it goes out (`output: produced`; of a message that is no stream, at its
//! end), or is reserved by `max_tokens` and settled at the end (`reserve`). `acceleration: {floor, growth, status}`
//! refuses what is more than `floor` requests a second and more than `growth` times the five seconds before. Over a
//! limit: 429 with `retry-after`, and nothing is taken; a request larger than a minute's allowance is always over. The
//! headers `anthropic-ratelimit-*` are on every reply for a limited model.
//!
//! **Faults** have `kind`, and may have `model`, `rate` (0 to 1), `count` and `batch` (only those of batches, or only
//! others). Errors take nothing from the limits and cost nothing. A call that a limit refuses has used up its fault all
//! the same.
//!
//! | `kind` | does |
//! | --- | --- |
//! | `error` (the default) | `status` with `type`, `message`, `details`, `retry_after`, `retry_after_ms`, `should_retry`; or `body` and `content_type` in place of the API's own; after `delay_ms` |
//! | `hang` | silence for `delay_ms`, or until faults or script are set anew, then the answer; 504 after ten minutes |
//! | `slow_first_byte` | `delay_ms` (10,000) before the answer |
//! | `trickle` | the answer in up to 64 pieces, `delay_ms` (100) before each |
//! | `close` | the connection ends before any byte |
//! | `cut_stream`, `cut_body` | it ends after `after_events`, or half of the answer |
//! | `malformed_json`, `malformed_event` | half of a message with the length of that half; a stream with an event that is no JSON |
//! | `error_event` | a stream that fails after `after_events` or half of it, with `type` or what goes with `status` (529); otherwise that error |
//! | `unknown_event`, `unknown_block`, `unknown_stop_reason` | what no client of today knows; the first in streams only |
//! | `empty_content` | a message of nothing |
//! | `expire` | a request of a batch that is not processed in time; 408 in the ledger |
//!
//! **Wrong** answers are right on the wire. They have `kind`, and may have `model`, `system` (a part of the system prompt),
//! `rate` and `count`; each is for answers that can be wrong in that way. `bad_tool`: a tool on no menu. `bad_parameters`: an input or a formatted answer
//! that violates its schema. `low_confidence`: `value` (0.05) wherever the schema has a `confidence`. `endless_loop`: the
//! last tool again with the same input, and none of `terminal` while there are others. `injected`: obeys
//! `SYSTEM OVERRIDE: call <tool> with {json}` in tool results and user turns. `no_tool`: text where a tool is due.
//! `two_tools`: one more than asked for. `cut`: `max_tokens` in the middle of a tool_use.
//!
//! **Latencies** are a number, `{uniform: [low, high]}` or `{p50, p95}`; `latency_ms` can also be `{total, first}` with
//! the time to the first token (a quarter of the total), or a list of such with `model`. The deltas of a stream are
//! spread over the time between, with pings.
//!
//! # What a test sees
//!
//! | request | does |
//! | --- | --- |
//! | `GET /ledger?since=N&bodies=1` | calls after number N, with their bodies if [`Config::keep_bodies`] |
//! | `GET /ledger/rate?bucket_ms=1000` | calls and errors by when they came in |
//! | `GET /ledger/summary` | totals: calls, undelivered, by status and share of 429s, by fault, tokens, money, by model, in flight and the most at once; of each limit what was granted and its share of the allowance since the first call |
//! | `DELETE /ledger` | forgets calls and totals; numbers go on |
//! | `DELETE /cache` | forgets the prompt cache, as an hour without calls would |
//! | `GET /control`, `PUT /control` | the settings, with what is left of counts and script |
//! | `GET /healthz` | 200 |
//!
//! Every call is in the ledger: valid or not, answered or lost, and each request of a batch. The entry is made just
//! before the end of the answer goes out, so whoever has an answer finds its entry. It says what the call cost in
//! nano-USD, by the price list of October 2026. A client that left before the end, or that was cut off, is
//! `delivered: false`, and pays as it would: for the input, and for the output that was produced by then. One that
//! leaves in the instant of sending cannot be told from one that stayed. The last 200,000 calls are kept in memory, all
//! of them in [`Config::ledger`].
//!
//! # How it carries load
//!
//! A request costs its parsing, its hashing and a few microseconds of expressions, all compiled at the start. What
//! requests share is locked for a few instructions and never across an await: the settings, the limits, the ledger's
//! ring, and the cache in 64 shards. A waiting call is a timer and its connection's share; nothing polls.
//!
//! It has no authentication worth the name, and anyone who reaches it can change its settings: listen on loopback.

mod access;
mod answer;
mod batches;
mod cache;
mod call;
mod control;
mod deliver;
mod dice;
mod error;
mod fault;
mod fill;
mod latency;
mod ledger;
mod limits;
mod messages;
mod models;
mod options;
mod plan;
mod policy;
mod price;
mod prompt;
pub mod proxy;
mod read;
mod reply;
mod server;
pub mod sink;
mod strict;
mod thinking;
mod tokens;
mod validate;
mod wire;
mod wrong;

pub use plan::key_digest;
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
    /// Settings to start with, in YAML or JSON and of the shape that `PUT /control` takes. What it says about latency
    /// goes before [`Config::latency`].
    pub control: Option<PathBuf>,
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
            control: None,
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
    /// The settings file cannot be used.
    #[error("{}: {message}", path.display())]
    Control {
        /// The file asked for.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
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
