//! Texts of models, tools and events as pages show them: secrets taken out, bounded, and nothing in them that cannot be seen.

use flotilla_common::{redact, unseen::is_unseen};
use serde_json::Value;

/// Longest text in one place of a page, in bytes: what is longer is cut, and the API has the whole of it.
const BYTES_MAX: usize = 12 * 1024;

/// A value as JSON on many lines, or as the text that it is.
pub(crate) fn shown(value: &Value) -> String {
    let clean = redact::value(value);
    match clean.as_str() {
        Some(text) => cut(text),
        None => cut(&json(&clean)),
    }
}

/// Words of a model or a person.
pub(crate) fn words(text: &str) -> String {
    cut(&redact::text(text))
}

/// A value exactly as it is, as JSON on many lines: what cannot be seen is written out.
pub(crate) fn json(value: &Value) -> String {
    written_out(serde_json::to_string_pretty(value).unwrap_or_default())
}

/// JSON, or what somebody may make JSON of, with what cannot be seen written as JSON writes it.
pub(crate) fn written_out(text: String) -> String {
    // Between the parts of JSON these are as they are; within a text, JSON has none of them.
    let is_hidden = |c: char| is_unseen(c) && !matches!(c, '\n' | '\r' | '\t');
    if !text.contains(is_hidden) {
        return text;
    }
    let mut visible = String::with_capacity(text.len() + 32);
    for c in text.chars() {
        if is_hidden(c) {
            // JSON writes characters beyond the first plane as two.
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                visible += &format!("\\u{unit:04x}");
            }
        } else {
            visible.push(c);
        }
    }
    visible
}

/// One line of it.
pub(crate) fn line(text: &str, most: usize) -> String {
    let clean = redact::text(text);
    let mut line: String = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > most {
        line = line.chars().take(most).collect();
        line.push('…');
    }
    line
}

fn cut(text: &str) -> String {
    if text.len() <= BYTES_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(BYTES_MAX);
    let missing = text.len() - end;
    format!(
        "{}\n[… {missing} bytes more: the JSON of the run has them]",
        text.get(..end).unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_seen_is_written_out_and_is_still_the_same_json() {
        let value = json!({"to": "ana\u{202e}moc", "tag": "a\u{e0041}b", "lines": "x\ny"});
        let text = json(&value);
        assert!(
            text.contains(r"ana\u202emoc") && text.contains(r"a\udb40\udc41b"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        let half = "{\n\t\"to\": \"ana\u{202e}moc\"".to_owned();
        let mended = written_out(half) + "}";
        assert!(!mended.contains('\u{202e}'), "{mended}");
        let read: Value = serde_json::from_str(&mended).unwrap();
        assert_eq!(read, json!({"to": "ana\u{202e}moc"}));
    }

    #[test]
    fn long_texts_are_cut_and_say_so_and_secrets_are_not_shown() {
        let long = shown(&json!("é".repeat(BYTES_MAX)));
        assert!(long.len() < BYTES_MAX + 100 && long.contains("12288 bytes more"));
        let secret = shown(&json!({"log": "Authorization: Bearer abcdefghijklmnop"}));
        assert!(!secret.contains("abcdefghijklmnop"), "{secret}");
        assert_eq!(line(" a\n b   c ", 3), "a b…");
    }
}
