//! A server with something large, that takes large things, too. What it is is told by programs of the system: `sha256sum` and `gzip`.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::{get, put},
};
use futures_util::stream;
use tokio::{net::TcpListener, sync::watch, task::AbortHandle};

/// How long it is.
pub(super) const BYTES: usize = 96 << 20;
/// One part of it: a line, again and again.
const PART: usize = 64 << 10;
const LINE: &[u8; 16] = b"0123,5678,abcde\n";

/// What was sent: how much, its digest and its type.
pub(super) type Sent = (usize, String, String);

pub(super) struct Server {
    port: u16,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    folder: tempfile::TempDir,
    sha256: String,
    requests: Mutex<usize>,
    sent: Mutex<Option<Sent>>,
    /// Whether answers stop half way.
    held: watch::Sender<bool>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("big");
        fs::write(&file, LINE.repeat(BYTES / LINE.len())).unwrap();
        let shared = Arc::new(Shared {
            sha256: sha256_of(&file),
            folder,
            requests: Mutex::default(),
            sent: Mutex::default(),
            held: watch::Sender::new(false),
        });
        let routes = Router::new()
            .route("/big", get(big))
            .route("/packed", get(packed))
            .route("/put", put(take))
            .fallback(|| async { (StatusCode::NOT_FOUND, "nothing here") })
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move { axum::serve(listener, routes).await }).abort_handle();
        Self { port, shared, task }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(super) fn sha256(&self) -> String {
        self.shared.sha256.clone()
    }

    /// How often `/big` was asked for.
    pub(super) fn requests(&self) -> usize {
        *self.shared.requests.lock().unwrap()
    }

    /// What was sent last.
    pub(super) fn put(&self) -> Sent {
        let sent = self.shared.sent.lock().unwrap();
        sent.clone().expect("something was sent")
    }

    pub(super) fn hold(&self) {
        self.shared.held.send_replace(true);
    }

    pub(super) fn release(&self) {
        self.shared.held.send_replace(false);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn big(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    *shared.requests.lock().unwrap() += 1;
    let part = Bytes::from(LINE.repeat(PART / LINE.len()));
    let parts = stream::unfold(0, move |at| {
        let (part, mut held) = (part.clone(), shared.held.subscribe());
        async move {
            if at == BYTES / PART / 2 {
                held.wait_for(|held| !held).await.ok()?;
            }
            (at < BYTES / PART).then(|| (Ok::<_, std::io::Error>(part), at + 1))
        }
    });
    ([("content-type", "text/csv")], Body::from_stream(parts))
}

async fn packed(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let file = shared.folder.path().join("big");
    let packed = Command::new("gzip").arg("-c").arg(file).output().unwrap();
    ([("content-encoding", "gzip")], packed.stdout)
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) {
    let file = shared.folder.path().join("sent");
    fs::write(&file, &body).unwrap();
    assert_eq!(headers["content-length"], body.len().to_string());
    let kind = headers["content-type"].to_str().unwrap().to_owned();
    *shared.sent.lock().unwrap() = Some((body.len(), sha256_of(&file), kind));
}

pub(super) fn sha256_of(file: &Path) -> String {
    let told = Command::new("sha256sum").arg(PathBuf::from(file)).output();
    let told = String::from_utf8(told.unwrap().stdout).unwrap();
    told.split(' ').next().unwrap().to_owned()
}
