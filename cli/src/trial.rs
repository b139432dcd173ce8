//! `tools test`, `tools mcp`: a tool by itself, without a fleet, and what MCP servers offer.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{anyhow, bail};
use flotilla_common::{
    definition::{Adapter, Builtin, Catalogue, Effect, Tool},
    entry::ToolOutcome,
    ids::{Name, RunId, Slot},
    io::{blobs::Blobs, definitions},
};
use flotilla_executor::adapter::{
    Adapters, Call, Environment, HttpClient, McpTool, Output as ToolOutput,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    events::json_of,
    output::Output,
    roles,
    settings::Settings,
    style::{bad, dim, good, one_line},
};

/// How long an MCP server may take to say what it offers.
const LIST_LIMIT: Duration = Duration::from_secs(60);
/// Longest description of a server's that is printed whole, in characters.
const DESCRIPTION_MAX: usize = 400;

/// What can be done without a fleet.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Trial {
    /// Run a tool once, in this process and really, and say what it did
    Test(Test),
    /// List what an MCP server offers, as tools to paste into a catalogue
    Mcp(Mcp),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// The tool: its name (the newest version), or name@version
    tool: String,
    /// Its parameters: JSON, or @FILE
    #[arg(long, default_value = "{}")]
    with: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Mcp {
    /// The server, as a file of the definitions' folder names it under `mcp:`
    server: Name,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(settings: Settings, command: Trial) -> anyhow::Result<ExitCode> {
    let models = definitions::load_models(settings.models.as_deref())?;
    let catalogue = definitions::load(&settings.workflows(), &models)?;
    match command {
        Trial::Test(args) => test(&settings, &catalogue, args).await,
        Trial::Mcp(args) => mcp(&catalogue, args).await,
    }
}

fn adapters() -> anyhow::Result<Adapters> {
    let adapters = Adapters::new(Environment::of_process(), HttpClient::new()?);
    Ok(adapters.with_launcher(Some("/proc/self/exe".into())))
}

async fn test(settings: &Settings, catalogue: &Catalogue, args: Test) -> anyhow::Result<ExitCode> {
    let tool = find(catalogue, &args.tool)?;
    let with = json_of("--with", &args.with)?;
    if let Err(faults) = tool.input.check(&with) {
        bail!("the parameters do not fit the tool's schema: {faults}");
    }
    let mut adapters = adapters()?;
    let emits = matches!(&tool.adapter, Adapter::Builtin(Builtin::EmitEvent { .. }));
    if emits || matches!(tool.adapter, Adapter::Nats { .. }) {
        adapters = adapters.with_bus(roles::bus(settings, "tools test").await?);
    }
    if tool.needs_blobs() {
        let bus = roles::bus(settings, "tools test").await?;
        adapters = adapters.with_blobs(Box::pin(Blobs::open(&bus)).await?);
    }
    // A run of its own each time, so that no service takes this for a repetition.
    let run = RunId::derive(
        &tool.name,
        "flotilla tools test",
        &Timestamp::now().to_string(),
    );
    let slot: Slot = "test".parse()?;
    let output = adapters.run(&Call::new(&tool, &with, &run, &slot)).await;
    if args.output.json() {
        println!("{}", as_json(&tool, &output));
    } else {
        println!("{}", said(&tool, &output));
    }
    let is_ok = matches!(output.outcome, ToolOutcome::Ok { .. });
    Ok(if is_ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn find(catalogue: &Catalogue, reference: &str) -> anyhow::Result<Arc<Tool>> {
    let (name, version) = match reference.split_once('@') {
        None => (reference, None),
        Some((name, version)) => (name, Some(version.parse::<u32>()?)),
    };
    let named = catalogue
        .tools
        .iter()
        .filter(|tool| tool.name.as_str() == name);
    let mut wanted = named.filter(|tool| version.is_none_or(|version| version == tool.version));
    let newest = wanted.by_ref().max_by_key(|tool| tool.version);
    newest.map(Arc::clone).ok_or_else(|| {
        let all = catalogue.tools.iter();
        let all: Vec<String> = all
            .map(|tool| format!("{}@{}", tool.name, tool.version))
            .collect();
        anyhow!(
            "there is no tool `{reference}` in this folder; there are: {}",
            all.join(", ")
        )
    })
}

fn kind(adapter: &Adapter) -> &'static str {
    match adapter {
        Adapter::Command { .. } => "command",
        Adapter::Http { .. } => "http",
        Adapter::Nats { .. } => "nats",
        Adapter::Mcp { .. } => "mcp",
        Adapter::Builtin(_) => "builtin",
    }
}

fn as_json(tool: &Tool, output: &ToolOutput) -> Value {
    json!({
        "tool": tool.name,
        "version": tool.version,
        "adapter": kind(&tool.adapter),
        "took_ms": u64::try_from(output.took.as_millis()).unwrap_or(u64::MAX),
        "outcome": output.outcome,
        "retryable": output.retryable,
    })
}

fn said(tool: &Tool, output: &ToolOutput) -> String {
    let (head, value) = match &output.outcome {
        ToolOutcome::Ok { output } => (good("ok"), Some(output)),
        ToolOutcome::Failed {
            error,
            message,
            output,
        } => {
            let head = format!("{} {error}: {}", bad("failed"), one_line(message, 1_000));
            (head, output.as_ref())
        }
        ToolOutcome::Unknown { message } => (
            format!("{} {}", bad("unknown"), one_line(message, 1_000)),
            None,
        ),
    };
    let took = dim(format!("{} in {:.0?}", kind(&tool.adapter), output.took));
    let value = value
        .map(|value| format!("\n{value:#}"))
        .unwrap_or_default();
    format!("{}@{} ({took}): {head}{value}", tool.name, tool.version)
}

async fn mcp(catalogue: &Catalogue, args: Mcp) -> anyhow::Result<ExitCode> {
    let name = &args.server;
    let server = catalogue.tools.server(name).ok_or_else(|| {
        let names: Vec<&str> = catalogue.tools.servers().map(Name::as_str).collect();
        match names.as_slice() {
            [] => anyhow!("no file here names an MCP server under `mcp:`"),
            names => anyhow!(
                "there is no MCP server `{name}`; there are: {}",
                names.join(", ")
            ),
        }
    })?;
    let tools = adapters()?.mcp_tools(server, LIST_LIMIT).await?;
    if args.output.json() {
        let tools = tools.iter().map(|tool| {
            json!({"tool": tool.name, "description": tool.description, "input": tool.input_schema, "pin": tool.pin})
        });
        println!(
            "{}",
            json!({"server": name, "tools": tools.collect::<Vec<_>>()})
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "# What `{name}` offers. Texts and hints are the server's own: read them before you paste."
    );
    println!("tools:");
    tools
        .iter()
        .for_each(|tool| println!("{}", as_yaml(name, tool)));
    Ok(ExitCode::SUCCESS)
}

/// A tool as its file would have it. JSON is YAML, too, and needs no care for quotes.
fn as_yaml(server: &Name, tool: &McpTool) -> String {
    let fits = |c: char| {
        if c.is_ascii_alphanumeric() || "_-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = tool.name.chars().map(fits).take(64).collect();
    let description = match one_line(&tool.description, DESCRIPTION_MAX) {
        text if text.is_empty() => tool.name.clone(),
        text => text,
    };
    let effect = if tool.says_read_only {
        Effect::Read
    } else if tool.says_idempotent {
        Effect::Idempotent
    } else {
        Effect::Once
    };
    let mcp = json!({"server": server, "tool": tool.name, "pin": tool.pin});
    format!(
        "  - tool: {}\n    version: 1\n    description: {}\n    input: {}\n    effect: {}\n    mcp: {mcp}",
        json!(name),
        json!(description),
        tool.input_schema,
        json!(effect).as_str().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use flotilla_common::{claude::Models, definition::Sources};

    use super::*;

    #[test]
    fn what_a_server_offers_is_yaml_that_can_be_pasted() -> anyhow::Result<()> {
        let tool = McpTool {
            name: "files/read \"it\"".into(),
            description: "Reads: a file\n# of any kind {{ here }}".into(),
            input_schema: json!({"type": "object", "properties": {"path": {"type": "string"}}}),
            pin: format!("sha256:{}", "0".repeat(64)),
            says_read_only: true,
            says_idempotent: false,
        };
        let yaml = as_yaml(&"own".parse()?, &tool);
        let file = format!("mcp: [{{server: own, command: [srv]}}]\ntools:\n{yaml}\n");
        let sources = Sources([("t.yaml".to_owned(), file)].into());
        let catalogue = Catalogue::parse(&sources, &Models::built_in()?)?;
        let read = find(&catalogue, "files_read__it_")?;
        assert_eq!(read.effect, Effect::Read);
        let Adapter::Mcp { tool: named, .. } = &read.adapter else {
            bail!("an MCP tool");
        };
        assert_eq!(*named, tool.name);
        assert!(
            find(&catalogue, "files").is_err_and(|e| e.to_string().contains("files_read__it_@1"))
        );
        Ok(())
    }
}
