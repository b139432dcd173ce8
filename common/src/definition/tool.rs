//! Tools: what executors can do, as the catalogue says it.

mod adapter;
mod blob;
mod builtin;
mod command;
mod http;
mod mcp;
mod nats;
mod policy;
mod redact;
mod yaml;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    schema::Schema,
    step::Compensate,
    template::{Shape, Template},
};
use crate::{breaker, ids::Name, money::Usd, units::Rate};
pub use builtin::Builtin;
pub use command::Limits as ProgramLimits;
pub use http::{Auth, HttpOptions, Statuses, TlsFiles};
pub(super) use mcp::servers as mcp_servers;
pub use mcp::{McpServer, McpVia, pin};
pub use policy::{Fault, FaultError, Retries, TOO_MANY};
pub use redact::Redaction;
pub(super) use yaml::{DEPRECATED, ToolsYaml};

/// What repeating a tool does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing: repeat at will.
    Read,
    /// The same, with the same idempotency key.
    Idempotent,
    /// It is done again: never repeat blindly.
    Once,
}

/// How much is at stake when a tool is used.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// It is used without asking.
    #[default]
    Low,
    /// A person is asked first.
    High,
}

/// How a tool is run.
#[derive(Debug, Clone, PartialEq)]
pub enum Adapter {
    /// A program.
    Command {
        /// One template per argument; never a shell.
        argv: Vec<Template>,
        /// Where it runs.
        cwd: Option<Template>,
        /// What it may use of the machine.
        limits: ProgramLimits,
        /// Up to how many bytes of its output go to the object store; `None`: its beginning is the output.
        stdout: Option<u64>,
    },
    /// An HTTP request.
    Http {
        /// `GET`, `POST`, …
        method: String,
        /// The address.
        url: Template,
        /// Header names and values.
        headers: Vec<(String, Template)>,
        /// A JSON body.
        body: Option<Shape>,
        /// What counts as success, what is taken from the answer, and who we are.
        options: Box<HttpOptions>,
    },
    /// A request on NATS: a service in any language answers it.
    Nats {
        /// Where; its first part is written out, and none of the fleet's own.
        subject: Template,
    },
    /// A tool of an MCP server.
    Mcp {
        /// The server.
        server: Box<McpServer>,
        /// What the server calls the tool.
        tool: String,
        /// What the server said of the tool when it was taken in: see [`pin`].
        pin: String,
    },
    /// What an executor does by itself.
    Builtin(Builtin),
}

/// A tool, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: u32,
    /// What it does, for the model and for people.
    pub description: String,
    /// What it takes.
    pub input: Schema,
    /// What it gives: an output that does not fit is a failure.
    pub output: Option<Schema>,
    /// What repeating it does.
    pub effect: Effect,
    /// Whether a person is asked first.
    pub risk: Risk,
    /// What undoes it.
    pub compensate: Option<Compensate>,
    /// Who is asked where nobody knows whether it was done.
    pub reconcile: Option<Reconcile>,
    /// Longest run.
    pub timeout: Duration,
    /// The bulkhead: how many at once in one executor.
    pub concurrency: u32,
    /// How often, in one executor.
    pub rate: Option<Rate>,
    /// How often a minute in the whole fleet, from 1: all versions together, by what the newest says.
    pub fleet_rate: Option<u64>,
    /// How it is tried again; `None`: it is not.
    pub retries: Option<Retries>,
    /// When it is not called any more, and how it recovers; `None`: it is always called.
    pub breaker: Option<breaker::Settings>,
    /// What one call costs.
    pub cost: Usd,
    /// Largest output kept, in bytes.
    pub output_limit: usize,
    /// Environment variables that its holes and its process may see.
    pub env: BTreeSet<String>,
    /// What is taken out of its outputs.
    pub redact: Redaction,
    /// How it runs.
    pub adapter: Adapter,
    /// What to use in its place. It is said of the tool and is no part of it: runs go on with it, and digests do not know of it.
    pub deprecated: Option<String>,
}

/// Finds out whether a use of a tool was done, where nobody knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconcile {
    /// By asking this tool, which is `read`. It answers with a JSON object (the body of an HTTP response, what a command writes to
    /// stdout): `done` (true, false or "unknown"), and where it was done perhaps `output`, what the use gave.
    pub tool: Arc<Tool>,
    /// With this; holes see `input` (what the use was given), `idempotency_key`, `run` and `step`.
    pub with: Shape,
}

/// What is wrong with parameters as they are written, whatever their holes will hold, and what the tool takes.
pub(super) fn misfit(tool: &Tool, with: &Value, shape: &Shape) -> Option<(String, String)> {
    let fault = tool.input.check_known(with, &shape.holes()).err()?;
    let message = format!("`with` does not fit the input of `{}`: {fault}", tool.name);
    let help = match tool.input.properties().as_slice() {
        [] => "it takes nothing".to_owned(),
        takes => format!("it takes: {}", takes.join(", ")),
    };
    Some((message, help))
}
