//! Tools and steps that are switched off and on.

use serde_json::{Value, json};

use super::{apply, body, gateway, refused, told};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_and_steps_are_switched_by_the_command_line() {
    let fleet = gateway().await;
    assert_eq!(apply(&fleet, &body(1, "/")).await.status, 200);
    assert_eq!(
        told(&fleet, &["switch", "list"]).await,
        "nothing is switched off\n"
    );
    let why = ["--reason", "it lists too much"];
    let off = |what: &[&'static str]| [&["switch", "off"], what, &why].concat();

    let tool = told(&fleet, &off(&["tool", "list@1"])).await;
    assert_eq!(
        tool,
        "tool `list@1` is switched off: what is decided for it is refused\non again: flotilla switch on tool list@1\n"
    );
    let held = told(&fleet, &off(&["tool", "list", "--hold"])).await;
    assert!(held.contains("waits"), "{held}");
    told(&fleet, &off(&["step", "desk", "look"])).await;
    let listed = told(&fleet, &["switch", "list"]).await;
    for line in [
        "tool `list@1` since",
        "tool `list`, held since",
        "step `look` of workflow `desk` since",
        "by ann: it lists too much",
    ] {
        assert!(listed.contains(line), "{line}:\n{listed}");
    }
    let workflows = told(&fleet, &["workflows"]).await;
    assert!(
        workflows.contains("    step look is switched off since"),
        "{workflows}"
    );

    for (what, words) in [
        (
            ["tool", "lst"].as_slice(),
            "there is no tool `lst` here (404",
        ),
        (&["tool", "list@7"], "(404"),
        (&["step", "desk", "lok"], "has a step `lok` (404"),
        (
            &["step", "dsk", "look"],
            "there is no workflow `dsk` here (404",
        ),
        (
            &["step", "desk", "sure"],
            "a person's say cannot be skipped (409",
        ),
    ] {
        let said = refused(&fleet, &off(what)).await;
        assert!(said.contains(words), "{what:?}: {said}");
    }
    for what in [
        ["tool", "list@1"].as_slice(),
        &["tool", "list"],
        &["step", "desk", "look"],
    ] {
        let on = [&["switch", "on"], what].concat();
        assert!(told(&fleet, &on).await.contains("is on again"));
        assert!(
            refused(&fleet, &on)
                .await
                .contains("is not switched off (404")
        );
    }
    let listed: Value = fleet.api().get("/v1/switches").await.json();
    assert_eq!(listed, json!({"switches": []}));
}
