//! An HTTP service that counts what was done to it, by `Idempotency-Key`: the ledger of effects that tests and `flotilla chaos`
//! believe.
//!
//! It honours keys as a good service does: a key that it knows is answered from memory, and nothing is done again. It can
//! hold its responses back *after* the effect is done, which is the moment where crashes hurt, and it can be in trouble itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// A response is not held longer than this, whatever who holds it forgets.
const HELD_AT_MOST: Duration = Duration::from_secs(300);

/// What came in under one key; requests without one are each under a key of their own, `(none) 1` and so on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effect {
    /// Method and path of the first request: `POST /notify`
    pub what: String,
    /// How often it was asked for
    pub requests: usize,
    /// How often it was done
    pub executions: usize,
    /// What was sent, in order
    pub bodies: Vec<Value>,
    /// When each request came in, Unix milliseconds
    pub at_ms: Vec<i64>,
    /// When it was done first, Unix milliseconds
    pub done_ms: Option<i64>,
    answer: Option<Value>,
}

impl Effect {
    /// The path of the first request: `/notify`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.what.split_once(' ').map_or("", |(_, path)| path)
    }
}

/// What is wrong with the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing is done, and everything is answered with this status.
    Refuse(StatusCode),
    /// It is done, and the connection breaks in the middle of the answer.
    Cut,
    /// It is done, and the answer is nothing that a client could expect.
    Garbage,
}

/// A running sink, in this process. Dropped, it ends.
#[derive(Debug)]
pub struct Sink {
    host: Ipv4Addr,
    port: u16,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    /// Paths whose answers are held
    held: watch::Sender<BTreeSet<String>>,
}

#[derive(Debug)]
struct Book {
    effects: BTreeMap<String, Effect>,
    /// Keys and `what` of all requests, as they came
    order: Vec<(String, String)>,
    /// Keys of requests whose client was gone before they were answered
    cut: BTreeSet<String>,
    without_key: usize,
    honours_keys: bool,
    trouble: Option<Trouble>,
    /// The paths that the trouble spares
    spared: BTreeSet<String>,
    answer: Value,
    delay: Duration,
}

/// How a request is answered.
#[derive(Debug)]
enum Reply {
    Done(Value),
    Refused(StatusCode),
    Cut,
    Garbage,
}

impl Sink {
    /// Starts one. It takes any method and any path, and answers 200 with `{"ok": true}`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start() -> io::Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST).await
    }

    /// The same, at another address of this machine, which others reach.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub async fn start_at(host: Ipv4Addr) -> io::Result<Self> {
        Self::start_on(host, 0).await
    }

    /// The same, on a port of its own; 0 is any.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub async fn start_on(host: Ipv4Addr, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((host, port)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            book: Mutex::new(Book {
                effects: BTreeMap::new(),
                order: Vec::new(),
                cut: BTreeSet::new(),
                without_key: 0,
                honours_keys: true,
                trouble: None,
                spared: BTreeSet::new(),
                answer: json!({"ok": true}),
                delay: Duration::ZERO,
            }),
            held: watch::Sender::new(BTreeSet::new()),
        });
        let app = Router::new()
            .fallback(serve)
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!(%error, "the sink has ended");
            }
        });
        Ok(Self {
            host,
            port,
            shared,
            server,
        })
    }

    /// `http://<host>:…` and the path, which starts with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.host, self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on effects on this path are done, and counted, but not answered until they are released.
    pub fn hold(&self, path: &str) {
        self.shared.held.send_modify(|held| {
            held.insert(path.to_owned());
        });
    }

    /// Answers what was held, and everything after it.
    pub fn release(&self) {
        self.shared.held.send_modify(BTreeSet::clear);
    }

    /// The same for one path.
    pub fn release_at(&self, path: &str) {
        self.shared.held.send_modify(|held| {
            held.remove(path);
        });
    }

    /// From now on keys mean nothing: every request is done.
    pub fn ignore_keys(&self) {
        self.book().honours_keys = false;
    }

    /// From now on it is in trouble, but for some paths; `None` ends that.
    pub fn trouble(&self, trouble: Option<Trouble>, spared: &[&str]) {
        let mut book = self.book();
        book.trouble = trouble;
        book.spared = spared.iter().map(|path| (*path).to_owned()).collect();
    }

    /// What it answers when something is done.
    pub fn answer(&self, answer: Value) {
        self.book().answer = answer;
    }

    /// How long it takes for everything.
    pub fn delay(&self, delay: Duration) {
        self.book().delay = delay;
    }

    /// What was asked for and done so far, by key.
    #[must_use]
    pub fn effects(&self) -> BTreeMap<String, Effect> {
        self.book().effects.clone()
    }

    /// The same, of one path: `/notify`.
    #[must_use]
    pub fn effects_at(&self, path: &str) -> BTreeMap<String, Effect> {
        let book = self.book();
        let there = book.effects.iter();
        there
            .filter(|(_, effect)| effect.path() == path)
            .map(|(key, effect)| (key.clone(), effect.clone()))
            .collect()
    }

    /// Every request as it came: its key, and its method and path.
    #[must_use]
    pub fn order(&self) -> Vec<(String, String)> {
        self.book().order.clone()
    }

    /// How many requests have come.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.book().order.len()
    }

    /// The keys of requests that were taken in, and whose client was gone before it had the answer.
    #[must_use]
    pub fn cut(&self) -> BTreeSet<String> {
        self.book().cut.clone()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book()
    }
}

/// A request in work, with its key; dropped with it, its client is gone.
struct Unanswered<'a>(&'a Shared, Option<&'a str>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.1 {
            self.0.book().cut.insert(key.to_owned());
        }
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.abort();
        self.release();
    }
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let key = headers
        .get("idempotency-key")
        .map(|key| String::from_utf8_lossy(key.as_bytes()));
    let (delay, reply) = shared
        .book()
        .enter(key.as_deref(), &method, uri.path(), &body);
    let mut unanswered = Unanswered(&shared, key.as_deref());
    // Nothing is counted from here on: a client that dies in the meantime takes this future with it.
    let mut held = shared.held.subscribe();
    let _ = timeout(
        HELD_AT_MOST,
        held.wait_for(|held| !held.contains(uri.path())),
    )
    .await;
    sleep(delay).await;
    unanswered.1 = None;
    match reply {
        Reply::Done(answer) => axum::Json(answer).into_response(),
        Reply::Refused(status) => {
            (status, axum::Json(json!({"error": status.as_u16()}))).into_response()
        }
        Reply::Cut => {
            let begun = Ok(Bytes::from_static(b"{\"ok\": tr"));
            let cut = Err(io::Error::other("cut on purpose"));
            Body::from_stream(futures_util::stream::iter([begun, cut])).into_response()
        }
        Reply::Garbage => "\u{0}<html>no, not this".into_response(),
    }
}

impl Book {
    fn enter(
        &mut self,
        key: Option<&str>,
        method: &Method,
        path: &str,
        body: &[u8],
    ) -> (Duration, Reply) {
        let key = key.map_or_else(
            || {
                self.without_key += 1;
                format!("(none) {}", self.without_key)
            },
            str::to_owned,
        );
        let now = Timestamp::now().as_millisecond();
        let what = format!("{method} {path}");
        self.order.push((key.clone(), what.clone()));
        let effect = self.effects.entry(key).or_default();
        if effect.requests == 0 {
            effect.what = what;
        }
        effect.requests += 1;
        effect.at_ms.push(now);
        let sent =
            serde_json::from_slice(body).unwrap_or_else(|_| json!(String::from_utf8_lossy(body)));
        effect.bodies.push(sent);
        let trouble = self.trouble.filter(|_| !self.spared.contains(path));
        if let Some(Trouble::Refuse(status)) = trouble {
            return (self.delay, Reply::Refused(status));
        }
        if effect.answer.is_none() || !self.honours_keys {
            effect.executions += 1;
            effect.done_ms.get_or_insert(now);
            effect.answer = Some(self.answer.clone());
        }
        let reply = match trouble {
            Some(Trouble::Cut) => Reply::Cut,
            Some(Trouble::Garbage) => Reply::Garbage,
            Some(Trouble::Refuse(status)) => Reply::Refused(status),
            None => Reply::Done(effect.answer.clone().unwrap_or_default()),
        };
        (self.delay, reply)
    }
}
