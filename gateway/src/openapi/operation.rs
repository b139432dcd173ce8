//! One operation of the API: what a row of the tables says, and what the document says of it.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::schemas::{list, of};
use crate::access;

/// Problems that any request can come to, by status: not in time, a fault of the gateway's, something away.
const ALWAYS: [u16; 3] = [408, 500, 503];
/// The same of any request that a token is asked for, or that a limit holds for.
const GUARDED: [u16; 3] = [401, 403, 429];
/// The same of any request with a body.
const OF_BODIES: [u16; 3] = [400, 413, 415];

/// An operation.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    tag: &'static str,
    description: Option<&'static str>,
    parameters: Vec<Value>,
    body: Option<Body>,
    answers: Vec<Answer>,
    problems: Vec<u16>,
}

#[derive(Debug, Clone)]
struct Body {
    required: bool,
    /// By media type.
    content: Vec<(&'static str, Value)>,
}

#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    about: &'static str,
    media_type: &'static str,
    schema: Value,
}

pub(super) const JSON: &str = "application/json";

pub(super) fn get(path: &'static str, summary: &'static str) -> Operation {
    Operation::new("get", path, summary)
}

pub(super) fn post(path: &'static str, summary: &'static str) -> Operation {
    Operation::new("post", path, summary)
}

pub(super) fn put(path: &'static str, summary: &'static str) -> Operation {
    Operation::new("put", path, summary)
}

pub(super) fn delete(path: &'static str, summary: &'static str) -> Operation {
    Operation::new("delete", path, summary)
}

impl Operation {
    fn new(method: &'static str, path: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            path,
            summary,
            tag: "",
            description: None,
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Under which heading it is shown.
    pub(super) fn tagged(self, tag: &'static str) -> Self {
        Self { tag, ..self }
    }

    /// What there is to know besides its summary.
    pub(super) fn about(self, description: &'static str) -> Self {
        let description = Some(description);
        Self {
            description,
            ..self
        }
    }

    /// A part of the path.
    pub(super) fn path(self, name: &str, schema: Value) -> Self {
        self.parameter(json!({"name": name, "in": "path", "required": true, "schema": schema}))
    }

    /// A parameter of the query: never required, and as good as none where it is empty, as a form sends it.
    pub(super) fn query(self, name: &str, schema: Value) -> Self {
        let schema = match schema["items"].is_null() {
            true => or_empty(schema),
            false => list(or_empty(schema["items"].clone())),
        };
        self.parameter(json!({"name": name, "in": "query", "schema": schema}))
    }

    /// A header.
    pub(super) fn header(self, name: &str, schema: Value) -> Self {
        self.parameter(json!({"name": name, "in": "header", "schema": schema}))
    }

    fn parameter(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// A body in JSON; it may be missing where none of its fields is required.
    pub(super) fn body(self, schema: Value) -> Self {
        let required = schema["required"]
            .as_array()
            .is_some_and(|fields| !fields.is_empty());
        self.bodies(
            required || schema.get("$ref").is_some(),
            vec![(JSON, schema)],
        )
    }

    /// A body of one of some media types.
    pub(super) fn bodies(mut self, required: bool, content: Vec<(&'static str, Value)>) -> Self {
        self.body = Some(Body { required, content });
        self
    }

    /// What it answers in JSON when all is well.
    pub(super) fn answer(self, status: u16, schema: Value) -> Self {
        let about = match status {
            202 => "It is on disk",
            _ => "It is so",
        };
        self.answer_of(status, about, JSON, schema)
    }

    /// What it answers when all is well, in something else.
    pub(super) fn answer_of(
        mut self,
        status: u16,
        about: &'static str,
        media_type: &'static str,
        schema: Value,
    ) -> Self {
        self.answers.push(Answer {
            status,
            about,
            media_type,
            schema,
        });
        self
    }

    /// Another media type of the same answer.
    pub(super) fn also(self, status: u16, media_type: &'static str, schema: Value) -> Self {
        self.answer_of(status, "It is so", media_type, schema)
    }

    /// Problems that it may come to, besides those that any request can.
    pub(super) fn problems(mut self, statuses: &[u16]) -> Self {
        self.problems.extend(statuses);
        self
    }

    /// In lower case, as the document has it.
    pub(super) fn method(&self) -> &'static str {
        self.method
    }

    /// As the router has it.
    #[cfg(test)]
    pub(super) fn path_of_router(&self) -> &'static str {
        self.path
    }

    /// As the document has it: what may hold slashes is a part like any other there.
    pub(super) fn documented_path(&self) -> String {
        self.path.replace("{*", "{")
    }

    fn statuses(&self) -> Vec<u16> {
        let mut statuses = self.problems.clone();
        statuses.extend(ALWAYS);
        statuses.extend(GUARDED);
        if self.body.is_some() {
            statuses.extend(OF_BODIES);
        }
        if !self.parameters.is_empty() {
            statuses.push(400);
        }
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }

    /// The operation as the document has it.
    pub(super) fn json(&self) -> Value {
        let mut responses = Map::new();
        for answer in &self.answers {
            let status = answer.status.to_string();
            let first = json!({"description": answer.about, "content": {}});
            let response = responses.entry(status).or_insert(first);
            response["content"][answer.media_type] = json!({"schema": answer.schema});
        }
        for status in self.statuses() {
            let problem = json!({"$ref": "#/components/responses/Problem"});
            responses.insert(status.to_string(), problem);
        }
        let method = Method::from_bytes(self.method.to_uppercase().as_bytes());
        let scope = access::scope(&method.unwrap_or_default(), self.path).as_str();
        let id = self.path.trim_start_matches("/v1/");
        let id = id.replace(['{', '}', '*'], "").replace('/', "_");
        // What changes something needs more than the cookie: what a page of the console was given.
        let by_cookie = match self.method {
            "get" => json!({"cookie": [scope]}),
            _ => json!({"cookie": [scope], "csrf": [scope]}),
        };
        let mut operation = json!({
            "operationId": format!("{}_{id}", self.method),
            "summary": self.summary,
            "tags": [self.tag],
            "security": [{"bearer": [scope]}, by_cookie],
            "responses": responses,
        });
        if let Some(description) = self.description {
            operation["description"] = description.into();
        }
        if !self.parameters.is_empty() {
            operation["parameters"] = self.parameters.clone().into();
        }
        if let Some(Body { required, content }) = &self.body {
            let content = content.iter();
            let content =
                content.map(|(kind, schema)| ((*kind).to_owned(), json!({"schema": schema})));
            let content: Map<String, Value> = content.collect();
            operation["requestBody"] = json!({"required": required, "content": content});
        }
        operation
    }
}

fn or_empty(schema: Value) -> Value {
    json!({"anyOf": [schema, {"const": ""}]})
}

/// A problem as a response.
pub(super) fn problem() -> Value {
    json!({
        "description": "What is wrong, and what to do",
        "content": {"application/problem+json": {"schema": of("Problem")}},
    })
}
