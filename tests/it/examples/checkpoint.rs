//! Customer onboarding: nothing that costs money before a person agrees, and a way back from everything.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use super::stand::Stand;

const ACCOUNT: &str = "customer-nordwind";
const WORKSPACE: &str = "customer-nordwind/workspace-eu";
const SEATS: &str = "customer-nordwind/workspace-eu/seats-25";
const NOTE: &str = "desk-nordwind-consent.txt";

fn set(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(ToString::to_string).collect()
}

/// A run that waits for consent, and what it waits for: the account and the workspace are there, the seats are not, and the desk was
/// told.
async fn waiting(stand: &Stand) -> (String, Value) {
    let run = stand.submit("customer-onboarding", "a", |_| {}).await;
    let asked = stand.waits(&run, "seats").await;
    let journal =
        flotilla_tests::eventually("the desk is told", flotilla_tests::PATIENCE, async || {
            let journal = stand.fleet.journal(&run).await;
            let told = journal.of("resulted", Some("tell_desk")).count() == 1;
            if told { Ok(journal) } else { Err("not yet") }
        });
    let journal = journal.await;
    assert_eq!(journal.of("decided", Some("book_seats")).count(), 0);
    assert_eq!(stand.left(), set(&[ACCOUNT, WORKSPACE, NOTE]));
    assert!(
        stand
            .file(NOTE)
            .contains(&format!("flotilla approve {run} seats"))
    );
    (run, asked)
}

/// What a run has undone, in order: each result follows the one before it.
async fn undone(stand: &Stand, run: &str) -> Vec<String> {
    let journal = stand.fleet.journal(run).await;
    let undone = journal
        .0
        .iter()
        .filter(|entry| entry.text("/step").ends_with("!undo"));
    let steps: Vec<String> = undone
        .map(|entry| format!("{} {}", entry.kind, entry.text("/step")))
        .collect();
    steps
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_is_set_up_when_a_person_agrees_with_as_many_seats_as_they_say() {
    let stand = Stand::start().await;
    let (run, asked) = waiting(&stand).await;
    assert_eq!(
        asked["with"],
        json!({"customer": "nordwind", "region": "eu", "seats": 25})
    );
    let fewer = json!({"customer": "nordwind", "region": "eu", "seats": 20});
    stand
        .tell(
            &run,
            "approve",
            json!({"step": "seats", "hash": asked["hash"], "by": "ana", "with": fewer}),
        )
        .await;
    assert_eq!(stand.end(&run).await.0, "completed");
    let seats = "customer-nordwind/workspace-eu/seats-20";
    assert_eq!(
        stand.left(),
        set(&[ACCOUNT, WORKSPACE, seats, NOTE, "mail-nordwind.txt"])
    );
    let mail = stand.file("mail-nordwind.txt");
    for said in [
        "To: petra.lindt@nordwind.example",
        "20 seats are booked",
        "a training of two hours",
    ] {
        assert!(mail.contains(said), "no `{said}` in {mail}");
    }
    assert!(undone(&stand, &run).await.is_empty());

    // Another deal of the same customer takes nothing over, and takes nothing away.
    let second = stand.submit("customer-onboarding", "b", |_| {}).await;
    let (status, reason) = stand.end(&second).await;
    assert_eq!(status, "failed");
    assert!(
        reason.contains("step `account`") && reason.contains("File exists"),
        "{reason}"
    );
    assert!(stand.left().contains(seats));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_made_for_a_customer_is_taken_away_in_reverse_when_a_person_says_no() {
    let stand = Stand::start().await;
    let (run, asked) = waiting(&stand).await;
    stand
        .tell(
            &run,
            "reject",
            json!({"step": "seats", "hash": asked["hash"], "by": "ana", "reason": "no budget"}),
        )
        .await;
    let (status, reason) = stand.end(&run).await;
    assert_eq!(status, "failed");
    assert!(reason.contains("no budget"), "{reason}");
    let steps = [
        "decided workspace!undo",
        "resulted workspace!undo",
        "decided account!undo",
        "resulted account!undo",
    ];
    assert_eq!(undone(&stand, &run).await, steps);
    assert_eq!(stand.left(), set(&[NOTE, "desk-nordwind-undone.txt"]));
    let note = stand.file("desk-nordwind-undone.txt");
    assert!(
        note.contains("failed and is undone") && note.contains("no budget"),
        "{note}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_booked_for_a_customer_is_taken_away_in_reverse_when_the_last_step_fails() {
    let stand = Stand::start().await;
    let (run, asked) = waiting(&stand).await;
    // Where the mail is to be written, something else stands.
    fs::create_dir(stand.folder.path().join("mail-nordwind.txt")).unwrap();
    stand
        .tell(
            &run,
            "approve",
            json!({"step": "seats", "hash": asked["hash"], "by": "ana"}),
        )
        .await;
    let (status, reason) = stand.end(&run).await;
    assert_eq!(status, "failed");
    assert!(reason.contains("step `send`"), "{reason}");
    let journal = stand.fleet.journal(&run).await;
    let booked = journal
        .of("resulted", Some("book_seats"))
        .next()
        .expect("seats were booked");
    assert_eq!(
        booked.at("/outcome/output/stdout"),
        &json!(format!("mkdir: created directory '{SEATS}'\n"))
    );
    let steps: Vec<String> = ["seats", "workspace", "account"]
        .iter()
        .flat_map(|step| {
            [
                format!("decided {step}!undo"),
                format!("resulted {step}!undo"),
            ]
        })
        .collect();
    assert_eq!(undone(&stand, &run).await, steps);
    assert_eq!(
        stand.left(),
        set(&[NOTE, "desk-nordwind-undone.txt", "mail-nordwind.txt"])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deal_that_contradicts_itself_goes_back_before_anything_is_made() {
    let stand = Stand::start().await;
    let run = stand
        .submit("customer-onboarding", "a", |data| {
            data["customer"]["seats"] = 30.into()
        })
        .await;
    let (status, reason) = stand.end(&run).await;
    assert_eq!(status, "escalated");
    assert!(
        reason.contains("30 seats") && reason.contains("25 people"),
        "{reason}"
    );
    assert_eq!(stand.ways(&run).await, [""]);
    assert_eq!(stand.left(), set(&[]));
}
