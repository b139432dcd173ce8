//! Batches over HTTP: each request is sent once; who sends it again is decided in `batch`.

use std::time::Duration;

use flotilla_common::{
    claude::{Batch, BatchPage},
    io::telemetry::metric,
};
use metrics::counter;
use reqwest::{RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::{
    Billed, CallError, Claude, ErrorKind,
    answer::{Failed, Incoming, lost},
    call::{Times, Told},
};

/// Longest time that a question about batches may take: its answer is short.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time that a download of results may take: up to 256 MB.
const RESULTS_TIMEOUT: Duration = Duration::from_secs(900);
/// Batches of a page of the list.
const PAGE: u32 = 100;
/// Largest answer that is read whole: a page of batches.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Longest line of results, which is one reply.
const LINE_BYTES_MAX: usize = 8 << 20;

impl Claude {
    /// Creates a batch. There is no idempotency key: the same again is another batch.
    ///
    /// # Errors
    /// [`CallError`]; whether the batch exists is said by [`CallError::was_not_created`].
    pub(crate) async fn create_batch(
        &self,
        body: Vec<u8>,
        deadline: Instant,
    ) -> Result<Batch, Box<CallError>> {
        let created = self
            .json(|client, url| client.post(url).body(body), "", deadline)
            .await;
        let outcome = created.as_ref().map_or_else(|e| e.kind.label(), |_| "ok");
        counter!(metric::BATCHES, "outcome" => outcome).increment(1);
        created
    }

    /// How far a batch is.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) async fn batch(&self, id: &str) -> Result<Batch, Box<CallError>> {
        self.ask(&format!("/{id}")).await
    }

    /// A page of batches, the newest first; those older than `after`, if it is given.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) async fn batches(&self, after: Option<&str>) -> Result<BatchPage, Box<CallError>> {
        let after = after.map_or_else(String::new, |id| format!("&after_id={id}"));
        self.ask(&format!("?limit={PAGE}{after}")).await
    }

    /// Reads the results of a batch that has ended, line by line; never more than one is kept here.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) async fn batch_results(
        &self,
        id: &str,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Box<CallError>> {
        // The address is built, not taken from the batch: the key goes nowhere else.
        let path = format!("/{id}/results");
        let deadline = Instant::now() + RESULTS_TIMEOUT;
        let mut incoming = self
            .send(|client, url| client.get(url), &path, deadline)
            .await?;
        let told = incoming.told();
        let mut line: Vec<u8> = Vec::new();
        loop {
            let chunk = match incoming.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err((kind, why)) => {
                    return Err(self.error(Failed::new(kind, why, Billed::Nothing), told));
                }
            };
            let mut pieces = chunk.as_ref().split(|byte| *byte == b'\n').peekable();
            while let Some(piece) = pieces.next() {
                if line.len() + piece.len() > LINE_BYTES_MAX {
                    let why = format!("a line of results is longer than {LINE_BYTES_MAX} bytes");
                    let failed = Failed::new(ErrorKind::Invalid, why, Billed::Nothing);
                    return Err(self.error(failed, told));
                }
                line.extend_from_slice(piece);
                if pieces.peek().is_some() {
                    take(&line);
                    line.clear();
                }
            }
        }
        if !line.is_empty() {
            take(&line);
        }
        Ok(())
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, Box<CallError>> {
        let deadline = Instant::now() + ASK_TIMEOUT;
        self.json(|client, url| client.get(url), path, deadline)
            .await
    }

    async fn json<T: DeserializeOwned>(
        &self,
        request: impl FnOnce(&reqwest::Client, String) -> RequestBuilder,
        path: &str,
        deadline: Instant,
    ) -> Result<T, Box<CallError>> {
        let mut incoming = self.send(request, path, deadline).await?;
        let told = incoming.told();
        let mut body = Vec::new();
        let failed = loop {
            match incoming.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.as_ref().len() <= ANSWER_BYTES_MAX => {
                    body.extend_from_slice(chunk.as_ref());
                }
                Ok(Some(_)) => {
                    let why = format!("the answer is larger than {ANSWER_BYTES_MAX} bytes");
                    break Failed::new(ErrorKind::Unreadable, why, Billed::Unknown);
                }
                Ok(None) => match serde_json::from_slice(&body) {
                    Ok(answer) => return Ok(answer),
                    Err(error) => {
                        let why = format!("the answer is not what it should be: {error}");
                        break Failed::new(ErrorKind::Unreadable, why, Billed::Unknown);
                    }
                },
                Err((kind, why)) => break Failed::new(kind, why, Billed::Unknown),
            }
        };
        Err(self.error(failed, told))
    }

    /// Sends it; what comes back has a good status.
    async fn send(
        &self,
        request: impl FnOnce(&reqwest::Client, String) -> RequestBuilder,
        path: &str,
        deadline: Instant,
    ) -> Result<Incoming, Box<CallError>> {
        let failed = |failed| self.error(failed, Told::default());
        let none = || Failed::new(ErrorKind::Invalid, "no HTTP client".into(), Billed::Nothing);
        let client = self.client().ok_or_else(|| failed(none()))?;
        let times = Times::until(&self.config, deadline);
        let sending = request(client, format!("{}/batches{path}", self.url)).send();
        let response = timeout_at(deadline, sending)
            .await
            .map_err(|_| times.late_first())
            .and_then(|sent| sent.map_err(|error| lost(&error)))
            .map_err(failed)?;
        let mut incoming = Incoming::new(response, times);
        let status = incoming.status();
        if status.is_success() {
            return Ok(incoming);
        }
        let told = incoming.told();
        let refused = incoming.refused(status).await;
        Err(self.error(refused, told))
    }
}

impl CallError {
    /// Whether a batch was certainly not created: it was refused, or never reached the provider. A failure of the server says
    /// nothing about that.
    pub(crate) fn was_not_created(&self) -> bool {
        match self.kind {
            ErrorKind::Server
            | ErrorKind::Conflict
            | ErrorKind::Timeout
            | ErrorKind::Unreadable => false,
            ErrorKind::Connection => self.billed == Billed::Nothing,
            ErrorKind::RateLimited
            | ErrorKind::Overloaded
            | ErrorKind::Blocked
            | ErrorKind::Invalid => true,
        }
    }

    /// Whether there is nothing under what was asked for.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status == Some(StatusCode::NOT_FOUND.as_u16())
    }
}
