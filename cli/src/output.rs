//! How commands print: text and tables for people, or JSON for programs. What is printed does not depend on where it goes; only
//! colours and progress do, which are for terminals alone.

/// How what is printed looks. Every command that prints takes it.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Output {
    /// What is printed: text and tables, or JSON
    #[arg(
        short = 'o',
        long = "output",
        id = "output",
        value_name = "FORMAT",
        default_value = "table"
    )]
    format: Format,
    /// The same as -o json
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
}

impl Output {
    /// Whether programs read it.
    pub(crate) fn json(self) -> bool {
        self.json || self.format == Format::Json
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command, CommandFactory as _, Parser as _};

    use super::*;
    use crate::command::Cli;

    #[derive(clap::Parser)]
    struct Printing {
        #[command(flatten)]
        output: Output,
    }

    #[test]
    fn json_is_asked_for_in_either_way_and_text_otherwise() {
        let json = |line: &str| {
            Printing::try_parse_from(line.split(' ')).map(|printing| printing.output.json())
        };
        assert!(!json("x").unwrap() && !json("x -o table").unwrap());
        assert!(json("x --json").unwrap() && json("x -o json").unwrap());
        assert!(json("x --output=json").unwrap());
        assert!(json("x --json -o table").is_err());
        assert!(json("x -o yaml").is_err());
    }

    fn all(command: &Command, path: &str, found: &mut Vec<(String, Vec<Arg>)>) {
        let path = format!("{path} {}", command.get_name());
        found.push((path.clone(), command.get_arguments().cloned().collect()));
        command
            .get_subcommands()
            .for_each(|command| all(command, &path, found));
    }

    #[test]
    fn whatever_command_takes_json_takes_an_output_format() {
        let mut commands = Vec::new();
        all(&Cli::command(), "", &mut commands);
        for (path, arguments) in commands {
            let has = |long| {
                let mut arguments = arguments.iter();
                arguments.any(|argument| argument.get_long() == Some(long))
            };
            assert!(
                !has("json") || has("output"),
                "{path}: `#[command(flatten)] output: Output` in place of a `json` of its own"
            );
        }
    }
}
