//! What a check found, and how that is told.

use serde::Serialize;
use serde_json::{Value, json};

use crate::style::{bad, bold, dim, good, warn, wrap};

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Ok,
    /// It works, and may not go on to.
    Warn,
    /// Something does not work.
    Fail,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at: `nats`, `clock`.
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    /// How it stands.
    pub(super) says: String,
    /// What to do about it, where `says` does not say so already.
    pub(super) todo: Option<String>,
}

/// Spaces before what a finding says: its verdict and its check stand there.
const INDENT: usize = 18;

impl Finding {
    pub(super) fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, says)
    }

    pub(super) fn warn(check: &'static str, says: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warn, says)
    }

    pub(super) fn fail(check: &'static str, says: impl Into<String>) -> Self {
        Self::new(check, Verdict::Fail, says)
    }

    fn new(check: &'static str, verdict: Verdict, says: impl Into<String>) -> Self {
        Self {
            check,
            verdict,
            says: says.into(),
            todo: None,
        }
    }

    /// With what to do about it.
    pub(super) fn todo(self, todo: impl Into<String>) -> Self {
        Self {
            todo: Some(todo.into()),
            ..self
        }
    }

    /// For people, on a terminal of so many columns.
    fn lines(&self, width: usize) -> Vec<String> {
        let verdict = match self.verdict {
            Verdict::Ok => good("ok  "),
            Verdict::Warn => warn("warn"),
            Verdict::Fail => bad("FAIL"),
        };
        let room = width.saturating_sub(INDENT);
        let said = self.says.lines().flat_map(|line| wrap(line, room));
        let todo = self.todo.iter().flat_map(|todo| {
            let lines = wrap(todo, room.saturating_sub(2));
            let arrows = std::iter::once("→ ").chain(std::iter::repeat("  "));
            lines
                .into_iter()
                .zip(arrows)
                .map(|(line, arrow)| format!("{arrow}{line}"))
        });
        let mut lines: Vec<String> = said.chain(todo).collect();
        for (number, line) in lines.iter_mut().enumerate() {
            let before = if number == 0 {
                format!("{verdict}  {:<12}", self.check)
            } else {
                " ".repeat(INDENT)
            };
            *line = format!("{before}{line}");
        }
        lines
    }
}

/// All of it, for people.
pub(super) fn told(findings: &[Finding], width: usize) -> Vec<String> {
    let count = |verdict| findings.iter().filter(|one| one.verdict == verdict).count();
    let (ok, warnings, failures) = (
        count(Verdict::Ok),
        count(Verdict::Warn),
        count(Verdict::Fail),
    );
    let sum = format!("{ok} ok, {warnings} to look at, {failures} wrong");
    let mut lines: Vec<String> = findings.iter().flat_map(|one| one.lines(width)).collect();
    lines.push(String::new());
    lines.push(if failures == 0 {
        bold(sum)
    } else {
        bad(bold(sum))
    });
    if failures + warnings == 0 {
        lines.push(dim("everything is as it should be"));
    }
    lines
}

/// All of it, for programs.
pub(super) fn as_json(findings: &[Finding]) -> Value {
    json!({"ok": !any_wrong(findings), "checks": findings})
}

/// Whether something does not work.
pub(super) fn any_wrong(findings: &[Finding]) -> bool {
    findings.iter().any(|one| one.verdict == Verdict::Fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_with_what_to_do_below_it() {
        let findings = [
            Finding::ok("nats", "nats-server 2.15.1"),
            Finding::warn("redis", "nothing is kept").todo("set appendonly yes"),
        ];
        let lines = told(&findings, 80);
        assert_eq!(
            lines,
            [
                "ok    nats        nats-server 2.15.1",
                "warn  redis       nothing is kept",
                "                  → set appendonly yes",
                "",
                "1 ok, 1 to look at, 0 wrong",
            ]
        );
        assert!(!any_wrong(&findings));
        assert!(any_wrong(&[Finding::fail("nats", "away")]));
        assert_eq!(as_json(&findings)["checks"][1]["verdict"], "warn");
    }
}
