//! The service that the bench's tools call: it keeps a book of every request, by key, and knows which of them it could not answer.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::HeaderMap,
    routing::post,
};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

/// How long each request takes: a kill falls into the middle of some.
const TAKES: Duration = Duration::from_millis(20);

/// What was asked for under one key. The key is honoured: it is done once, however often it is asked for.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Asked {
    pub(super) requests: usize,
    /// Whether a client was gone before it had its answer.
    pub(super) cut: bool,
}

type Book = Arc<Mutex<BTreeMap<String, Asked>>>;

/// A running sink.
#[derive(Debug)]
pub(super) struct Sink {
    /// Where it is.
    pub(super) url: String,
    book: Book,
    serving: JoinHandle<Result<(), std::io::Error>>,
}

impl Sink {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let book = Book::default();
        let routes = Router::new()
            .route("/{tool}", post(take))
            .with_state(Arc::clone(&book));
        let serving = tokio::spawn(axum::serve(listener, routes).into_future());
        Ok(Self { url, book, serving })
    }

    /// The book.
    pub(super) fn book(&self) -> BTreeMap<String, Asked> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.clone()
    }

    /// Requests so far.
    pub(super) fn requests(&self) -> usize {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.values().map(|asked| asked.requests).sum()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A request in work; dropped while it is, its client is gone.
struct Unanswered(Book, Option<String>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        let Some(key) = self.1.take() else {
            return;
        };
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.entry(key).or_default().cut = true;
    }
}

async fn take(
    State(book): State<Book>,
    Path(tool): Path<String>,
    headers: HeaderMap,
) -> Json<Value> {
    let key = headers.get("idempotency-key");
    let key = key.map_or_else(Default::default, |key| {
        String::from_utf8_lossy(key.as_bytes()).into_owned()
    });
    {
        let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
        book.entry(key.clone()).or_default().requests += 1;
    }
    let mut unanswered = Unanswered(book, Some(key));
    sleep(TAKES).await;
    unanswered.1 = None;
    Json(json!({"done": tool}))
}
