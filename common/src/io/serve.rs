//! HTTP on a listener: a task for each connection, none of which takes for ever to say what it wants.

use std::{net::SocketAddr, pin::pin, time::Duration};

use axum::{Extension, Router, extract::ConnectInfo, serve::Listener};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Layer as _;
use tracing::trace;

use super::http::Peer;

/// How long a request's line and headers may take over HTTP/1, from the end of the request before: so long, too, may a connection
/// do nothing between two requests.
pub const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// Serves until `stop`; gives back when all connections have ended. Dropped before, it ends them.
pub(super) async fn serve<L>(
    mut listener: L,
    routes: Router,
    head_within: Duration,
    stop: CancellationToken,
) where
    L: Listener<Addr = SocketAddr>,
{
    let mut connections = JoinSet::new();
    loop {
        let (io, address) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let peer = Peer(address.ip().to_canonical());
        let routes = Extension(ConnectInfo(peer)).layer(routes.clone());
        let stop = stop.clone();
        connections.spawn(async move {
            let mut server = Builder::new(TokioExecutor::new());
            server
                .http1()
                .timer(TokioTimer::new())
                .header_read_timeout(head_within);
            let service = TowerToHyperService::new(routes);
            let mut serving = pin!(server.serve_connection(TokioIo::new(io), service));
            let served = tokio::select! {
                served = serving.as_mut() => served,
                () = stop.cancelled() => {
                    serving.as_mut().graceful_shutdown();
                    serving.await
                }
            };
            if let Err(problem) = served {
                trace!(%address, %problem, "a connection ended in the middle");
            }
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::io;

    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        time::{sleep, timeout},
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    const WITHIN: Duration = Duration::from_millis(100);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    async fn server() -> io::Result<(SocketAddr, CancellationToken)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let routes = Router::new().route(
            "/",
            get(|ConnectInfo(Peer(ip)): ConnectInfo<Peer>| async move { ip.to_string() }),
        );
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, routes, WITHIN, stop.clone()));
        Ok((address, stop))
    }

    /// Writes a byte now and then, for as long as somebody takes them.
    async fn drip(mut to: tokio::net::tcp::OwnedWriteHalf) {
        let headers = b"GET / HTTP/1.1\r\n".iter();
        for byte in headers.chain(b"X: y\r\n".iter().cycle()) {
            if to.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(WITHIN / 10).await;
        }
    }

    #[tokio::test]
    async fn a_head_that_comes_byte_by_byte_is_not_waited_for() -> io::Result<()> {
        let (address, _stop) = server().await?;
        let (mut answers, asks) = TcpStream::connect(address).await?.into_split();
        let dripping = tokio::spawn(drip(asks));
        let mut answer = Vec::new();
        // It is closed, or reset for what comes after that.
        let read = timeout(PATIENCE, answers.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the connection is still open");
        assert_eq!(String::from_utf8_lossy(&answer), "");
        timeout(PATIENCE, dripping).await??;
        Ok(())
    }

    #[tokio::test]
    async fn a_connection_is_kept_for_the_next_request_and_not_for_ever() -> io::Result<()> {
        let (address, _stop) = server().await?;
        let mut client = TcpStream::connect(address).await?;
        let mut answers = String::new();
        for _ in 0..3 {
            client.write_all(REQUEST).await?;
            let mut answer = [0; 512];
            let read = timeout(PATIENCE, client.read(&mut answer)).await??;
            answers += &String::from_utf8_lossy(&answer[..read]);
        }
        assert_eq!(answers.matches("127.0.0.1").count(), 3, "{answers}");
        let mut rest = Vec::new();
        timeout(PATIENCE, client.read_to_end(&mut rest)).await??;
        assert_eq!(rest, b"");
        Ok(())
    }

    #[tokio::test]
    async fn the_stop_ends_connections_that_do_nothing() -> io::Result<()> {
        let (address, stop) = server().await?;
        let mut client = TcpStream::connect(address).await?;
        client.write_all(REQUEST).await?;
        client.read_u8().await?;
        stop.cancel();
        let mut rest = Vec::new();
        timeout(PATIENCE, client.read_to_end(&mut rest)).await??;
        Ok(())
    }
}
