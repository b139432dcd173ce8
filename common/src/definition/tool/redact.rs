//! What a tool returns and nobody shall see: places in its output, and texts that look like something.

use serde_json::Value;
use serde_saphyr::Spanned;

use super::super::problem::Report;

/// What stands in the place of what was taken out.
const MARK: &str = "[redacted]";
/// A pattern with fewer characters of its own would be found everywhere.
const LITERAL_MIN: usize = 3;

/// What is taken out of a tool's outputs before anything else sees them: journal, logs and prompts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redaction {
    /// JSON pointers into the output, as their parts; `*` is every item or field.
    pointers: Vec<Vec<String>>,
    patterns: Vec<Pattern>,
}

/// Texts with `*` between them, each of which is one or more letters, digits, `_`, `-`, `.`, `+`, `/`, `=`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(Vec<String>);

impl Redaction {
    /// What begins with `/` is a JSON pointer, everything else a pattern.
    pub(super) fn compile(report: &mut Report<'_>, given: &[Spanned<String>]) -> Self {
        let mut all = Self::default();
        for item in given {
            let text = item.value.as_str();
            if let Some(path) = text.strip_prefix('/') {
                let parts = path.split('/').map(unescaped).collect();
                all.pointers.push(parts);
                continue;
            }
            let literals: Vec<String> = text.split('*').map(str::to_owned).collect();
            if literals.iter().map(String::len).max().unwrap_or(0) < LITERAL_MIN {
                let message = format!(
                    "`{text}` would be found everywhere: a pattern has {LITERAL_MIN} characters in a row that are none of its `*`"
                );
                let help = "a JSON pointer begins with `/`, such as /body/token; a pattern is such as tok_*";
                report.at(item.referenced, message, Some(help));
                continue;
            }
            all.patterns.push(Pattern(literals));
        }
        all
    }

    /// Whether it takes nothing out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pointers.is_empty() && self.patterns.is_empty()
    }

    /// The output without it.
    #[must_use]
    pub fn output(&self, mut output: Value) -> Value {
        for pointer in &self.pointers {
            take_out(&mut output, pointer);
        }
        if self.patterns.is_empty() {
            return output;
        }
        self.texts(output)
    }

    /// A text without it: no pointer leads into a text.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for pattern in &self.patterns {
            clean = pattern.taken_out(&clean);
        }
        clean
    }

    fn texts(&self, value: Value) -> Value {
        match value {
            Value::String(text) => self.text(&text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.texts(item)).collect(),
            Value::Object(map) => map
                .into_iter()
                .map(|(key, value)| (self.text(&key), self.texts(value)))
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }
}

fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

fn take_out(value: &mut Value, pointer: &[String]) {
    let Some((first, rest)) = pointer.split_first() else {
        *value = MARK.into();
        return;
    };
    match value {
        Value::Object(map) if first == "*" => {
            map.values_mut().for_each(|inner| take_out(inner, rest));
        }
        Value::Array(items) if first == "*" => {
            items.iter_mut().for_each(|inner| take_out(inner, rest));
        }
        Value::Object(map) => {
            if let Some(inner) = map.get_mut(first) {
                take_out(inner, rest);
            }
        }
        Value::Array(items) => {
            let at = first.parse::<usize>().ok();
            if let Some(inner) = at.and_then(|at| items.get_mut(at)) {
                take_out(inner, rest);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl Pattern {
    fn taken_out(&self, text: &str) -> String {
        let mut clean = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((from, to)) = self.find(rest) {
            clean.push_str(&rest[..from]);
            clean.push_str(MARK);
            rest = &rest[to..];
        }
        clean.push_str(rest);
        clean
    }

    /// The first place where it is, as byte offsets. It is found by its longest literal, so that a long text is read once.
    fn find(&self, text: &str) -> Option<(usize, usize)> {
        let anchor = (0..self.0.len()).max_by_key(|at| self.0.get(*at).map_or(0, String::len))?;
        let literal = self.0.get(anchor)?;
        let mut from = 0;
        while let Some(found) = text.get(from..)?.find(literal.as_str()) {
            let at = from + found;
            let start = self.backwards(&text[..at], anchor);
            let end = self.forwards(text, at + literal.len(), anchor);
            if let (Some(start), Some(end)) = (start, end) {
                return Some((start, end));
            }
            from = at + literal.len();
        }
        None
    }

    /// Where it begins, when what stands before the literal at `anchor` fits.
    fn backwards(&self, before: &str, anchor: usize) -> Option<usize> {
        let mut before = before;
        for literal in self.0.get(..anchor)?.iter().rev() {
            let word = before.trim_end_matches(is_of_word);
            if literal.is_empty() {
                (word.len() < before.len()).then_some(())?;
                before = word;
                continue;
            }
            let at = before.rfind(literal.as_str())?;
            let between = &before[at + literal.len()..];
            (!between.is_empty() && at + literal.len() >= word.len()).then_some(())?;
            before = &before[..at];
        }
        Some(before.len())
    }

    /// Where it ends, when what stands after `at` fits.
    fn forwards(&self, text: &str, at: usize, anchor: usize) -> Option<usize> {
        let mut at = at;
        for literal in self.0.get(anchor + 1..)? {
            let after = text.get(at..)?;
            let word = after.find(|c| !is_of_word(c)).unwrap_or(after.len());
            if literal.is_empty() {
                (word > 0).then_some(())?;
                at += word;
                continue;
            }
            let found = after.find(literal.as_str())?;
            (found > 0 && found <= word).then_some(())?;
            at += found + literal.len();
        }
        Some(at)
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || "_-.+/=".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn redaction(pointers: &[&str], patterns: &[&str]) -> Redaction {
        let parts = |pointer: &&str| pointer[1..].split('/').map(unescaped).collect();
        let literals = |pattern: &&str| Pattern(pattern.split('*').map(str::to_owned).collect());
        Redaction {
            pointers: pointers.iter().map(parts).collect(),
            patterns: patterns.iter().map(literals).collect(),
        }
    }

    #[test]
    fn a_pointer_takes_out_what_it_leads_to_and_nothing_else() {
        let clean = redaction(&["/body/token", "/list/*/key", "/a~1b", "/list/0", "/none/x"], &[])
            .output(json!({"body": {"token": {"deep": 1}, "id": 7}, "list": [{"key": 1}, {"key": 2, "n": 3}], "a/b": 5}));
        assert_eq!(
            clean,
            json!({"body": {"token": "[redacted]", "id": 7}, "list": ["[redacted]", {"key": "[redacted]", "n": 3}], "a/b": "[redacted]"})
        );
    }

    #[test]
    fn a_pattern_takes_out_every_text_that_looks_so() {
        let all = redaction(&[], &["tok_*", "*@example.com", "id-*-x"]);
        for (text, clean) in [
            ("a tok_9Zz, tok_8 b", "a [redacted], [redacted] b"),
            ("tok_ is none", "tok_ is none"),
            ("to jo.doe@example.com!", "to [redacted]!"),
            ("@example.com", "@example.com"),
            ("(id-7-x) id- -x", "([redacted]) id- -x"),
        ] {
            assert_eq!(all.text(text), clean);
        }
        assert_eq!(
            all.output(json!({"tok_k1": ["x tok_12", 5]})),
            json!({"[redacted]": ["x [redacted]", 5]})
        );
    }
}
