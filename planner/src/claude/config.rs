//! Where and how Claude is called.

use std::{fmt, time::Duration};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::ClaudeError;

/// `anthropic-version`: the only one there is.
const API_VERSION: &str = "2023-06-01";

/// An API key or a token; never shown.
#[derive(Clone)]
pub struct Key(String);

impl Key {
    /// From its text.
    #[must_use]
    pub fn new(key: String) -> Self {
        Self(key)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Where and how Claude is called.
#[derive(Debug, Clone)]
pub struct ClaudeConfig {
    /// `https://api.anthropic.com`, or any other server that speaks the Messages API.
    pub base_url: String,
    /// The API key, sent as `x-api-key`.
    pub key: Option<Key>,
    /// A token, sent as `Authorization: Bearer`: what gateways in front of the API ask for.
    pub auth_token: Option<Key>,
    /// Whether answers are asked for as streams. A server that gives a plain one all the same is understood.
    pub stream: bool,
    /// Whether requests mark what the provider is to keep in its prompt cache. Off is for servers that refuse the marks.
    pub cache: bool,
    /// Longest time to a connection.
    pub connect_timeout: Duration,
    /// Longest time to the first byte of a stream, or of what a server gives instead of one. A plain answer that was asked
    /// for as such has only the whole call's time: it comes when all of it is there.
    pub first_byte_timeout: Duration,
    /// Longest silence in an answer that began; a `ping` ends it.
    pub silence_timeout: Duration,
    /// Longest single call.
    pub call_timeout: Duration,
    /// How long a step's call is tried, all tries together.
    pub patience: Duration,
}

impl ClaudeConfig {
    /// The defaults, for this server, without a key. Connecting and the whole call take as long as in the provider's SDK; a
    /// stream begins within seconds, and pings come every few seconds.
    #[must_use]
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            key: None,
            auth_token: None,
            stream: true,
            cache: true,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(120),
            silence_timeout: Duration::from_secs(60),
            call_timeout: Duration::from_secs(600),
            patience: Duration::from_secs(900),
        }
    }

    /// The headers of every request.
    pub(super) fn headers(&self) -> Result<HeaderMap, ClaudeError> {
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-version", HeaderValue::from_static(API_VERSION));
        headers.insert(
            reqwest::header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        let token = self.auth_token.as_ref();
        let secrets = [
            ("x-api-key", self.key.as_ref().map(|key| key.0.clone())),
            (
                "authorization",
                token.map(|token| format!("Bearer {}", token.0)),
            ),
        ];
        for (name, text) in secrets {
            let Some(text) = text else { continue };
            let mut value = HeaderValue::from_str(&text).map_err(|_| ClaudeError::Key)?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(headers)
    }

    /// What must not be shown.
    pub(super) fn secrets(&self) -> Secrets {
        let keys = self.key.iter().chain(&self.auth_token);
        Secrets(keys.map(|key| key.0.clone()).collect())
    }
}

/// What must not be shown, even if a server echoes it.
#[derive(Clone)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// The text without them.
    pub(super) fn redact(&self, text: &str) -> String {
        let known = self.0.iter().filter(|secret| !secret.is_empty());
        known.fold(text.to_owned(), |text, secret| {
            text.replace(secret.as_str(), "[key]")
        })
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}
