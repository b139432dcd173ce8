//! Takes out of texts for people what looks like a secret. Executors keep the secrets that they know from the journal; this is
//! for the rest: a key in an event, a token in a log line.

use serde_json::Value;

/// What is put in the place of a secret.
const MARK: &str = "[redacted]";
/// Shorter texts are words that only begin like a secret.
const SECRET_LENGTH_MIN: usize = 12;
/// How keys begin: our own tokens, Anthropic, AWS, GitHub, Slack.
const PREFIXES: [&str; 10] = [
    crate::access::token::PREFIX,
    "sk-ant-",
    "AKIA",
    "ASIA",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "xoxb-",
    "xoxp-",
];

/// The text without what looks like a secret: keys with a known beginning, and what follows `Bearer`.
#[must_use]
pub fn text(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut after_bearer = false;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_of_key(c)).unwrap_or(rest.len());
        // A dot at the end is the sentence's.
        let end = rest[..end]
            .trim_end_matches('.')
            .len()
            .max(usize::from(end > 0));
        let (word, others) = rest.split_at(end);
        let secret = if after_bearer && word.len() >= SECRET_LENGTH_MIN {
            Some(0)
        } else {
            let begins = PREFIXES.iter().filter_map(|prefix| word.find(prefix)).min();
            begins.filter(|at| word.len() - at >= SECRET_LENGTH_MIN)
        };
        match secret {
            Some(at) => {
                clean.push_str(&word[..at]);
                clean.push_str(MARK);
            }
            None => clean.push_str(word),
        }
        let next = others
            .find(|c| is_of_key(c) && c != '.')
            .unwrap_or(others.len());
        let (between, others) = others.split_at(next);
        // `Bearer` and its token may stand in quotes and escapes, but in one line.
        after_bearer = word.eq_ignore_ascii_case("bearer") && !between.contains('\n');
        clean.push_str(between);
        rest = others;
    }
    clean
}

/// The JSON without what looks like a secret, in keys too.
#[must_use]
pub fn value(value: &Value) -> Value {
    match value {
        Value::String(string) => Value::String(text(string)),
        Value::Array(items) => Value::Array(items.iter().map(self::value).collect()),
        Value::Object(map) => {
            let clean = map
                .iter()
                .map(|(key, value)| (text(key), self::value(value)));
            Value::Object(clean.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn is_of_key(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_.~+/=".contains(character)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_and_bearer_tokens_are_taken_out_and_all_else_stays() {
        for (dirty, clean) in [
            ("key sk-ant-api03-abc_DEF-123, then", "key [redacted], then"),
            ("x=sk-ant-api03-abcdefgh\n", "x=[redacted]\n"),
            (
                "It was sk-ant-api03-abcdefgh... ok.",
                "It was [redacted]... ok.",
            ),
            ("...", "..."),
            (
                "Authorization: Bearer abc.def-ghi_jkl==",
                "Authorization: Bearer [redacted]",
            ),
            (
                r#"{"authorization":"bearer eyJhbGciOi.J9"}"#,
                r#"{"authorization":"bearer [redacted]"}"#,
            ),
            (
                "AKIAIOSFODNN7EXAMPLE ü ghp_0123456789abcdef",
                "[redacted] ü [redacted]",
            ),
            (
                "the bearer of this\nletter_is_not_a_token",
                "the bearer of this\nletter_is_not_a_token",
            ),
            ("with flt_0123456789abcdef.", "with [redacted]."),
            (
                "keys begin with sk-ant- and a word",
                "keys begin with sk-ant- and a word",
            ),
            ("", ""),
            ("  ü  ", "  ü  "),
        ] {
            assert_eq!(text(dirty), clean);
        }
    }

    #[test]
    fn json_is_searched_in_keys_and_texts() {
        let dirty = json!({"sk-ant-api03-abcdefgh": ["Bearer 0123456789ab", 3, null]});
        assert_eq!(
            value(&dirty),
            json!({"[redacted]": ["Bearer [redacted]", 3, null]})
        );
    }
}
