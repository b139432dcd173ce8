//! Servers that break off, wait and hang up. What is checked is the kind of failure, never how long it took.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    streams::{begun_usage, middle, stream},
    *,
};

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const PLAIN: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";
const SHORT: Duration = Duration::from_millis(100);

/// What a raw server does with its connection when it has said its piece.
#[derive(Clone, Copy)]
enum Then {
    Close,
    /// Says nothing more, and keeps it open.
    Hold,
    /// Goes on with pings.
    Ping,
}

/// A piece of a chunked body.
fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

async fn serve(mut socket: TcpStream, text: String, then: Then) {
    let mut request = Vec::new();
    // All of it, or the close would be a reset.
    while !request.ends_with(b"}") {
        if socket.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let mut said = socket.write_all(text.as_bytes()).await;
    match then {
        Then::Close => {}
        Then::Hold => std::future::pending::<()>().await,
        Then::Ping => {
            let ping = chunk("event: ping\ndata: {\"type\": \"ping\"}\n\n");
            while said.is_ok() {
                tokio::time::sleep(SHORT / 4).await;
                said = socket.write_all(ping.as_bytes()).await;
            }
        }
    }
}

/// One call to a raw server.
async fn call_raw(
    text: String,
    then: Then,
    change: impl FnOnce(ClaudeConfig) -> ClaudeConfig,
) -> Box<CallError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, text.clone(), then));
        }
    });
    let claude = claude(change(config(&base_url)));
    once(&claude, &request()).await.unwrap_err()
}

fn as_it_is(config: ClaudeConfig) -> ClaudeConfig {
    config
}

fn first_byte(config: ClaudeConfig) -> ClaudeConfig {
    ClaudeConfig {
        first_byte_timeout: SHORT,
        ..config
    }
}

fn silence(config: ClaudeConfig) -> ClaudeConfig {
    ClaudeConfig {
        silence_timeout: SHORT,
        ..config
    }
}

fn whole_call(config: ClaudeConfig) -> ClaudeConfig {
    ClaudeConfig {
        call_timeout: SHORT * 5,
        ..config
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_costs_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let failed = once(&claude(config(&base_url)), &request())
        .await
        .unwrap_err();
    assert_eq!(
        (failed.kind, failed.billed),
        (ErrorKind::Connection, Billed::Nothing)
    );
    assert!(failed.why.starts_with("no connection"), "{failed}");
}

#[tokio::test]
async fn a_connection_that_ends_before_an_answer_may_have_cost_anything() {
    let failed = call_raw(String::new(), Then::Close, as_it_is).await;
    assert_eq!(
        (failed.kind, failed.billed),
        (ErrorKind::Connection, Billed::Unknown)
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_unreadable() {
    let text = format!("{HEAD}{}", chunk(&stream(&middle())));
    let failed = call_raw(text, Then::Close, as_it_is).await;
    assert_eq!(failed.kind, ErrorKind::Unreadable);
    assert_eq!(failed.billed, Billed::AtLeast(begun_usage()));
    let failed = call_raw(format!("{PLAIN}{{\"id\""), Then::Close, as_it_is).await;
    assert_eq!(
        (failed.kind, failed.billed),
        (ErrorKind::Unreadable, Billed::Unknown)
    );
}

#[tokio::test]
async fn silence_before_the_first_byte_is_a_timeout() {
    for text in [String::new(), HEAD.to_owned()] {
        let failed = call_raw(text, Then::Hold, first_byte).await;
        assert_eq!(
            (failed.kind, failed.billed),
            (ErrorKind::Timeout, Billed::Unknown)
        );
        assert!(failed.why.contains("no answer began"), "{failed}");
    }
}

#[tokio::test]
async fn silence_in_the_middle_is_a_timeout_that_tells_what_is_billed() {
    let text = format!("{HEAD}{}", chunk(&stream(&middle())));
    let failed = call_raw(text, Then::Hold, silence).await;
    assert_eq!(failed.kind, ErrorKind::Timeout);
    assert_eq!(failed.billed, Billed::AtLeast(begun_usage()));
    assert!(failed.why.contains("the answer stopped"), "{failed}");
    let failed = call_raw(format!("{PLAIN}{{\"id\""), Then::Hold, silence).await;
    assert_eq!(
        (failed.kind, failed.billed),
        (ErrorKind::Timeout, Billed::Unknown)
    );
}

#[tokio::test]
async fn pings_are_signs_of_life_and_the_whole_call_ends_all_the_same() {
    let text = format!("{HEAD}{}", chunk(&stream(&middle())));
    // Many pings in each silence, so that a busy machine does not make one too long.
    let quiet = |config| ClaudeConfig {
        silence_timeout: SHORT * 10,
        call_timeout: SHORT * 25,
        ..config
    };
    let failed = call_raw(text, Then::Ping, quiet).await;
    assert_eq!(failed.kind, ErrorKind::Timeout);
    assert_eq!(failed.billed, Billed::AtLeast(begun_usage()));
    assert!(failed.why.contains("no whole answer"), "{failed}");
}

#[tokio::test]
async fn a_plain_answer_has_the_whole_calls_time_for_its_first_byte() {
    let plain = |config| ClaudeConfig {
        stream: false,
        ..whole_call(first_byte(config))
    };
    let failed = call_raw(String::new(), Then::Hold, plain).await;
    assert_eq!(
        (failed.kind, failed.billed),
        (ErrorKind::Timeout, Billed::Unknown)
    );
    assert!(failed.why.contains(&format!("{:?}", SHORT * 5)), "{failed}");
}

#[tokio::test]
async fn an_error_status_whose_body_never_comes_is_read_by_its_status() {
    let head = "HTTP/1.1 529 Overloaded\r\ncontent-length: 100\r\nretry-after: 3\r\n\r\n{\"err";
    let failed = call_raw(head.to_owned(), Then::Hold, silence).await;
    assert_eq!(
        (failed.kind, failed.billed),
        (ErrorKind::Overloaded, Billed::Nothing)
    );
    assert_eq!(failed.after, Some(Duration::from_secs(3)));
}
