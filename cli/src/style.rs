//! Colour for terminals only: `NO_COLOR` and pipes get plain text.

use flotilla_common::unseen::is_unseen;
use owo_colors::{OwoColorize as _, Stream::Stdout};

pub(crate) fn dim(text: impl std::fmt::Display) -> String {
    text.if_supports_color(Stdout, |t| t.dimmed()).to_string()
}

pub(crate) fn bold(text: impl std::fmt::Display) -> String {
    text.if_supports_color(Stdout, |t| t.bold()).to_string()
}

pub(crate) fn good(text: impl std::fmt::Display) -> String {
    text.if_supports_color(Stdout, |t| t.green()).to_string()
}

pub(crate) fn bad(text: impl std::fmt::Display) -> String {
    text.if_supports_color(Stdout, |t| t.red()).to_string()
}

pub(crate) fn warn(text: impl std::fmt::Display) -> String {
    text.if_supports_color(Stdout, |t| t.yellow()).to_string()
}

pub(crate) fn accent(text: impl std::fmt::Display) -> String {
    text.if_supports_color(Stdout, |t| t.cyan()).to_string()
}

/// Text from events, models and tools on one line of a terminal: control characters (which could move the cursor or
/// forge lines) become spaces, others that cannot be seen (which could turn words around or hide them) are left out, and what is
/// too long is cut.
pub(crate) fn one_line(text: &str, longest: usize) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .filter(|c| !is_unseen(*c))
        .collect();
    let words = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(longest) {
        None => words,
        Some((end, _)) => format!("{}…", &words[..end]),
    }
}

/// The columns of the terminal, as far as its shell says; 100 otherwise.
pub(crate) fn width() -> usize {
    let told = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse::<usize>().ok());
    told.or_else(|| {
        rustix::termios::tcgetwinsize(std::io::stdout())
            .ok()
            .map(|size| usize::from(size.ws_col))
            .filter(|c| *c > 0)
    })
    .unwrap_or(100)
    .clamp(60, 200)
}

/// Breaks a text into lines of at most `longest` characters, at spaces.
pub(crate) fn wrap(text: &str, longest: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= longest => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A text as it is, anything else as JSON.
pub(crate) fn plain(value: &serde_json::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_cannot_move_the_cursor() {
        assert_eq!(one_line("a\u{1b}[2Jb\r\nc", 80), "a [2Jb c");
        assert_eq!(
            one_line("a\u{202e}b\u{200b}c\u{9b}1A\u{2028}d", 80),
            "abc 1A d"
        );
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
    }
}
