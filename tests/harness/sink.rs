//! An HTTP service that counts what was done to it, by `Idempotency-Key`.
//!
//! It honours keys as a good service does: a key that it knows is answered from memory, and nothing is done again. It can
//! hold its responses back *after* the effect is done, which is the moment where crashes hurt.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// A response is not held longer than this, whatever the test forgets.
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
    answer: Option<Value>,
}

/// A running sink, in the test's process.
#[derive(Debug)]
pub struct Sink {
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
    refusal: Option<StatusCode>,
    answer: Value,
    delay: Duration,
}

impl Sink {
    /// Starts one. It takes any method and any path, and answers 200 with `{"ok": true}`.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("listen");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared {
            book: Mutex::new(Book {
                effects: BTreeMap::new(),
                order: Vec::new(),
                cut: BTreeSet::new(),
                without_key: 0,
                honours_keys: true,
                refusal: None,
                answer: json!({"ok": true}),
                delay: Duration::ZERO,
            }),
            held: watch::Sender::new(BTreeSet::new()),
        });
        let app = Router::new()
            .fallback(serve)
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            axum::serve(listener, app)
                .await
                .expect("serve until dropped");
        });
        Self {
            port,
            shared,
            server,
        }
    }

    /// `http://127.0.0.1:…` and the path, which starts with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on effects on this path are done, and counted, but not answered until `release`.
    pub fn hold(&self, path: &str) {
        self.shared.held.send_modify(|held| {
            held.insert(path.to_owned());
        });
    }

    /// Answers what was held, and everything after it.
    pub fn release(&self) {
        self.shared.held.send_modify(BTreeSet::clear);
    }

    /// From now on keys mean nothing: every request is done.
    pub fn ignore_keys(&self) {
        self.book(|book| book.honours_keys = false);
    }

    /// From now on nothing is done, and everything is answered with this status; `None` ends that.
    pub fn refuse(&self, status: Option<u16>) {
        let status = status.map(|status| StatusCode::from_u16(status).expect("an HTTP status"));
        self.book(|book| book.refusal = status);
    }

    /// What it answers when something is done.
    pub fn answer(&self, answer: Value) {
        self.book(|book| book.answer = answer);
    }

    /// How long it takes for everything.
    pub fn delay(&self, delay: Duration) {
        self.book(|book| book.delay = delay);
    }

    /// What was done so far, by key.
    pub fn effects(&self) -> BTreeMap<String, Effect> {
        self.book(|book| book.effects.clone())
    }

    /// The same, of one path: `/notify`.
    pub fn effects_at(&self, path: &str) -> BTreeMap<String, Effect> {
        let mut effects = self.effects();
        effects.retain(|_, effect| effect.what.ends_with(&format!(" {path}")));
        effects
    }

    /// Every request as it came: its key, and its method and path.
    pub fn order(&self) -> Vec<(String, String)> {
        self.book(|book| book.order.clone())
    }

    /// The keys of requests that were taken in, and whose client was gone before it had the answer.
    pub fn cut(&self) -> BTreeSet<String> {
        self.book(|book| book.cut.clone())
    }

    fn book<T>(&self, look: impl FnOnce(&mut Book) -> T) -> T {
        look(&mut self.shared.book.lock().unwrap())
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
    let what = format!("{method} {}", uri.path());
    let (delay, answer) = shared
        .book
        .lock()
        .unwrap()
        .enter(key.as_deref(), what, &body);
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
    match answer {
        Ok(answer) => axum::Json(answer).into_response(),
        Err(status) => (status, axum::Json(json!({"error": status.as_u16()}))).into_response(),
    }
}

/// A request in work, with its key; dropped with it, its client is gone.
struct Unanswered<'a>(&'a Shared, Option<&'a str>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.1 {
            self.0.book.lock().unwrap().cut.insert(key.to_owned());
        }
    }
}

impl Book {
    fn enter(
        &mut self,
        key: Option<&str>,
        what: String,
        body: &[u8],
    ) -> (Duration, Result<Value, StatusCode>) {
        let key = key.map_or_else(
            || {
                self.without_key += 1;
                format!("(none) {}", self.without_key)
            },
            str::to_owned,
        );
        self.order.push((key.clone(), what.clone()));
        let effect = self.effects.entry(key).or_default();
        if effect.requests == 0 {
            effect.what = what;
        }
        effect.requests += 1;
        let sent =
            serde_json::from_slice(body).unwrap_or_else(|_| json!(String::from_utf8_lossy(body)));
        effect.bodies.push(sent);
        if let Some(status) = self.refusal {
            return (self.delay, Err(status));
        }
        if effect.answer.is_none() || !self.honours_keys {
            effect.executions += 1;
            effect.answer = Some(self.answer.clone());
        }
        (self.delay, Ok(effect.answer.clone().unwrap_or_default()))
    }
}
