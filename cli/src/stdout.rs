//! The standard output, for bytes and for text: a reader that reads no more (`| head`) ends the program without a word, as it ends
//! every other one on the command line. Rust ignores SIGPIPE, so that printing fails instead.

use std::io::{self, ErrorKind, StdoutLock, Write};

/// What a shell shows of a program that SIGPIPE has ended: 128 and the signal's number.
const ENDED_BY_SIGPIPE: i32 = 141;

/// For all that is printed by `println!`, which panics.
pub(crate) fn end_with_the_reader() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        if text.starts_with("failed printing to stdout") && text.contains("Broken pipe") {
            std::process::exit(ENDED_BY_SIGPIPE);
        }
        told(panic);
    }));
}

/// For all that is written to it as it is.
#[derive(Debug)]
pub(crate) struct Stdout(StdoutLock<'static>);

impl Stdout {
    pub(crate) fn lock() -> Self {
        Self(io::stdout().lock())
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        ending(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        ending(self.0.flush())
    }
}

fn ending<T>(written: io::Result<T>) -> io::Result<T> {
    if let Err(error) = &written
        && error.kind() == ErrorKind::BrokenPipe
    {
        std::process::exit(ENDED_BY_SIGPIPE);
    }
    written
}
