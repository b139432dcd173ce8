//! The sink of effects, for tests: what it cannot do is the test's end.

use std::ops::Deref;

use axum::http::StatusCode;
pub use flotilla_sim::sink::Effect;
use flotilla_sim::sink::Trouble;

/// A running sink, in the test's process.
#[derive(Debug)]
pub struct Sink(flotilla_sim::sink::Sink);

impl Sink {
    /// Starts one. It takes any method and any path, and answers 200 with `{"ok": true}`.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Self {
        Self(flotilla_sim::sink::Sink::start().await.expect("listen"))
    }

    /// From now on nothing is done, and everything is answered with this status; `None` ends that.
    ///
    /// # Panics
    /// When it is no HTTP status.
    pub fn refuse(&self, status: Option<u16>) {
        let status = status.map(|status| StatusCode::from_u16(status).expect("an HTTP status"));
        self.0.trouble(status.map(Trouble::Refuse), &[]);
    }
}

impl Deref for Sink {
    type Target = flotilla_sim::sink::Sink;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
