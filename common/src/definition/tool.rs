//! Tools: what executors can do, as the catalogue says it.

mod adapter;
mod yaml;

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    schema::Schema,
    step::Compensate,
    template::{Shape, Template},
};
use crate::{ids::Name, units::Rate};
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
    },
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
    /// What repeating it does.
    pub effect: Effect,
    /// Whether a person is asked first.
    pub risk: Risk,
    /// What undoes it.
    pub compensate: Option<Compensate>,
    /// Longest run.
    pub timeout: Duration,
    /// The bulkhead: how many at once in one executor.
    pub concurrency: u32,
    /// How often, in one executor.
    pub rate: Option<Rate>,
    /// Largest output kept, in bytes.
    pub output_limit: usize,
    /// Environment variables that its holes and its process may see.
    pub env: BTreeSet<String>,
    /// How it runs.
    pub adapter: Adapter,
    /// What to use in its place. It is said of the tool and is no part of it: runs go on with it, and digests do not know of it.
    pub deprecated: Option<String>,
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
