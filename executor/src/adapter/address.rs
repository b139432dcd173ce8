//! Where a request goes, and who chose that: the definition, or a parameter.

use std::collections::BTreeMap;

use flotilla_common::definition::{Context, Template};
use reqwest::Url;

use super::failure::{Class, Failure};

/// A request's address.
#[derive(Debug)]
pub(super) struct Address {
    /// The address.
    pub(super) url: Url,
    /// Whether the definition and the operator's variables alone say which host it is. If not, only public addresses may be
    /// reached.
    pub(super) host_is_fixed: bool,
}

impl Address {
    /// Fills a tool's URL. Holes are percent-encoded there, so that a value stays within its part of the URL; here we see that
    /// it is no dot segment and not empty either, which would lead to another resource.
    pub(super) fn of(
        template: &Template,
        context: &Context,
        env: &BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let text = template
            .render(context)
            .map_err(|error| Failure::hole("url", &error))?;
        let fixed = Fixed::of(template.source(), env);
        let url = Url::parse(&text).map_err(|error| {
            input(format!(
                "the tool's URL is none with these parameters: {error}"
            ))
        })?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(input(
                "the tool's URL must begin with http:// or https:// and a host".into(),
            ));
        }
        if has_dot_segment(&text) {
            return Err(input(
                "the tool's URL has `.` or `..` as a part of its path with these parameters".into(),
            ));
        }
        if fixed.has_empty_hole(&text) {
            return Err(input(
                "a parameter in the path of the tool's URL is empty".into(),
            ));
        }
        Ok(Self {
            host_is_fixed: fixed.host(&text, &url),
            url,
        })
    }
}

fn input(message: String) -> Failure {
    Failure::new(Class::Input, message)
}

/// The beginning of a URL up to the first hole that is not exactly `{{ env.NAME }}`: nothing in it comes from a parameter.
struct Fixed<'a> {
    text: String,
    /// The template after it.
    rest: &'a str,
}

impl<'a> Fixed<'a> {
    fn of(source: &'a str, env: &BTreeMap<String, String>) -> Self {
        let (mut text, mut rest) = (String::new(), source);
        loop {
            let (literal, tail) = rest.split_at(first_mark(rest));
            text += literal;
            rest = tail;
            let hole = tail
                .strip_prefix("{{")
                .and_then(|tail| tail.split_once("}}"));
            let value = hole.and_then(|(inside, after)| {
                let value = env.get(inside.trim().strip_prefix("env.")?)?;
                Some((value, after))
            });
            let Some((value, after)) = value else {
                return Self { text, rest };
            };
            text += value;
            rest = after;
        }
    }

    /// Whether nothing in the host or port of `url`, which was read from `full`, can come from a parameter.
    fn host(&self, full: &str, url: &Url) -> bool {
        if self.rest.is_empty() {
            return true;
        }
        // The host is over where its path, query or fragment begins.
        let ended = self
            .text
            .split_once("://")
            .is_some_and(|(_, after)| after.contains(['/', '?', '#']));
        ended
            && full.starts_with(&self.text)
            && Url::parse(&self.text).is_ok_and(|fixed| fixed.origin() == url.origin())
    }

    /// Whether the path of `full` has more empty parts than its template.
    fn has_empty_hole(&self, full: &str) -> bool {
        let in_path = self.text.contains("://") && !self.text.contains(['?', '#']);
        let (true, Some(filled)) = (in_path, full.strip_prefix(&self.text)) else {
            return false;
        };
        let before = self.text.chars().next_back().unwrap_or('x');
        let empty_parts = |tail: &str| {
            let path = tail.split(['?', '#']).next().unwrap_or_default();
            let path = format!("{before}{path}");
            path.split('/')
                .skip(1)
                .filter(|part| part.is_empty())
                .count()
        };
        empty_parts(filled) > empty_parts(&with_values(self.rest))
    }
}

fn first_mark(text: &str) -> usize {
    let marks = ["{{", "{%", "{#"].iter().filter_map(|mark| text.find(mark));
    marks.min().unwrap_or(text.len())
}

/// A template with `x` for each hole and nothing for each block and comment.
fn with_values(source: &str) -> String {
    let (mut text, mut rest) = (String::new(), source);
    loop {
        let (literal, tail) = rest.split_at(first_mark(rest));
        text += literal;
        let (value, end) = match tail.get(..2) {
            Some("{{") => ("x", "}}"),
            Some("{%") => ("", "%}"),
            Some("{#") => ("", "#}"),
            _ => return text,
        };
        text += value;
        rest = tail.split_once(end).map_or("", |(_, after)| after);
    }
}

fn has_dot_segment(url: &str) -> bool {
    let after_scheme = url.split_once("://").map_or(url, |(_, after)| after);
    let path = after_scheme.split(['?', '#']).next().unwrap_or_default();
    path.split(['/', '\\']).skip(1).any(|part| {
        let part = part.to_ascii_lowercase().replace("%2e", ".");
        part == "." || part == ".."
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(source: &str, full: &str) -> bool {
        let env = [
            ("BASE".to_owned(), "http://svc:1/v1".to_owned()),
            ("HOST".to_owned(), "http://svc".to_owned()),
        ];
        let url = Url::parse(full).map_err(|e| e.to_string());
        url.is_ok_and(|url| Fixed::of(source, &env.into()).host(full, &url))
    }

    #[test]
    fn a_host_is_fixed_only_if_it_ends_before_the_first_parameter() {
        assert!(fixed("http://svc/{{ input.a }}", "http://svc/a"));
        assert!(fixed("http://svc?a={{ input.a }}", "http://svc?a=a"));
        assert!(fixed("{{ env.BASE }}/{{ input.a }}", "http://svc:1/v1/a"));
        assert!(fixed("{{ env.HOST }}/{{ input.a }}", "http://svc/a"));
        assert!(fixed("{{env.HOST}}", "http://svc"));
        assert!(!fixed("{{ env.HOST }}{{ input.a }}", "http://svc.evil/"));
        assert!(!fixed("http://svc:{{ input.a }}/x", "http://svc:22/x"));
        assert!(!fixed("http://{{ input.a }}/x", "http://a/x"));
        assert!(!fixed("{{ input.a }}", "http://a/x"));
        assert!(!fixed("{{ env.BASE ~ input.a }}", "http://svc:1/v1a"));
        assert!(!fixed(
            "http{% if input.a %}s{% endif %}://svc/",
            "https://svc/"
        ));
        assert!(!fixed("http:/{{ input.a }}/svc/", "http://a/svc/"));
    }

    #[test]
    fn values_that_lead_to_another_resource_are_seen() {
        let env = [("BASE".to_owned(), "http://svc/".to_owned())].into();
        let empty = |source, full| Fixed::of(source, &env).has_empty_hole(full);
        assert!(empty("http://svc/a/{{ input.id }}", "http://svc/a/"));
        assert!(empty("http://svc/a/{{ input.id }}/b", "http://svc/a//b"));
        assert!(!empty("http://svc/a/{{ input.id }}/", "http://svc/a/x/"));
        assert!(!empty("http://svc/a?b={{ input.id }}", "http://svc/a?b="));
        assert!(!empty("{{ env.BASE }}/{{ input.id }}", "http://svc//x"));
        for bad in [
            "http://a/b/..",
            "http://a/%2E%2e/c",
            "http://a/./b?x",
            "http://a\\..\\b",
        ] {
            assert!(has_dot_segment(bad), "{bad}");
        }
        for good in [
            "http://a/b..c",
            "http://a/b?x=../..",
            "http://a/...",
            "http://..",
        ] {
            assert!(!has_dot_segment(good), "{good}");
        }
    }
}
