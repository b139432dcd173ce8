//! Connections with bounds: so many at once, and none that says nothing for long. A client that sends its request byte by byte, or
//! does not read its answer, holds one connection for a while and no more.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use rustix::process::{Resource, getrlimit};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// Connections at once where the limit on open files allows more; others wait in the kernel's queue.
const CONNECTIONS_MAX: u64 = 10_000;
/// Files and connections that are not of clients: NATS, Redis, logs, child processes' pipes.
const FILES_BESIDE: u64 = 200;
/// Connections at least, however few files may be open.
const CONNECTIONS_MIN: u64 = 64;
/// Open files where there is no limit on them: more than enough.
const FILES_UNBOUNDED: u64 = 1 << 20;
/// Longest time without a byte in either direction: longer than any request may take, and than most clients keep a connection.
pub const SILENCE_MAX: Duration = Duration::from_secs(75);

/// How many connections this process can hold at once, by its limit on open files.
#[must_use]
pub fn connections_max() -> usize {
    let files = getrlimit(Resource::Nofile).current;
    connections(files.unwrap_or(FILES_UNBOUNDED))
}

fn connections(files: u64) -> usize {
    let left = files.saturating_sub(FILES_BESIDE);
    let most = left.clamp(CONNECTIONS_MIN, CONNECTIONS_MAX);
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// A listener whose connections are bounded.
#[derive(Debug)]
pub struct Bounded {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    silence_max: Duration,
}

impl Bounded {
    /// At most `connections_max` at once, each closed after `silence_max` without a byte.
    #[must_use]
    pub fn new(listener: TcpListener, connections_max: usize, silence_max: Duration) -> Self {
        Self {
            listener,
            slots: Arc::new(Semaphore::new(connections_max)),
            silence_max,
        }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed; if it were, connections would be unbounded rather than refused.
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Without it, answers may wait for the client's ack; and the connection works without it.
        drop(stream.set_nodelay(true));
        let connection = Connection {
            stream,
            silence_max: self.silence_max,
            end: Box::pin(sleep(self.silence_max)),
            _slot: slot,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends by itself when nothing moves.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    silence_max: Duration,
    end: Pin<Box<Sleep>>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        moved: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match moved {
            Poll::Ready(result) => {
                self.end.as_mut().reset(Instant::now() + self.silence_max);
                Poll::Ready(result)
            }
            Poll::Pending => match self.end.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let moved = Pin::new(&mut this.stream).poll_read(context, buffer);
        this.watched(context, moved)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let moved = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.watched(context, moved)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let moved = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.watched(context, moved)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // For TCP, neither of these waits.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::timeout,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    async fn server(connections_max: usize, silence_max: Duration) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let routes = Router::new().route("/", get(|| async { "here" }));
        let bounded = Bounded::new(listener, connections_max, silence_max);
        tokio::spawn(async move { axum::serve(bounded, routes).await });
        Ok(address)
    }

    #[test]
    fn connections_follow_the_limit_on_open_files() {
        for (files, expected) in [
            (0, 64),
            (1_024, 824),
            (4_096, 3_896),
            (1_048_576, 10_000),
            (u64::MAX, 10_000),
        ] {
            assert_eq!(connections(files), expected, "{files}");
        }
        assert!(connections_max() >= 64);
    }

    #[tokio::test]
    async fn a_client_that_stops_in_the_middle_of_its_request_is_let_go() -> io::Result<()> {
        let address = server(9, Duration::from_millis(50)).await?;
        let mut client = TcpStream::connect(address).await?;
        client.write_all(b"GET / HTTP/1.1\r\nHost:").await?;
        let mut answer = Vec::new();
        timeout(PATIENCE, client.read_to_end(&mut answer)).await??;
        assert_eq!(String::from_utf8_lossy(&answer), "");
        Ok(())
    }

    #[tokio::test]
    async fn a_connection_over_the_limit_waits_until_another_ends() -> io::Result<()> {
        let address = server(1, PATIENCE).await?;
        let first = TcpStream::connect(address).await?;
        let mut second = TcpStream::connect(address).await?;
        second.write_all(REQUEST).await?;
        let mut answer = Vec::new();
        let early = timeout(Duration::from_millis(100), second.read_to_end(&mut answer));
        assert!(early.await.is_err(), "it is not served yet");
        drop(first);
        timeout(PATIENCE, second.read_to_end(&mut answer)).await??;
        assert!(String::from_utf8_lossy(&answer).ends_with("here"));
        Ok(())
    }
}
