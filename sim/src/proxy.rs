//! A TCP proxy between any two, that can hold each direction, slow it, swallow what comes, refuse and cut.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// What a held direction keeps per connection, besides what the kernel does. Then its sender is blocked.
const HELD_BYTES: usize = 64 * 1024;
/// How long what is being written at the moment of a pause may take to be through.
const THROUGH_WITHIN: Duration = Duration::from_secs(60);
/// Pause after a failed accept: out of file handles is the usual reason, and passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What was being written when a direction was to be held did not get through: its reader does not read.
#[derive(Debug, thiserror::Error)]
#[error("what is being written is not through within {THROUGH_WITHIN:?}")]
pub struct NotThrough;

/// A proxy on a port of its own to one port of this machine. Dropped, it closes everything.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

/// How it treats who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// It connects them.
    Open,
    /// It closes at once.
    Refusing,
    /// It takes what they say and answers nothing, as a host does that is gone while a router between still says yes.
    Swallowing,
}

#[derive(Debug)]
struct Shared {
    target: u16,
    /// From the client to the server.
    upstream: Way,
    /// From the server to the client.
    downstream: Way,
    door: watch::Sender<Door>,
    delay_ms: AtomicU64,
    /// 0: as fast as it comes.
    bytes_per_second: AtomicU64,
    accepted: AtomicUsize,
    connections: Mutex<JoinSet<()>>,
}

/// One direction. Bytes pass with the lock read; holding it for writing holds them. So when `close` returns, nothing more passes,
/// not even what was being written at that moment.
#[derive(Debug, Default)]
struct Way {
    lock: Arc<RwLock<()>>,
    closed: Mutex<Option<OwnedRwLockWriteGuard<()>>>,
    /// Bytes that were read and are not written yet.
    held: AtomicU64,
}

/// Counts bytes as held while it lives.
struct Held<'a>(&'a AtomicU64, u64);

impl<'a> Held<'a> {
    fn new(held: &'a AtomicU64, bytes: usize) -> Self {
        held.fetch_add(bytes as u64, Ordering::Relaxed);
        Self(held, bytes as u64)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Way {
    async fn close(&self) -> Result<(), NotThrough> {
        if locked(&self.closed).is_none() {
            let closed = timeout(THROUGH_WITHIN, self.lock.clone().write_owned());
            let closed = closed.await.map_err(|_| NotThrough)?;
            *locked(&self.closed) = Some(closed);
        }
        Ok(())
    }

    fn open(&self) {
        *locked(&self.closed) = None;
    }
}

impl Proxy {
    /// A proxy to a port of this machine, which need not be open yet.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(target: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            target,
            upstream: Way::default(),
            downstream: Way::default(),
            door: watch::Sender::new(Door::Open),
            delay_ms: AtomicU64::new(0),
            bytes_per_second: AtomicU64::new(0),
            accepted: AtomicUsize::new(0),
            connections: Mutex::new(JoinSet::new()),
        });
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            port,
            shared,
            acceptor,
        })
    }

    /// Where clients connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same as a URL: `proxy.url("nats")` is `nats://127.0.0.1:…`.
    #[must_use]
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// How many connections it has taken since its start.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Bytes of the server's that wait to be let through to clients, as far as they were read.
    #[must_use]
    pub fn held_downstream(&self) -> u64 {
        self.shared.downstream.held.load(Ordering::Relaxed)
    }

    /// Holds what clients send, from now on, until `resume`; new connections too.
    ///
    /// # Errors
    /// [`NotThrough`]; then nothing is held.
    pub async fn pause_upstream(&self) -> Result<(), NotThrough> {
        self.shared.upstream.close().await
    }

    /// Holds what the server sends, from now on, until `resume`; new connections too.
    ///
    /// # Errors
    /// [`NotThrough`]; then nothing is held.
    pub async fn pause_downstream(&self) -> Result<(), NotThrough> {
        self.shared.downstream.close().await
    }

    /// Lets everything through again: first what was held, unless its connection was cut.
    pub fn resume(&self) {
        self.shared.upstream.open();
        self.shared.downstream.open();
    }

    /// Closes all connections, and drops what they hold. New ones are taken.
    pub async fn cut(&self) {
        let mut cut = std::mem::take(&mut *locked(&self.shared.connections));
        cut.shutdown().await;
    }

    /// Delays every piece that passes (at most 64 KiB each), in both directions; one after the other, so it slows a flood.
    pub fn delay(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_ms.store(ms, Ordering::Relaxed);
    }

    /// Lets so many bytes a second pass, on each connection and in each direction; 0 is no limit.
    pub fn throttle(&self, bytes_per_second: u64) {
        let rate = &self.shared.bytes_per_second;
        rate.store(bytes_per_second, Ordering::Relaxed);
    }

    /// Closes whoever comes at once, from now on, until `heal`. Connections that stand are left alone.
    pub fn refuse(&self) {
        self.shared.door.send_replace(Door::Refusing);
    }

    /// Half-open, from now on, until `heal`: whoever comes is taken, and what anybody says is lost without a word.
    pub fn swallow(&self) {
        self.shared.door.send_replace(Door::Swallowing);
    }

    /// Ends all of that. Connections that lost something are closed.
    pub async fn heal(&self) {
        self.delay(Duration::ZERO);
        self.throttle(0);
        if self.shared.door.send_replace(Door::Open) == Door::Swallowing {
            self.cut().await;
        }
        self.resume();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        locked(&self.shared.connections).abort_all();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        let connection = carry(client, Arc::clone(&shared));
        let mut connections = locked(&shared.connections);
        while connections.try_join_next().is_some() {}
        connections.spawn(connection);
    }
}

async fn carry(client: TcpStream, shared: Arc<Shared>) {
    let door = *shared.door.borrow();
    match door {
        Door::Open => {}
        Door::Refusing => return,
        Door::Swallowing => {
            let (mut from, _to) = client.into_split();
            // Until the connection ends, or is cut because the door is open again.
            let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
            return std::future::pending().await;
        }
    }
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
        pump(from_client, to_server, &shared.upstream, &shared),
        pump(from_server, to_client, &shared.downstream, &shared),
    );
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: &Way, shared: &Shared) {
    let mut buffer = vec![0; HELD_BYTES];
    // A broken connection ends like a closed one: the other side sees the end.
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let _held = Held::new(&way.held, length);
        if *shared.door.borrow() == Door::Swallowing {
            continue;
        }
        let delay = shared.delay_ms.load(Ordering::Relaxed);
        let rate = shared.bytes_per_second.load(Ordering::Relaxed);
        let slowed = (length as u64 * 1_000).checked_div(rate).unwrap_or(0);
        if delay + slowed > 0 {
            sleep(Duration::from_millis(delay.saturating_add(slowed))).await;
        }
        let _open = way.lock.read().await;
        let piece = buffer.get(..length).unwrap_or_default();
        if to.write_all(piece).await.is_err() {
            break;
        }
    }
    // The end, too, passes only an open way; and one that is half open tells nobody of it.
    let mut door = shared.door.subscribe();
    if door
        .wait_for(|door| *door != Door::Swallowing)
        .await
        .is_err()
    {
        return;
    }
    let _open = way.lock.read().await;
    let _ = to.shutdown().await;
}
