//! The connection to NATS: made once, checked once.

use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr, jetstream};
use percent_encoding::percent_decode_str;

use super::streams::StreamError;
use crate::permissions::{User, inbox};

/// The oldest nats-server whose streams can do what the journal needs: atomic batches and message schedules.
pub const SERVER_VERSION_MIN: (u32, u32) = (2, 12);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that was cut off without a word is noticed by two pings that have no answer.
const PING_EVERY: Duration = Duration::from_secs(2);
/// One publish's ack; the journal retries within its own patience.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);
/// Publishes that may wait for their ack at once.
const ACKS_IN_FLIGHT_MAX: usize = 65_536;

/// Why NATS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Its address is wrong.
    #[error(
        "FLOTILLA_NATS_URL `{url}` is not a NATS address: {source}. It looks like nats://127.0.0.1:4222; several are separated by commas"
    )]
    Address {
        /// What was given, without credentials.
        url: String,
        /// What is wrong.
        source: std::io::Error,
    },
    /// It does not answer.
    #[error(
        "cannot reach NATS at {url}: {source}. Start one with `nats-server -js`, or set FLOTILLA_NATS_URL"
    )]
    Connect {
        /// Where, without credentials.
        url: String,
        /// Why.
        source: async_nats::ConnectError,
    },
    /// It is too old.
    #[error("the nats-server at {url} is version {found}, at least {}.{} is needed (atomic batches, message schedules); upgrade it", SERVER_VERSION_MIN.0, SERVER_VERSION_MIN.1)]
    TooOld {
        /// Where.
        url: String,
        /// Its version.
        found: String,
    },
    /// JetStream is off.
    #[error(
        "the nats-server at {url} runs without JetStream; start it with `-js`, or with a `jetstream` block in its configuration"
    )]
    NoJetStream {
        /// Where.
        url: String,
    },
    /// A stream or consumer is not as it must be.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// A connection to NATS with JetStream. Clones share it; it reconnects by itself.
#[derive(Debug, Clone)]
pub struct Bus {
    /// The bare connection.
    pub client: async_nats::Client,
    /// JetStream on it.
    pub jetstream: jetstream::Context,
    /// How many servers keep each stream that is made; those that are there keep what they have.
    pub replicas: usize,
}

impl Bus {
    /// Connects as `name` and checks that the server can do what is needed.
    ///
    /// # Errors
    /// [`BusError`], each saying what to do.
    pub async fn connect(url: &str, name: &str) -> Result<Self, BusError> {
        let shown = without_credentials(url);
        let servers: Vec<ServerAddr> = url
            .split(',')
            .map(|server| server.trim().parse())
            .collect::<Result<_, _>>()
            .map_err(|source| BusError::Address {
                url: shown.clone(),
                source,
            })?;
        let client = as_user(&servers)
            .name(format!("flotilla {name}"))
            .connection_timeout(CONNECT_TIMEOUT)
            .request_timeout(Some(Duration::from_secs(10)))
            .ping_interval(PING_EVERY)
            // One reader hands messages to all pull loops: room for the largest burst they ask for.
            .subscription_capacity(16_384)
            .client_capacity(16_384)
            .reconnect_delay_callback(|attempt| {
                Duration::from_millis(50 << attempt.min(5)).min(Duration::from_secs(1))
            })
            .connect(servers)
            .await
            .map_err(|source| BusError::Connect {
                url: shown.clone(),
                source,
            })?;
        let info = client.server_info();
        if !new_enough(&info.version) {
            return Err(BusError::TooOld {
                url: shown,
                found: info.version,
            });
        }
        if !info.jetstream {
            return Err(BusError::NoJetStream { url: shown });
        }
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(Duration::from_secs(10))
            .ack_timeout(ACK_TIMEOUT)
            .max_ack_inflight(ACKS_IN_FLIGHT_MAX)
            .backpressure_on_inflight(true)
            .build(client.clone());
        Ok(Self {
            client,
            jetstream,
            replicas: 1,
        })
    }

    /// Whether the connection stands at this moment.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }
}

/// Who we are, as the first address says it: the client takes no credentials from addresses by itself. A user of ours has its answers
/// on subjects of its own, so that permissions can say who hears them.
fn as_user(servers: &[ServerAddr]) -> ConnectOptions {
    let options = ConnectOptions::new();
    let Some(first) = servers.first().filter(|server| server.has_user_pass()) else {
        return options;
    };
    let plain = |text: Option<&str>| {
        let text = percent_decode_str(text.unwrap_or_default());
        text.decode_utf8_lossy().into_owned()
    };
    let user = plain(first.username());
    let Some(password) = first.password() else {
        // As everywhere in NATS, a user without a password is a token.
        return options.token(user);
    };
    let known = User::ALL.into_iter().find(|known| user == known.name());
    let options = options.user_and_password(user, plain(Some(password)));
    match known {
        Some(user) => options.custom_inbox_prefix(inbox(user.name())),
        None => options,
    }
}

fn new_enough(version: &str) -> bool {
    let mut numbers = version
        .split(['.', '-'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (major, minor) >= SERVER_VERSION_MIN
}

/// A URL, or several with commas between, without users and passwords: for messages.
#[must_use]
pub fn without_credentials(urls: &str) -> String {
    let one = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        _ => url.to_owned(),
    };
    urls.split(',')
        .map(|url| one(url.trim()))
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number_and_credentials_are_not_shown() {
        assert!(new_enough("2.12.0") && new_enough("2.15.1-RC.1") && new_enough("3.0.0"));
        assert!(!new_enough("2.9.10") && !new_enough("2.11.99") && !new_enough("?"));
        assert_eq!(without_credentials("nats://u:p@h:4222"), "nats://h:4222");
        assert_eq!(without_credentials("nats://h:4222"), "nats://h:4222");
    }
}
