//! Tools of MCP servers: which servers there are, and which of their tools the catalogue takes, as they were when they were taken.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use serde_saphyr::{Location, Spanned};
use sha2::{Digest as _, Sha256};

use super::{
    super::{
        problem::Report,
        template::{Holes, Template},
        words::nearest,
    },
    Adapter,
    http::is_address,
    yaml::ToolYaml,
};
use crate::ids::{Name, hex};

/// How an MCP server is reached.
#[derive(Debug, Clone, PartialEq)]
pub enum McpVia {
    /// It is started, and spoken to over its standard input and output. Holes see `env` alone.
    Command(Vec<Template>),
    /// It is there already, and spoken to by streamable HTTP. Holes see `env` alone.
    Url {
        /// Its endpoint.
        url: Template,
        /// Header names and values.
        headers: Vec<(String, Template)>,
    },
}

/// An MCP server.
#[derive(Debug, Clone, PartialEq)]
pub struct McpServer {
    /// What the catalogue calls it.
    pub name: Name,
    /// How it is reached.
    pub via: McpVia,
    /// Variables of the executor that it sees.
    pub env: BTreeSet<String>,
}

/// What a server says of a tool, as one short text: `sha256:` and the digest of its name, its description and the schema of its
/// input, whatever the order of the keys.
#[must_use]
pub fn pin(name: &str, description: Option<&str>, input_schema: &Value) -> String {
    let said = json!({"name": name, "description": description, "inputSchema": input_schema});
    format!("sha256:{}", hex(&Sha256::digest(sorted(&said).to_string())))
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let by_key: BTreeMap<&String, Value> = map
                .iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect();
            let by_key = by_key.into_iter();
            Value::Object(
                by_key
                    .map(|(key, value)| (key.clone(), value))
                    .collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// A server in a file's `mcp` list.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::definition) struct ServerYaml {
    pub(in crate::definition) server: Spanned<Name>,
    #[serde(default)]
    command: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    url: Option<Spanned<String>>,
    #[serde(default)]
    headers: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    env: BTreeSet<String>,
}

/// A tool's `mcp`. Where it says itself how its server is reached, it names none of the file's list: so it stands alone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::definition) struct McpYaml {
    pub(in crate::definition) server: Spanned<Name>,
    tool: Spanned<String>,
    pin: Spanned<String>,
    #[serde(default)]
    command: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    url: Option<Spanned<String>>,
    #[serde(default)]
    headers: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    env: BTreeSet<String>,
}

impl McpYaml {
    /// Whether it says itself how its server is reached.
    pub(in crate::definition) fn is_whole(&self) -> bool {
        self.command.is_some() || self.url.is_some()
    }

    fn own_server(&self) -> ServerYaml {
        ServerYaml {
            server: self.server.clone(),
            command: self.command.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            env: self.env.clone(),
        }
    }
}

impl ServerYaml {
    /// The server, as far as it is right; what is wrong goes into the report.
    pub(in crate::definition) fn compile(&self, report: &mut Report<'_>) -> Option<McpServer> {
        let via = match (&self.command, &self.url) {
            (Some(argv), None) => {
                if let Some(place) = self.headers.values().next() {
                    let message = "`headers` belong to a `url`, and this server has a `command`";
                    report.at(place.referenced, message, None);
                }
                if argv.value.is_empty() {
                    let message = "`command` is empty; its first item is the program";
                    report.at(argv.referenced, message, None);
                }
                let items = argv.value.iter();
                McpVia::Command(
                    items
                        .filter_map(|item| self.template(report, item, Holes::Scalar))
                        .collect(),
                )
            }
            (None, Some(url)) => self.endpoint(report, url)?,
            (given, _) => {
                let count = given.as_ref().map_or(
                    "neither `command` nor `url`",
                    |_| "both `command` and `url`",
                );
                let message = format!("MCP server `{}` has {count}", self.server.value);
                let help = "give it exactly one of them";
                report.at(self.server.referenced, message, Some(help));
                return None;
            }
        };
        Some(McpServer {
            name: self.server.value.clone(),
            via,
            env: self.env.clone(),
        })
    }

    fn endpoint(&self, report: &mut Report<'_>, url: &Spanned<String>) -> Option<McpVia> {
        is_address(report, url);
        let headers = self.headers.iter();
        let headers = headers.filter_map(|(name, value)| {
            Some((name.clone(), self.template(report, value, Holes::Scalar)?))
        });
        let headers = headers.collect();
        let url = self.template(report, url, Holes::Url)?;
        Some(McpVia::Url { url, headers })
    }

    fn template(
        &self,
        report: &mut Report<'_>,
        text: &Spanned<String>,
        holes: Holes,
    ) -> Option<Template> {
        let template = match Template::compile(&text.value, holes) {
            Ok(template) => template,
            Err(error) => {
                let message = format!("this does not compile: {error}");
                report.at(text.referenced, message, None);
                return None;
            }
        };
        for path in template.paths() {
            let variable = path.strip_prefix("env.");
            match variable {
                Some(name) if self.env.contains(name) => {}
                Some(name) => {
                    let help = format!("add it: `env: [{name}]`");
                    let message = format!("`{path}`: the server may not see `{name}`");
                    report.at(text.referenced, message, Some(&help));
                }
                None => {
                    let message =
                        format!("`{path}`: a server's holes see only env: it serves many calls");
                    report.at(text.referenced, message, None);
                }
            }
        }
        Some(template)
    }
}

impl ToolYaml {
    pub(super) fn mcp(
        &self,
        report: &mut Report<'_>,
        mcp: &McpYaml,
        servers: &[ServerYaml],
    ) -> Option<Adapter> {
        if !self.env.is_empty() {
            let message = "`env` belongs to the tool's MCP server: it runs for all of its tools";
            report.at(mcp.server.referenced, message, None);
        }
        if mcp.tool.value.trim().is_empty() {
            report.at(mcp.tool.referenced, "`tool` is empty", None);
        }
        if !is_pin(&mcp.pin.value) {
            let message = "`pin` is `sha256:` and 64 hex digits";
            let help = format!(
                "`flotilla tools mcp {}` lists the server's tools with their pins",
                mcp.server.value
            );
            report.at(mcp.pin.referenced, message, Some(&help));
        }
        let own = mcp.is_whole().then(|| mcp.own_server());
        let server = match &own {
            Some(own) => own,
            None => find(report, &mcp.server, servers)?,
        };
        // One of the list was told of at its own place.
        let server = match &own {
            Some(own) => own.compile(report)?,
            None => server.compile(&mut Report::new(report.file, report.text))?,
        };
        Some(Adapter::Mcp {
            server: Box::new(server),
            tool: mcp.tool.value.clone(),
            pin: mcp.pin.value.clone(),
        })
    }
}

fn find<'s>(
    report: &mut Report<'_>,
    name: &Spanned<Name>,
    servers: &'s [ServerYaml],
) -> Option<&'s ServerYaml> {
    let found = servers
        .iter()
        .find(|server| server.server.value == name.value);
    if found.is_none() {
        let names = servers.iter().map(|server| server.server.value.as_str());
        let names: Vec<&str> = names.collect();
        let help = match nearest(name.value.as_str(), names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "name it in this file's `mcp:` list".to_owned(),
            None => format!("there are: {}", names.join(", ")),
        };
        let message = format!("there is no MCP server `{}` in this file", name.value);
        report.at(name.referenced, message, Some(&help));
    }
    found
}

/// Notes servers of one file that have the same name, and what is wrong with each; gives those that are right.
pub(in crate::definition) fn servers(
    report: &mut Report<'_>,
    all: &[ServerYaml],
) -> Vec<McpServer> {
    let mut seen: BTreeMap<&Name, Location> = BTreeMap::new();
    let mut right = Vec::new();
    for server in all {
        if seen
            .insert(&server.server.value, server.server.referenced)
            .is_some()
        {
            let message = format!("MCP server `{}` is here twice", server.server.value);
            report.at(server.server.referenced, message, Some("keep one of them"));
        }
        right.extend(server.compile(report));
    }
    right
}

fn is_pin(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| {
        digits.len() == 64
            && digits
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_of_what_is_said_and_not_of_how_it_is_ordered() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let turned = json!({"properties": {"a": {"type": "string"}}, "type": "object"});
        let first = pin("t", Some("d"), &schema);
        assert!(is_pin(&first), "{first}");
        assert_eq!(first, pin("t", Some("d"), &turned));
        let other = json!({"type": "object", "properties": {"a": {"type": "number"}}});
        for changed in [
            pin("u", Some("d"), &schema),
            pin("t", Some("d2"), &schema),
            pin("t", None, &schema),
            pin("t", Some("d"), &other),
        ] {
            assert_ne!(first, changed);
        }
    }
}
