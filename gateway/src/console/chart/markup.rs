//! Markup that we write ourselves. Tags come from literals of this program; whatever else gets in is a number or an escaped text, so
//! that a template may print the whole as it is.

use std::fmt::{self, Write as _};

use askama::filters::HtmlSafe;
use flotilla_common::unseen::is_unseen;

/// A piece of HTML or SVG that is safe to print unescaped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Markup(String);

impl Markup {
    /// Markup of this program's own.
    pub(super) fn raw(&mut self, literal: &'static str) -> &mut Self {
        self.0.push_str(literal);
        self
    }

    /// Numbers and the like: only what cannot end an attribute or begin a tag gets in.
    pub(super) fn plain(&mut self, value: impl fmt::Display) -> &mut Self {
        // Writing to a `String` does not fail.
        let _ = write!(Plain(&mut self.0), "{value}");
        self
    }

    /// A text from anywhere, as text or in a quoted attribute. What cannot be seen becomes U+FFFD, so that nothing turns the words
    /// around it.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' => self.0.push('\n'),
                c if is_unseen(c) => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self
    }

    /// Other markup.
    pub(super) fn add(&mut self, other: &Self) -> &mut Self {
        self.0.push_str(&other.0);
        self
    }

    #[cfg(test)]
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Markup {}

/// Lets through what numbers, words of a path and names of classes are made of.
struct Plain<'a>(&'a mut String);

impl fmt::Write for Plain<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ');
        self.0.extend(text.chars().filter(is_plain));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_comes_from_outside_is_markup() {
        let mut markup = Markup::default();
        markup.text("<script>\"a\" & 'b'</script>\u{202e}\u{0}é");
        assert_eq!(
            markup.as_str(),
            "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt;\u{fffd}\u{fffd}é"
        );
        let mut markup = Markup::default();
        markup.plain("1.5\"><script>").plain(-2.5);
        assert_eq!(markup.as_str(), "1.5script-2.5");
    }
}
