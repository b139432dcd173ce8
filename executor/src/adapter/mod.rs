//! Adapters: how one call of a tool is made. One attempt, no retries: those have their own owner.
//!
//! What comes back is a [`ToolOutcome`] that may go on the journal and to the model as it is: bounded in size, valid UTF-8,
//! without the values of the tool's environment variables (see [`Environment`]).

mod address;
mod capture;
mod command;
mod environment;
pub(crate) mod failure;
mod http;
mod launch;
mod process;
mod public;
mod redact;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use flotilla_common::{
    definition::{Adapter, Context, Tool},
    entry::ToolOutcome,
    ids::{RunId, Slot},
};
use serde_json::{Value, json};

pub use environment::Environment;
pub use http::{HttpClient, HttpClientError};

use failure::Failure;
use redact::Secrets;

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
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// `Unknown` for a tool that is `once`, when it was begun and nobody heard how it ended: a timeout, a connection that broke, a
    /// program that was killed. What happened before this call is for the caller to say.
    pub outcome: ToolOutcome,
    /// Wall time.
    pub took: Duration,
}

/// Everything that calls need of the world.
#[derive(Debug, Clone)]
pub struct Adapters {
    environment: Environment,
    http: HttpClient,
    launcher: Option<PathBuf>,
}

/// What the holes of one call are filled with, and what must not come back from it.
struct Scene<'a> {
    context: Context,
    /// The tool's own variables.
    env: std::collections::BTreeMap<String, String>,
    environment: &'a Environment,
    launcher: Option<&'a Path>,
    secrets: Secrets,
}

impl Adapters {
    /// Adapters that take tools' variables from `environment`.
    #[must_use]
    pub fn new(environment: Environment, http: HttpClient) -> Self {
        Self {
            environment,
            http,
            launcher: None,
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
        let outcome = match self.scene(call) {
            Err(failure) => failure.into_outcome(&call.tool.name),
            Ok(scene) => {
                let result = match &call.tool.adapter {
                    Adapter::Command { argv, cwd } => {
                        command::run(call, argv, cwd.as_ref(), &scene).await
                    }
                    Adapter::Http { .. } => self.http.run(call, &scene).await,
                };
                match result {
                    Ok(output) => ToolOutcome::Ok {
                        output: scene.secrets.value(output),
                    },
                    Err(failure) => failure.redacted(&scene.secrets).of_call(call.tool),
                }
            }
        };
        Output {
            outcome,
            took: begun.elapsed(),
        }
    }

    fn scene(&self, call: &Call<'_>) -> Result<Scene<'_>, Failure> {
        let env = self.environment.of_tool(call.tool)?;
        let context = Context::new(&json!({
            "input": call.input,
            "run": call.run.as_str(),
            "step": call.slot.step.to_string(),
            "idempotency_key": call.idempotency_key,
        }))
        .with_trusted("env", &env);
        Ok(Scene {
            context,
            secrets: Secrets::of(&env),
            env,
            environment: &self.environment,
            launcher: self.launcher.as_deref(),
        })
    }
}
