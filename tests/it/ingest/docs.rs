//! The examples of `docs/events.md`: its definitions are a fleet's, and each of its requests is answered as it says.

use std::{fs, path::Path};

use flotilla_tests::{Fleet, Workflows};

/// The secret that the examples send.
const SECRET: &str = "not-so-secret";

/// Blocks of a kind, each with what stands beside the kind.
fn blocks<'p>(page: &'p str, kind: &str) -> Vec<(&'p str, &'p str)> {
    let fence = format!("\n```{kind}");
    let parts = page.split(&fence).skip(1);
    let blocks = parts.filter_map(|part| part.split("\n```").next()?.split_once('\n'));
    blocks.map(|(beside, text)| (beside.trim(), text)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_on_the_page_is_answered_as_it_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/events.md");
    let page = fs::read_to_string(page).unwrap();
    let mut files: Vec<(String, &str)> = Vec::new();
    for (index, (_, text)) in blocks(&page, "yaml").into_iter().enumerate() {
        files.push((format!("{index}.yaml"), text));
    }
    files.push(("policies.yaml".into(), crate::flows::ALWAYS_HIGH));
    let fleet = Fleet::builder()
        .workflows(Workflows::files(&files))
        .env("SHOP_TOKEN", SECRET)
        .start()
        .await;
    let requests = blocks(&page, "http");
    assert!(requests.len() >= 6, "{requests:?}");
    for (status, request) in requests {
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let mut lines = head.lines();
        let path = lines
            .next()
            .and_then(|line| line.strip_prefix("POST "))
            .expect("POST");
        let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
        let answer = fleet.api().post_with(path, &headers, body).await;
        assert_eq!(
            answer.status.to_string(),
            status,
            "{request}\n{}",
            answer.text
        );
    }
}
