//! The examples under `workflows/`, all of them loaded as one catalogue as a newcomer has them: each from its own event to what it
//! leaves in the world, with the simulated Claude deciding by what it is given.

mod checkpoint;
mod hand_over;
mod stand;

use serde_json::json;

use stand::Stand;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contract_is_read_judged_and_written_up_each_by_the_model_that_it_needs() {
    let stand = Stand::start().await;
    let run = stand.submit("contract-review", "a", |_| {}).await;
    assert_eq!(stand.end(&run).await.0, "completed");
    let steps = stand.decided(&run).await;
    assert_eq!(steps, ["terms", "risk", "summary", "file", "end"]);
    let models = stand.models(&run).await;
    let expected = ["claude-haiku-5-5", "claude-opus-5-5", "claude-haiku-5-5"];
    assert_eq!(models, expected);
    let page = stand.file("contract-C-2026-118.md");
    for said in [
        "Risk: high",
        "liable without limit",
        "180 days",
        "36 months",
    ] {
        assert!(page.contains(said), "no `{said}` in {page}");
    }
    // The judge sees the terms and not the contract.
    let asked = stand.fleet.sim.bodies_of(&run).await;
    let (first, second) = (asked[0].to_string(), asked[1].to_string());
    assert!(first.contains("1. Parties.") && first.contains("Master Service Agreement"));
    assert!(second.contains("1. Parties.") && !second.contains("Master Service Agreement"));

    let harmless = stand.submit("contract-review", "b", |data| {
        let text = data["text"].as_str().unwrap();
        let text = text.replace(
            "is liable without limit for its users",
            "is liable likewise",
        );
        data["text"] = text
            .replace(" It renews automatically for 12 months each time.", "")
            .into();
        data["id"] = "C-2".into();
    });
    let harmless = harmless.await;
    assert_eq!(stand.end(&harmless).await.0, "completed");
    assert!(stand.file("contract-C-2.md").contains("Risk: low"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_and_every_side_of_a_document_is_in_its_report() {
    let stand = Stand::start().await;
    let run = stand.submit("document-analysis", "a", |_| {}).await;
    assert_eq!(stand.end(&run).await.0, "completed");
    let journal = stand.fleet.journal(&run).await;
    let seq = |step: &str| {
        let found = journal.0.iter().rfind(|entry| entry.text("/step") == step);
        found.unwrap_or_else(|| panic!("no `{step}`")).seq
    };
    let pages = ["read[0]", "read[1]", "read[2]"].map(seq);
    let sides = ["figures", "risks", "gaps", "earlier"].map(seq);
    assert!(
        pages.iter().max() < sides.iter().min(),
        "all pages come before any side"
    );
    assert!(
        sides.iter().all(|side| *side < seq("report")),
        "and all sides before the report"
    );

    // Each side has read every page, and the report has every side.
    let asked = stand.fleet.sim.bodies_of(&run).await;
    let texts: Vec<String> = asked.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 3 + 3 + 1);
    for side in &texts[3..6] {
        assert!(
            ["1.9 million", "2.17 million", "one carrier"]
                .iter()
                .all(|said| side.contains(said)),
            "{side}"
        );
        assert!(!side.contains("no parcel leaves"), "no side sees another");
    }
    for said in [
        "The summary says",
        "no parcel leaves",
        "What do the people in the warehouse say",
        "Earlier report:\\n<data>none",
    ] {
        assert!(texts[6].contains(said), "no `{said}` in {}", texts[6]);
    }
    let report = stand.file("report-D-31.md");
    for said in [
        "Contradiction: The summary says",
        "no parcel leaves",
        "delivery times based on",
        "no earlier report",
    ] {
        assert!(report.contains(said), "no `{said}` in {report}");
    }

    // A page that cannot be read is told, and the rest goes on; what was filed before is seen.
    let again = stand
        .submit("document-analysis", "b", |data| {
            data["pages"][1] = json!({"scan": true})
        })
        .await;
    assert_eq!(stand.end(&again).await.0, "completed");
    let asked = stand.fleet.sim.bodies_of(&again).await;
    let last = asked.last().unwrap().to_string();
    assert!(
        last.contains("could not be read: <data>1</data> of <data>3</data>"),
        "{last}"
    );
    assert!(
        stand
            .file("report-D-31.md")
            .contains("There was an earlier report: # Moving the warehouse")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_goes_to_the_desk_that_it_is_for_and_to_a_person_where_that_is_a_guess() {
    let stand = Stand::start().await;
    let ticket = async |id: &str, body: &str| {
        let submitted = stand.submit("support-router", id, |data| {
            data["id"] = id.into();
            data["subject"] = "Help".into();
            data["body"] = body.into();
        });
        submitted.await
    };
    for (id, body, desk, model) in [
        (
            "T-1",
            "Please refund the invoice of May.",
            "billing",
            "claude-haiku-5-5",
        ),
        (
            "T-2",
            "Nobody can print: there is an error 17.",
            "technical",
            "claude-sonnet-5-5",
        ),
        (
            "T-3",
            "I cannot sign in any more.",
            "account",
            "claude-haiku-5-5",
        ),
    ] {
        let run = ticket(id, body).await;
        assert_eq!(stand.end(&run).await.0, "completed", "{id}");
        assert_eq!(stand.ways(&run).await, ["route", desk], "{id}");
        assert_eq!(
            stand.models(&run).await,
            ["claude-haiku-5-5", model],
            "{id}"
        );
        stand.file(&format!("queue-{desk}-{id}.md"));
    }

    // Two desks' words are a guess. Nothing is prepared before a person has answered; yes is the guess, no the general queue.
    for (id, verdict, way, queue) in [
        ("T-4", "approve", "billing", "queue-billing-T-4.md"),
        ("T-5", "reject", "queue", "queue-general-T-5.md"),
    ] {
        let run = ticket(id, "The invoice page gives an error.").await;
        let asked = stand.waits(&run, "person").await;
        assert_eq!(asked["show"]["question"], "Is this for the desk `billing`?");
        assert_eq!(stand.models(&run).await.len(), 1);
        stand
            .tell(
                &run,
                verdict,
                json!({"step": "person", "hash": asked["hash"], "by": "ana", "reason": "seen"}),
            )
            .await;
        assert_eq!(stand.end(&run).await.0, "completed", "neither is a failure");
        assert_eq!(stand.ways(&run).await, ["", way]);
        stand.file(queue);
    }
    let none = ticket("T-6", "Good morning.").await;
    stand.waits(&none, "person").await;
    assert!(!stand.left().iter().any(|path| path.contains("T-6")));
}
