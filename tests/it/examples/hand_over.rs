//! Research: one agent hands over to another, and what they cost is their caller's.

use serde_json::{Value, json};

use super::stand::Stand;

/// The runs that a run had run, by step: (step, run, workflow), in order.
async fn children(stand: &Stand, run: &str) -> Vec<(String, String, String)> {
    let decisions = stand.decisions(run).await;
    let runs = decisions.iter().filter(|entry| entry.name == "run");
    let told = runs.map(|entry| {
        let told = ["/step", "/decision/child", "/decision/workflow"];
        told.map(|place| entry.text(place).to_owned()).into()
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_agent_finds_another_one_mends_and_a_third_writes_down() {
    let stand = Stand::start().await;
    let run = stand.submit("research", "a", |_| {}).await;
    assert_eq!(stand.end(&run).await.0, "completed");
    let children = children(&stand, &run).await;
    let who: Vec<_> = children
        .iter()
        .map(|(step, _, workflow)| (step.as_str(), workflow.as_str()))
        .collect();
    let expected = [
        ("study", "research-study"),
        ("remedy", "research-remedy"),
        ("brief", "research-brief"),
    ];
    assert_eq!(who, expected);

    // The findings went from one to the other, and nothing else of the material did.
    let given = async |run: &str| -> Value {
        let journal = stand.fleet.journal(run).await;
        let started = journal.of("started", None).next().unwrap();
        started.at("/event/data").clone()
    };
    let study = given(&children[0].1).await;
    assert_eq!(
        study["sheets"],
        json!([
            "nightly.log",
            "export.conf",
            "changes.md",
            "nordwind-api.md"
        ])
    );
    assert!(
        !study.to_string().contains("started, 41,200 rows"),
        "what stands on the sheets is read, not sent"
    );
    let remedy = given(&children[1].1).await;
    let findings = remedy["findings"].as_str().unwrap();
    assert!(
        findings.ends_with("Change export.conf: batch_size = 500"),
        "{findings}"
    );

    // It is mended, once, and seen to be.
    let journal = stand.fleet.journal(&children[1].1).await;
    let tools: Vec<_> = journal
        .of("resulted", None)
        .map(|entry| entry.name.as_str())
        .collect();
    assert_eq!(tools, ["read_sheet", "change_setting", "read_sheet"]);
    assert_eq!(
        stand.file("case-Q-7/export.conf"),
        "# nightly export\ntarget = nordwind\nbatch_size = 500\ntimeout_seconds = 30\nretries = 0\n"
    );
    let brief = stand.file("brief-Q-7.md");
    assert!(
        brief.contains("within 30 s") && brief.contains("is now \"batch_size = 500\""),
        "{brief}"
    );

    // Each child's cost is on the journal of the run that called it, within what it was allotted.
    let journal = stand.fleet.journal(&run).await;
    let mut told = 0;
    for (step, child, _) in &children {
        let at = |kind| {
            journal
                .of(kind, Some("run"))
                .find(|entry| entry.text("/step") == step)
                .unwrap()
        };
        let cost = at("resulted").at("/usd_nano").as_u64().unwrap();
        let allotted = at("decided").at("/decision/usd_nano").as_u64().unwrap();
        let billed: u64 = stand
            .fleet
            .sim
            .ledger_of(child)
            .await
            .iter()
            .map(|call| call.usd_nano)
            .sum();
        assert_eq!(cost, billed, "{step}");
        assert!(0 < cost && cost <= allotted, "{step}: {cost} of {allotted}");
        told += cost;
    }
    let billed = stand.fleet.sim.summary().await;
    assert_eq!(
        billed["usd_nano"].as_u64(),
        Some(told),
        "nobody else asked Claude: {billed}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_is_to_be_mended_the_agent_that_could_is_not_called() {
    let stand = Stand::start().await;
    let run = stand.submit("research", "a", |data| {
        data["material"][0]["text"] = "2026-11-17T02:00:03Z export done".into();
    });
    let run = run.await;
    assert_eq!(stand.end(&run).await.0, "completed");
    let children = children(&stand, &run).await;
    let steps: Vec<_> = children.iter().map(|(step, ..)| step.as_str()).collect();
    assert_eq!(steps, ["study", "brief"]);
    assert_eq!(stand.ways(&run).await, ["brief"]);
    assert!(
        stand
            .file("case-Q-7/export.conf")
            .contains("batch_size = 5000")
    );
    assert!(
        stand
            .file("brief-Q-7.md")
            .contains("The material shows no fault")
    );
}
