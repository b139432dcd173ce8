//! The demo's patient: a small order service that logs every order in full, rotates its log, and never removes the old ones.
//!
//! Its data folder has a quota. Once the logs have used it up, orders cannot be kept any more, and the service says so: 503 on
//! `/orders` and on `/healthz`. A restart removes the rotated logs, as start-up scripts of many services do.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    folder::{Folder, Opened, WriteError, size},
    pidfile::{self, Process},
};

/// The longest order in bytes of JSON; with its log line it fits into [`super::folder::ROOM`].
const ORDER_MAX: usize = 3 << 10;

/// How long requests may still run after the stop, before the service ends without them.
const DRAIN: Duration = Duration::from_secs(1);

/// What the service needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its data folder; made if missing.
    pub dir: PathBuf,
    /// Where it listens.
    pub http: SocketAddr,
    /// What the data folder may hold, in bytes.
    pub quota: u64,
    /// When the log is rotated, in bytes.
    pub rotate_at: u64,
}

/// An order, as a customer sends it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Who orders.
    pub customer: String,
    /// Where to.
    pub address: String,
    /// What.
    pub items: Vec<Item>,
}

/// One line of an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// The article's number.
    pub sku: String,
    /// The article's name.
    pub name: String,
    /// How many.
    pub quantity: u32,
    /// The price of one, in cents.
    pub price_cents: u32,
}

struct Shop {
    folder: Folder,
    orders: usize,
    this: Process,
    started: Instant,
}

type Shared = Arc<Mutex<Shop>>;

/// Serves until `stop`, then ends within a second or so.
///
/// # Errors
/// When the address is taken, the folder cannot be used, or another process serves it.
pub async fn run(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let Settings {
        dir,
        http,
        quota,
        rotate_at,
    } = settings;
    if let Some(other) = Process::read(&dir)?.filter(|other| other.is_running().unwrap_or(true)) {
        anyhow::bail!(
            "{} is served by process {} already",
            dir.display(),
            other.pid
        );
    }
    let listener = tokio::net::TcpListener::bind(http)
        .await
        .with_context(|| format!("cannot listen on {http}"))?;
    let this = Process::this(listener.local_addr()?)?;
    let (mut folder, opened) = Folder::open(&dir, quota, rotate_at)
        .with_context(|| format!("cannot use {}", dir.display()))?;
    announce(&mut folder, &this, opened)?;
    this.write(&dir).context("cannot write the pid file")?;
    let shop = Arc::new(Mutex::new(Shop {
        folder,
        orders: opened.orders,
        this,
        started: Instant::now(),
    }));

    let serving = axum::serve(listener, routes(shop.clone()))
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let drained = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = serving => served?,
        () = drained => {}
    }
    lock(&shop).folder.log_event("INFO", "stopped")?;
    pidfile::remove(&dir).context("cannot remove the pid file")
}

fn announce(folder: &mut Folder, this: &Process, opened: Opened) -> Result<(), WriteError> {
    if opened.logs_removed > 0 {
        let text = format!(
            "removed {} rotated log files, {}",
            opened.logs_removed,
            size(opened.bytes_removed)
        );
        folder.log_event("INFO", &text)?;
    }
    let text = format!(
        "started pid={} http={} orders={} quota={}",
        this.pid,
        this.http,
        opened.orders,
        size(folder.quota())
    );
    folder.log_event("INFO", &text)
}

fn routes(shop: Shared) -> Router {
    Router::new()
        .route("/orders", get(list).post(accept))
        .route("/healthz", get(health))
        .layer(DefaultBodyLimit::max(ORDER_MAX))
        .with_state(shop)
}

/// One lock, held for a few small file operations: a service this small has one writer.
fn lock(shop: &Shared) -> MutexGuard<'_, Shop> {
    // A panic under the lock leaves at worst one line half written.
    shop.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(State(shop): State<Shared>, order: Result<Json<Order>, JsonRejection>) -> Response {
    let order = match order {
        Ok(Json(order)) => order,
        Err(wrong) => {
            return (wrong.status(), Json(json!({"error": wrong.body_text()}))).into_response();
        }
    };
    let total: u64 = order
        .items
        .iter()
        .map(|item| u64::from(item.quantity) * u64::from(item.price_cents))
        .sum();
    let mut shop = lock(&shop);
    let id = format!("ord_{:07}", shop.orders + 1);
    let record = json!({"id": id, "customer": order.customer, "total_cents": total}).to_string();
    let Ok(body) = serde_json::to_string(&order) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match shop.folder.keep_order(
        &record,
        &format!("POST /orders 201 id={id} total_cents={total} body={body}"),
    ) {
        Ok(()) => {
            shop.orders += 1;
            (
                StatusCode::CREATED,
                Json(json!({"id": id, "total_cents": total})),
            )
                .into_response()
        }
        Err(error) => refused(&error),
    }
}

async fn list(State(shop): State<Shared>) -> Response {
    let mut shop = lock(&shop);
    let orders = shop.orders;
    match shop
        .folder
        .log_work(&format!("GET /orders 200 orders={orders}"))
    {
        Ok(()) => Json(json!({"orders": orders})).into_response(),
        Err(error) => refused(&error),
    }
}

fn refused(error: &WriteError) -> Response {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        Json(json!({"error": error.to_string()})),
    )
        .into_response()
}

async fn health(State(shop): State<Shared>) -> Response {
    let shop = lock(&shop);
    let (pid, uptime_s) = (shop.this.pid, shop.started.elapsed().as_secs());
    match shop.folder.check() {
        Ok(used) => Json(json!({
            "status": "ok",
            "service": "orders",
            "pid": pid,
            "uptime_s": uptime_s,
            "disk": format!("{} of {} used", size(used), size(shop.folder.quota())),
        }))
        .into_response(),
        Err(error) => {
            let body = json!({"status": "sick", "service": "orders", "pid": pid, "uptime_s": uptime_s, "reason": error.to_string()});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}
