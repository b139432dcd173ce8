//! Decisions as people can look into them: what Claude saw, and several at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use flotilla_tests::{Answer, Entry, Fleet, PATIENCE, Sink, Workflows, flotilla, run_flotilla};
use serde_json::{Value, json};

/// Two repairs at once, then the end.
const WIDE: &str = r#"
workflow: wide
version: 1
on: {event: test.wide}
model: haiku
steps:
  - id: work
    agent:
      goal: Repair what is broken.
      tools: [repair@1]
      ends: [resolve, escalate]
      parallel: 3
      max_loops: 4
"#;

const POLICIES: &str = r"
policies:
  - policy: work
    when: true
    rules:
      - when: calls | length == 0
        uses:
          - use: repair
            with: {reasoning: It is the disk., confidence: 0.9, with: {part: disk}}
          - use: repair
            with: {reasoning: It is the fan., confidence: 0.8, with: {part: fan}}
          - use: repair
            with: {reasoning: 'Its key was sk-ant-api03-not_a_real_one.', confidence: 0.7, with: {part: lid}}
      - use: resolve
        with: {reasoning: All of it is repaired., confidence: 0.9, summary: 'after {{ calls | length }} repairs'}
";

async fn wide(sink: &Sink) -> Fleet {
    let tools = format!(
        r"
tools:
  - tool: repair
    version: 1
    description: Repairs a part.
    input: {{type: object, properties: {{part: {{type: string}}}}, required: [part], additionalProperties: false}}
    effect: idempotent
    http: {{method: POST, url: '{}', body: {{part: '{{{{ input.part }}}}'}}}}
",
        sink.url("/repair")
    );
    let files = [
        ("wide.yaml", WIDE),
        ("tools.yaml", &tools),
        ("policies.yaml", POLICIES),
    ];
    let workflows = Workflows::files(&files);
    let builder = Fleet::builder().workflows(workflows);
    builder.planners(2).executors(2).start().await
}

async fn explain(fleet: &Fleet, run: &str, step: &str) -> Answer {
    let path = format!("/v1/runs/{run}/explain/{}", step.replace('/', "%2F"));
    fleet.api().get(&path).await
}

/// The steps and turns that Claude decided, each once.
fn asked(journal: &[Entry]) -> BTreeSet<String> {
    let asked = journal.iter().filter(|entry| entry.at("/call").is_object());
    asked.map(|entry| entry.text("/step").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_tools_of_one_reply_are_decided_together_done_once_each_and_answered_together() {
    let sink = Sink::start().await;
    let fleet = wide(&sink).await;
    let event = json!({"type": "test.wide", "data": {}});
    let run = fleet.submit(&event).await.runs.remove(0);
    let end = fleet.wait_run_end(&run).await;
    assert_eq!((end.status.as_str(), end.model_calls), ("completed", 2));

    let journal = fleet.journal(&run).await.0;
    let acts = journal
        .iter()
        .filter(|entry| entry.text("/decision/kind") == "act");
    let acts: Vec<_> = acts
        .map(|act| {
            (
                act.seq,
                act.at("/branch").as_u64(),
                act.at("/call").is_object(),
            )
        })
        .collect();
    let first = acts[0].0;
    let expected = [(0, true), (1, false), (2, false)];
    let expected: Vec<_> = (first..)
        .zip(expected)
        .map(|(seq, (branch, called))| (seq, Some(branch), called))
        .collect();
    assert_eq!(acts, expected, "one batch, without a gap");
    let parts: Vec<_> = sink
        .effects()
        .into_values()
        .map(|effect| (effect.executions, effect.bodies[0]["part"].clone()))
        .collect();
    let done: BTreeMap<String, usize> = parts
        .iter()
        .map(|(n, part)| (part.to_string(), *n))
        .collect();
    assert_eq!(
        done,
        [("\"disk\"", 1), ("\"fan\"", 1), ("\"lid\"", 1)]
            .map(|(p, n)| (p.to_owned(), n))
            .into()
    );

    let explained: Value = explain(&fleet, &run, "work/2").await.json();
    assert_eq!(explained["prompt"]["verdict"], "same", "{explained}");
    assert_eq!(
        explained["decisions"][0]["decision"]["summary"],
        "after 3 repairs"
    );
    let results = &explained["prompt"]["request"]["messages"][2]["content"];
    assert_eq!(results.as_array().map(Vec::len), Some(3), "{results}");

    let explained = explain(&fleet, &run, "work/1").await;
    let text = explained.text.clone();
    assert!(
        !text.contains("sk-ant-api03") && text.contains("Its key was [redacted]."),
        "{text}"
    );
    let explained: Value = explained.json();
    assert_eq!(explained["decisions"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        explained["call"]["menu"],
        json!(["repair@1", "resolve", "escalate"])
    );

    let shown = ["explain", &run, "work/1", "--url", fleet.api().base()];
    let shown = run_flotilla(&shown, &[], PATIENCE).await.output;
    assert!(
        shown.contains("the same prompt as was sent")
            && shown.contains("repair@1, resolve, escalate"),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_prompt_of_an_incident_is_built_again_to_the_byte_and_strict_where_it_can_be() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let data = tempfile::tempdir().unwrap();
    let fleet = Fleet::builder()
        .workflows(Workflows::at(root.join("workflows")))
        .env("DEMO_DIR", data.path().to_str().unwrap())
        .env("DEMO_URL", "http://127.0.0.1:9")
        .env("FLOTILLA_BIN", flotilla().to_str().unwrap())
        .start()
        .await;
    let alert = std::fs::read_to_string(root.join("docs/examples/alert.json")).unwrap();
    let hooked = fleet
        .api()
        .post("/v1/hooks/alertmanager", "application/json", alert)
        .await;
    let hooked: Value = hooked.json();
    let run = hooked["events"][0]["runs"][0].as_str().unwrap().to_owned();
    fleet.wait_run_end(&run).await;

    let journal = fleet.journal(&run).await.0;
    let asked = asked(&journal);
    assert!(
        asked.contains("triage/2") && asked.contains("summary"),
        "{asked:?}"
    );
    let mut strict = BTreeMap::new();
    for step in &asked {
        let explained: Value = explain(&fleet, &run, step).await.json();
        assert_eq!(
            explained["prompt"]["verdict"], "same",
            "{step}: {explained}"
        );
        let tools = &explained["prompt"]["request"]["tools"];
        for tool in tools.as_array().into_iter().flatten() {
            let name = tool["name"].as_str().unwrap().to_owned();
            strict.insert(name, tool["strict"] == true);
        }
    }
    // Lengths and ranges cannot be compiled; the others can, and the simulated Claude took them.
    let expected = [
        ("answer", false),
        ("check_health", true),
        ("disk_usage", false),
        ("escalate", true),
        ("processes", true),
        ("resolve", true),
        ("restart_service", true),
        ("tail_log", false),
    ];
    assert_eq!(
        strict,
        expected
            .map(|(name, strict)| (name.to_owned(), strict))
            .into()
    );

    let problem = async |step: &str, status: u16| {
        let answer = explain(&fleet, &run, step).await;
        assert_eq!(
            (answer.status, answer.content_type.as_str()),
            (status, "application/problem+json"),
            "{}",
            answer.text
        );
        answer.json::<Value>()["detail"].to_string()
    };
    let detail = problem("triage", 404).await;
    assert!(
        detail.contains("there are decisions for severity, overview, triage/1"),
        "{detail}"
    );
    problem("triage/0", 400).await;
    problem("no step", 400).await;
    let nobody = "run_00000000000000000000000000000000";
    assert_eq!(explain(&fleet, nobody, "triage/1").await.status, 404);
    assert_eq!(explain(&fleet, "no-run", "triage/1").await.status, 400);
}
