//! A TCP proxy between any two, that can hold each direction, slow it, and cut it.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::wait::{PATIENCE, within};

/// What a held direction keeps per connection, besides what the kernel does. Then its sender is blocked.
const HELD_BYTES: usize = 64 * 1024;

/// A proxy on a port of its own to one port of this machine. Dropped, it closes everything.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: u16,
    /// From the client to the server
    upstream: Gate,
    /// From the server to the client
    downstream: Gate,
    delay_ms: AtomicU64,
    accepted: AtomicUsize,
    connections: Mutex<JoinSet<()>>,
}

/// Bytes pass with the lock read; holding it for writing holds them. So when `close` returns, nothing more passes, not even
/// what was being written at that moment.
#[derive(Debug, Default)]
struct Gate {
    lock: Arc<RwLock<()>>,
    closed: Mutex<Option<OwnedRwLockWriteGuard<()>>>,
}

impl Gate {
    async fn close(&self) {
        if self.closed.lock().unwrap().is_none() {
            let closed = within(
                "what is being written is through",
                PATIENCE,
                self.lock.clone().write_owned(),
            )
            .await;
            *self.closed.lock().unwrap() = Some(closed);
        }
    }

    fn open(&self) {
        *self.closed.lock().unwrap() = None;
    }
}

impl Proxy {
    /// A proxy to a port of this machine, which need not be open yet.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("listen");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared {
            target,
            upstream: Gate::default(),
            downstream: Gate::default(),
            delay_ms: AtomicU64::new(0),
            accepted: AtomicUsize::new(0),
            connections: Mutex::new(JoinSet::new()),
        });
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self {
            port,
            shared,
            acceptor,
        }
    }

    /// Where clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same as a URL: `proxy.url("nats")` is `nats://127.0.0.1:…`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// How many connections it has taken since its start.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Holds what clients send, from now on, until `resume`; new connections too.
    pub async fn pause_upstream(&self) {
        self.shared.upstream.close().await;
    }

    /// Holds what the server sends, from now on, until `resume`; new connections too.
    pub async fn pause_downstream(&self) {
        self.shared.downstream.close().await;
    }

    /// Lets everything through again: first what was held, unless its connection was cut.
    pub fn resume(&self) {
        self.shared.upstream.open();
        self.shared.downstream.open();
    }

    /// Closes all connections, and drops what they hold. New ones are taken.
    pub async fn cut(&self) {
        let mut cut = std::mem::take(&mut *self.shared.connections.lock().unwrap());
        cut.shutdown().await;
    }

    /// Delays every piece that passes (at most 64 KiB each), in both directions; one after the other, so it slows a flood.
    pub fn delay(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).expect("a delay that ends");
        self.shared.delay_ms.store(ms, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.shared.connections.lock().unwrap().abort_all();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        let connection = carry(client, Arc::clone(&shared));
        let mut connections = shared.connections.lock().unwrap();
        while connections.try_join_next().is_some() {}
        connections.spawn(connection);
    }
}

async fn carry(client: TcpStream, shared: Arc<Shared>) {
    // A server that is down: the client sees its connection closed.
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.target)).await else {
        return;
    };
    // Small messages are what is carried here; a socket that is gone already says so at the first read.
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        pump(
            from_client,
            to_server,
            &shared.upstream.lock,
            &shared.delay_ms
        ),
        pump(
            from_server,
            to_client,
            &shared.downstream.lock,
            &shared.delay_ms
        ),
    );
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    gate: &RwLock<()>,
    delay_ms: &AtomicU64,
) {
    let mut held = vec![0; HELD_BYTES];
    // A broken connection ends like a closed one: the other side sees the end.
    while let Ok(length @ 1..) = from.read(&mut held).await {
        let delay = delay_ms.load(Ordering::Relaxed);
        if delay > 0 {
            sleep(Duration::from_millis(delay)).await;
        }
        let _open = gate.read().await;
        if to.write_all(&held[..length]).await.is_err() {
            break;
        }
    }
    // The end, too, passes only an open gate.
    let _open = gate.read().await;
    let _ = to.shutdown().await;
}
