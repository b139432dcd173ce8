//! A server that is reached by streamable HTTP: the protocol is the library's, the client ours, with its TLS, without redirects
//! and proxies, and with a bound on all that comes.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream::BoxStream};
use reqwest::{
    Client, RequestBuilder, Response, StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use rmcp::{
    model::{ClientJsonRpcMessage, RequestId, ServerJsonRpcMessage},
    transport::{
        common::client_side_sse::ExponentialBackoff,
        streamable_http_client::{
            SseError, StreamableHttpClient, StreamableHttpClientTransport,
            StreamableHttpClientTransportConfig, StreamableHttpError, StreamableHttpPostResponse,
        },
    },
};
use sse_stream::{Sse, SseStream};
use tokio::time::sleep;

use super::{
    trouble::{Trouble, short},
    watched::{MESSAGE_BYTES_MAX, Shared, UNSENT_MAX},
};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
/// How often in a row, and at most how long after the last time, a stream that broke is asked for again.
const AGAIN: (usize, Duration) = (5, Duration::from_secs(60));
/// The pause before every stream but the first: a server chooses its own, and may choose none.
const STREAM_PAUSE: Duration = Duration::from_millis(500);

type Headers = HashMap<HeaderName, HeaderValue>;
type Events = BoxStream<'static, Result<Sse, SseError>>;
type Answered<T> = Result<T, StreamableHttpError<Trouble>>;

/// A server's endpoint.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    client: Client,
    shared: Arc<Shared>,
    /// Whether it was asked for a stream before.
    was_streamed: Arc<AtomicBool>,
}

/// The transport to an endpoint. The client must follow no redirects.
pub(super) fn transport(
    client: Client,
    url: &Url,
    headers: Headers,
    shared: &Arc<Shared>,
) -> StreamableHttpClientTransport<Endpoint> {
    let endpoint = Endpoint {
        client,
        shared: Arc::clone(shared),
        was_streamed: Arc::default(),
    };
    let mut again = ExponentialBackoff::default();
    (again.max_times, again.max_delay) = (Some(AGAIN.0), Some(AGAIN.1));
    let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
        .custom_headers(headers)
        .max_concurrent_requests(UNSENT_MAX)
        // Of what else was under way, the library would say that it failed, and that is not known. A new session is our affair.
        .reinit_on_expired_session(false);
    config.retry_config = Arc::new(again);
    StreamableHttpClientTransport::with_client(endpoint, config)
}

impl StreamableHttpClient for Endpoint {
    type Error = Trouble;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        custom: Headers,
    ) -> Answered<StreamableHttpPostResponse> {
        let mut headers = headers(custom, session.as_deref())?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        let request = self.client.post(&*uri).headers(headers);
        let request = request.body(serde_json::to_vec(&message)?);
        let response = exchange(request, session.is_some()).await?;
        let ClientJsonRpcMessage::Request(asked) = &message else {
            return Ok(StreamableHttpPostResponse::Accepted);
        };
        if response.status() == StatusCode::ACCEPTED {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        let session = response.headers().get(SESSION);
        let session = session.and_then(|id| Some(id.to_str().ok()?.to_owned()));
        if is_events(&response) {
            let events = self.events(response);
            return Ok(StreamableHttpPostResponse::Sse(events, session));
        }
        let body = whole(response).await?;
        let answer = serde_json::from_slice(&body).ok();
        let answer = answer.filter(|answer| is_of(&asked.id, answer));
        let none = || Trouble::Lost("its answer is none to what was asked".into());
        let answer = answer.ok_or_else(none)?;
        Ok(StreamableHttpPostResponse::Json(answer, session))
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        _: Option<String>,
        custom: Headers,
    ) -> Answered<Events> {
        if self.was_streamed.swap(true, Ordering::Relaxed) {
            sleep(STREAM_PAUSE).await;
        }
        let mut headers = headers(custom, session.as_deref())?;
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = last_event {
            headers.insert(LAST_EVENT, header_value(&id)?);
        }
        let request = self.client.get(&*uri).headers(headers);
        match exchange(request, session.is_some()).await {
            Ok(response) if is_events(&response) => Ok(self.events(response)),
            Ok(_) => Err(StreamableHttpError::ServerDoesNotSupportSse),
            Err(Trouble::Status(status, _)) if status == StatusCode::METHOD_NOT_ALLOWED => {
                Err(StreamableHttpError::ServerDoesNotSupportSse)
            }
            Err(trouble) => Err(trouble.into()),
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        _: Option<String>,
        custom: Headers,
    ) -> Answered<()> {
        let headers = headers(custom, Some(&session))?;
        exchange(self.client.delete(&*uri).headers(headers), true).await?;
        Ok(())
    }
}

impl Endpoint {
    /// The events of an answer; one that is too long ends the session.
    fn events(&self, response: Response) -> Events {
        let (shared, mut length) = (Arc::clone(&self.shared), EventLength::default());
        let chunks = response.bytes_stream().map(move |chunk| {
            let chunk = chunk.map_err(|error| Trouble::Lost(told(&error)))?;
            if length.fits(&chunk) {
                return Ok(chunk);
            }
            shared.too_long();
            Err(too_long())
        });
        SseStream::from_bytes_stream(chunks).boxed()
    }
}

fn headers(custom: Headers, session: Option<&str>) -> Result<HeaderMap, Trouble> {
    let mut headers: HeaderMap = custom.into_iter().collect();
    if let Some(session) = session {
        headers.insert(SESSION, header_value(session)?);
    }
    Ok(headers)
}

/// Whether it is the answer to that: for another one the library would go on waiting.
fn is_of(id: &RequestId, answer: &ServerJsonRpcMessage) -> bool {
    let of = match answer {
        ServerJsonRpcMessage::Response(response) => Some(&response.id),
        ServerJsonRpcMessage::Error(error) => error.id.as_ref(),
        ServerJsonRpcMessage::Request(_) | ServerJsonRpcMessage::Notification(_) => None,
    };
    // Some servers make a text of a number.
    of.is_some_and(|of| of.to_string() == id.to_string())
}

fn header_value(id: &str) -> Result<HeaderValue, Trouble> {
    HeaderValue::from_str(id)
        .map_err(|_| Trouble::NotSent("it named an id that fits no header".into()))
}

/// Sends, and gives an answer that is a success.
async fn exchange(request: RequestBuilder, in_session: bool) -> Result<Response, Trouble> {
    let response = request.send().await.map_err(|error| {
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
    if status == StatusCode::NOT_FOUND && in_session {
        return Err(Trouble::Expired);
    }
    let said = whole(response).await.unwrap_or_default();
    let said = short(&String::from_utf8_lossy(&said));
    Err(Trouble::Status(status.as_u16(), said))
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

/// Counts the bytes of an event: those since the last empty line.
#[derive(Debug, Default)]
struct EventLength {
    event: usize,
    is_in_line: bool,
}

impl EventLength {
    /// Whether no event is longer than a message may be, with this.
    fn fits(&mut self, chunk: &[u8]) -> bool {
        for byte in chunk {
            self.event += 1;
            match byte {
                b'\n' if self.is_in_line => self.is_in_line = false,
                b'\n' => self.event = 0,
                // It stands before a newline or is one, and is never the empty line itself.
                b'\r' => {}
                _ => self.is_in_line = true,
            }
            if self.event > MESSAGE_BYTES_MAX {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_at_most_so_long_however_its_lines_end_and_wherever_it_is_cut() {
        for end in ["\n", "\r\n"] {
            let line = format!("data: {}{end}", "x".repeat(1_000_000));
            let mut length = EventLength::default();
            for _ in 0..5 {
                assert!(length.fits(line.repeat(4).as_bytes()), "{end:?}");
                assert!(length.fits(end.as_bytes()), "{end:?}");
            }
            let mut length = EventLength::default();
            let mut whole = line.as_bytes().chunks(77_777).cycle().take(13 * 5);
            assert!(whole.any(|chunk| !length.fits(chunk)), "{end:?}");
        }
    }
}
