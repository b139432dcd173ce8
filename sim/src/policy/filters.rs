//! Filters for reading what tools print.
//!
//! All of them take an undefined input for an undefined answer, so that a chain over a result that is not there yet
//! is false, not an error.

use crate::policy::conversation::from_json;
use minijinja::{Environment, Value};

/// Adds the filters to the language.
pub(crate) fn add(language: &mut Environment<'_>) {
    language.add_filter("lines", lines);
    language.add_filter("column", column);
    language.add_filter("find_line", find_line);
    language.add_filter("find_lines", find_lines);
    language.add_filter("between", between);
    language.add_filter("number", number);
    language.add_filter("from_json", |text: &Value| on_text(text, from_json));
}

fn on_text(value: &Value, read: impl FnOnce(&str) -> Value) -> Value {
    value.to_str().map_or(Value::UNDEFINED, |text| read(&text))
}

/// The lines of a text.
fn lines(text: &Value) -> Value {
    on_text(text, |text| text.lines().map(Value::from).collect())
}

/// The nth word of a line, from 1; negative ones count from the end.
fn column(line: &Value, n: i64) -> Value {
    on_text(line, |line| {
        let at = |from: i64| usize::try_from(from - 1).ok();
        let word = if n > 0 {
            at(n).and_then(|at| line.split_whitespace().nth(at))
        } else {
            at(-n).and_then(|at| line.split_whitespace().rev().nth(at))
        };
        word.map_or(Value::UNDEFINED, Value::from)
    })
}

/// The first line that contains a text.
fn find_line(text: &Value, part: &str) -> Value {
    on_text(text, |text| {
        text.lines()
            .find(|line| line.contains(part))
            .map_or(Value::UNDEFINED, Value::from)
    })
}

/// All lines that contain a text.
fn find_lines(text: &Value, part: &str) -> Value {
    on_text(text, |text| {
        text.lines()
            .filter(|line| line.contains(part))
            .map(Value::from)
            .collect()
    })
}

/// What stands between two texts, the first time they come in that order.
fn between(text: &Value, start: &str, end: &str) -> Value {
    on_text(text, |text| {
        let rest = text.split_once(start).map(|(_, rest)| rest);
        rest.and_then(|rest| rest.split_once(end))
            .map_or(Value::UNDEFINED, |(found, _)| Value::from(found))
    })
}

/// The first number in a text. It begins a word: in `/dev/sda1  95% used` it is 95, not the 1 of `sda1`.
fn number(value: &Value) -> Value {
    if value.is_number() {
        return value.clone();
    }
    on_text(value, |text| first_number(text).unwrap_or(Value::UNDEFINED))
}

fn first_number(text: &str) -> Option<Value> {
    let bytes = text.as_bytes();
    let mut before = b' ';
    for (start, byte) in bytes.iter().copied().enumerate() {
        if byte.is_ascii_digit()
            && !(before.is_ascii_alphanumeric() || before == b'_' || before == b'.')
        {
            return parse_number(text, start);
        }
        before = byte;
    }
    None
}

fn parse_number(text: &str, start: usize) -> Option<Value> {
    let digits = |from: usize| {
        text.bytes()
            .skip(from)
            .take_while(u8::is_ascii_digit)
            .count()
    };
    let mut end = start + digits(start);
    let whole = end;
    if text.as_bytes().get(end) == Some(&b'.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    // A sign counts at the start or after a space: the 1 of `sda-1` and of `10-12` are not negative.
    let signed = text[..start].ends_with('-')
        && text[..start]
            .chars()
            .rev()
            .nth(1)
            .is_none_or(|before| before.is_whitespace() || "([{,:=".contains(before));
    let from = if signed { start - 1 } else { start };
    let found = &text[from..end];
    if end == whole {
        found.parse::<i64>().ok().map(Value::from)
    } else {
        found.parse::<f64>().ok().map(Value::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DF: &str = "Filesystem  Size  Used Avail Use% Mounted on\n/dev/sda1    50G   47G  3.0G  95% /\ntmpfs       1.9G     0  1.9G   0% /tmp\n";

    fn eval(expression: &str) -> Value {
        let mut language = Environment::new();
        language.set_undefined_behavior(minijinja::UndefinedBehavior::Chainable);
        add(&mut language);
        language
            .compile_expression(expression)
            .unwrap()
            .eval(minijinja::context! { df => DF })
            .unwrap()
    }

    #[test]
    fn a_figure_is_read_out_of_a_table() {
        assert_eq!(
            eval("df | find_line('/dev/sda1') | column(5) | number"),
            Value::from(95)
        );
        assert_eq!(
            eval("df | find_line('/tmp') | column(-1)"),
            Value::from("/tmp")
        );
        assert_eq!(
            eval("df | find_line('/dev/sda1') | column(4) | number"),
            Value::from(3.0)
        );
        assert_eq!(eval("df | lines | length"), Value::from(3));
        assert_eq!(eval("df | find_lines('G') | length"), Value::from(2));
        assert_eq!(
            eval("df | between('Avail ', ' Mounted')"),
            Value::from("Use%")
        );
    }

    #[test]
    fn what_is_not_there_is_undefined_all_along_the_chain() {
        for expression in [
            "df | find_line('nvme') | column(5) | number",
            "nothing.at.all | find_line('x')",
            "df | column(99)",
            "df | column(0)",
            "df | between('x', 'y')",
            "'none' | number",
            "'{broken' | from_json",
        ] {
            assert!(eval(expression).is_undefined(), "{expression}");
        }
        assert!(!eval("(df | find_line('nvme') | column(5) | number) > 90").is_true());
    }

    #[test]
    fn a_number_begins_a_word() {
        for (text, found) in [
            ("sda1 95%", 95),
            ("-3 degrees", -3),
            ("sda-1", 1),
            ("10-12", 10),
            ("x2 (7)", 7),
        ] {
            assert_eq!(first_number(text), Some(Value::from(found)), "{text}");
        }
        assert_eq!(first_number("load: 0.25, 1.50"), Some(Value::from(0.25)));
        assert_eq!(first_number("1.9G"), Some(Value::from(1.9)));
        assert_eq!(first_number("abc1"), None);
    }

    #[test]
    fn json_in_a_text_is_read() {
        assert_eq!(
            eval(r#"('{"a": [1, 2]}' | from_json).a[1]"#),
            Value::from(2)
        );
    }
}
