//! A server that is reached by streamable HTTP: each message is a POST, and its answer JSON or a stream of events.

use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use reqwest::{
    Client, Response, StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::{Value, json};

use super::wire::{self, Incoming, MESSAGE_BYTES_MAX, Trouble};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// Most bytes of all events before the one that is waited for.
const STREAM_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;
/// What is kept of what a server says when it refuses, in bytes.
const REFUSAL_BYTES_MAX: usize = 300;

/// A session with a server.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    url: Url,
    headers: HeaderMap,
    session: Mutex<Option<HeaderValue>>,
    version: OnceLock<HeaderValue>,
    next: AtomicU64,
    over: AtomicBool,
}

impl Http {
    /// A session that has not begun. The client must follow no redirects.
    pub(super) fn new(client: Client, url: Url, headers: HeaderMap) -> Self {
        Self {
            client,
            url,
            headers,
            session: Mutex::default(),
            version: OnceLock::new(),
            next: AtomicU64::new(1),
            over: AtomicBool::new(false),
        }
    }

    /// Which version is spoken from now on.
    pub(super) fn speak(&self, version: &str) {
        if let Ok(value) = HeaderValue::from_str(version) {
            // It is agreed upon once.
            let _ = self.version.set(value);
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Nothing is asked in this session any more.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(super) async fn request(&self, method: &str, params: &Value) -> Result<Value, Trouble> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let response = self.post(&wire::request(id, method, params)).await?;
        if let Some(session) = response.headers().get(SESSION) {
            *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(session.clone());
        }
        if is_events(&response) {
            return self.answer_among(response, id).await;
        }
        let body = whole(response).await?;
        match wire::read(&body) {
            Some(Incoming::Response { id: of, answer }) if of == id => {
                answer.map_err(Trouble::Refused)
            }
            _ => Err(Trouble::Lost(
                "its answer is no answer to what was asked".into(),
            )),
        }
    }

    pub(super) async fn notify(&self, method: &str) -> Result<(), Trouble> {
        let message = wire::notification(method, &json!({}));
        self.post(&message).await.map(drop)
    }

    async fn post(&self, message: &Value) -> Result<Response, Trouble> {
        let session = self
            .session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        let has_session = session.is_some();
        headers.extend(session.map(|session| (SESSION, session)));
        headers.extend(
            self.version
                .get()
                .map(|version| (PROTOCOL, version.clone())),
        );
        let request = self.client.post(self.url.clone()).headers(headers);
        let sent = request.body(message.to_string()).send().await;
        let response = sent.map_err(|error| {
            let told = told(&error);
            match error.is_connect() {
                true => Trouble::NotSent(told),
                false => Trouble::Lost(told),
            }
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status == StatusCode::NOT_FOUND && has_session {
            self.over.store(true, Ordering::Relaxed);
            return Err(Trouble::Expired);
        }
        let said = whole(response).await.unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let said = said[..said.floor_char_boundary(REFUSAL_BYTES_MAX)].to_owned();
        Err(Trouble::Status(status.as_u16(), said))
    }

    async fn answer_among(&self, mut response: Response, id: u64) -> Result<Value, Trouble> {
        let (mut events, mut read) = (Events::default(), 0);
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|e| Trouble::Lost(told(&e)))?
        {
            read += chunk.len();
            for data in events.push(&chunk) {
                match wire::read(&data) {
                    Some(Incoming::Response { id: of, answer }) if of == id => {
                        return answer.map_err(Trouble::Refused);
                    }
                    Some(Incoming::Request { id, method }) => {
                        // What the server asked goes on without us where it cannot be told.
                        drop(Box::pin(self.post(&wire::answer(&id, &method))).await);
                    }
                    Some(Incoming::Response { .. } | Incoming::Notification { .. }) | None => {}
                }
            }
            if read > STREAM_BYTES_MAX || events.length() > MESSAGE_BYTES_MAX {
                return Err(too_long());
            }
        }
        Err(Trouble::Lost("its stream ended without an answer".into()))
    }
}

fn is_events(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().starts_with("text/event-stream"))
}

async fn whole(mut response: Response) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|e| Trouble::Lost(told(&e)))?
    {
        body.extend_from_slice(&chunk);
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(too_long());
        }
    }
    Ok(body)
}

fn too_long() -> Trouble {
    Trouble::Lost(format!(
        "it sent more than {MESSAGE_BYTES_MAX} bytes in one answer"
    ))
}

/// An error with its causes and without its URL, which may be confidential.
fn told(error: &reqwest::Error) -> String {
    use std::error::Error as _;
    let mut text = match error.is_connect() {
        true => "it cannot be reached".to_owned(),
        false => "the connection to it broke".to_owned(),
    };
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Server-sent events, as far as they have data.
#[derive(Debug, Default)]
struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
}

impl Events {
    /// The data of the events that are complete now.
    fn push(&mut self, chunk: &[u8]) -> Vec<Vec<u8>> {
        let mut complete = Vec::new();
        for byte in chunk {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            if line.is_empty() {
                let data = std::mem::take(&mut self.data);
                complete.extend((!data.is_empty()).then_some(data));
            } else if let Some(data) = line.strip_prefix(b"data:") {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data
                    .extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            }
        }
        complete
    }

    fn length(&self) -> usize {
        self.line.len() + self.data.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_wherever_they_are_cut() {
        let text =
            b"event: message\nid: 1\ndata: {\"a\":\ndata: 1}\n\n: comment\r\ndata:x\r\n\r\n\n";
        for cut in 0..text.len() {
            let mut events = Events::default();
            let mut all = events.push(&text[..cut]);
            all.extend(events.push(&text[cut..]));
            assert_eq!(all, [b"{\"a\":\n1}".to_vec(), b"x".to_vec()], "{cut}");
        }
    }
}
