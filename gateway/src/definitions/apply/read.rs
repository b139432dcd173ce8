//! The body of an apply: files by path, and what is to be done with them.

use std::collections::BTreeMap;

use axum::{body::Body, http::HeaderMap};
use flotilla_common::{
    definition::Sources,
    io::{
        definitions::{Activate, Apply},
        http::Problem,
    },
};
use serde_json::{Map, Value};

use crate::{
    definitions::said,
    fields::{Fields, NAME_LENGTH_MAX, escaped, wrong},
};

/// Longest body: many times what a fleet's definitions have, and little enough for a few at once.
const BYTES_MAX: usize = 8 << 20;
/// Files of one request, at most.
const FILES_MAX: usize = 2_000;
/// Longest path of a file, in characters.
const PATH_LENGTH_MAX: usize = 256;
const KNOWN: &str = r#"{"files": {PATH: TEXT}, "activate"?: "newer"|"always"|"never", "dry_run"?, "by"?, "reason"?}"#;

/// What was asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) sources: Sources,
    pub(super) apply: Apply,
    /// Nothing is to be written.
    pub(super) dry_run: bool,
}

/// What a request asks for.
pub(super) async fn wanted(headers: &HeaderMap, body: Body) -> Result<Wanted, Problem> {
    let mut fields = Fields::read(headers, body, BYTES_MAX).await?;
    let said = said(&mut fields)?;
    let activate = match fields.text("activate", NAME_LENGTH_MAX)?.as_deref() {
        None | Some("newer") => Activate::Newer,
        Some("always") => Activate::Always,
        Some("never") => Activate::Never,
        Some(_) => {
            return Err(wrong("activate", "must be `newer`, `always` or `never`"));
        }
    };
    let dry_run = fields.flag("dry_run")?;
    let files = fields.value("files")?;
    fields.end(KNOWN)?;
    let Some(Value::Object(files)) = files else {
        let must = r#"must be an object of texts by path, such as {"triage/workflow.yaml": "workflow: …"}"#;
        return Err(wrong("files", must));
    };
    Ok(Wanted {
        sources: sources(files)?,
        apply: Apply {
            said,
            activate,
            ..Apply::default()
        },
        dry_run,
    })
}

fn sources(files: Map<String, Value>) -> Result<Sources, Problem> {
    if files.len() > FILES_MAX {
        let problem = format!("has more than the {FILES_MAX} files that are taken at once");
        return Err(wrong("files", &problem));
    }
    let mut sources = BTreeMap::new();
    for (path, text) in files {
        let field = || format!("files/{}", escaped(&path));
        if !is_path(&path) {
            let must = format!(
                "is no path of a file: at most {PATH_LENGTH_MAX} characters, relative, with `/` between folders, without `.` and `..` and control characters"
            );
            return Err(wrong(&field(), &must));
        }
        let Value::String(text) = text else {
            return Err(wrong(&field(), "must be the file's text"));
        };
        sources.insert(path, text);
    }
    Ok(Sources(sources))
}

fn is_path(path: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | "..");
    path.chars().count() <= PATH_LENGTH_MAX
        && !path.contains(|c: char| c.is_control() || c == '\\')
        && path.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use axum::http::header::CONTENT_TYPE;
    use serde_json::json;

    use super::*;
    use crate::body::JSON;

    async fn ask(body: &str) -> Result<Wanted, Problem> {
        let headers = [(CONTENT_TYPE, JSON.parse().unwrap())];
        let body = Body::from(body.to_owned());
        wanted(&headers.into_iter().collect(), body).await
    }

    #[tokio::test]
    async fn files_come_with_what_is_to_be_done_with_them() {
        let body =
            json!({"files": {"a/w.yaml": "x"}, "by": "ann", "activate": "never", "dry_run": true});
        let asked = ask(&body.to_string()).await.unwrap();
        assert_eq!(asked.sources.0["a/w.yaml"], "x");
        assert_eq!(asked.apply.activate, Activate::Never);
        assert_eq!(asked.apply.said.by.as_deref(), Some("ann"));
        assert!(asked.dry_run && !asked.apply.replace);
        let plain = ask(r#"{"files": {}}"#).await.unwrap();
        assert_eq!(plain.apply.activate, Activate::Newer);
        assert!(!plain.dry_run);
    }

    #[tokio::test]
    async fn what_is_no_set_of_files_is_told_with_its_pointer() {
        for (body, pointer) in [
            ("", "`/files`"),
            ("{}", "`/files`"),
            (r#"{"files": []}"#, "`/files`"),
            (r#"{"files": {"a": 1}}"#, "`/files/a`"),
            (r#"{"files": {"a/b": null}}"#, "`/files/a~1b`"),
            (r#"{"files": {"": "x"}}"#, "`/files/`"),
            (
                r#"{"files": {"/etc/passwd": "x"}}"#,
                "`/files/~1etc~1passwd`",
            ),
            (r#"{"files": {"a/../b": "x"}}"#, "`/files/a~1..~1b`"),
            (r#"{"files": {"./a": "x"}}"#, "`/files/.~1a`"),
            (r#"{"files": {"a\\b": "x"}}"#, "`/files/a"),
            (r#"{"files": {"a\nb": "x"}}"#, "`/files/a"),
            (r#"{"files": {}, "activate": "yes"}"#, "`/activate`"),
            (r#"{"files": {}, "dry_run": 1}"#, "`/dry_run`"),
            (r#"{"files": {}, "replace": true}"#, "`/replace`"),
        ] {
            let problem = ask(body).await.unwrap_err();
            assert_eq!(problem.status, 400, "{body}");
            assert!(problem.detail.starts_with(pointer), "{}", problem.detail);
            assert!(!problem.detail.contains('\n'));
        }
        let many: Map<String, Value> = (0..=FILES_MAX)
            .map(|number| (format!("{number}.md"), json!("")))
            .collect();
        let problem = ask(&json!({"files": many}).to_string()).await;
        assert!(problem.unwrap_err().detail.contains("2000 files"));
    }
}
