//! The one binary, `flotilla`.

use std::process::ExitCode;

fn main() -> ExitCode {
    flotilla_cli::main()
}
