//! What versions say, and how two of them differ.

use axum::http::StatusCode;
use flotilla_common::{
    definition::diff::{compare, readable},
    ids::Name,
    io::http::Problem,
};

use crate::{definitions, routes::App};

/// A text of a version.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}

/// Two versions beside each other.
#[derive(Debug)]
pub(super) struct Compared {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) files: Vec<Differs>,
}

/// A file that differs.
#[derive(Debug)]
pub(super) struct Differs {
    pub(super) path: String,
    pub(super) lines: Vec<Line>,
}

/// A line of a difference.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// What it is, for the style sheet.
    pub(super) class: &'static str,
    /// With the sign that says so, too.
    pub(super) text: String,
}

/// The texts of a version, its definition first.
pub(super) async fn files(app: &App, name: &Name, version: u32) -> Result<Vec<File>, Problem> {
    let texts = definitions::texts(app, name, version).await?;
    let mut files: Vec<File> = readable(&texts.files)
        .into_iter()
        .map(|(path, text)| File { path, text })
        .collect();
    files.sort_by_key(|file| file.path.contains('/'));
    Ok(files)
}

/// How two versions differ.
pub(super) async fn compared(
    app: &App,
    name: &Name,
    from: u32,
    to: u32,
) -> Result<Compared, Problem> {
    let old = definitions::texts(app, name, from).await?;
    let new = definitions::texts(app, name, to).await?;
    // It may take its time.
    let comparing = tokio::task::spawn_blocking(move || {
        let called = [format!("v{from}"), format!("v{to}")];
        compare((&old.files, &called[0]), (&new.files, &called[1]))
    });
    let changed = comparing.await.map_err(|_| {
        let detail =
            "comparing these versions went wrong, which is a bug in the gateway: its log says more";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    let files = changed.into_iter().map(|one| Differs {
        path: one.path,
        lines: one.diff.lines().filter_map(line).collect(),
    });
    Ok(Compared {
        from,
        to,
        files: files.collect(),
    })
}

/// `None`: it names the file, which stands above.
fn line(text: &str) -> Option<Line> {
    if text.starts_with("+++ ") || text.starts_with("--- ") {
        return None;
    }
    let class = match text.as_bytes().first() {
        Some(b'+') => "added",
        Some(b'-') => "removed",
        Some(b'@') => "place",
        Some(_) | None => "same",
    };
    Some(Line {
        class,
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_difference_say_what_they_are_by_their_sign_too() {
        let diff = "--- v1/a\n+++ v2/a\n@@ -1 +1 @@\n-old\n+new\n same";
        let lines: Vec<_> = diff.lines().filter_map(line).collect();
        let classes: Vec<_> = lines.iter().map(|line| line.class).collect();
        assert_eq!(classes, ["place", "removed", "added", "same"]);
        assert_eq!(lines[1].text, "-old");
    }
}
