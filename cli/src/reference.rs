//! The references in `docs/`: every setting and every command, written from what clap knows, so that none is missing and none is
//! told otherwise than `--help` does. `make reference` writes them anew.

use std::{fmt::Write as _, fs, path::Path};

use clap::{Arg, Args as _, Command, CommandFactory as _};

use crate::{
    command::Cli,
    exit::Exit,
    settings::{Settings, WITHOUT_FLAG},
};

/// Set, the documents are written anew instead of compared.
const REWRITE: &str = "FLOTILLA_REWRITE_DOCS";
/// What people wrote stands above this line.
const MARK: &str = "<!-- All below is written by the program: `make reference` -->\n";

/// Holds a document beside what it must say below its mark, or makes it say so.
fn check(file: &str, generated: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = root.join("docs").join(file);
    let text = fs::read_to_string(&path).unwrap();
    let (own, _) = text
        .split_once(MARK)
        .unwrap_or_else(|| panic!("docs/{file} has no line {MARK}"));
    let wanted = format!("{own}{MARK}\n{generated}");
    if std::env::var_os(REWRITE).is_some() {
        fs::write(&path, wanted).unwrap();
        return;
    }
    assert!(
        text == wanted,
        "docs/{file} is not what the program says any more. To write it anew: make reference\n{}",
        first_difference(&text, &wanted)
    );
}

fn first_difference(found: &str, wanted: &str) -> String {
    let lines = found.lines().zip(wanted.lines());
    let differ = lines.into_iter().find(|(found, wanted)| found != wanted);
    differ.map_or_else(
        || "one is longer than the other".to_owned(),
        |(found, wanted)| format!("it says:  {found}\nand must: {wanted}"),
    )
}

/// The text of a help, and the default that it names.
fn help(argument: &Arg) -> (String, Option<String>) {
    let help = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let (help, env) = cut(&help, "[env: ");
    let (help, default) = cut(&help, "[default: ");
    assert!(env.is_none() || argument.get_env().is_none());
    let set: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    let takes = argument.get_action().takes_values();
    let default = default.or_else(|| (takes && !set.is_empty()).then(|| set.join(", ")));
    (help, default)
}

/// A text without a part in brackets, and what that says.
fn cut(text: &str, begins: &str) -> (String, Option<String>) {
    let Some((before, rest)) = text.split_once(begins) else {
        return (text.trim().to_owned(), None);
    };
    let (inside, after) = rest.split_once(']').unwrap();
    let left = format!("{}{after}", before.trim_end());
    (left.trim().to_owned(), Some(inside.to_owned()))
}

/// A text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

fn settings() -> Command {
    Settings::augment_args(Command::new("settings"))
}

fn configuration() -> String {
    let mut text = String::from(
        "## Settings\n\n| flag | variable | in the file | default | what it is |\n| --- | --- | --- | --- | --- |\n",
    );
    for argument in settings().get_arguments() {
        let (what, default) = help(argument);
        let variable = argument.get_env().map(|name| name.to_string_lossy());
        // The one flag whose variable is read by hand: the file comes after the token itself.
        let variable = variable.unwrap_or("FLOTILLA_TOKEN_FILE".into());
        let field = argument.get_id().as_str();
        let field = match field {
            "config" => String::new(),
            field => format!("`{field}`"),
        };
        let default = default.unwrap_or_else(|| "none".to_owned());
        writeln!(
            text,
            "| `--{}` | `{variable}` | {field} | {} | {} |",
            argument.get_long().unwrap(),
            cell(&default),
            cell(&what)
        )
        .unwrap();
    }
    text += "\n## Variables without a flag\n\n| variable | what it is |\n| --- | --- |\n";
    for (name, what) in WITHOUT_FLAG {
        writeln!(text, "| `{name}` | {} |", cell(what)).unwrap();
    }
    text
}

fn commands() -> String {
    let mut text = String::from("## Exit codes\n\n| code | what it means |\n| --- | --- |\n");
    for exit in Exit::ALL {
        writeln!(text, "| {} | {} |", exit.number(), cell(exit.meaning())).unwrap();
    }
    text +=
        "\n## Commands\n\nEvery command takes the [settings](configuration.md) as flags, too.\n";
    let mut program = Cli::command();
    program.build();
    for command in program.get_subcommands() {
        describe(command, 3, &mut text);
    }
    text
}

fn describe(command: &Command, depth: usize, text: &mut String) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage
        .trim_start_matches("Usage: ")
        .replace("\n       ", "\n    ");
    writeln!(
        text,
        "\n{} {name}\n\n{}.\n\n    {usage}",
        "#".repeat(depth),
        about.trim_end_matches('.')
    )
    .unwrap();
    let own = |argument: &&Arg| {
        !argument.is_global_set()
            && !argument.is_hide_set()
            && !matches!(argument.get_id().as_str(), "help" | "version")
    };
    let arguments: Vec<&Arg> = command.get_arguments().filter(own).collect();
    if !arguments.is_empty() {
        text.push('\n');
    }
    for argument in arguments {
        let (what, default) = help(argument);
        let choices = choices(argument);
        let default = default.map(|default| format!(" (default: {default})"));
        let more = choices.into_iter().chain(default).collect::<String>();
        writeln!(
            text,
            "- `{}`: {}{}",
            named(argument),
            cell(&what),
            cell(&more)
        )
        .unwrap();
    }
    for command in command.get_subcommands() {
        describe(command, (depth + 1).min(6), text);
    }
}

/// ` (one of table, json)`, where the values are known.
fn choices(argument: &Arg) -> Option<String> {
    let values = argument.get_possible_values();
    let values: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
    let takes = argument.get_action().takes_values();
    (takes && !values.is_empty()).then(|| format!(" (one of {})", values.join(", ")))
}

/// `-o, --output <FORMAT>`, `<RUN>`.
fn named(argument: &Arg) -> String {
    let value = || {
        let names = argument.get_value_names().unwrap_or_default();
        let name = names.first().map_or_else(
            || argument.get_id().as_str().to_uppercase(),
            ToString::to_string,
        );
        format!("<{name}>")
    };
    let Some(long) = argument.get_long() else {
        return value();
    };
    let short = argument.get_short().map(|short| format!("-{short}, "));
    let value = if argument.get_action().takes_values() {
        format!(" {}", value())
    } else {
        String::new()
    };
    format!("{}--{long}{value}", short.unwrap_or_default())
}

#[test]
fn the_reference_of_settings_is_what_the_program_reads() {
    check("configuration.md", &configuration());
}

#[test]
fn the_reference_of_commands_is_what_the_program_takes() {
    check("cli.md", &commands());
}

#[test]
fn every_setting_has_one_name_in_its_three_forms() {
    for argument in settings().get_arguments() {
        let field = argument.get_id().as_str();
        assert_eq!(argument.get_long().unwrap(), field.replace('_', "-"));
        if let Some(variable) = argument.get_env() {
            let (variable, own) = (variable.to_string_lossy(), field.to_uppercase());
            let known = [format!("FLOTILLA_{own}"), own];
            assert!(known.contains(&variable.clone().into_owned()), "{variable}");
        }
    }
}

/// Values in TOML, one of which is right for any field.
const VALUES: [&str; 8] = [
    "1",
    "true",
    "'1s'",
    "'1MiB'",
    "'127.0.0.1:1'",
    "'text'",
    "'tokens'",
    "'x'",
];
/// What processes of the fleet are not handed on: it is for commands, or says where the others are from.
const NOT_HANDED_ON: [&str; 4] = ["config", "url", "sim_url", "token_file"];

#[test]
fn every_setting_is_taken_from_the_file_and_handed_on_to_the_processes_of_a_fleet() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f.toml");
    for argument in settings().get_arguments() {
        let field = argument.get_id().as_str();
        if field == "config" {
            continue;
        }
        let lines = VALUES.map(|value| format!("{field} = {value}\n"));
        let right = lines
            .into_iter()
            .find(|line| toml::from_str::<Settings>(line).is_ok());
        fs::write(
            &file,
            right.unwrap_or_else(|| panic!("{field} is in no file")),
        )
        .unwrap();
        let given = Settings {
            config: Some(file.clone()),
            ..Settings::default()
        };
        let read = given.complete().unwrap();
        let shown = format!("{read:?}");
        assert!(
            shown.contains(&format!(" {field}: Some(")),
            "{field} of the file is not read"
        );
        if NOT_HANDED_ON.contains(&field) {
            continue;
        }
        let variable = argument.get_env().unwrap().to_string_lossy().into_owned();
        let handed_on = read.environment().iter().any(|(name, _)| *name == variable);
        assert!(handed_on, "{variable} is not in `Settings::environment`");
    }
}

#[test]
fn every_command_and_every_argument_says_what_it_is() {
    fn look(command: &Command) {
        let name = command.get_name();
        assert!(command.get_about().is_some(), "{name} says nothing");
        for argument in command.get_arguments() {
            let help = argument.get_help().map(ToString::to_string);
            let hidden = command.is_hide_set() || argument.is_hide_set();
            assert!(help.is_some() || hidden, "{name} {}", argument.get_id());
        }
        command.get_subcommands().for_each(look);
    }
    look(&Cli::command());
}
