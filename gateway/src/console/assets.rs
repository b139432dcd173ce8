//! What pages load: embedded, and named after what is in it, so that browsers keep it for good and a new version is another file.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{HeaderName, StatusCode, header},
};
use flotilla_common::{ids::hex, io::http::Problem};
use sha2::{Digest as _, Sha256};

/// Hexadecimal digits of a digest in a name.
const DIGITS: usize = 12;

/// A file that pages load.
#[derive(Debug)]
pub(crate) struct Asset {
    /// Its path, with a part of its SHA-256.
    pub(crate) path: String,
    kind: &'static str,
    text: &'static str,
}

impl Asset {
    fn new(name: &str, extension: &str, kind: &'static str, text: &'static str) -> Self {
        let digest = hex(&Sha256::digest(text));
        let digest = digest.get(..DIGITS).unwrap_or_default();
        Self {
            path: format!("/assets/{name}-{digest}.{extension}"),
            kind,
            text,
        }
    }
}

/// How all pages look.
pub(crate) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let text = concat!(
        include_str!("../../assets/base.css"),
        include_str!("../../assets/parts.css"),
        include_str!("../../assets/tables.css"),
        include_str!("../../assets/charts.css"),
        include_str!("../../assets/pages.css"),
        include_str!("../../assets/run.css"),
    );
    Asset::new("console", "css", "text/css; charset=utf-8", text)
});

/// What pages do beyond being read.
pub(crate) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../../assets/console.js");
    Asset::new("console", "js", "text/javascript; charset=utf-8", text)
});

/// The mark in the tab.
pub(crate) static ICON: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../../assets/icon.svg");
    Asset::new("icon", "svg", "image/svg+xml", text)
});

/// A file, by the name that has its digest.
pub(crate) async fn get(
    Path(file): Path<String>,
) -> Result<([(HeaderName, &'static str); 2], &'static str), Problem> {
    let path = format!("/assets/{file}");
    let all = [&*STYLE, &*SCRIPT, &*ICON];
    let asset = all.into_iter().find(|asset| asset.path == path);
    let asset = asset.ok_or_else(|| {
        let detail = "there is no such file in this version; load the page again";
        Problem::new(StatusCode::NOT_FOUND, detail)
    })?;
    let headers = [
        (header::CONTENT_TYPE, asset.kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, asset.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_there_under_the_name_of_what_is_in_it_alone() {
        for asset in [&*STYLE, &*SCRIPT, &*ICON] {
            let name = asset.path.strip_prefix("/assets/").unwrap();
            let (headers, text) = get(Path(name.to_owned())).await.unwrap();
            assert_eq!(text, asset.text);
            assert!(headers[1].1.contains("immutable"));
        }
        let other = get(Path("console-000000000000.css".to_owned())).await;
        assert_eq!(other.unwrap_err().status, 404);
    }

    #[test]
    fn nothing_is_loaded_from_anywhere_else() {
        for asset in [&*STYLE, &*SCRIPT] {
            assert!(!asset.text.contains("http://"), "{}", asset.path);
            assert!(!asset.text.contains("https://"), "{}", asset.path);
        }
    }
}
