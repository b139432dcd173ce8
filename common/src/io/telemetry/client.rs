//! The exporter's HTTP client: ours, with our one TLS stack.

use std::{future::Future, pin::Pin, time::Duration};

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::redirect::Policy;

/// Largest answer of a collector that is read: all it says is how many spans it did not take.
const ANSWER_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Client(reqwest::Client);

impl Client {
    pub(super) fn new(limit: Duration) -> Result<Self, reqwest::Error> {
        let builder = reqwest::Client::builder()
            .timeout(limit)
            // A collector's headers may hold a key.
            .redirect(Policy::none())
            .user_agent(concat!("flotilla/", env!("CARGO_PKG_VERSION")));
        builder.build().map(Self)
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut response = self.0.execute(request.try_into()?).await?;
        let mut answer = Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > ANSWER_MAX {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(answer.body(body.into())?)
    }
}

impl HttpClient for Client {
    fn send_bytes<'client, 'sending>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'sending>>
    where
        'client: 'sending,
        Self: 'sending,
    {
        Box::pin(self.send(request))
    }
}
