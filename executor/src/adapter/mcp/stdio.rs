//! A server that is a program of ours: messages are lines on its standard input and output.

use std::{
    collections::HashMap,
    process::Stdio as Pipe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{
    io::{
        AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _,
        BufReader,
    },
    process::{Child, ChildStdin, Command},
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    super::process::Group,
    wire::{self, Incoming, MESSAGE_BYTES_MAX, RpcError, Trouble},
};

/// Messages that may wait for the server to read them.
const UNSENT_MAX: usize = 64;
/// What is kept of what it says on stderr, in bytes.
const COMPLAINT_BYTES_MAX: usize = 2 * 1024;
/// By this it says that its tools are others now.
const LIST_CHANGED: &str = "notifications/tools/list_changed";

type Answer = Result<Value, RpcError>;

/// A running server. Dropped, it is killed with its whole process group.
#[derive(Debug)]
pub(super) struct Stdio {
    // Dropped before the child: the group is killed while its leader's id still stands for it.
    _group: Group,
    _child: Child,
    _tasks: JoinSet<()>,
    lines: mpsc::Sender<Value>,
    shared: Arc<Shared>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    complaint: Mutex<Vec<u8>>,
    /// Its tools may be others than those that it listed.
    stale: AtomicBool,
    /// It sent a message that is too long.
    too_long: AtomicBool,
    /// Nothing comes from it any more.
    over: CancellationToken,
}

impl Stdio {
    /// Starts the program.
    ///
    /// # Errors
    /// It does not start, for people.
    pub(super) fn start(command: &mut Command) -> std::io::Result<Self> {
        command
            .stdin(Pipe::piped())
            .stdout(Pipe::piped())
            .stderr(Pipe::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let group = Group::led_by(child.id())?;
        let shared = Arc::new(Shared::default());
        let (lines, unsent) = mpsc::channel(UNSENT_MAX);
        let mut tasks = JoinSet::new();
        if let Some(stdin) = child.stdin.take() {
            tasks.spawn(write(stdin, unsent, Arc::clone(&shared)));
        }
        if let Some(stdout) = child.stdout.take() {
            tasks.spawn(read(
                BufReader::new(stdout),
                lines.clone(),
                Arc::clone(&shared),
            ));
        }
        if let Some(stderr) = child.stderr.take() {
            tasks.spawn(listen(stderr, Arc::clone(&shared)));
        }
        Ok(Self {
            _group: group,
            _child: child,
            _tasks: tasks,
            lines,
            shared,
            next: AtomicU64::new(1),
        })
    }

    /// Asks, and waits for the answer. Dropping this tells the server that nobody waits any more.
    pub(super) async fn request(&self, method: &str, params: &Value) -> Result<Value, Trouble> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.shared.pending().insert(id, answer);
        let mut waiting = Waiting {
            of: self,
            id,
            is_sent: false,
        };
        if self.is_over() {
            return Err(Trouble::NotSent(self.shared.end()));
        }
        let sent = self.lines.send(wire::request(id, method, params)).await;
        sent.map_err(|_| Trouble::NotSent(self.shared.end()))?;
        waiting.is_sent = true;
        tokio::select! {
            biased;
            answer = answered => match answer {
                Ok(answer) => answer.map_err(Trouble::Refused),
                Err(_) => Err(Trouble::Lost(self.shared.end())),
            },
            () = self.shared.over.cancelled() => Err(Trouble::Lost(self.shared.end())),
        }
    }

    pub(super) async fn notify(&self, method: &str) -> Result<(), Trouble> {
        let sent = self.lines.send(wire::notification(method, &json!({})));
        sent.await.map_err(|_| Trouble::NotSent(self.shared.end()))
    }

    pub(super) fn is_over(&self) -> bool {
        self.shared.over.is_cancelled()
    }

    /// Whether anybody waits for an answer.
    pub(super) fn is_busy(&self) -> bool {
        !self.shared.pending().is_empty()
    }

    /// Nothing is asked of it any more; it is killed when the last who holds it lets go.
    pub(super) fn end(&self) {
        self.shared.over.cancel();
    }

    /// Whether it said since the last time that its tools are others now.
    pub(super) fn has_changed(&self) -> bool {
        self.shared.stale.swap(false, Ordering::Relaxed)
    }
}

/// Somebody who waits for an answer.
struct Waiting<'a> {
    of: &'a Stdio,
    id: u64,
    is_sent: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let unanswered = self.of.shared.pending().remove(&self.id).is_some();
        if unanswered && self.is_sent {
            let params = json!({"requestId": self.id, "reason": "nobody waits for it any more"});
            // A server that reads nothing would not read this either.
            let _ = self
                .of
                .lines
                .try_send(wire::notification("notifications/cancelled", &params));
        }
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing comes any more, with the last thing that it said.
    fn end(&self) -> String {
        if self.too_long.load(Ordering::Relaxed) {
            return format!(
                "it sent a message of more than {MESSAGE_BYTES_MAX} bytes, and was ended"
            );
        }
        let complaint = self
            .complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&complaint);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        match last {
            Some(line) => format!("it has ended: {}", line.trim()),
            None => "it has ended, without a word on stderr".to_owned(),
        }
    }
}

async fn write(mut stdin: ChildStdin, mut unsent: mpsc::Receiver<Value>, shared: Arc<Shared>) {
    while let Some(message) = unsent.recv().await {
        let line = format!("{message}\n");
        let written = async {
            stdin.write_all(line.as_bytes()).await?;
            stdin.flush().await
        };
        if written.await.is_err() {
            break;
        }
    }
    shared.over.cancel();
}

async fn read(
    mut stdout: impl AsyncBufRead + Unpin,
    lines: mpsc::Sender<Value>,
    shared: Arc<Shared>,
) {
    let mut line = Vec::new();
    while next_line(&mut stdout, &mut line, &shared).await {
        match wire::read(&line) {
            Some(Incoming::Response { id, answer }) => {
                if let Some(waiting) = shared.pending().remove(&id) {
                    // Whoever waited may have gone.
                    let _ = waiting.send(answer);
                }
            }
            // A server that asks and does not read gets no answer.
            Some(Incoming::Request { id, method }) => {
                let _ = lines.try_send(wire::answer(&id, &method));
            }
            Some(Incoming::Notification { method }) if method == LIST_CHANGED => {
                shared.stale.store(true, Ordering::Relaxed);
            }
            Some(Incoming::Notification { .. }) | None => {}
        }
    }
    shared.over.cancel();
    shared.pending().clear();
}

/// Reads one line; false where there is none, or one that is too long.
async fn next_line(
    stdout: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
    shared: &Shared,
) -> bool {
    line.clear();
    loop {
        let Ok(chunk) = stdout.fill_buf().await else {
            return false;
        };
        if chunk.is_empty() {
            return false;
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(chunk.len(), |end| end + 1);
        line.extend_from_slice(&chunk[..length]);
        stdout.consume(length);
        if line.len() > MESSAGE_BYTES_MAX {
            shared.too_long.store(true, Ordering::Relaxed);
            return false;
        }
        if end.is_some() {
            return true;
        }
    }
}

/// Keeps the end of what it says on stderr, and reads the rest so that it is not blocked.
async fn listen(mut stderr: impl AsyncRead + Unpin, shared: Arc<Shared>) {
    let mut chunk = vec![0; COMPLAINT_BYTES_MAX];
    while let Ok(length @ 1..) = stderr.read(&mut chunk).await {
        let mut said = shared
            .complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(&chunk[..length]);
        let over = said.len().saturating_sub(COMPLAINT_BYTES_MAX);
        said.drain(..over);
    }
}
