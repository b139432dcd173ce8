use std::collections::BTreeSet;

use axum::Router;

use super::*;
use crate::routes;

/// `get /v1/runs`, of every route under `/v1`: the router tells them only to people who debug.
fn of_router(router: &Router<Arc<App>>) -> BTreeSet<String> {
    let shown = format!("{router:?}");
    let mut found = BTreeSet::new();
    let (routes, paths) = shown
        .split_once("paths: {")
        .expect("the paths of its routes");
    for one in paths.split("RouteId(").skip(1) {
        let (id, rest) = one.split_once(')').expect("an id");
        let Some(path) = rest
            .split('"')
            .nth(1)
            .filter(|path| path.starts_with("/v1/"))
        else {
            continue;
        };
        let of_route = routes
            .split(&format!("RouteId({id}): "))
            .nth(1)
            .expect("its methods");
        let of_route = of_route.split("RouteId(").next().unwrap_or_default();
        for method in [
            "get", "head", "delete", "options", "patch", "post", "put", "trace",
        ] {
            let none = format!(" {method}: None");
            let any = format!(" {method}: ");
            if of_route.contains(&any) && !of_route.contains(&none) {
                found.insert(format!("{method} {path}"));
            }
        }
    }
    found
}

#[test]
fn every_route_of_the_api_is_described_and_nothing_else_is() {
    let routes = of_router(&routes::api());
    assert!(routes.len() > 30, "{routes:?}");
    let described = paths::all();
    let described: BTreeSet<String> = described
        .iter()
        .map(|one| format!("{} {}", one.method(), one.path_of_router()))
        .collect();
    assert_eq!(described, routes);
}

/// Every `$ref` in it.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn what_is_referred_to_is_there_and_what_is_there_is_referred_to() {
    let document = document(&paths::all());
    let mut referred = BTreeSet::new();
    references(&document, &mut referred);
    for reference in &referred {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let schemas = document["components"]["schemas"]
        .as_object()
        .expect("schemas");
    for name in schemas.keys() {
        let reference = format!("#/components/schemas/{name}");
        assert!(referred.contains(&reference), "nobody refers to {name}");
    }
}

#[test]
fn a_cookie_alone_is_offered_for_what_changes_nothing() {
    for operation in paths::all() {
        let json = operation.json();
        let security = json["security"].as_array().expect("who may");
        let alone = |one: &Value| one.get("cookie").is_some() && one.get("csrf").is_none();
        let path = operation.documented_path();
        assert_eq!(
            security.iter().any(alone),
            operation.method() == "get",
            "{path}"
        );
    }
}

#[test]
fn every_operation_has_its_own_name_a_heading_and_an_answer_and_every_part_of_its_path() {
    let mut names = BTreeSet::new();
    let headings = paths::tags();
    for operation in paths::all() {
        let path = operation.documented_path();
        let json = operation.json();
        assert!(names.insert(json["operationId"].to_string()), "{path}");
        let is_its = |heading: &Value| heading["name"] == json["tags"][0];
        assert!(headings.iter().any(is_its), "{path}");
        let responses = json["responses"].as_object().expect("responses");
        assert!(
            responses.keys().any(|status| status.starts_with('2')),
            "{path}"
        );
        let none = Vec::new();
        let parameters = json["parameters"].as_array().unwrap_or(&none);
        let of_path = parameters.iter().filter(|one| one["in"] == "path");
        let of_path: Vec<_> = of_path.filter_map(|one| one["name"].as_str()).collect();
        let parts = path.split('{').skip(1);
        let parts: Vec<_> = parts.filter_map(|part| part.split('}').next()).collect();
        assert_eq!(of_path, parts, "{path}");
    }
}
