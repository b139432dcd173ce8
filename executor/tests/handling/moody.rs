//! A service with moods: it answers as it was told, and remembers who asked.

use std::{
    collections::{BTreeMap, VecDeque},
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header::RETRY_AFTER},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

use crate::stage::Result;

/// One request as it came in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) key: String,
    /// Others of its path that were not answered yet.
    pub(crate) beside: usize,
}

#[derive(Debug, Default)]
struct Mind {
    /// What comes next on a path; then it is well.
    moods: BTreeMap<String, VecDeque<u16>>,
    /// What it answers on a path from then on.
    for_good: BTreeMap<String, u16>,
    retry_after: Option<u64>,
    asked: Vec<Asked>,
    in_flight: BTreeMap<String, usize>,
}

pub(crate) struct Moody {
    url: String,
    mind: Arc<Mutex<Mind>>,
    server: JoinHandle<()>,
}

fn lock(mind: &Mutex<Mind>) -> MutexGuard<'_, Mind> {
    mind.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Moody {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let mind = Arc::new(Mutex::new(Mind::default()));
        let app = Router::new().fallback(serve).with_state(Arc::clone(&mind));
        let server = tokio::spawn(async move {
            drop(axum::serve(listener, app).await);
        });
        Ok(Self { url, mind, server })
    }

    /// A tool that asks it on the path of its name, with these fields beside.
    pub(crate) fn tool(&self, name: &str, effect: &str, more: Value) -> Value {
        let mut tool = json!({"tool": name, "version": 1, "description": "d", "effect": effect, "input": {"type": "object"},
            "http": {"method": "POST", "url": format!("{}/{name}", self.url)}});
        for (key, value) in more.as_object().into_iter().flatten() {
            tool[key] = value.clone();
        }
        tool
    }

    /// What it answers next on a tool's path, one after the other.
    pub(crate) fn next(&self, tool: &str, statuses: impl IntoIterator<Item = u16>) {
        let statuses = statuses.into_iter().collect();
        lock(&self.mind).moods.insert(format!("/{tool}"), statuses);
    }

    /// What it answers from now on; `None`: it is well.
    pub(crate) fn always(&self, tool: &str, status: Option<u16>) {
        let path = format!("/{tool}");
        match status {
            Some(status) => drop(lock(&self.mind).for_good.insert(path, status)),
            None => drop(lock(&self.mind).for_good.remove(&path)),
        }
    }

    /// What it says of when to come back, in seconds.
    pub(crate) fn retry_after(&self, seconds: u64) {
        lock(&self.mind).retry_after = Some(seconds);
    }

    /// All that asked on a tool's path.
    pub(crate) fn asked(&self, tool: &str) -> Vec<Asked> {
        let path = format!("/{tool}");
        let mut asked = lock(&self.mind).asked.clone();
        asked.retain(|asked| asked.path == path);
        asked
    }
}

impl Drop for Moody {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(State(mind): State<Arc<Mutex<Mind>>>, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().to_owned();
    let key = headers.get("idempotency-key");
    let key = key.map(|key| String::from_utf8_lossy(key.as_bytes()).into_owned());
    let (status, retry_after) = {
        let mut mind = lock(&mind);
        let in_flight = mind.in_flight.entry(path.clone()).or_default();
        let beside = *in_flight;
        *in_flight += 1;
        mind.asked.push(Asked {
            path: path.clone(),
            key: key.unwrap_or_default(),
            beside,
        });
        let next = mind.moods.get_mut(&path).and_then(VecDeque::pop_front);
        let status = next.or_else(|| mind.for_good.get(&path).copied());
        (status.unwrap_or(200), mind.retry_after)
    };
    // So that those that come together are seen together.
    sleep(Duration::from_millis(20)).await;
    if let Some(in_flight) = lock(&mind).in_flight.get_mut(&path) {
        *in_flight -= 1;
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
    let mut response = (status, Json(json!({"ok": status.is_success()}))).into_response();
    if let Some(seconds) = retry_after.filter(|_| !status.is_success()) {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}
