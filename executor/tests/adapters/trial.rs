//! One tool from its YAML, called as an executor calls it.

use std::{path::Path, sync::Once, time::Duration};

use flotilla_common::{
    claude::Models,
    definition::{Adapter, Catalogue, Sources},
    entry::ToolOutcome,
    ids::{RunId, Slot},
    io::bus::Bus,
};
use flotilla_executor::adapter::{Adapters, Call, Environment, HttpClient, McpTool, Output};
use serde_json::{Value, json};
use tokio::time::Instant;

pub(crate) type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// A tool that takes anything, with these lines of YAML; `read` if they do not say otherwise.
pub(crate) struct Trial {
    catalogue: Catalogue,
    adapters: Adapters,
    run: RunId,
    slot: Slot,
}

/// How a call ended, for assertions: `ok`, `unknown` or the class of the failure.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) kind: String,
    pub(crate) message: String,
    pub(crate) output: Value,
    pub(crate) retryable: Option<bool>,
    pub(crate) took: Duration,
}

static TLS: Once = Once::new();

impl Trial {
    pub(crate) fn new(lines: &str) -> Result<Self> {
        Self::with_env(lines, &[])
    }

    /// The same, with `launcher` to start programs.
    pub(crate) fn with_launcher(lines: &str, launcher: &str) -> Result<Self> {
        let trial = Self::new(lines)?;
        Ok(Self {
            adapters: trial.adapters.with_launcher(Some(launcher.into())),
            ..trial
        })
    }

    /// The same, with services asked on this connection.
    pub(crate) fn with_bus(lines: &str, bus: &Bus) -> Result<Self> {
        let trial = Self::new(lines)?;
        Ok(Self {
            adapters: trial.adapters.with_bus(bus.clone()),
            ..trial
        })
    }

    /// What the tool's MCP server offers.
    pub(crate) async fn mcp_tools(&self) -> Result<Vec<McpTool>> {
        let tool = self.catalogue.tools.get(&"trial".parse()?, 1);
        let Adapter::Mcp { server, .. } = &tool.ok_or("the trial tool is gone")?.adapter else {
            return Err("no tool of an MCP server".into());
        };
        Ok(self
            .adapters
            .mcp_tools(server, Duration::from_secs(60))
            .await?)
    }

    /// The executor has these variables, and PATH.
    pub(crate) fn with_env(lines: &str, env: &[(&str, &str)]) -> Result<Self> {
        TLS.call_once(|| {
            // Another test of this process may have been first with the same provider.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let indented: String = lines.lines().map(|line| format!("    {line}\n")).collect();
        let effect = if lines.contains("effect:") {
            ""
        } else {
            "    effect: read\n"
        };
        let yaml = format!(
            "tools:\n  - tool: trial\n    version: 1\n    description: a trial\n{effect}    input: {{type: object}}\n{indented}"
        );
        let sources = Sources([("tools.yaml".to_owned(), yaml)].into());
        let environment: Environment = std::env::vars()
            .filter(|(name, _)| name == "PATH")
            .chain(env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
            .collect();
        Ok(Self {
            catalogue: Catalogue::parse(&sources, &Models::built_in()?)?,
            adapters: Adapters::new(environment, HttpClient::new()?),
            run: RunId::derive(&"trial".parse()?, "test", "1"),
            slot: Slot {
                step: "act/3".parse()?,
                branch: 2,
            },
        })
    }

    pub(crate) fn idempotency_key(&self) -> String {
        format!("{}.act.3.2", self.run)
    }

    pub(crate) async fn call(&self, input: Value) -> Result<Output> {
        let tool = self.catalogue.tools.get(&"trial".parse()?, 1);
        let tool = tool.ok_or("the trial tool is gone")?;
        let call = Call::new(tool, &input, &self.run, &self.slot);
        Ok(self.adapters.run(&call).await)
    }

    pub(crate) async fn run(&self, input: Value) -> Result<Ended> {
        let begun = Instant::now();
        let output = self.call(input).await?;
        let (took, retryable) = (begun.elapsed(), output.retryable);
        Ok(match output.outcome {
            ToolOutcome::Ok { output } => Ended {
                kind: "ok".into(),
                message: String::new(),
                output,
                retryable,
                took,
            },
            ToolOutcome::Failed {
                error,
                message,
                output,
            } => Ended {
                kind: error.to_string(),
                message,
                output: output.unwrap_or_default(),
                retryable,
                took,
            },
            ToolOutcome::Unknown { message } => Ended {
                kind: "unknown".into(),
                message,
                output: Value::Null,
                retryable,
                took,
            },
        })
    }
}

/// Where the repository is.
pub(crate) fn repository() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs `script` by `sh`, as an operator may define a tool; `input.a` is its `$1`.
pub(crate) fn script(script: &str, lines: &str) -> String {
    format!(
        "command: [sh, -c, {}, sh, 'a={{{{ input.a }}}}']\n{lines}",
        json!(script)
    )
}

/// Waits until the process whose id stands in `file` is no more.
pub(crate) async fn gone(file: &Path) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let id: u32 = std::fs::read_to_string(file)?.trim().parse()?;
    let until = Instant::now() + PATIENCE;
    while alive(id) {
        if Instant::now() > until {
            return Err(format!("process {id} is still alive after {PATIENCE:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Waits until a script has written its process id.
pub(crate) async fn written(file: &Path) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(10);
    while std::fs::read_to_string(file)
        .unwrap_or_default()
        .trim()
        .is_empty()
    {
        if Instant::now() > until {
            return Err("the script did not start".into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Whether a process runs: one that nobody has waited for yet does not.
fn alive(id: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else {
        return false;
    };
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    !matches!(state, Some('Z' | 'X') | None)
}
