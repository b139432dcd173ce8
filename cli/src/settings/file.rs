//! What is wrong with the settings file, without the values in it: a password may be among them.

use toml::de::Error;

/// What a message has before and after a value that it shows.
const AROUND_VALUE: [(&str, &str); 3] = [
    ("string \"", "\", expected "),
    ("unknown variant `", "`, expected "),
    ("`", "` is not "),
];

/// Where it is wrong, and why.
pub(super) fn wrong(text: &str, error: &Error) -> String {
    let why = without_value(error.message());
    let before = error.span().and_then(|span| text.get(..span.start));
    match before {
        Some(before) => {
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            format!("line {line}, column {column}: {why}")
        }
        None => why,
    }
}

fn without_value(message: &str) -> String {
    let cut = AROUND_VALUE.iter().find_map(|(before, after)| {
        let (head, rest) = message.split_once(before)?;
        let (_, tail) = rest.rsplit_once(after)?;
        Some(format!("{head}{before}…{after}{tail}"))
    });
    cut.unwrap_or_else(|| message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{super::Settings, *};

    fn told(text: &str) -> String {
        wrong(text, &toml::from_str::<Settings>(text).unwrap_err())
    }

    #[test]
    fn no_value_of_a_wrong_settings_file_is_told_but_where_and_why_it_is_wrong() {
        let url = "nats://u:s3cret@h";
        for (text, expected) in [
            (
                format!("\nnats_ulr = \"{url}\""),
                "line 2, column 1: unknown field `nats_ulr`",
            ),
            (format!("nats_url = \"{url}"), "line 1, column 30: "),
            (format!("nats_url = {url}\""), "line 1, column 12: "),
            (format!("nats_url = '{url}\nhttp = 'x'"), "line 1, "),
            (
                format!("nats_url = \"{url}\" s3cret"),
                "line 1, column 32: ",
            ),
            (
                format!("nats_url = \"{url}\"\nnats_url = \"{url}\""),
                "duplicate key",
            ),
            (format!("nats_url = [\"{url}\"]"), "expected a string"),
            (
                format!("nats_url = {{s3cret = \"{url}\"}}"),
                "expected a string",
            ),
            (
                format!("slots = \"{url}\""),
                "invalid type: string \"…\", expected ",
            ),
            (
                r#"slots = "a\", expected s3cret""#.to_owned(),
                "invalid type: string \"…\", expected usize",
            ),
            (
                format!("drain = \"{url}\""),
                "`…` is not a duration, such as",
            ),
            (format!("event_bytes_max = \"{url}\""), "`…` is not a size"),
            (format!("http = \"{url}\""), "invalid socket address"),
            (
                format!("auth = \"{url}\""),
                "`…`, expected `tokens` or `off`",
            ),
        ] {
            let told = told(&text);
            assert!(told.contains(expected), "{text}: {told}");
            assert!(!told.contains("s3cret"), "{told}");
        }
    }
}
