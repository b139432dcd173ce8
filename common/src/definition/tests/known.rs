//! What a fleet knows: which versions new runs get, what is switched off, and what definitions that come to it may name.

use jiff::Timestamp;

use super::*;
use crate::ids::{Name, RunId};

const FIRST: &str = "\
workflow: w
version: 1
on: {event: a.b}
model: haiku
steps:
  - {id: look, tool: disk_usage, with: {path: /}}
  - id: both
    steps:
      - {id: ask, claude: {prompt: hi}}
      - {id: sure, approval: {show: x}}
  - id: loop
    for_each: {in: event.data.all, as: one, steps: [{id: each, claude: {prompt: hi}}]}
  - {id: stop, end: completed}
";

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn run(number: u32) -> RunId {
    RunId::derive(&name("w"), "test", &number.to_string())
}

fn known() -> Catalogue {
    let second = FIRST.replace("version: 1", "version: 2").replace(
        "{id: look, tool: disk_usage, with: {path: /}}",
        "{id: look, sleep: 1s}",
    );
    parse(&[
        ("w1.yaml", FIRST),
        ("w2.yaml", &second),
        ("tools.yaml", TOOLS),
    ])
    .expect("right")
}

fn version(catalogue: &Catalogue, number: u32) -> VersionRef {
    let mut versions = catalogue.versions();
    let found = versions.find(|workflow| workflow.pin.version == number);
    VersionRef::from(&found.expect("it is there").pin)
}

fn step(workflow: &str, step: &str) -> Switched {
    Switched::Step {
        workflow: name(workflow),
        step: name(step),
    }
}

fn tool(name: &str, version: Option<u32>) -> Switched {
    let name = name.parse().expect("a name");
    Switched::Tool { name, version }
}

fn off(hold: bool) -> Switch {
    let by = Some("ann".to_owned());
    Switch::off(Timestamp::UNIX_EPOCH, by, Some("it hurts".into()), hold)
}

#[test]
fn a_run_gets_the_version_that_its_slot_says_and_none_that_is_not_known() {
    let mut catalogue = known();
    let (first, second) = (version(&catalogue, 1), version(&catalogue, 2));
    let mut active = Active::only(first, Timestamp::UNIX_EPOCH);
    catalogue.set_active(&name("w"), Some(active.clone()));
    assert_eq!(catalogue.stable(&name("w")).expect("active").pin.version, 1);
    active.candidate = Some(Candidate {
        version: second,
        percent: "30".parse().expect("a part"),
    });
    catalogue.set_active(&name("w"), Some(active.clone()));
    assert_eq!(catalogue.candidate(&name("w")).expect("one").pin.version, 2);
    for number in 0..200 {
        let picked = catalogue.pick(&name("w"), &run(number)).expect("active");
        let expected = if slot(&run(number)) < 3_000 { 2 } else { 1 };
        assert_eq!(picked.pin.version, expected);
    }
    // A candidate that nobody here can read is none.
    if let Some(candidate) = &mut active.candidate {
        candidate.version.digest = "0".repeat(64);
    }
    catalogue.set_active(&name("w"), Some(active));
    let picked = (0..200).map(|number| catalogue.pick(&name("w"), &run(number)));
    assert!(picked.flatten().all(|workflow| workflow.pin.version == 1));
    assert!(catalogue.candidate(&name("w")).is_none());
    catalogue.set_active(&name("w"), None);
    assert!(catalogue.pick(&name("w"), &run(1)).is_none());
    assert_eq!(catalogue.versions().count(), 2, "their runs go on");
}

#[test]
fn a_step_that_is_off_says_so_in_every_version_until_it_is_on_again() {
    let mut catalogue = known();
    let pins: Vec<Pin> = catalogue.versions().map(|w| w.pin.clone()).collect();
    catalogue.set_switch(&step("w", "look"), Some(off(false)));
    catalogue.set_switch(&step("w", "each"), Some(off(false)));
    for pin in &pins {
        let workflow = catalogue.pinned(pin).expect("it");
        let steps = workflow.all_steps();
        let off: Vec<_> = steps.iter().filter(|step| step.off.is_some()).collect();
        let ids: Vec<_> = off.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(ids, ["look", "each"]);
        let written = catalogue.as_written(pin).expect("it");
        assert!(written.all_steps().iter().all(|step| step.off.is_none()));
    }
    // Versions that come later are marked, too.
    let third = FIRST.replace("version: 1", "version: 3");
    let later = parse(&[("w.yaml", &third), ("tools.yaml", TOOLS)]).expect("right");
    let later = later.newest().next().expect("one");
    catalogue.add(std::sync::Arc::clone(later));
    let added = catalogue.pinned(&later.pin).expect("added");
    assert!(added.step(&name("look")).expect("a step").off.is_some());

    catalogue.set_switch(&step("w", "look"), None);
    catalogue.set_switch(&step("w", "each"), None);
    for workflow in catalogue.versions() {
        assert!(workflow.all_steps().iter().all(|step| step.off.is_none()));
    }
}

#[test]
fn what_people_must_say_or_where_a_run_ends_cannot_be_switched_off() {
    let mut catalogue = known();
    for (what, why) in [
        (step("w", "sure"), "a person's say cannot be skipped"),
        (step("w", "both"), "`sure` is within it, and a person's say"),
        (step("w", "stop"), "would go on"),
        (step("w", "luck"), "no version of `w` has a step `luck`"),
        (step("v", "look"), "there is no workflow `v`"),
        (tool("disk", None), "there is no tool `disk` here"),
        (tool("disk_usage", Some(2)), "no tool `disk_usage@2`"),
    ] {
        let problem = catalogue.can_be_off(&what).expect_err(why);
        assert!(problem.contains(why), "{problem}");
    }
    for what in [
        step("w", "look"),
        step("w", "loop"),
        tool("disk_usage", None),
        tool("disk_usage", Some(1)),
    ] {
        assert_eq!(catalogue.can_be_off(&what), Ok(()));
    }
    // However it came into the bucket, it has no effect.
    catalogue.set_switch(&step("w", "sure"), Some(off(false)));
    let workflow = catalogue.stable(&name("w")).expect("active");
    assert!(workflow.step(&name("sure")).expect("a step").off.is_none());
}

#[test]
fn a_tool_is_off_by_name_or_by_version_and_waits_only_by_name() {
    let mut catalogue = known();
    let disk = name("disk_usage");
    let is_off =
        |catalogue: &Catalogue, version| catalogue.switches().tool(&disk, version).is_some();
    catalogue.set_switch(&tool("disk_usage", Some(2)), Some(off(true)));
    assert!(!is_off(&catalogue, 1) && is_off(&catalogue, 2));
    assert!(!catalogue.switches().holds(&disk), "other versions go on");
    catalogue.set_switch(&tool("disk_usage", None), Some(off(true)));
    assert!(is_off(&catalogue, 1) && catalogue.switches().holds(&disk));
    let shown = catalogue.switches().tool(&disk, 1).map(ToString::to_string);
    let expected = "switched off by ann at 1970-01-01T00:00:00Z: it hurts";
    assert_eq!(shown.as_deref(), Some(expected));
    catalogue.set_switch(&tool("disk_usage", None), None);
    assert!(!is_off(&catalogue, 1));
    assert_eq!(catalogue.switches().iter().count(), 1);

    let switch = off(true);
    let read = Switch::read(&switch.encode().expect("JSON")).expect("ours");
    assert_eq!(read, switch);
    assert!(Switch::read(b"{\"v\":2}").is_err());
}

#[test]
fn definitions_that_come_to_a_fleet_may_run_what_it_has() {
    let fleet = parse(&[("r.yaml", REMEDIATE)]).expect("right");
    let models = Models::built_in().expect("right");
    let caller = format!("{TOP}steps:\n  - {{id: a, run: {{workflow: remediate}}}}\n");
    let sources_of = |text: &str| sources(&[("w.yaml", text)]);
    assert!(Catalogue::parse(&sources_of(&caller), &models).is_err());
    assert!(Catalogue::parse_beside(&sources_of(&caller), &models, &fleet).is_ok());
    let wrong = caller.replace("remediate", "remedy");
    let problems = Catalogue::parse_beside(&sources_of(&wrong), &models, &fleet);
    let problems = problems.expect_err("no such workflow").to_string();
    assert!(
        problems.contains("there is no workflow `remedy`"),
        "{problems}"
    );
    assert!(problems.contains("there are: remediate, w"), "{problems}");

    // A circle through the fleet.
    let with_caller = parse(&[("r.yaml", REMEDIATE), ("w.yaml", &caller)]).expect("right");
    let back = "workflow: remediate\nversion: 2\non: {event: a.b}\nsteps:\n  - {id: a, run: {workflow: w}}\n";
    let problems = Catalogue::parse_beside(&sources_of(back), &models, &with_caller);
    let problems = problems.expect_err("a circle").to_string();
    assert!(
        problems.contains("`remediate` runs `w` runs `remediate`: it would never end"),
        "{problems}"
    );
}
