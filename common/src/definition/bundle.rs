//! One version of a workflow as texts that stand for themselves: its file, what it names beside it, and the tools that it can use.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    Problems, Sources, Tool, Tools, ValueError, Workflow,
    active::{VersionRef, check_version},
    parse,
    problem::Report,
};
use crate::{
    claude::Models,
    entry::Pin,
    ids::{Name, hex},
};

/// The bundle version this code writes, and the only one it reads.
const VERSION: u32 = 1;
/// Largest bundle as it is kept, in bytes: NATS takes messages of 1 MiB unless its server is told otherwise.
pub const BUNDLE_BYTES_MAX: usize = 900 * 1024;
/// Files that are named where a bundle is too large.
const LARGEST_NAMED: usize = 3;
/// Where the workflow is in its bundle; what it names is beside it.
pub const WORKFLOW_FILE: &str = "workflow.yaml";
/// Where its tools are; missing where it uses none.
pub const TOOLS_FILE: &str = "tools.yaml";

/// Why a version of a workflow cannot be bundled, or a bundle not be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It cannot be read.
    #[error("the stored definition cannot be read: {0}")]
    Value(#[from] ValueError),
    /// It does not compile here: it is of another version of flotilla, or of another table of models.
    #[error("{0}")]
    Wrong(#[from] Problems),
    /// It is not what it says.
    #[error(
        "the texts of workflow `{}` version {} have digest {is}, not {:.12} as was said", .said.name, .said.version, .said.digest
    )]
    Digest {
        /// What it says.
        said: Pin,
        /// What it is: name, version and digest, for people.
        is: String,
    },
    /// It is too large to be kept.
    #[error(
        "workflow `{name}` version {version} has {bytes} bytes with its prompts, schemas and tools; at most {BUNDLE_BYTES_MAX} can be kept. The largest: {largest}"
    )]
    TooLarge {
        /// The workflow.
        name: Name,
        /// Its version.
        version: u32,
        /// How large it is.
        bytes: usize,
        /// Its largest files, for people.
        largest: String,
    },
    /// There is no such version, or its files are not among the sources.
    #[error("workflow `{name}` version {version} is not among these files")]
    NotThere {
        /// The workflow.
        name: Name,
        /// Its version.
        version: u32,
    },
}

/// A version of a workflow, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// Which shape this is.
    v: u32,
    /// The workflow.
    pub workflow: Name,
    /// Its version.
    pub version: u32,
    /// As [`Pin::digest`].
    pub digest: String,
    /// Texts by path: [`WORKFLOW_FILE`], [`TOOLS_FILE`], and what the workflow names beside it.
    pub files: BTreeMap<String, String>,
    /// Who applied it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// One version of a tool, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolText {
    /// Which shape this is.
    v: u32,
    /// The tool.
    pub tool: Name,
    /// Its version.
    pub version: u32,
    /// SHA-256 (hex) of the source.
    pub digest: String,
    /// The tool as its file says it, as JSON in one line.
    pub source: String,
    /// As [`Tool::deprecated`]: what whoever applied it last says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<String>,
}

impl Bundle {
    /// A bundle of these texts; its tools are those named and all that they need to be read.
    pub(super) fn new(pin: &Pin, mut files: BTreeMap<String, String>, tools: &[ToolText]) -> Self {
        if !tools.is_empty() {
            files.insert(TOOLS_FILE.to_owned(), file_of(tools));
        }
        Self {
            v: VERSION,
            workflow: pin.name.clone(),
            version: pin.version,
            digest: pin.digest.clone(),
            files,
            by: None,
        }
    }

    /// The bundle that these files are said to be; [`Bundle::compile`] says whether they are.
    #[must_use]
    pub fn of_files(pin: &Pin, files: BTreeMap<String, String>) -> Self {
        Self::new(pin, files, &[])
    }

    /// What runs of it are pinned to.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.version().pin(&self.workflow)
    }

    /// Which version it is.
    #[must_use]
    pub fn version(&self) -> VersionRef {
        VersionRef {
            version: self.version,
            digest: self.digest.clone(),
        }
    }

    /// As the bucket keeps it.
    ///
    /// # Errors
    /// [`BundleError::TooLarge`].
    pub fn encode(&self) -> Result<Vec<u8>, BundleError> {
        let bytes = serde_json::to_vec(self).map_err(ValueError::Shape)?;
        if bytes.len() <= BUNDLE_BYTES_MAX {
            return Ok(bytes);
        }
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_by_key(|(_, text)| std::cmp::Reverse(text.len()));
        let largest = files.iter().take(LARGEST_NAMED);
        let largest = largest.map(|(path, text)| format!("{path} ({} bytes)", text.len()));
        Err(BundleError::TooLarge {
            name: self.workflow.clone(),
            version: self.version,
            bytes: bytes.len(),
            largest: largest.collect::<Vec<_>>().join(", "),
        })
    }

    /// Reads what the bucket has. What it says of itself is not checked before it is compiled.
    ///
    /// # Errors
    /// [`BundleError::Value`].
    pub fn read(bytes: &[u8]) -> Result<Self, BundleError> {
        check_version(bytes)?;
        Ok(serde_json::from_slice(bytes).map_err(ValueError::Shape)?)
    }

    /// Compiles it, as it stands: the workflows that it runs need not be there.
    ///
    /// # Errors
    /// [`BundleError::Wrong`], and [`BundleError::Digest`] where the texts are not those that were bundled.
    pub fn compile(&self, models: &Models) -> Result<Arc<Workflow>, BundleError> {
        let sources = Sources(self.files.clone());
        let mut tools = Tools::default();
        let mut problems = Vec::new();
        if let Some(text) = self.files.get(TOOLS_FILE) {
            let mut report = Report::new(TOOLS_FILE, text);
            tools.read(&mut report);
            problems.append(&mut report.problems);
        }
        problems.append(&mut tools.resolve(&sources));
        let text = self.files.get(WORKFLOW_FILE).map_or("", String::as_str);
        let mut report = Report::new(WORKFLOW_FILE, text);
        let parsed = parse::workflow(&mut report, &sources, &tools, models);
        problems.append(&mut report.problems);
        if !problems.is_empty() {
            return Err(Problems(problems).into());
        }
        let workflow = parsed.and_then(|parsed| parsed.workflow);
        let workflow = workflow.ok_or_else(|| BundleError::NotThere {
            name: self.workflow.clone(),
            version: self.version,
        })?;
        let (is, said) = (&workflow.pin, self.pin());
        if *is != said {
            let is = format!("{:.12} (`{}` version {})", is.digest, is.name, is.version);
            return Err(BundleError::Digest { said, is });
        }
        Ok(Arc::new(workflow))
    }

    /// The tools in it.
    ///
    /// # Errors
    /// [`BundleError::Wrong`].
    pub fn tools(&self) -> Result<Vec<ToolText>, BundleError> {
        let Some(text) = self.files.get(TOOLS_FILE) else {
            return Ok(Vec::new());
        };
        let mut tools = Tools::default();
        let mut report = Report::new(TOOLS_FILE, text);
        tools.read(&mut report);
        if !report.problems.is_empty() {
            return Err(Problems(report.problems).into());
        }
        Ok(tools
            .iter()
            .map(|tool| ToolText::of(tool, &tools))
            .collect())
    }
}

impl ToolText {
    pub(super) fn of(tool: &Tool, tools: &Tools) -> Self {
        let source = tools.source(tool).to_owned();
        Self {
            v: VERSION,
            tool: tool.name.clone(),
            version: tool.version,
            digest: hex(&Sha256::digest(&source)),
            source,
            deprecated: None,
        }
    }

    /// Compiles it alone: it does what it does, and what undoes it is for the workflows to know.
    ///
    /// # Errors
    /// [`BundleError::Wrong`], and [`BundleError::Digest`] where the source is not what was bundled.
    pub fn compile(&self) -> Result<Arc<Tool>, BundleError> {
        let text = file_of(std::slice::from_ref(self));
        let mut tools = Tools::default();
        let mut report = Report::new(TOOLS_FILE, &text);
        tools.read(&mut report);
        if !report.problems.is_empty() {
            return Err(Problems(report.problems).into());
        }
        let tool = tools.get(&self.tool, self.version);
        let mut tool = tool.cloned().ok_or_else(|| BundleError::NotThere {
            name: self.tool.clone(),
            version: self.version,
        })?;
        if self.deprecated.is_some() {
            Arc::make_mut(&mut tool)
                .deprecated
                .clone_from(&self.deprecated);
        }
        Ok(tool)
    }

    /// As the bucket keeps it.
    ///
    /// # Errors
    /// [`BundleError::Value`]; never for what this code makes.
    pub fn encode(&self) -> Result<Vec<u8>, BundleError> {
        Ok(serde_json::to_vec(self).map_err(ValueError::Shape)?)
    }

    /// Reads what the bucket has.
    ///
    /// # Errors
    /// [`BundleError::Value`].
    pub fn read(bytes: &[u8]) -> Result<Self, BundleError> {
        check_version(bytes)?;
        Ok(serde_json::from_slice(bytes).map_err(ValueError::Shape)?)
    }
}

/// A file of tools, one a line: JSON, of which YAML takes all but some characters as they are.
fn file_of(tools: &[ToolText]) -> String {
    let mut text = String::from("tools:\n");
    for tool in tools {
        text.push_str("- ");
        as_yaml(&tool.source, &mut text);
        text.push('\n');
    }
    text
}

/// Writes JSON so that YAML takes it for the same.
pub(super) fn as_yaml(json: &str, text: &mut String) {
    for character in json.chars() {
        if is_plain(character) {
            text.push(character);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        }
    }
}

/// Whether YAML takes a character within quotes as it is. The others are below U+10000, and only within quotes in JSON.
fn is_plain(character: char) -> bool {
    !matches!(
        character,
        '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    )
}
