//! A client of server-sent events, as a browser is one.

use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::Value;

use crate::wait::{PATIENCE, within};

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `id:`
    pub id: Option<u64>,
    /// `event:`
    pub kind: String,
    /// `data:`, which is JSON
    pub data: Value,
}

/// An open stream of events.
#[derive(Debug)]
pub struct Sse {
    response: Response,
    /// What came and is no whole event yet
    bytes: Vec<u8>,
    /// Of the last event that had one
    pub last_id: Option<u64>,
}

impl Sse {
    /// Opens it; an answer that is no stream comes back as it is.
    ///
    /// # Errors
    /// Nobody answers, or something else than a stream of events: its status and text.
    pub async fn open(url: &str, last_event_id: Option<u64>) -> Result<Self, (u16, String)> {
        let http = Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .build()
            .expect("an HTTP client");
        Self::open_by(&http, url, last_event_id).await
    }

    /// The same by a client that is there already.
    ///
    /// # Errors
    /// As [`Sse::open`].
    pub async fn open_by(
        http: &Client,
        url: &str,
        last_event_id: Option<u64>,
    ) -> Result<Self, (u16, String)> {
        let mut request = http.get(url).header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id.to_string());
        }
        let response = within("an answer", PATIENCE, request.send()).await;
        let response = response.map_err(|error| (0, error.to_string()))?;
        let status = response.status().as_u16();
        let header = |name: &str| {
            let value = response.headers().get(name);
            value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        if status != 200 {
            return Err((status, response.text().await.unwrap_or_default()));
        }
        assert_eq!(header("content-type").as_deref(), Some("text/event-stream"));
        assert_eq!(header("cache-control").as_deref(), Some("no-store"));
        assert_eq!(header("x-accel-buffering").as_deref(), Some("no"));
        Ok(Self {
            response,
            bytes: Vec::new(),
            last_id: last_event_id,
        })
    }

    /// The next event; `None` when the server ended the stream, or the connection is gone.
    ///
    /// # Panics
    /// When nothing comes in time.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.bytes.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.bytes.drain(..end + 2).collect();
                let block = String::from_utf8(block).expect("UTF-8");
                if let Some(event) = event(&block) {
                    self.last_id = event.id.or(self.last_id);
                    return Some(event);
                }
            }
            let chunk = within("an event", PATIENCE, self.response.chunk()).await;
            let chunk = chunk.ok().flatten()?;
            self.bytes.extend_from_slice(&chunk);
        }
    }

    /// All events up to the end of the stream.
    pub async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

/// What a browser makes of it: comments, and blocks without data, are no events.
fn event(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let mut lines = block.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let data = field("data")?;
    Some(Event {
        id: field("id").map(|id| id.parse().expect("ids are numbers")),
        kind: field("event").unwrap_or("message").to_owned(),
        data: serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in {data}")),
    })
}
