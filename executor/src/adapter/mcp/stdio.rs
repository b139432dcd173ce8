//! A server that is a program of ours: messages are lines on its standard input and output.

use std::{
    io,
    pin::Pin,
    process::Stdio as Pipe,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rmcp::{RoleClient, transport::async_rw::AsyncRwTransport};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, ReadBuf},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    task::JoinSet,
};

use super::{
    super::process::Group,
    watched::{MESSAGE_BYTES_MAX, Shared},
};

/// The transport over a program's pipes.
pub(super) type Pipes = AsyncRwTransport<RoleClient, Bounded<ChildStdout>, ChildStdin>;

/// A running server. Dropped, it is killed with its whole process group.
#[derive(Debug)]
pub(super) struct Program {
    // Dropped before the child: the group is killed while its leader's id still stands for it.
    _group: Group,
    _child: Child,
    _listening: JoinSet<()>,
}

/// Starts the program.
///
/// # Errors
/// It does not start, for people.
pub(super) fn start(command: &mut Command, shared: &Arc<Shared>) -> io::Result<(Program, Pipes)> {
    command
        .stdin(Pipe::piped())
        .stdout(Pipe::piped())
        .stderr(Pipe::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    let group = Group::led_by(child.id())?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("it has no standard input and output"));
    };
    let mut listening = JoinSet::new();
    if let Some(stderr) = child.stderr.take() {
        listening.spawn(listen(stderr, Arc::clone(shared)));
    }
    let program = Program {
        _group: group,
        _child: child,
        _listening: listening,
    };
    let stdout = Bounded {
        stdout,
        line: 0,
        is_too_long: false,
        shared: Arc::clone(shared),
    };
    // The newline counts there, too.
    let pipes = Pipes::new_client(stdout, stdin).with_max_line_length(MESSAGE_BYTES_MAX + 1);
    Ok((program, pipes))
}

/// Lines up to a length. The library would skip a longer one, and whoever waits for it would wait on; here it is the end.
#[derive(Debug)]
pub(super) struct Bounded<R> {
    stdout: R,
    /// Bytes since the last newline.
    line: usize,
    is_too_long: bool,
    shared: Arc<Shared>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Bounded<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_too_long {
            this.shared.too_long();
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stdout).poll_read(cx, buf))?;
        for byte in buf.filled().iter().skip(before) {
            this.line = if *byte == b'\n' { 0 } else { this.line + 1 };
            this.is_too_long |= this.line > MESSAGE_BYTES_MAX;
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads what it says on stderr, so that it is not blocked.
async fn listen(mut stderr: ChildStderr, shared: Arc<Shared>) {
    let mut chunk = vec![0; 2 * 1024];
    while let Ok(length @ 1..) = stderr.read(&mut chunk).await {
        shared.complain(&chunk[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &[u8]) -> (io::Result<usize>, bool) {
        let shared = Arc::new(Shared::of_program());
        let mut bounded = Bounded {
            stdout: text,
            line: 0,
            is_too_long: false,
            shared: Arc::clone(&shared),
        };
        let read = bounded.read_to_end(&mut Vec::new()).await;
        (read, shared.over.is_cancelled())
    }

    #[tokio::test]
    async fn a_line_is_at_most_so_long_and_all_of_them_are_not_counted_together() {
        let longest = [vec![b'x'; MESSAGE_BYTES_MAX], b"\n".to_vec()].concat();
        let (whole, is_over) = read(&longest.repeat(2)).await;
        assert_eq!(whole.ok(), Some(2 * longest.len()));
        assert!(!is_over);
        let (longer, is_over) = read(&[b"x".to_vec(), longest].concat()).await;
        assert!(longer.is_err() && is_over);
    }
}
