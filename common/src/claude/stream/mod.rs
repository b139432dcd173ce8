//! A reply as a stream of server-sent events: bytes in, the whole reply out. Nothing here waits or reads a clock.

mod assemble;
mod sse;
#[cfg(test)]
mod tests;

use super::{Reply, Usage};
use assemble::Assembly;

pub use sse::{SseEvent, SseParser};

/// Why a stream gives no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// An event, or the reply, is larger than what is kept.
    #[error("the reply is larger than {0} bytes")]
    TooLarge(usize),
    /// It is not what the provider documents.
    #[error("the stream is not a message: {0}")]
    Malformed(String),
    /// The server broke off with an error of its own.
    #[error("{kind}: {message}")]
    Fault {
        /// The error's type, such as `overloaded_error`.
        kind: String,
        /// Its message.
        message: String,
    },
}

/// A reply that is coming in.
#[derive(Debug, Default)]
pub struct ReplyStream {
    events: SseParser,
    assembly: Assembly,
}

impl ReplyStream {
    /// One that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes, cut anywhere; gives the reply with its last event. After that, and after an error, no more bytes
    /// are of use.
    ///
    /// # Errors
    /// [`StreamError`]; [`ReplyStream::billed`] still tells what is known.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Option<Reply>, StreamError> {
        for event in self.events.push(chunk)? {
            if let Some(reply) = self.assembly.take(&event)? {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// What is known to be billed so far: the input from the first event, and the output as last told, which may be less than
    /// what was produced. `None` before the first event: then nothing is known.
    #[must_use]
    pub fn billed(&self) -> Option<Usage> {
        self.assembly.usage()
    }
}
