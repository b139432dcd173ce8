//! Steps that somebody has switched off.

use super::*;
use crate::definition::{Switch, Switched};

impl Stage {
    /// From now on the definition says that these steps are off.
    fn switch_off(&mut self, steps: &[&str]) {
        let mut catalogue = Catalogue::default();
        let pin = self.workflow.pin.clone();
        catalogue.add(Arc::clone(&self.workflow));
        for step in steps {
            let what = Switched::Step {
                workflow: pin.name.clone(),
                step: step.parse().expect("a name"),
            };
            let reason = Some("it hurts".to_owned());
            let switch = Switch::off(self.now, Some("ann".into()), reason, false);
            catalogue.set_switch(&what, Some(switch));
        }
        self.workflow = Arc::clone(catalogue.pinned(&pin).expect("it is there"));
    }

    /// The steps that were skipped.
    fn skipped(&self) -> Vec<String> {
        let decided = self.journal.iter().filter_map(|entry| match &entry.body {
            Body::Decided(decided) => Some((entry, decided)),
            _ => None,
        });
        let skips = decided.filter(|(_, decided)| decided.decision == Decision::Skip {});
        skips
            .map(|(entry, decided)| {
                assert_eq!(entry.address.name.as_str(), "skip");
                let why = decided.reasoning.as_deref().expect("a reason");
                assert!(
                    why.starts_with("switched off by ann at ") && why.ends_with(": it hurts"),
                    "{why}"
                );
                decided.step.to_string()
            })
            .collect()
    }
}

const TWO: &str = "
  - {id: first, tool: restart, with: {service: a}}
  - {id: second, tool: restart, with: {service: 'is {{ steps.first and steps.first.output }}'}}
";

#[test]
fn a_step_that_is_off_is_skipped_with_who_and_why_and_gives_nothing() {
    let mut stage = Stage::of("", TWO, json!({}));
    stage.switch_off(&["first"]);
    stage.goes_far();
    assert_eq!(stage.skipped(), ["first"]);
    assert_eq!(stage.in_hand(), ["second"]);
    let (_, second) = stage.last_of("second");
    assert_eq!(act_with(&second.decision)["service"], "is null");
    // Switched on again, what was skipped stays skipped.
    stage.workflow = definition("", TWO);
    stage.done("second", json!(1));
    assert_eq!(stage.ended().0, Outcome::Completed);
    let again = Run::rebuild(&stage.run.id, stage.journal.clone());
    assert_eq!(again.as_ref(), Ok(&stage.run));
}

#[test]
fn a_step_that_has_begun_goes_on() {
    let mut stage = Stage::of("", TWO, json!({}));
    stage.goes_far();
    stage.switch_off(&["first", "second"]);
    stage.done("first", json!("x"));
    assert_eq!(stage.skipped(), ["second"]);
    assert_eq!(stage.ended().0, Outcome::Completed);

    let ask = "
  - {id: ask, claude: {prompt: hi}}
";
    let mut stage = Stage::of("", ask, json!({}));
    assert_eq!(stage.asked(), ["ask"]);
    stage.switch_off(&["ask"]);
    let asked = BTreeSet::from(["ask".parse().expect("a key")]);
    let next = stage.run.next_beside(&stage.workflow, stage.now, &asked);
    assert!(matches!(next, Next::Wait(None)), "{next:?}");
    assert_eq!(stage.run.wanted(&stage.workflow, &asked), asked);
    stage.goes_far();
    assert_eq!(stage.skipped(), ["ask"], "where nobody has asked it yet");
}

#[test]
fn a_group_that_is_off_is_nothing_as_a_whole_or_goes_on_as_a_whole() {
    let steps = "
  - id: both
    parallel:
      - {id: left, tool: restart, with: {service: a}}
      - id: right
        steps:
          - {id: near, tool: restart, with: {service: b}}
          - {id: far, tool: restart, with: {service: c}}
  - {id: last, tool: restart, with: {service: 'is {{ steps.both }}'}}
";
    let mut stage = Stage::of("", steps, json!({}));
    stage.switch_off(&["both"]);
    stage.goes_far();
    assert_eq!(
        (stage.skipped(), stage.in_hand()),
        (vec!["both".to_owned()], vec!["last".to_owned()])
    );
    let (_, last) = stage.last_of("last");
    assert_eq!(act_with(&last.decision)["service"], "is null");

    let mut stage = Stage::of("", steps, json!({}));
    stage.goes_far();
    stage.switch_off(&["both", "right", "far"]);
    stage.done("near", json!(1));
    assert_eq!(stage.skipped(), ["far"], "what stands around it has begun");
    stage.done("left", json!(1));
    assert_eq!(stage.in_hand(), ["last"]);
}

#[test]
fn a_loop_that_is_off_is_skipped_and_a_step_in_one_for_every_item() {
    let steps = "
  - id: each
    for_each: {in: event.data.all, as: one, steps: [{id: visit, tool: restart, with: {service: '{{ one }}'}}, {id: leave, sleep: 1s}]}
  - {id: last, tool: restart, with: {service: 'is {{ steps.each }}'}}
";
    let data = json!({"all": ["a", "b"]});
    let mut stage = Stage::of("", steps, data.clone());
    stage.switch_off(&["each"]);
    stage.goes_far();
    assert_eq!(
        (stage.skipped(), stage.in_hand()),
        (vec!["each".to_owned()], vec!["last".to_owned()])
    );

    let mut stage = Stage::of("", steps, data);
    stage.switch_off(&["visit", "leave"]);
    stage.goes_far();
    let all = ["visit[0]", "visit[1]", "leave[0]", "leave[1]"];
    assert_eq!(stage.skipped(), all);
    let (_, last) = stage.last_of("last");
    let nothing = json!({"visit": null, "leave": null});
    assert_eq!(
        act_with(&last.decision)["service"],
        format!("is {}", json!([nothing, nothing]))
    );
}

#[test]
fn a_step_that_fails_again_and_again_is_skipped_once_it_is_off() {
    let steps = "
  - {id: first, tool: restart, with: {service: a}, retry: {times: 5, pause: 1h}}
  - {id: second, tool: restart, with: {service: b}}
";
    let mut stage = Stage::of("", steps, json!({}));
    stage.goes_far();
    stage.gives("first", failed("exit"));
    stage.goes_far();
    assert!(stage.in_hand().is_empty(), "it waits to be begun anew");
    stage.switch_off(&["first"]);
    stage.goes_far();
    assert_eq!(stage.skipped(), ["first@1"]);
    assert_eq!(stage.in_hand(), ["second"]);
}
