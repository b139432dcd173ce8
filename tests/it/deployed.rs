//! What the files under `deploy/` and `docker-compose.yml` name: programs, variables, files and settings that there are.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use flotilla_tests::{PATIENCE, run_flotilla};
use serde_json::Value;

/// What only the compose files read.
const OF_COMPOSE: [&str; 6] = [
    "FLOTILLA_PORT",
    "FLOTILLA_NATS_STORAGE",
    "FLOTILLA_WORKFLOWS_DIR",
    "FLOTILLA_PROMETHEUS_PORT",
    "FLOTILLA_GRAFANA_PORT",
    "FLOTILLA_CHAOS_FOR",
];
/// Settings that can also be read from a file, which no help lists.
const IN_FILES: [&str; 2] = ["FLOTILLA_NATS_URL_FILE", "FLOTILLA_REDIS_URL_FILE"];
/// What people put there themselves.
const CLAUDE_KEY: &str = "credentials/anthropic_api_key";

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().to_owned()
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

const BASE: &str = "deploy/kubernetes/base";

/// The objects of a file of the base.
fn objects(file: &str) -> Vec<Value> {
    let text = read(&format!("{BASE}/{file}"));
    let documents = text.split("\n---\n");
    documents
        .map(|one| serde_saphyr::from_str(one).unwrap_or_else(|e| panic!("{file}: {e}")))
        .collect()
}

fn list<'v>(value: &'v Value, pointer: &str) -> Vec<&'v Value> {
    let found = value.pointer(pointer).and_then(Value::as_array);
    found.into_iter().flatten().collect()
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

/// The resources of the base, with their files.
fn resources() -> Vec<(String, Value)> {
    let kustomization = objects("kustomization.yaml").remove(0);
    let files = list(&kustomization, "/resources");
    let files = files.into_iter().map(|file| file.as_str().unwrap());
    files
        .flat_map(|file| {
            objects(file)
                .into_iter()
                .map(move |one| (file.to_owned(), one))
        })
        .collect()
}

/// The variables of ours that a text names outside of comments.
fn variables(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.trim().starts_with('#'));
    let words = lines.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    let ours = words.filter(|w| w.starts_with("FLOTILLA_") || w.starts_with("ANTHROPIC_"));
    ours.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variable_of_a_deployment_is_one_that_a_role_reads() {
    let help = run_flotilla(&["gateway", "--help"], &[], PATIENCE).await;
    let known = variables(&help.output);
    assert!(known.contains("FLOTILLA_DRAIN"), "{known:?}");
    let mut files = vec![
        "docker-compose.yml".to_owned(),
        "deploy/compose/cluster.yml".to_owned(),
    ];
    files.extend(
        resources()
            .into_iter()
            .map(|(file, _)| format!("{BASE}/{file}")),
    );
    for file in files {
        for variable in variables(&read(&file)) {
            let there = known.contains(&variable)
                || OF_COMPOSE.contains(&&*variable)
                || IN_FILES.contains(&&*variable);
            assert!(there, "{file}: {variable}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_secret_of_the_kubernetes_base_is_made_and_mounted_by_its_own_role_only() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("credentials");
    let args = ["credentials", made.to_str().unwrap()];
    let ran = run_flotilla(&args, &[], PATIENCE).await;
    assert!(ran.status.success(), "{}", ran.output);
    let kustomization = objects("kustomization.yaml").remove(0);
    let mut names = BTreeSet::new();
    for secret in list(&kustomization, "/secretGenerator") {
        let name = text(secret, "/name");
        let owner = name.strip_suffix("-credentials").unwrap();
        names.insert(name.to_owned());
        for file in list(secret, "/files") {
            let file = file.as_str().unwrap();
            if file == CLAUDE_KEY {
                assert_eq!(owner, "planner");
                continue;
            }
            assert!(file.starts_with(&format!("credentials/{owner}/")), "{file}");
            assert!(folder.path().join(file).exists(), "{file}");
        }
    }
    for map in list(&kustomization, "/configMapGenerator") {
        let file = list(map, "/files")[0].as_str().unwrap();
        let of_compose = format!("deploy/{}/{file}", text(map, "/name"));
        assert_eq!(read(&format!("{BASE}/{file}")), read(&of_compose));
    }
    for (file, object) in resources() {
        for volume in list(&object, "/spec/template/spec/volumes") {
            if let Some(secret) = volume.pointer("/secret/secretName") {
                let own = format!("{}-credentials", text(&object, "/metadata/name"));
                assert_eq!(secret, &own, "{file}");
                assert!(names.contains(&own), "{file}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_pod_of_the_kubernetes_base_runs_a_role_and_without_rights() {
    let mut roles = BTreeSet::new();
    for (file, object) in resources() {
        for container in list(&object, "/spec/template/spec/containers") {
            let pod = object.pointer("/spec/template/spec/securityContext");
            assert_eq!(pod.unwrap()["runAsNonRoot"], true, "{file}");
            let own = &container["securityContext"];
            assert_eq!(own["readOnlyRootFilesystem"], true, "{file}");
            assert_eq!(own["allowPrivilegeEscalation"], false, "{file}");
            assert_eq!(own["capabilities"]["drop"][0], "ALL", "{file}");
            let image = text(container, "/image");
            if image != "flotilla" {
                let compose = read("docker-compose.yml");
                assert!(compose.contains(&format!("image: {image}\n")), "{image}");
                continue;
            }
            let role = text(container, "/args/0");
            let help = run_flotilla(&[role, "--help"], &[], PATIENCE).await;
            assert!(help.status.success(), "{}", help.output);
            roles.insert(role.to_owned());
        }
        if text(&object, "/kind") == "ScaledObject" {
            assert!(roles.contains(text(&object, "/spec/scaleTargetRef/name")));
            let account = text(&object, "/spec/triggers/0/metadata/account");
            let nats = read("deploy/kubernetes/base/nats.conf");
            assert!(
                nats.contains(&format!("accounts {{\n  {account} {{\n")),
                "{account}"
            );
        }
    }
    assert_eq!(roles.len(), 3, "{roles:?}");
}
