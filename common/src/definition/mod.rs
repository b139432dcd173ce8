//! Definitions: workflows and tools from YAML, checked and compiled before anything runs. No IO: the files come in as texts.

mod active;
mod bundle;
mod catalogue;
mod cron;
pub mod diff;
mod inlet;
mod need;
mod parse;
mod problem;
mod runs;
mod schema;
mod step;
mod switch;
mod template;
mod tool;
mod tools;
mod words;
mod workflow;
mod yaml;

use std::collections::BTreeMap;

pub use active::{Active, Candidate, Percent, PercentError, ValueError, VersionRef, slot};
pub use bundle::{BUNDLE_BYTES_MAX, Bundle, BundleError, TOOLS_FILE, ToolText, WORKFLOW_FILE};
pub use catalogue::Catalogue;
pub use cron::Cron;
pub use inlet::{
    Digest, Encoding, EventSchema, Hook, HookMap, InletKey, InletText, Inlets, Misfit, Secret,
    Verify,
};
pub use problem::{Problem, Problems};
pub use schema::Schema;
pub use step::{
    AgentStep, ApprovalStep, ApprovalTerms, Case, ClaudeStep, Compensate, EachStep, EndStep, Floor,
    Inference, Notify, OnError, OnTimeout, Retry, Review, RunStep, Sleep, Step, StepKind, Target,
    ToolStep, Unavailable,
};
pub use switch::{Switch, Switched, Switches};
pub use template::{
    Context, Formula, Shape, Template, TemplateError, mark_as_data, percent_encoded,
};
pub use tool::{
    Adapter, Auth, Builtin, Effect, Fault, FaultError, HttpOptions, McpServer, McpVia,
    ProgramLimits, Reconcile, Redaction, Retries, Risk, Statuses, TOO_MANY, TlsFiles, Tool, pin,
};
pub use tools::Tools;
pub use words::nearest;
pub use workflow::{Limits, OnFailure, Trigger, Workflow};

/// Definition files by path, relative to the definitions' folder, with `/` between folders.
#[derive(Debug, Default, Clone)]
pub struct Sources(pub BTreeMap<String, String>);

impl Sources {
    /// The text of `path` as seen from the folder of `file`.
    fn beside(&self, file: &str, path: &str) -> Result<&str, String> {
        if path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(format!("`{path}` leads out of the workflow's folder"));
        }
        let path = path.trim_start_matches("./");
        let full = file
            .rsplit_once('/')
            .map_or_else(|| path.to_owned(), |(folder, _)| format!("{folder}/{path}"));
        self.0
            .get(&full)
            .map(String::as_str)
            .ok_or_else(|| format!("there is no file `{full}`"))
    }
}

#[cfg(test)]
mod tests;
