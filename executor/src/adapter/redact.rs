//! Secrets are taken out before anything leaves the executor: the journal, the model and the logs never see them.

use std::{cmp::Reverse, collections::BTreeMap};

use flotilla_common::definition::percent_encoded;
use serde_json::Value;

/// Shorter values are no secrets: they would be found everywhere.
const SECRET_LENGTH_MIN: usize = 6;
const PLACES: [&str; 8] = [
    "PATH", "HOME", "PWD", "TMPDIR", "USER", "SHELL", "LANG", "TZ",
];
const PLACE_ENDINGS: [&str; 8] = [
    "_PATH", "_DIR", "_HOME", "_ROOT", "_FILE", "_BIN", "_HOST", "_PORT",
];

/// What must not be seen. It finds a value as it is, percent-encoded and escaped as in JSON; a tool that encodes its secrets
/// otherwise (base64, say) and prints them is not caught.
pub(super) struct Secrets(Vec<Secret>);

struct Secret {
    text: String,
    mark: String,
}

impl Secrets {
    /// The secrets among a tool's variables.
    pub(super) fn of(env: &BTreeMap<String, String>) -> Self {
        let mut secrets: Vec<Secret> = env
            .iter()
            .filter(|(name, _)| !names_a_place(name))
            .map(|(name, value)| (name, value.trim()))
            .filter(|(_, value)| value.len() >= SECRET_LENGTH_MIN)
            .flat_map(|(name, value)| {
                let quoted = Value::from(value).to_string();
                let escaped = quoted[1..quoted.len() - 1].to_owned();
                let mark = format!("[redacted:{name}]");
                [value.to_owned(), percent_encoded(value), escaped].map(|text| (text, mark.clone()))
            })
            .map(|(text, mark)| Secret { text, mark })
            .collect();
        // A secret within a longer one must not cut the longer one in two.
        secrets.sort_by_key(|secret| Reverse(secret.text.len()));
        secrets.dedup_by(|a, b| a.text == b.text);
        Self(secrets)
    }

    /// The same and one more, whatever its name.
    pub(super) fn and(mut self, name: &str, value: &str) -> Self {
        let more = [(format!("{name} token"), value.to_owned())].into();
        self.0.extend(Self::of(&more).0);
        self.0.sort_by_key(|secret| Reverse(secret.text.len()));
        self
    }

    /// The text without secrets.
    pub(super) fn text(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in self.0.iter().filter(|secret| text.contains(&secret.text)) {
            clean = clean.replace(&secret.text, &secret.mark);
        }
        clean
    }

    /// The JSON without secrets, in keys too.
    pub(super) fn value(&self, value: Value) -> Value {
        if self.0.is_empty() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(map) => map
                .into_iter()
                .map(|(key, value)| (self.text(&key), self.value(value)))
                .collect(),
            Value::Number(number) => {
                let text = number.to_string();
                let clean = self.text(&text);
                if clean == text {
                    Value::Number(number)
                } else {
                    Value::String(clean)
                }
            }
            Value::Null | Value::Bool(_) => value,
        }
    }

    /// Takes off an end that may be the beginning of a secret: for texts that were cut somewhere.
    pub(super) fn drop_begun(&self, text: &mut String) {
        let begun = self.0.iter().filter_map(|secret| {
            (1..secret.text.len())
                .rev()
                .filter(|&length| secret.text.is_char_boundary(length))
                .find(|&length| text.ends_with(&secret.text[..length]))
        });
        let longest = begun.max().unwrap_or(0);
        text.truncate(text.len() - longest);
    }
}

fn names_a_place(name: &str) -> bool {
    PLACES.contains(&name) || PLACE_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secrets() -> Secrets {
        let env = [
            ("TOKEN", "s3cr3t/\"token"),
            ("LONGER", "s3cr3t/\"token-and-more\n"),
            ("PIN", "123456"),
            ("SHORT", "12345"),
            ("DEMO_DIR", "/srv/demo"),
        ];
        Secrets::of(&env.map(|(name, value)| (name.into(), value.into())).into())
    }

    #[test]
    fn a_secret_is_found_in_every_common_spelling() {
        let clean = secrets().text("a s3cr3t/\"token b s3cr3t%2F%22token c s3cr3t/\\\"token");
        assert_eq!(
            clean,
            "a [redacted:TOKEN] b [redacted:TOKEN] c [redacted:TOKEN]"
        );
        assert_eq!(
            secrets().text("s3cr3t/\"token-and-more"),
            "[redacted:LONGER]"
        );
    }

    #[test]
    fn json_is_searched_in_keys_texts_and_numbers() {
        let clean =
            secrets().value(json!({"s3cr3t/\"token": ["x123456", 91_234_567, true], "n": 5}));
        assert_eq!(
            clean,
            json!({"[redacted:TOKEN]": ["x[redacted:PIN]", "9[redacted:PIN]7", true], "n": 5})
        );
    }

    #[test]
    fn short_values_and_places_stay() {
        assert_eq!(
            secrets().text("12345 in /srv/demo/logs"),
            "12345 in /srv/demo/logs"
        );
    }

    #[test]
    fn a_secret_cut_at_the_end_does_not_show_its_beginning() {
        let mut text = "output s3cr3t/\"tok".to_owned();
        secrets().drop_begun(&mut text);
        assert_eq!(text, "output ");
    }
}
