//! What a workflow names: models, tools, and files beside it.

use std::sync::Arc;

use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use super::{
    super::{
        schema::Schema,
        template::{Holes, Template},
        tool::Tool,
        words::nearest,
    },
    Parser,
};
use crate::claude::Model;

impl Parser<'_, '_> {
    pub(super) fn model(
        &mut self,
        own: Option<&Spanned<String>>,
        place: Location,
    ) -> Option<Model> {
        let Some(given) = own.or(self.model) else {
            let message = "no `model` here and none at the top of the workflow";
            self.report.at(
                place,
                message,
                Some("add `model: haiku` in one of the two places"),
            );
            return None;
        };
        let found = self.models.find(&given.value).cloned();
        if found.is_none() {
            let names = self.models.names();
            let near = nearest(&given.value, names.iter().copied());
            let near = near
                .map(|near| format!("did you mean `{near}`? "))
                .unwrap_or_default();
            let help = format!(
                "{near}known: {}; the table is {}",
                names.join(", "),
                self.models.file
            );
            let message = format!("there is no model `{}` in the table of models", given.value);
            self.report.at(given.referenced, message, Some(&help));
        }
        found
    }

    /// A tool, and who is asked about it.
    fn uses_whole(&mut self, tool: &Tool) {
        self.uses(self.tools.source(tool));
        if let Some(asked) = &tool.reconcile {
            self.uses(self.tools.source(&asked.tool));
        }
    }

    pub(super) fn tool(&mut self, reference: &Spanned<String>) -> Option<Arc<Tool>> {
        match self.tools.find(&reference.value) {
            Ok(tool) => {
                self.uses_whole(&tool);
                if let Some(undo) = &tool.compensate {
                    self.uses_whole(&undo.tool);
                }
                if let Some(instead) = &tool.deprecated {
                    let (name, version) = (&tool.name, tool.version);
                    let message = format!("`{name}@{version}` is deprecated: {instead}");
                    self.report.warn(reference.referenced, message, None);
                }
                Some(tool)
            }
            // The tool is there but wrong, and that is told at its own place.
            Err(None) => {
                self.tool_was_wrong = true;
                None
            }
            Err(Some((message, help))) => {
                self.report
                    .at(reference.referenced, message, help.as_deref());
                None
            }
        }
    }

    pub(super) fn prompt(&mut self, given: &Spanned<String>) -> Option<Template> {
        let is_file = is_path(&given.value, "md");
        let text = if is_file {
            self.file(&given.value, given.referenced)?
        } else {
            given.value.clone()
        };
        if !is_file && looks_like_a_path(&given.value) {
            let message = format!(
                "`{}` looks like a file, but prompts are files that end in .md",
                given.value
            );
            self.report.at(
                given.referenced,
                message,
                Some("rename it, or write the prompt here as a text"),
            );
        }
        let file = is_file.then_some(given.value.as_str());
        match Template::compile(text.trim_end(), Holes::Data) {
            Ok(template) => {
                self.check_paths(given.referenced, file, template.paths());
                Some(template)
            }
            Err(error) => {
                let file = file.unwrap_or("the prompt");
                self.report.at(
                    given.referenced,
                    format!("{file} does not compile: {error}"),
                    None,
                );
                None
            }
        }
    }

    pub(super) fn schema(&mut self, given: &Spanned<Value>) -> Option<Schema> {
        let reference = given.value.get("$ref").and_then(Value::as_str);
        let reference = reference.filter(|path| !path.starts_with('#'));
        let source = match reference {
            None => given.value.clone(),
            Some(path) if !is_path(path, "json") => {
                let message = format!("`$ref: {path}` is no schema file; those end in .json");
                self.report.at(given.referenced, message, None);
                return None;
            }
            Some(path) => {
                let text = self.file(path, given.referenced)?;
                match serde_json::from_str(&text) {
                    Ok(value) => value,
                    Err(error) => {
                        let message = format!("`{path}` is not JSON: {error}");
                        self.report.at(given.referenced, message, None);
                        return None;
                    }
                }
            }
        };
        let place = reference.unwrap_or("output");
        if source["type"] != "object" {
            let message = format!("`{place}` must be a JSON Schema with `type: object`");
            let help = "without `output` the step gives a text";
            self.report.at(given.referenced, message, Some(help));
            return None;
        }
        match Schema::compile(source) {
            Ok(schema) => Some(schema),
            Err(fault) => {
                let message = format!("`{place}` is no valid JSON Schema: {fault}");
                self.report.at(given.referenced, message, None);
                None
            }
        }
    }

    fn file(&mut self, path: &str, place: Location) -> Option<String> {
        match self.sources.beside(self.report.file, path) {
            Ok(text) => {
                self.uses(path);
                self.uses(text);
                self.files.insert(path.to_owned());
                Some(text.to_owned())
            }
            Err(message) => {
                let help = "paths are relative to the folder of this file, and stay in it";
                self.report.at(place, message, Some(help));
                None
            }
        }
    }
}

fn is_path(text: &str, extension: &str) -> bool {
    let tail = text.rsplit_once('.').map(|(_, tail)| tail);
    tail == Some(extension) && !text.contains(char::is_whitespace)
}

/// A prompt is never one word with a slash in it.
fn looks_like_a_path(text: &str) -> bool {
    text.contains('/') && !text.contains(char::is_whitespace) && !text.contains('{')
}
