use std::{collections::BTreeSet, fs, path::Path};

use super::scopes::{Need, ROUTES, need};
use axum::http::Method;
use flotilla_common::access::Scope;

/// The first text in quotes after each of these words, in all sources below a folder.
fn texts_after(word: &str, folder: &Path, found: &mut BTreeSet<String>) {
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            texts_after(word, &path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            // Tests have routes of their own.
            let text = text.split("#[cfg(test)]").next().unwrap();
            for rest in text.split(word).skip(1) {
                let quoted = rest.trim_start().strip_prefix('"');
                let quoted = quoted.and_then(|rest| rest.split_once('"'));
                found.extend(quoted.map(|(text, _)| text.to_owned()));
            }
        }
    }
}

#[test]
fn every_route_of_the_api_says_which_scope_it_needs() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut routes = BTreeSet::new();
    texts_after(".route(", &sources, &mut routes);
    texts_after("path = ", &sources, &mut routes);
    routes.retain(|route| route.starts_with("/v1/"));
    assert!(routes.len() > 30, "are these all routes? {routes:?}");
    let said: BTreeSet<_> = ROUTES
        .iter()
        .map(|(_, path, _)| (*path).to_owned())
        .collect();
    let missing: Vec<_> = routes.difference(&said).collect();
    assert!(
        missing.is_empty(),
        "not in the table of scopes: {missing:?}"
    );
}

#[test]
fn what_reads_changes_nothing_and_what_is_not_said_needs_admin() {
    for (method, path, scope) in ROUTES {
        let reads = *scope == Scope::Read;
        let looks =
            *method == Method::GET && !path.starts_with("/v1/tokens") && *path != "/v1/audit";
        assert_eq!(reads, looks, "{method} {path}");
    }
    let admin = Need::Scope(Scope::Admin);
    assert_eq!(need(&Method::GET, "/v1/forgotten"), admin);
    assert_eq!(need(&Method::PATCH, "/v1/runs"), admin);
    let read = Need::Scope(Scope::Read);
    assert_eq!(need(&Method::HEAD, "/v1/runs"), read);
    assert_eq!(need(&Method::GET, "/"), read);
    assert_eq!(need(&Method::POST, "/runs"), read);
    assert_eq!(need(&Method::POST, "/tools/{name}/off"), admin);
    assert_eq!(need(&Method::POST, "/forgotten"), admin);
    assert_eq!(need(&Method::HEAD, "/tools"), read);
    assert_eq!(need(&Method::POST, "/login"), Need::Open);
    assert_eq!(need(&Method::GET, "/assets/{file}"), Need::Open);
    assert_eq!(need(&Method::GET, "/login/x"), read);
}
