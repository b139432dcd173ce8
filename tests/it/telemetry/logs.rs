//! What log lines say in JSON.

use flotilla_tests::CLAUDE_KEY;
use serde_json::{Value, json};

use super::{
    EVENT, EXPORT_KEY, REPLY, allow, builder,
    collector::{Collector, OUTPUT},
    submit,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_lines_in_json_say_which_run_and_step_they_are_about() {
    let collector = Collector::start().await;
    let filter = "info,flotilla_gateway=debug,flotilla_planner=debug,flotilla_executor=debug";
    let fleet = builder(&collector, &collector.url(""))
        .env("FLOTILLA_LOG", "json")
        .env("RUST_LOG", filter)
        .start()
        .await;
    let run = submit(&fleet, "a").await;
    allow(&fleet, &run).await;
    assert_eq!(fleet.wait_run_end(&run).await.status, "completed");

    let roles = fleet.planners.iter().chain(&fleet.executors);
    let (mut plans, mut acts) = (0, 0);
    for role in roles.chain([&fleet.gateway]) {
        let log = role.log();
        for secret in [EVENT, REPLY, OUTPUT, CLAUDE_KEY, EXPORT_KEY] {
            assert!(!log.contains(secret), "{secret} in {log}");
        }
        for text in log.lines() {
            let line: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"));
            let fields = line.as_object().unwrap();
            assert!(fields.values().all(|value| !value.is_object()), "{text}");
            for always in ["timestamp", "level", "message", "target"] {
                assert!(fields[always].is_string(), "{text}");
            }
            match line["doing"].as_str() {
                Some("plan") => plans += 1,
                Some("ask") => assert_eq!(line["step"], "ask", "{text}"),
                Some("act") => {
                    acts += 1;
                    let said = [&line["step"], &line["tool"], &line["attempt"]];
                    assert_eq!(said, [&json!("act"), &json!("act"), &json!(1)], "{text}");
                }
                _ => continue,
            }
            assert_eq!(line["run"], *run, "{text}");
            assert_eq!(line["trace_id"], run.trim_start_matches("run_"), "{text}");
            assert_eq!(line["span_id"].as_str().map(str::len), Some(16), "{text}");
        }
    }
    assert!(plans > 0 && acts > 0, "{plans} and {acts}");
}
