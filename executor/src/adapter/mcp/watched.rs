//! A transport of which we see when it is over and what it says of its tools, and which holds a bounded number of unsent messages.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use rmcp::{
    RoleClient,
    model::{JsonRpcMessage, ServerNotification},
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::Transport,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::trouble::Trouble;

/// Longest message of a server, in bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages that may be on their way to the server.
pub(super) const UNSENT_MAX: usize = 256;
/// What is kept of what it says on stderr, in bytes.
const COMPLAINT_BYTES_MAX: usize = 2 * 1024;

/// What a session and its transport know together.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Nothing comes any more. Cancelled, it ends the transport, too.
    pub(super) over: CancellationToken,
    /// The end of what it said on stderr; only a program has one.
    complaint: Option<Mutex<Vec<u8>>>,
    /// Its tools may be others than those that it listed.
    is_stale: AtomicBool,
    /// It sent a message that is too long.
    is_too_long: AtomicBool,
}

impl Shared {
    pub(super) fn of_program() -> Self {
        Self {
            complaint: Some(Mutex::default()),
            ..Self::default()
        }
    }

    /// Whether it said since the last time that its tools are others now.
    pub(super) fn has_changed(&self) -> bool {
        self.is_stale.swap(false, Ordering::Relaxed)
    }

    /// Ends the session for a message that is too long.
    pub(super) fn too_long(&self) {
        self.is_too_long.store(true, Ordering::Relaxed);
        self.over.cancel();
    }

    /// Ends the session after a message that could not be sent, if it is a program's: what is written there later is not read either.
    fn failed(&self) {
        if self.complaint.is_some() {
            self.over.cancel();
        }
    }

    /// Notes what a program says on stderr.
    pub(super) fn complain(&self, said: &[u8]) {
        let Some(complaint) = &self.complaint else {
            return;
        };
        let mut complaint = complaint.lock().unwrap_or_else(PoisonError::into_inner);
        complaint.extend_from_slice(said);
        let over = complaint.len().saturating_sub(COMPLAINT_BYTES_MAX);
        complaint.drain(..over);
    }

    /// Why nothing comes any more, with the last thing that a program said.
    pub(super) fn end(&self) -> String {
        if self.is_too_long.load(Ordering::Relaxed) {
            return format!(
                "it sent a message of more than {MESSAGE_BYTES_MAX} bytes, and was ended"
            );
        }
        let Some(complaint) = &self.complaint else {
            return "the connection ended without an answer".to_owned();
        };
        let complaint = complaint.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&complaint);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        match last {
            Some(line) => format!("it has ended: {}", line.trim()),
            None => "it has ended, without a word on stderr".to_owned(),
        }
    }
}

/// A transport, watched.
pub(super) struct Watched<T> {
    inner: T,
    shared: Arc<Shared>,
    unsent: Arc<Semaphore>,
}

impl<T> Watched<T> {
    pub(super) fn new(inner: T, shared: Arc<Shared>) -> Self {
        Self {
            inner,
            shared,
            unsent: Arc::new(Semaphore::new(UNSENT_MAX)),
        }
    }
}

impl<T> Transport<RoleClient> for Watched<T>
where
    T: Transport<RoleClient> + 'static,
    T::Error: Into<Trouble>,
{
    type Error = Trouble;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Trouble>> + Send + 'static {
        let is_answer = matches!(item, JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_));
        let permit = Arc::clone(&self.unsent).try_acquire_owned();
        let sending = permit.map(|permit| (permit, self.inner.send(item)));
        let shared = Arc::clone(&self.shared);
        async move {
            match sending {
                Ok((_permit, sending)) => sending.await.map_err(|error| {
                    shared.failed();
                    error.into()
                }),
                // A server that asks and does not read gets no answer.
                Err(_) if is_answer => Ok(()),
                Err(_) => Err(Trouble::NotSent(format!(
                    "{UNSENT_MAX} messages wait for it already"
                ))),
            }
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        let message = self.inner.receive().await;
        match &message {
            // Here, and not where it is handled: the answer behind it must not overtake it.
            Some(JsonRpcMessage::Notification(told))
                if matches!(
                    told.notification,
                    ServerNotification::ToolListChangedNotification(_)
                ) =>
            {
                self.shared.is_stale.store(true, Ordering::Relaxed);
            }
            Some(_) => {}
            None => self.shared.over.cancel(),
        }
        message
    }

    async fn close(&mut self) -> Result<(), Trouble> {
        self.shared.over.cancel();
        self.inner.close().await.map_err(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, io};

    use futures_util::FutureExt as _;
    use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ClientResult, PingRequest, RequestId};

    use super::*;

    /// It reads nothing.
    struct Stuck;

    impl Transport<RoleClient> for Stuck {
        type Error = io::Error;

        fn send(
            &mut self,
            _: TxJsonRpcMessage<RoleClient>,
        ) -> impl Future<Output = io::Result<()>> + Send + 'static {
            pending()
        }

        async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
            None
        }

        async fn close(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn for_a_server_that_reads_nothing_only_so_many_messages_wait() {
        let shared = Arc::new(Shared::default());
        let mut watched = Watched::new(Stuck, Arc::clone(&shared));
        let ping = || {
            let ping = ClientRequest::PingRequest(PingRequest::default());
            ClientJsonRpcMessage::request(ping, RequestId::Number(1))
        };
        let mut waiting = Vec::new();
        for _ in 0..UNSENT_MAX {
            waiting.push(watched.send(ping()));
        }
        let refused = watched.send(ping()).now_or_never();
        assert!(matches!(refused, Some(Err(Trouble::NotSent(_)))));
        let answer = ClientResult::empty(());
        let answer = ClientJsonRpcMessage::response(answer, RequestId::Number(1));
        assert_eq!(watched.send(answer).now_or_never(), Some(Ok(())));
        drop(waiting);
        assert_eq!(watched.send(ping()).now_or_never(), None);
        assert!(watched.receive().await.is_none() && shared.over.is_cancelled());
    }
}
