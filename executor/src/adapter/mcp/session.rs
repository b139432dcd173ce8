//! One session with a server: agreed upon once, with the list of its tools beside it.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use flotilla_common::definition::pin;
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::timeout};

use super::{
    McpTool,
    http::Http,
    stdio::Stdio,
    wire::{Trouble, VERSION, VERSIONS},
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
#[derive(Debug)]
pub(super) enum Link {
    Stdio(Stdio),
    Http(Http),
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    link: Link,
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
    pub(super) async fn begin(link: Link) -> Result<Self, Trouble> {
        let params = json!({
            "protocolVersion": VERSION,
            "capabilities": {},
            "clientInfo": {"name": "flotilla", "version": env!("CARGO_PKG_VERSION")},
        });
        let said = link.request("initialize", &params).await?;
        let version = said["protocolVersion"].as_str().unwrap_or_default();
        if !VERSIONS.contains(&version) {
            let known = VERSIONS.join(", ");
            let message = format!("it speaks version `{version}` of the protocol, and we {known}");
            return Err(Trouble::NotSent(message));
        }
        if let Link::Http(http) = &link {
            http.speak(version);
        }
        link.notify("notifications/initialized").await?;
        let listed = Mutex::new(link.list().await?);
        Ok(Self {
            link,
            listed,
            is_doubted: AtomicBool::new(false),
        })
    }

    /// Whether nothing can be asked of it any more.
    pub(super) fn is_over(&self) -> bool {
        match &self.link {
            Link::Stdio(stdio) => stdio.is_over(),
            Link::Http(http) => http.is_over(),
        }
    }

    /// All tools, as they were listed last.
    pub(super) async fn tools(&self) -> Vec<McpTool> {
        self.listed.lock().await.tools.values().cloned().collect()
    }

    /// A tool as it is now, or the names of those that there are.
    pub(super) async fn tool(&self, name: &str) -> Result<Result<McpTool, Vec<String>>, Trouble> {
        let mut listed = self.listed.lock().await;
        let has_changed = match &self.link {
            Link::Stdio(stdio) => stdio.has_changed(),
            Link::Http(_) => false,
        };
        if has_changed || listed.at.elapsed() > LIST_AGE_MAX {
            *listed = self.link.list().await?;
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
        let pinged = timeout(PING_LIMIT, self.link.request("ping", &json!({}))).await;
        if pinged.is_err() {
            if self.link.is_busy() {
                self.doubt();
            } else {
                self.link.end();
                let message = format!("it does not answer within {PING_LIMIT:?}, and was ended");
                return Err(Trouble::NotSent(message));
            }
        }
        Ok(())
    }

    /// Calls a tool.
    pub(super) async fn call(&self, params: &Value) -> Result<Value, Trouble> {
        self.link.request("tools/call", params).await
    }
}

impl Link {
    async fn request(&self, method: &str, params: &Value) -> Result<Value, Trouble> {
        match self {
            Self::Stdio(stdio) => stdio.request(method, params).await,
            Self::Http(http) => http.request(method, params).await,
        }
    }

    fn is_busy(&self) -> bool {
        match self {
            Self::Stdio(stdio) => stdio.is_busy(),
            // Each request is one of its own.
            Self::Http(_) => false,
        }
    }

    fn end(&self) {
        match self {
            Self::Stdio(stdio) => stdio.end(),
            Self::Http(http) => http.end(),
        }
    }

    async fn notify(&self, method: &str) -> Result<(), Trouble> {
        match self {
            Self::Stdio(stdio) => stdio.notify(method).await,
            Self::Http(http) => http.notify(method).await,
        }
    }

    async fn list(&self) -> Result<Listed, Trouble> {
        let mut tools = BTreeMap::new();
        let mut params = json!({});
        for _ in 0..PAGES_MAX {
            let page = self.request("tools/list", &params).await?;
            let items = page["tools"].as_array();
            let read = items.into_iter().flatten().filter_map(of_list);
            tools.extend(read.map(|tool| (tool.name.clone(), tool)));
            if tools.len() > TOOLS_MAX {
                let message = format!("it has more than {TOOLS_MAX} tools");
                return Err(Trouble::NotSent(message));
            }
            let Some(cursor) = page["nextCursor"].as_str() else {
                let at = Instant::now();
                return Ok(Listed { tools, at });
            };
            params = json!({"cursor": cursor});
        }
        let message = format!("its list of tools does not end after {PAGES_MAX} pages");
        Err(Trouble::NotSent(message))
    }
}

fn of_list(item: &Value) -> Option<McpTool> {
    let name = item["name"].as_str()?;
    let description = item["description"].as_str();
    let hint = |key: &str| item["annotations"][key].as_bool().unwrap_or(false);
    Some(McpTool {
        name: name.to_owned(),
        description: description.unwrap_or_default().to_owned(),
        pin: pin(name, description, &item["inputSchema"]),
        input_schema: item["inputSchema"].clone(),
        says_read_only: hint("readOnlyHint"),
        says_idempotent: hint("idempotentHint"),
    })
}
