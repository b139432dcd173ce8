//! The proxy of faults: what it does to those who talk through it.

use std::net::Ipv4Addr;
use std::time::Duration;

use flotilla_sim::proxy::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

/// A server that says everything again, and a proxy to it.
async fn echo() -> Proxy {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.into_split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    Proxy::start(port).await.unwrap()
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port()))
        .await
        .unwrap()
}

/// Says something, and gives what is said again; nothing, where the connection ends instead.
async fn say(stream: &mut TcpStream, what: &[u8]) -> Vec<u8> {
    if stream.write_all(what).await.is_err() {
        return Vec::new();
    }
    let mut heard = vec![0; what.len()];
    let read = timeout(LIMIT, stream.read_exact(&mut heard)).await.unwrap();
    read.map_or(Vec::new(), |_| heard)
}

/// Whether the connection ends, now or soon.
async fn ends(mut stream: TcpStream) -> bool {
    let mut rest = [0; 16];
    let read = timeout(LIMIT, stream.read(&mut rest)).await.unwrap();
    matches!(read, Ok(0) | Err(_))
}

#[tokio::test]
async fn who_is_refused_is_closed_and_who_is_connected_stays() {
    let proxy = echo().await;
    let mut before = connect(&proxy).await;
    assert_eq!(say(&mut before, b"one").await, b"one");
    proxy.refuse();
    assert!(ends(connect(&proxy).await).await);
    assert_eq!(say(&mut before, b"two").await, b"two");
    proxy.heal().await;
    assert_eq!(say(&mut connect(&proxy).await, b"three").await, b"three");
}

#[tokio::test]
async fn a_half_open_link_swallows_what_is_said_and_healed_it_closes_what_has_lost_something() {
    let proxy = echo().await;
    let mut before = connect(&proxy).await;
    assert_eq!(say(&mut before, b"one").await, b"one");
    proxy.swallow();
    let mut after = connect(&proxy).await;
    for stream in [&mut before, &mut after] {
        stream.write_all(b"lost").await.unwrap();
        let mut heard = [0; 1];
        let answer = timeout(Duration::from_millis(100), stream.read(&mut heard)).await;
        assert!(answer.is_err(), "neither an answer nor an end: {answer:?}");
    }
    proxy.heal().await;
    assert!(ends(before).await);
    assert!(ends(after).await);
    assert_eq!(say(&mut connect(&proxy).await, b"two").await, b"two");
}

#[tokio::test]
async fn a_throttled_link_lets_everything_through_in_the_end() {
    let proxy = echo().await;
    proxy.throttle(1_000_000);
    let much = vec![7; 100_000];
    assert_eq!(say(&mut connect(&proxy).await, &much).await, much);
}

#[tokio::test]
async fn what_is_held_is_counted_until_it_is_through() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    assert_eq!(say(&mut stream, b"one").await, b"one");
    proxy.pause_downstream().await.unwrap();
    stream.write_all(b"held").await.unwrap();
    let held = async {
        while proxy.held_downstream() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, held).await.unwrap();
    proxy.resume();
    let mut heard = [0; 4];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!((&heard, proxy.held_downstream()), (b"held", 0));
}
