//! The `mcp` adapter: tools of servers that speak the Model Context Protocol.
//!
//! The protocol is the library's (`rmcp`). Ours is what it runs over, with a bound on every message, servers that end with their
//! whole process group, one TLS stack and one HTTP client; and when a session is begun again. It calls tools and offers nothing: no
//! sampling, no roots, no elicitation.

mod http;
mod result;
mod server;
mod session;
mod stdio;
mod trouble;
mod watched;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use flotilla_common::definition::McpServer;
use rmcp::model::{CallToolRequestParams, ErrorCode};
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};

use super::{
    Call, Scene,
    failure::{Class, Failure},
    http::HttpClient,
};
use server::{Reach, Server};
use session::Session;
use trouble::Trouble;

/// A server that nobody has asked for so long is ended.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// A tool as its server describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct McpTool {
    /// What the server calls it.
    pub name: String,
    /// What it does, in the server's words.
    pub description: String,
    /// What it takes, as the server says it.
    pub input_schema: Value,
    /// By which the catalogue takes it in: see [`pin`](flotilla_common::definition::pin).
    pub pin: String,
    /// The server says that it changes nothing.
    pub says_read_only: bool,
    /// The server says that it may be repeated.
    pub says_idempotent: bool,
}

/// Why a server cannot be asked, for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct McpTrouble(pub(super) String);

/// Which tool of which server, as the catalogue took it in.
pub(super) struct Wanted<'a> {
    pub(super) server: &'a McpServer,
    pub(super) tool: &'a str,
    pub(super) pin: &'a str,
}

/// All servers that this process has to do with, each with one session at most.
#[derive(Debug, Default)]
pub(super) struct Servers(Mutex<HashMap<Reach, Arc<Server>>>);

impl Servers {
    /// Calls the tool, if it is still the one that was taken in.
    pub(super) async fn run(
        &self,
        call: &Call<'_>,
        wanted: &Wanted<'_>,
        scene: &Scene<'_>,
        client: &HttpClient,
    ) -> Result<Value, Failure> {
        let limit = call.tool.timeout;
        let until = Instant::now() + limit;
        let name = wanted.server.name.as_str();
        let server = self.server(Reach::of(wanted.server, scene)?);
        let ready = async {
            loop {
                let session = server.session(name, scene, client).await?;
                match pinned(&session, wanted).await {
                    // The session was over before we knew; there is a pause before each but the first.
                    Err(Trouble::Expired | Trouble::NotSent(_)) if session.is_over() => {}
                    Err(trouble) => return Err(before_the_call(name, &trouble)),
                    Ok(Err(failure)) => return Err(failure),
                    Ok(Ok(())) => return Ok(session),
                }
            }
        };
        let session = timeout_at(until, ready).await.unwrap_or_else(|_| {
            let message = format!("the MCP server `{name}` was not ready within {limit:?}");
            Err(Failure::new(Class::Connect, message))
        })?;
        let params = params(call, wanted)?;
        match timeout_at(until, session.call(params)).await {
            Ok(Ok(result)) => {
                let result = serde_json::to_value(result).unwrap_or_default();
                result::output(name, &result, call.tool.output_limit, scene)
            }
            Ok(Err(trouble)) => Err(of_the_call(name, &trouble)),
            Err(_) => {
                session.doubt();
                let message = format!("the MCP server `{name}` gave no answer within {limit:?}");
                Err(Failure::new(Class::Timeout, message))
            }
        }
    }

    /// What a server offers.
    pub(super) async fn list(
        &self,
        server: &McpServer,
        scene: &Scene<'_>,
        client: &HttpClient,
        limit: Duration,
    ) -> Result<Vec<McpTool>, McpTrouble> {
        let told = |failure: Failure| McpTrouble(scene.secrets.text(failure.message()));
        let known = self.server(Reach::of(server, scene).map_err(told)?);
        let session = known.session(server.name.as_str(), scene, client);
        let session = timeout_at(Instant::now() + limit, session).await;
        let session = session.map_err(|_| {
            McpTrouble(format!(
                "the MCP server `{}` was not ready within {limit:?}",
                server.name
            ))
        })?;
        Ok(session.map_err(told)?.tools().await)
    }

    fn server(&self, reach: Reach) -> Arc<Server> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is in use is held by its caller, too.
        known.retain(|_, server| Arc::strong_count(server) > 1 || server.idle() < IDLE_MAX);
        let server = known.entry(reach.clone());
        Arc::clone(server.or_insert_with(|| Arc::new(Server::new(reach))))
    }
}

/// Whether the tool is the one that was taken in.
async fn pinned(session: &Session, wanted: &Wanted<'_>) -> Result<Result<(), Failure>, Trouble> {
    let (server, name) = (&wanted.server.name, wanted.tool);
    session.clear_up().await?;
    Ok(match session.tool(name).await? {
        Ok(tool) if tool.pin == wanted.pin => Ok(()),
        Ok(tool) => Err(Failure::new(
            Class::Changed,
            format!(
                "the MCP server `{server}` describes its tool `{name}` otherwise than when it was taken in: its pin is {} now; look at what `flotilla tools mcp {server}` says of it, and pin that",
                tool.pin
            ),
        )),
        Err(names) => Err(Failure::new(
            Class::Changed,
            format!(
                "the MCP server `{server}` has no tool `{name}`; it has: {}",
                names.join(", ")
            ),
        )),
    })
}

fn params(call: &Call<'_>, wanted: &Wanted<'_>) -> Result<CallToolRequestParams, Failure> {
    let Value::Object(arguments) = call.input else {
        let message = "a tool of an MCP server takes an object";
        return Err(Failure::new(Class::Input, message));
    };
    let name = wanted.tool.to_owned();
    let mut params = CallToolRequestParams::new(name).with_arguments(arguments.clone());
    let meta = [
        ("flotilla/idempotency-key", call.idempotency_key.clone()),
        ("flotilla/run", call.run.to_string()),
        ("flotilla/step", call.slot.to_string()),
        ("traceparent", call.traceparent()),
    ];
    let meta: Map<String, Value> = meta
        .map(|(key, value)| (key.to_owned(), value.into()))
        .into_iter()
        .collect();
    params.meta = Some(meta.into());
    Ok(params)
}

/// Nothing was called.
fn before_the_call(server: &str, trouble: &Trouble) -> Failure {
    Failure::new(
        Class::Connect,
        format!("the MCP server `{server}`: {trouble}"),
    )
}

fn of_the_call(server: &str, trouble: &Trouble) -> Failure {
    let class = match trouble {
        Trouble::NotSent(_) | Trouble::Expired => Class::Connect,
        Trouble::Lost(_) => Class::Network,
        Trouble::Refused { code, .. } if *code == ErrorCode::INVALID_PARAMS => Class::Input,
        Trouble::Refused { code, .. } if *code == ErrorCode::METHOD_NOT_FOUND => Class::Config,
        Trouble::Refused { .. } => Class::Service,
        Trouble::Odd => Class::Reply,
        Trouble::Status(..) => Class::Status,
    };
    Failure::new(class, format!("the MCP server `{server}`: {trouble}"))
}
