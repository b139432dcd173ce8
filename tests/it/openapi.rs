//! The API is what its description says, also when it is asked nonsense.

use std::{path::Path, process::Command};

use flotilla_tests::{Fleet, Sink};
use serde_json::Value;

use crate::flows::{incident, incidents};

/// Another one finds other things: after a change of the API it is worth trying a few.
const SEED: &str = "7";
/// Cases of each operation, besides those that follow from its description; as many as end within a minute or so.
const CASES: &str = "4";
/// What is not asked: a stream without an end.
const ENDLESS: &str = "/v1/live";
/// What does not hold here: an event of a type that nobody knows fits the description and is refused; and this fleet asks for no tokens.
const NOT_PROMISED: &str = "positive_data_acceptance,ignored_auth";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_is_what_its_description_says_whatever_it_is_asked() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let fuzz = fuzz.join(".tools/fuzz/run");
    assert!(
        fuzz.exists(),
        "there is no {}; `deploy/get-tools --sdk` makes it",
        fuzz.display()
    );
    let sink = Sink::start().await;
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;
    for id in ["a", "b", "c"] {
        let [run] = fleet.submit(&incident(id)).await.runs.try_into().unwrap();
        fleet.wait_run_end(&run).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}/openapi.json", fleet.api().base());
    let folder_of_fuzz = folder.path().to_owned();
    let fuzzing = tokio::task::spawn_blocking(move || {
        Command::new(fuzz)
            .args(["--no-color", "run", &url, "--exclude-path", ENDLESS])
            .args(["--phases", "coverage,fuzzing", "--seed", SEED, "-n", CASES])
            .args(["--checks", "all", "--exclude-checks", NOT_PROMISED])
            .args(["--request-timeout", "30", "--generation-database", "none"])
            .args(["--warnings", "off"])
            .current_dir(folder_of_fuzz)
            .output()
    });
    let fuzzed = fuzzing.await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&fuzzed.stdout);
    assert!(fuzzed.status.success(), "{told}");
    // That it has looked at all is seen from what it says.
    assert!(told.contains("Tested: "), "{told}");
    assert!(!told.contains("Tested: 0"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_and_its_pages_come_from_the_binary_and_load_nothing_from_elsewhere() {
    let sink = Sink::start().await;
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;
    let answer = fleet.api().get("/openapi.json").await;
    assert_eq!(
        (answer.status, answer.content_type.as_str()),
        (200, "application/json")
    );
    let document: Value = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/v1/runs"]["get"].is_object());
    let page = fleet.api().get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(
        !page.text.contains("http://") && !page.text.contains("https://"),
        "{}",
        page.text
    );
    for file in [
        "swagger-ui.css",
        "swagger-ui-bundle.js",
        "swagger-ui-standalone-preset.js",
    ] {
        assert!(page.text.contains(file));
        assert_eq!(
            fleet.api().get(&format!("/docs/{file}")).await.status,
            200,
            "{file}"
        );
    }
    let script = fleet.api().get("/docs/swagger-initializer.js").await.text;
    assert!(script.contains("\"/openapi.json\"") && script.contains("\"validatorUrl\": \"none\""));
}
