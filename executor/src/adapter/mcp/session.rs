//! One session with a server: agreed upon once, with the list of its tools beside it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use flotilla_common::definition::pin;
use rmcp::{
    RoleClient, ServiceError,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ClientConfig,
        ClientRequest, Implementation, PaginatedRequestParams, PingRequest, ProtocolVersion, Tool,
    },
    service::{ClientCacheConfig, PeerRequestOptions, RunningService, serve_client_with_ct},
    transport::StreamableHttpClientTransport,
};
use serde_json::Value;
use tokio::{sync::Mutex, time::timeout};

use super::{
    McpTool,
    http::Endpoint,
    stdio::{Pipes, Program},
    trouble::Trouble,
    watched::{Shared, Watched},
};

/// Pages of a list of tools that are asked for.
const PAGES_MAX: usize = 50;
/// Tools of one server.
const TOOLS_MAX: usize = 1_000;
/// A list older than this is asked for anew before a call: not every server says that its tools have changed.
const LIST_AGE_MAX: Duration = Duration::from_secs(60);

/// How long a server that was silent may take to say that it is there.
const PING_LIMIT: Duration = Duration::from_secs(5);

/// How messages go to and fro.
pub(super) enum Link {
    Stdio(Program, Box<Pipes>),
    Http(StreamableHttpClientTransport<Endpoint>),
}

/// A session. Dropped, it ends, and its program is killed.
#[derive(Debug)]
pub(super) struct Session {
    running: RunningService<RoleClient, ClientConfig>,
    program: Option<Program>,
    shared: Arc<Shared>,
    /// The server has forgotten it. What is under way goes on.
    is_expired: AtomicBool,
    /// Held by whoever waits for an answer.
    waiting: Arc<()>,
    listed: Mutex<Listed>,
    /// A call had no answer in time: the server may be stuck.
    is_doubted: AtomicBool,
}

#[derive(Debug)]
struct Listed {
    tools: BTreeMap<String, McpTool>,
    at: Instant,
}

impl Session {
    /// Introduces us, and asks for the tools.
    pub(super) async fn begin(link: Link, shared: Arc<Shared>) -> Result<Self, Trouble> {
        let us = Implementation::new("flotilla", env!("CARGO_PKG_VERSION"));
        let us = ClientConfig::new(ClientCapabilities::default(), us)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE);
        let over = shared.over.clone();
        let (program, running) = match link {
            Link::Stdio(program, pipes) => {
                let pipes = Watched::new(*pipes, Arc::clone(&shared));
                let running = Box::pin(serve_client_with_ct(us, pipes, over)).await;
                (Some(program), running)
            }
            Link::Http(http) => {
                let http = Watched::new(http, Arc::clone(&shared));
                (None, Box::pin(serve_client_with_ct(us, http, over)).await)
            }
        };
        let running = running.map_err(|error| Trouble::of_beginning(error, &shared))?;
        agreed(&running)?;
        // A pin is compared with what the server says now, and not with what it once said.
        let cache = ClientCacheConfig::disabled();
        running.set_response_cache_config(cache).await;
        let nothing = Listed {
            tools: BTreeMap::new(),
            at: Instant::now(),
        };
        let session = Self {
            running,
            program,
            shared,
            is_expired: AtomicBool::new(false),
            waiting: Arc::default(),
            listed: Mutex::new(nothing),
            is_doubted: AtomicBool::new(false),
        };
        *session.listed.lock().await = session.list().await?;
        Ok(session)
    }

    /// Whether nothing can be asked of it any more.
    pub(super) fn is_over(&self) -> bool {
        self.shared.over.is_cancelled() || self.is_expired.load(Ordering::Relaxed)
    }

    /// All tools, as they were listed last.
    pub(super) async fn tools(&self) -> Vec<McpTool> {
        self.listed.lock().await.tools.values().cloned().collect()
    }

    /// A tool as it is now, or the names of those that there are.
    pub(super) async fn tool(&self, name: &str) -> Result<Result<McpTool, Vec<String>>, Trouble> {
        let mut listed = self.listed.lock().await;
        if self.shared.has_changed() || listed.at.elapsed() > LIST_AGE_MAX {
            *listed = self.list().await?;
        }
        let found = listed.tools.get(name).cloned();
        Ok(found.ok_or_else(|| listed.tools.keys().cloned().collect()))
    }

    /// Says that a call had no answer in time.
    pub(super) fn doubt(&self) {
        self.is_doubted.store(true, Ordering::Relaxed);
    }

    /// Ends the session where it was doubted and does not even say that it is there. One that is at work on something else may be
    /// silent for that, and is left alone.
    pub(super) async fn clear_up(&self) -> Result<(), Trouble> {
        if !self.is_doubted.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        if !self.is_there().await {
            if self.is_busy() {
                self.doubt();
            } else {
                self.shared.over.cancel();
                let message = format!("it does not answer within {PING_LIMIT:?}, and was ended");
                return Err(Trouble::NotSent(message));
            }
        }
        Ok(())
    }

    /// Calls a tool. Dropping this tells the server that nobody waits any more.
    pub(super) async fn call(
        &self,
        params: CallToolRequestParams,
    ) -> Result<CallToolResult, Trouble> {
        let called = self.running.peer().call_tool_once(params);
        // A server may ask for more, or for patience, of clients that said that they have it. We have not.
        let CallToolResponse::Complete(result) = self.ask(called).await? else {
            return Err(Trouble::Odd);
        };
        Ok(result)
    }

    async fn ask<T>(
        &self,
        answered: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<T, Trouble> {
        if self.is_over() {
            return Err(Trouble::NotSent(self.shared.end()));
        }
        let _waiting = Arc::clone(&self.waiting);
        let trouble = tokio::select! {
            biased;
            answer = answered => match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => Trouble::of(error, &self.shared),
            },
            () = self.shared.over.cancelled() => Trouble::Lost(self.shared.end()),
        };
        if trouble == Trouble::Expired {
            self.is_expired.store(true, Ordering::Relaxed);
        }
        Err(trouble)
    }

    /// Whether anybody waits for an answer of the one program. Over HTTP each request is one of its own.
    fn is_busy(&self) -> bool {
        self.program.is_some() && Arc::strong_count(&self.waiting) > 1
    }

    /// Whether it answers a ping, whatever it says.
    async fn is_there(&self) -> bool {
        let ping = ClientRequest::PingRequest(PingRequest::default());
        // By a limit of its own, the library forgets what stays without an answer.
        let options = PeerRequestOptions::with_timeout(PING_LIMIT);
        let answered = async {
            let asked = self.running.send_request_with_option(ping, options);
            asked.await?.await_response().await
        };
        // It says so to the server, which may not read.
        match timeout(2 * PING_LIMIT, answered).await {
            Ok(Err(ServiceError::Timeout { .. })) | Err(_) => false,
            Ok(_) => true,
        }
    }

    async fn list(&self) -> Result<Listed, Trouble> {
        let mut tools = BTreeMap::new();
        let mut params = None;
        for _ in 0..PAGES_MAX {
            let page = self.ask(self.running.list_tools(params)).await?;
            let read = page.tools.into_iter().map(of_list);
            tools.extend(read.map(|tool| (tool.name.clone(), tool)));
            if tools.len() > TOOLS_MAX {
                let message = format!("it has more than {TOOLS_MAX} tools");
                return Err(Trouble::NotSent(message));
            }
            if page.next_cursor.is_none() {
                let at = Instant::now();
                return Ok(Listed { tools, at });
            }
            params = Some(PaginatedRequestParams::default().with_cursor(page.next_cursor));
        }
        let message = format!("its list of tools does not end after {PAGES_MAX} pages");
        Err(Trouble::NotSent(message))
    }
}

/// Whether the version that the server wants is one that the library knows.
fn agreed(running: &RunningService<RoleClient, ClientConfig>) -> Result<(), Trouble> {
    let info = running.peer_info();
    let version = info.as_deref().map(|info| &info.protocol_version);
    let known = ProtocolVersion::KNOWN_VERSIONS;
    if version.is_some_and(|version| known.contains(version)) {
        return Ok(());
    }
    let version = version.map(ProtocolVersion::as_str).unwrap_or_default();
    let known: Vec<&str> = known.iter().map(ProtocolVersion::as_str).collect();
    let message = format!(
        "it speaks version `{version}` of the protocol, and we {}",
        known.join(", ")
    );
    Err(Trouble::NotSent(message))
}

fn of_list(tool: Tool) -> McpTool {
    let hints = tool.annotations.unwrap_or_default();
    let input_schema = Value::Object(Arc::unwrap_or_clone(tool.input_schema));
    McpTool {
        pin: pin(&tool.name, tool.description.as_deref(), &input_schema),
        name: tool.name.into_owned(),
        description: tool.description.unwrap_or_default().into_owned(),
        input_schema,
        says_read_only: hints.read_only_hint.unwrap_or(false),
        says_idempotent: hints.idempotent_hint.unwrap_or(false),
    }
}
