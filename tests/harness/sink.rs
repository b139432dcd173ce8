//! The sink of effects, for tests: what it cannot do is the test's end.

use std::net::Ipv4Addr;
use std::ops::Deref;

use axum::http::StatusCode;
pub use flotilla_sim::sink::Effect;
use flotilla_sim::sink::Trouble;
use serde_json::{Value, json};

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

    /// The same, at an address of this machine that others reach.
    ///
    /// # Panics
    /// When it cannot listen there.
    pub async fn start_at(host: Ipv4Addr) -> Self {
        let sink = flotilla_sim::sink::Sink::start_at(host).await;
        Self(sink.expect("listen"))
    }

    /// The definition of a tool that posts its parameters here, at `/<name>`, with `more` of its keys.
    ///
    /// # Panics
    /// When `more` is no object.
    pub fn tool(&self, name: &str, effect: &str, more: Value) -> Value {
        let mut tool = json!({"tool": name, "version": 1, "description": "Does something that is counted.", "effect": effect,
            "input": {"type": "object"}, "http": {"method": "POST", "url": self.url(&format!("/{name}")), "body": "{{ input }}"}});
        let more = more.as_object().expect("keys of a tool").clone();
        tool.as_object_mut().expect("an object").extend(more);
        tool
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
