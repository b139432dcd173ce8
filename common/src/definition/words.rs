//! The YAML parser's errors in the words of the person who wrote the file, and the nearest known name to a wrong one.

use serde_saphyr::{Error, budget::BudgetBreach};

/// What is wrong in plain words, and what to do.
pub(super) fn plain(error: &Error) -> (String, Option<String>) {
    let error = error.without_snippet();
    let known = keys(error).or_else(|| types(error));
    known.unwrap_or_else(|| {
        if let Error::ExternalMessage { msg, .. } = error {
            syntax(msg)
        } else {
            (without_place(&error.to_string()).to_owned(), None)
        }
    })
}

/// Keys that are wrong, missing or there twice, and what is too deep.
fn keys(error: &Error) -> Option<(String, Option<String>)> {
    let (message, help) = if let Error::SerdeUnknownField {
        field, expected, ..
    } = error
    {
        let near = nearest(field, expected.iter().copied());
        let known = expected.join(", ");
        let help = near.map(|near| format!("did you mean `{near}`?"));
        return Some((
            format!("there is no `{field}` here; there are {known}"),
            help,
        ));
    } else if let Error::SerdeMissingField { field, .. } = error {
        let help = format!("add `{field}:` beside this");
        (format!("`{field}` is missing"), help)
    } else if let Error::DuplicateMappingKey { key: Some(key), .. } = error {
        (format!("`{key}` is here twice"), "keep one of them".into())
    } else if let Error::MultipleDocuments { .. } = error {
        let help = "put what follows `---` into a file of its own";
        (
            "a definition file holds one YAML document".into(),
            help.into(),
        )
    } else if let Error::Budget {
        breach: BudgetBreach::Depth { .. },
        ..
    } = error
    {
        let help = "make a part of it a file of its own";
        ("this is nested too deep".into(), help.into())
    } else if let Error::UnknownAnchor { .. } = error {
        let help = "a text that begins with `*` needs quotes";
        (
            "this refers to an anchor that is not here".into(),
            help.into(),
        )
    } else {
        return None;
    };
    Some((message, Some(help)))
}

/// Values of the wrong type.
fn types(error: &Error) -> Option<(String, Option<String>)> {
    let expected = if let Error::InvalidScalar { ty, .. } = error {
        match *ty {
            "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
            "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
            "f32" | "f64" => "a number",
            "bool" | "boolean" => "true or false",
            other => other,
        }
    } else if let Error::Unexpected { expected, .. } = error {
        match *expected {
            "mapping start" => "`key: value` pairs",
            "sequence start" => "a list",
            "string scalar" => "a text",
            other => other,
        }
    } else if let Error::SerdeInvalidValue { expected, .. } = error
        && expected.starts_with("a nonzero")
    {
        "a whole number, 1 or more"
    } else if let Error::SerdeInvalidType { expected, .. } = error {
        expected.as_str()
    } else if let Error::NullIntoString { .. } = error {
        "a text, and there is nothing"
    } else if let Error::SerdeUnknownVariant {
        variant, expected, ..
    } = error
    {
        let known = expected.join(", ");
        return Some((format!("`{variant}` is none of {known}"), None));
    } else {
        return None;
    };
    Some((format!("expected {expected}"), None))
}

/// The parser repeats the place at the end of its words; ours stands in front.
fn without_place(message: &str) -> &str {
    message
        .rsplit_once(" at line ")
        .map_or(message, |(words, _)| words)
}

/// What the scanner says of broken YAML; it knows what it met, seldom what was meant.
fn syntax(message: &str) -> (String, Option<String>) {
    let message = without_place(message);
    let help = if message.contains("tab") {
        Some("YAML is indented with spaces")
    } else if message.contains("mapping values are not allowed")
        || message.contains("placement of ':'")
    {
        Some("check the indentation and the brackets above; a text that holds `: ` needs quotes")
    } else if message.contains("anchor or alias") {
        Some("a text that begins with `*` or `&` needs quotes")
    } else {
        None
    };
    (format!("not valid YAML: {message}"), help.map(Into::into))
}

/// The known name that is nearest to a wrong one, if it can have been meant.
#[must_use]
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let far = 1 + wrong.chars().count() / 4;
    known
        .into_iter()
        .map(|name| (distance(wrong, name), name))
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Edits between two texts (insert, delete, replace), as Levenshtein counts them.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, up) in b.iter().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(x != *y)).min(left + 1).min(up + 1);
            next.push(left);
            diagonal = *up;
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_that_can_have_been_meant() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(
            nearest("modle", ["model", "version", "steps"]),
            Some("model")
        );
        assert_eq!(nearest("parallel", ["tool", "claude"]), None);
    }
}
