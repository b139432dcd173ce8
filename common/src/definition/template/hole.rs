//! How a value becomes the text of a hole.

#[cfg(doc)]
use super::Context;
use crate::unseen::is_unseen;

/// How a hole's value becomes text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holes {
    /// Strings, numbers and booleans only: an argument or a URL holds no list and no object.
    Scalar,
    /// As [`Holes::Scalar`], percent-encoded so that a value cannot leave its place in a URL; what is trusted
    /// ([`Context::with_trusted`]) or marked by the definition (`| safe`) goes in as it is.
    Url,
    /// As [`Holes::Scalar`], and what no subject could take apart: letters, digits, `_` and `-`, from 1 to 64 of them.
    Token,
    /// Any value; strings as they are, the rest as JSON.
    Plain,
    /// For prompts: wrapped in `<data>` so that the model sees what is data, and the data cannot close the wrap.
    Data,
}

pub(super) fn format_hole(
    out: &mut minijinja::Output,
    value: &minijinja::Value,
    holes: Holes,
) -> Result<(), minijinja::Error> {
    use minijinja::{Error, ErrorKind, value::ValueKind};
    if value.is_undefined() {
        return Err(Error::new(
            ErrorKind::UndefinedError,
            "a hole names something that does not exist",
        ));
    }
    let scalar = matches!(
        value.kind(),
        ValueKind::String | ValueKind::Number | ValueKind::Bool
    );
    let text = match (value.as_str(), holes) {
        (Some(text), _) => text.to_owned(),
        (None, Holes::Scalar | Holes::Url | Holes::Token) if !scalar => {
            let message = format!(
                "a hole needs a text, number or boolean here, not a {}",
                value.kind()
            );
            return Err(Error::new(ErrorKind::InvalidOperation, message));
        }
        (None, _) if scalar => value.to_string(),
        (None, _) => serde_json::to_string(value)
            .map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))?,
    };
    if matches!(holes, Holes::Url) && matches!(text.as_str(), "." | "..") {
        // No encoding helps: what reads the URL takes even `%2E%2E` for the folder above.
        let message = format!("`{text}` cannot stand in a URL");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    if matches!(holes, Holes::Token) && !is_token(&text) {
        let shown: String = text.chars().take(TOKEN_LENGTH_MAX).collect();
        let message = format!(
            "`{shown}` cannot be a part of a subject: that has from 1 to {TOKEN_LENGTH_MAX} letters, digits, `_` and `-`"
        );
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    let written = match holes {
        Holes::Url if !value.is_safe() => out.write_str(&percent_encoded(&text)),
        Holes::Scalar | Holes::Url | Holes::Token | Holes::Plain => out.write_str(&text),
        Holes::Data => out.write_str(&mark_as_data(&text)),
    };
    written.map_err(|_| Error::new(ErrorKind::WriteFailure, "the rendered text is too long"))
}

/// Longest text of a hole in a subject, in characters: as of a name.
const TOKEN_LENGTH_MAX: usize = 64;

fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=TOKEN_LENGTH_MAX).contains(&text.len()) && text.bytes().all(fits)
}

/// Text as one part of a URL: every byte but the unreserved ones of RFC 3986 as `%XX`.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Marks untrusted text for a prompt: `<data>…</data>`. Within, the bracket of everything that a reader could take for that tag
/// becomes `&lt;`: in whatever case and spacing, with characters that cannot be seen, or in letters of full width.
#[must_use]
pub fn mark_as_data(text: &str) -> String {
    let mut marked = String::with_capacity(text.len() + 16);
    marked.push_str("<data>");
    let mut rest = text;
    while let Some(at) = rest.find(BRACKETS) {
        let (before, tail) = rest.split_at(at);
        marked.push_str(before);
        let mut after = tail.chars();
        let bracket = after.next().unwrap_or('<');
        rest = after.as_str();
        if begins_like_data(rest) {
            marked.push_str("&lt;");
        } else {
            marked.push(bracket);
        }
    }
    marked.push_str(rest);
    marked.push_str("</data>");
    marked
}

/// `<`, and what looks like it: small, and of full width.
const BRACKETS: [char; 3] = ['<', '\u{fe64}', '\u{ff1c}'];
/// Slashes.
const SLASHES: [char; 4] = ['/', '\u{2044}', '\u{2215}', '\u{ff0f}'];
/// What may stand between the bracket and the name, in characters. More counts as if the name followed: to look further, from
/// each of many brackets, would take a time that grows with the square of the text.
const LOOKED_AT_MAX: usize = 64;

/// Whether what follows a bracket begins like `data` or `/data`.
fn begins_like_data(text: &str) -> bool {
    let mut name = "data".chars().peekable();
    let mut begun = false;
    let mut escaped = false;
    for c in text.chars().take(LOOKED_AT_MAX) {
        // As JSON writes a line break or a tab.
        if std::mem::take(&mut escaped) && "nrt".contains(c) {
            continue;
        }
        if is_unseen(c) {
            continue;
        }
        if name.next_if_eq(&plain(c)).is_some() {
            begun = true;
            if name.peek().is_none() {
                return true;
            }
            continue;
        }
        escaped = c == '\\';
        let between = c.is_whitespace() || BRACKETS.contains(&c) || SLASHES.contains(&c);
        if begun || !(between || escaped) {
            return false;
        }
    }
    text.chars().nth(LOOKED_AT_MAX).is_some()
}

/// A letter in lower case and of normal width.
fn plain(c: char) -> char {
    const FULL_WIDTH: u32 = '\u{ff01}' as u32 - '!' as u32;
    let narrow = match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - FULL_WIDTH).unwrap_or(c),
        other => other,
    };
    narrow.to_ascii_lowercase()
}
