//! The proxy of faults, for tests: what it cannot do is the test's end.

use std::ops::Deref;

/// A proxy on a port of its own to one port of this machine. Dropped, it closes everything.
#[derive(Debug)]
pub struct Proxy(flotilla_sim::proxy::Proxy);

impl Proxy {
    /// A proxy to a port of this machine, which need not be open yet.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn to(target: u16) -> Self {
        Self(
            flotilla_sim::proxy::Proxy::start(target)
                .await
                .expect("listen"),
        )
    }

    /// Holds what clients send, from now on, until `resume`; new connections too.
    ///
    /// # Panics
    /// When what is being written does not get through.
    pub async fn pause_upstream(&self) {
        self.0.pause_upstream().await.expect("it is through");
    }

    /// Holds what the server sends, from now on, until `resume`; new connections too.
    ///
    /// # Panics
    /// When what is being written does not get through.
    pub async fn pause_downstream(&self) {
        self.0.pause_downstream().await.expect("it is through");
    }
}

impl Deref for Proxy {
    type Target = flotilla_sim::proxy::Proxy;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
