//! `flotilla completion SHELL`: what a shell needs to complete commands and flags.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Command;
use clap_complete::Shell;

/// Print what a shell needs to complete commands and flags; for bash: source <(flotilla completion bash)
#[derive(Debug, clap::Args)]
pub(crate) struct Completion {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Completion, command: Command) -> ExitCode {
    // Who reads it may have gone, as `head` does.
    drop(io::stdout().write_all(&script(args.shell, command)));
    ExitCode::SUCCESS
}

fn script(shell: Shell, mut command: Command) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "flotilla", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use std::process::{Command as Process, Stdio};

    use clap::{CommandFactory as _, ValueEnum as _};

    use super::*;
    use crate::command::Cli;

    #[test]
    fn every_shell_is_told_the_commands_that_people_may_give() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell, Cli::command())).unwrap();
            assert!(script.contains("approvals"), "{shell}");
        }
    }

    #[test]
    fn bash_takes_its_script_and_offers_what_a_word_begins() {
        let mut script = String::from_utf8(script(Shell::Bash, Cli::command())).unwrap();
        script.push_str("\nCOMP_WORDS=(flotilla appro); COMP_CWORD=1; _flotilla flotilla appro flotilla; echo \"${COMPREPLY[@]}\"\n");
        let mut bash = Process::new("bash")
            .args(["--norc", "-s"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = bash.stdin.take().unwrap();
        let writing = std::thread::spawn(move || stdin.write_all(script.as_bytes()));
        let said = bash.wait_with_output().unwrap();
        writing.join().unwrap().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert!(
            said.contains("approvals") && said.contains("approve"),
            "{said}"
        );
    }
}
