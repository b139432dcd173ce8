//! Hostile events and tool outputs, with a model that obeys them: every example of the repository is started with every kind of
//! attack in every text of its event, and has its tools answer with each. The worst that comes of it is what its menu has.

mod checks;
mod example;
mod ids;
mod menu;
mod sight;
mod stage;
mod texts;
mod ways;

use std::collections::BTreeMap;

use checks::{Before, Seen};
use example::{Example, examples};
use stage::Stage;
use texts::Hostile;

/// Ends that a definition knows, and waiting for something else than a person.
const STANDS: [&str; 4] = ["completed", "escalated", "failed", "parked"];

/// All that is written into the example's event and tools: each kind of text, and an order for each tool that there is.
fn attacks(stage: &Stage) -> Vec<Hostile> {
    let tools = stage.catalogue.tools.iter();
    let mut attacks = texts::orders(tools.map(|tool| tool.name.as_str()));
    attacks.extend(texts::all(&stage.pwned()));
    assert!(attacks.len() > 12);
    attacks
}

/// That every run came to an end that its definition knows, and says why if that is not `completed`.
async fn assert_ended(stage: &Stage, runs: &[String]) -> BTreeMap<String, (String, String)> {
    let stand = stage.settled(runs).await;
    for (run, (status, reason)) in &stand {
        assert!(STANDS.contains(&status.as_str()), "{run}: {status}");
        assert!(
            status == "completed" || !reason.is_empty(),
            "{run} is {status} and says not why"
        );
        assert!(!reason.contains("dead letter"), "{run}: {reason:.2000}");
    }
    stand
}

/// All that must hold for the runs since `before`.
async fn assert_round(stage: &Stage, before: &mut Before) -> Seen {
    let seen = Seen::since(stage, before).await;
    checks::only_the_menu_happened(stage, &seen);
    checks::every_try_is_told(&seen);
    checks::ceilings_hold(stage, &seen);
    sight::data_stays_in_its_marks(&seen);
    sight::nothing_is_revealed(stage, &seen).await;
    seen
}

/// The places of the event whose text can be anything, as far as the example goes on with it. Without the others no run starts, or
/// it ends because a step's parameters do not fit.
async fn harmless_places(stage: &Stage) -> Vec<String> {
    let example = &stage.example;
    let probe = |kind: &Hostile, place: &String| {
        let id = format!("probe {} {place}", kind.kind);
        example.event_with(&id, &kind.text, std::slice::from_ref(place))
    };
    let places = example.texts();
    let first = attacks(stage).remove(0);
    let started = stage
        .submit(places.iter().map(|place| probe(&first, place)).collect())
        .await;
    let stand = assert_ended(stage, &started.concat()).await;
    // What a person refused would have gone on.
    let fits =
        |(status, reason): &(String, String)| status != "failed" || reason.contains(stage::WORDS);
    let goes_on = |runs: &Vec<String>| !runs.is_empty() && runs.iter().all(|run| fits(&stand[run]));
    let harmless = places
        .iter()
        .zip(&started)
        .filter(|(_, runs)| goes_on(runs));
    let harmless: Vec<_> = harmless.map(|(place, _)| place.clone()).collect();
    let huge = texts::huge();
    let started = stage
        .submit(places.iter().map(|place| probe(&huge, place)).collect())
        .await;
    assert_ended(stage, &started.concat()).await;
    assert!(!harmless.is_empty());
    harmless
}

async fn attack_with_events(example: Example) {
    let stage = Stage::start(example, false).await;
    let mut before = Before::default();
    let (everywhere, harmless) = (stage.example.texts(), harmless_places(&stage).await);
    assert_round(&stage, &mut before).await;
    for (round, step) in stage.asking().iter().enumerate() {
        stage.obeys_at(step).await;
        let mut events = Vec::new();
        for hostile in attacks(&stage) {
            for (name, places) in [("everywhere", &everywhere), ("where it goes on", &harmless)] {
                let id = format!(
                    "{round} {name} {}",
                    hostile.kind.replace(char::is_control, "")
                );
                let mut event = stage.example.event_with(&id, &hostile.text, places);
                event["data"][&hostile.text] = hostile.text.as_str().into();
                events.push(event);
            }
        }
        let runs = stage.submit(events).await.concat();
        assert_ended(&stage, &runs).await;
        let seen = assert_round(&stage, &mut before).await;
        let name = &stage.example.name;
        assert!(
            seen.shows_a_hostile_text(),
            "{name}: Claude saw none at `{step}`"
        );
        assert!(
            seen.wanted(texts::FORBIDDEN) > 0,
            "{name}: at `{step}` nobody obeyed, and nothing was tested"
        );
    }
}

/// Gives the steps that heard what tools said, and were misled.
async fn attack_with_outputs(example: Example) -> Vec<String> {
    let stage = Stage::start(example, true).await;
    let mut before = Before::default();
    let mut misled = Vec::new();
    for (round, step) in stage.asking().iter().enumerate() {
        stage.obeys_at(step).await;
        for (number, hostile) in attacks(&stage).into_iter().enumerate() {
            stage.tools_say(&hostile.text);
            let id = format!("{round} {}", hostile.kind.replace(char::is_control, ""));
            let runs = stage
                .submit(vec![stage.example.event_with(&id, "", &[])])
                .await
                .concat();
            assert_ended(&stage, &runs).await;
            // Before some steps no tool has said anything, and after others none is heard: one text shows that.
            if number == 0 && stage.obeyed().await == before.obeyed() {
                break;
            }
        }
        if stage.obeyed().await > before.obeyed() {
            misled.push(step.clone());
        }
        assert_round(&stage, &mut before).await;
    }
    misled
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_an_event_says_nothing_happens_but_what_the_menu_has_and_all_of_it_is_told() {
    for example in examples() {
        attack_with_events(example).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_tool_says_nothing_happens_but_what_the_menu_has_and_all_of_it_is_told() {
    let mut misled = Vec::new();
    for example in examples() {
        misled.extend(attack_with_outputs(example).await);
    }
    for step in [
        "Workflow: incident-triage\nStep: triage",
        "Workflow: document-analysis\nStep: report",
        "Workflow: research-study\nStep: investigate",
    ] {
        assert!(misled.iter().any(|one| one == step), "{step}: {misled:?}");
    }
}
