//! Adapters: how one call of a tool is made. One attempt, no retries: those have their own owner.
//!
//! What comes back is a [`ToolOutcome`] that may go on the journal and to the model as it is: bounded in size, valid UTF-8,
//! without the values of the tool's environment variables (see [`Environment`]).

mod address;
mod builtin;
mod capture;
mod command;
mod environment;
pub(crate) mod failure;
mod gzip;
mod http;
mod http_body;
mod http_options;
mod keeping;
mod launch;
mod mcp;
mod nats;
mod process;
mod public;
mod redact;
mod reply;
mod shelf;
pub(crate) mod told;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use flotilla_common::{
    definition::{Adapter, Context, McpServer, Tool},
    entry::ToolOutcome,
    ids::{RunId, Slot},
    io::{blobs::Blobs, bus::Bus, telemetry::span},
};
use serde_json::{Value, json};

pub use environment::Environment;
pub use http::{HttpClient, HttpClientError};
pub use mcp::{McpTool, McpTrouble};

use address::Address;
use failure::Failure;
use redact::Secrets;
use shelf::{Folder, Shelf};
use told::Told;

/// One call of a tool.
#[derive(Debug)]
pub struct Call<'a> {
    /// What is called.
    pub tool: &'a Tool,
    /// Its parameters, valid by its schema.
    pub input: &'a Value,
    /// For which run.
    pub run: &'a RunId,
    /// For which of the run's actions.
    pub slot: &'a Slot,
    /// Passed on to the tool, so that it can tell a repetition from a new request.
    pub idempotency_key: String,
}

impl<'a> Call<'a> {
    /// A call with the idempotency key of its run and slot.
    #[must_use]
    pub fn new(tool: &'a Tool, input: &'a Value, run: &'a RunId, slot: &'a Slot) -> Self {
        let idempotency_key = slot.idempotency_key(run);
        Self {
            tool,
            input,
            run,
            slot,
            idempotency_key,
        }
    }

    /// The W3C trace context that the tool is given: of its action, the same at every attempt.
    fn traceparent(&self) -> String {
        span::of_call(self.run, self.slot).to_string()
    }
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// `Unknown` for a tool that is `once`, when it was begun and nobody heard how it ended: a timeout, a connection that broke, a
    /// program that was killed. What happened before this call is for the caller to say.
    pub outcome: ToolOutcome,
    /// Whether the service said that the same call may go well later; `None` where it says nothing of it.
    pub retryable: Option<bool>,
    /// Wall time.
    pub took: Duration,
    /// What retries and breakers go by; `None`: it worked.
    pub(crate) told: Option<Told>,
}

/// Everything that calls need of the world.
#[derive(Debug, Clone)]
pub struct Adapters {
    environment: Environment,
    http: HttpClient,
    launcher: Option<PathBuf>,
    bus: Option<Bus>,
    shelf: Shelf,
    mcp: Arc<mcp::Servers>,
}

/// What the holes of one call are filled with, and what must not come back from it.
struct Scene<'a> {
    context: Context,
    /// The tool's own variables.
    env: BTreeMap<String, String>,
    /// The bearer token of a file that the tool names.
    token: Option<String>,
    environment: &'a Environment,
    launcher: Option<&'a Path>,
    secrets: Secrets,
    shelf: &'a Shelf,
    /// The files that its blobs are; gone when the call is over.
    _files: Option<Folder>,
}

impl Adapters {
    /// Adapters that take tools' variables from `environment`.
    #[must_use]
    pub fn new(environment: Environment, http: HttpClient) -> Self {
        Self {
            environment,
            http,
            launcher: None,
            bus: None,
            shelf: Shelf::default(),
            mcp: Arc::default(),
        }
    }

    /// The same with services asked on this connection; without one, `nats` tools fail.
    #[must_use]
    pub fn with_bus(self, bus: Bus) -> Self {
        Self {
            bus: Some(bus),
            ..self
        }
    }

    /// The same with blobs kept in and taken from this object store; without one, calls that need it fail. Files that executors left
    /// behind are removed.
    #[must_use]
    pub fn with_blobs(self, blobs: Blobs) -> Self {
        shelf::clean_up();
        Self {
            shelf: Shelf::new(blobs),
            ..self
        }
    }

    /// The same with programs started by `launcher`: see [`Config::launcher`](crate::Config::launcher).
    #[must_use]
    pub fn with_launcher(self, launcher: Option<PathBuf>) -> Self {
        Self { launcher, ..self }
    }

    /// Makes one call. It ends soon after the tool's timeout at the latest.
    ///
    /// Dropping the future stops the work: a program is killed with its whole process group, a request is cut off. Whether
    /// its effect has happened is then not known.
    pub async fn run(&self, call: &Call<'_>) -> Output {
        let begun = Instant::now();
        let (redaction, mut retryable) = (&call.tool.redact, None);
        let (outcome, told) = match Box::pin(self.scene_with_files(call)).await {
            Err(failure) => {
                let told = failure.told();
                (failure.into_outcome(&call.tool.name), Some(told))
            }
            Ok(scene) => {
                let answer = Box::pin(self.answer(call, &scene)).await;
                match answer.and_then(|output| told::fitting(call.tool, output)) {
                    Ok(output) => {
                        let output = redaction.output(scene.secrets.value(output));
                        let shortened = self.shelf.shortened(call, output, &scene.secrets);
                        let output = Box::pin(shortened).await;
                        (ToolOutcome::Ok { output }, None)
                    }
                    Err(failure) => {
                        let told = failure.told();
                        retryable = failure.retryable();
                        let clean = failure.redacted(&scene.secrets, redaction);
                        (clean.of_call(call.tool), Some(told))
                    }
                }
            }
        };
        Output {
            outcome,
            retryable,
            took: begun.elapsed(),
            told,
        }
    }

    /// The host that a request's parameters choose; `None` where the definition alone says what is called.
    pub(crate) fn chosen_host(&self, call: &Call<'_>) -> Option<String> {
        let Adapter::Http { url, .. } = &call.tool.adapter else {
            return None;
        };
        let env = self.environment.of(&call.tool.env).ok()?;
        let address = Address::of(url, &context(call, call.input, &env), &env).ok()?;
        let host = address.url.host_str().filter(|_| !address.host_is_fixed)?;
        let port = address.url.port().map(|port| format!(":{port}"));
        Some(format!("{host}{}", port.unwrap_or_default()))
    }

    async fn answer(&self, call: &Call<'_>, scene: &Scene<'_>) -> Result<Value, Failure> {
        match &call.tool.adapter {
            Adapter::Command {
                argv,
                cwd,
                limits,
                stdout,
            } => {
                Box::pin(command::run(
                    call,
                    argv,
                    cwd.as_ref(),
                    limits,
                    *stdout,
                    scene,
                ))
                .await
            }
            Adapter::Http { .. } => self.http.run(call, scene).await,
            Adapter::Nats { subject } => nats::run(call, subject, self.bus.as_ref(), scene).await,
            Adapter::Builtin(builtin) => {
                let bus = self.bus.as_ref();
                builtin::run(call, builtin, bus, &self.http, scene).await
            }
            Adapter::Mcp { server, tool, pin } => {
                let wanted = mcp::Wanted { server, tool, pin };
                self.mcp.run(call, &wanted, scene, &self.http).await
            }
        }
    }

    /// What an MCP server offers at this moment, with the pins by which a catalogue takes it in. The server is started for that
    /// where it is a program.
    ///
    /// # Errors
    /// [`McpTrouble`].
    pub async fn mcp_tools(
        &self,
        server: &McpServer,
        limit: Duration,
    ) -> Result<Vec<McpTool>, McpTrouble> {
        let env = self.environment.of(&server.env);
        let env = env.map_err(|failure| McpTrouble(failure.message().to_owned()))?;
        let scene = Scene {
            context: Context::new(&json!({})).with_trusted("env", &env),
            secrets: Secrets::of(&env),
            token: None,
            env,
            environment: &self.environment,
            launcher: self.launcher.as_deref(),
            shelf: &self.shelf,
            _files: None,
        };
        self.mcp.list(server, &scene, &self.http, limit).await
    }

    /// The scene of a call that is made now: what its blobs are is there, as files.
    async fn scene_with_files(&self, call: &Call<'_>) -> Result<Scene<'_>, Failure> {
        let Some((input, folder)) = self.shelf.files(call).await? else {
            return self.scene(call, call.input).await;
        };
        let scene = self.scene(call, &input).await?;
        Ok(Scene {
            _files: Some(folder),
            ..scene
        })
    }

    async fn scene(&self, call: &Call<'_>, input: &Value) -> Result<Scene<'_>, Failure> {
        let env = self.environment.of(&call.tool.env)?;
        let context = context(call, input, &env);
        let token = http_options::token_of_file(call.tool).await?;
        let mut secrets = Secrets::of(&env);
        if let Some(token) = &token {
            secrets = secrets.and("bearer", token);
        }
        Ok(Scene {
            context,
            secrets,
            token,
            env,
            environment: &self.environment,
            launcher: self.launcher.as_deref(),
            shelf: &self.shelf,
            _files: None,
        })
    }
}

/// What a tool's holes see.
fn context(call: &Call<'_>, input: &Value, env: &BTreeMap<String, String>) -> Context {
    let facts = json!({
        "input": input,
        "run": call.run.as_str(),
        "step": call.slot.step.to_string(),
        "idempotency_key": call.idempotency_key,
    });
    Context::new(&facts).with_trusted("env", env)
}
