//! Runs that go on from another one's state.

use super::*;

/// A step of each kind that gives something, an agent that hands over, and two that see all of it.
const STEPS: &str = "
  - id: kind
    claude: {prompt: 'Which kind? {{ event.data.service }}', output: {type: object, required: [level], properties: {level: {enum: [info, page]}}}}
  - id: way
    switch: [{when: 'steps.kind.level == \"page\"', to: both}]
  - {id: skipped, tool: disk_usage, with: {path: /skipped}}
  - id: both
    parallel:
      - {id: hotel, tool: book, with: {id: hotel}}
      - {id: look, tool: disk_usage, with: {path: /}}
  - id: each
    for_each: {in: 'event.data.pages', as: page, steps: [{id: read, tool: disk_usage, with: {path: '{{ page }}'}}]}
  - id: work
    agent: {goal: 'Mend {{ steps.kind.level }}.', tools: [disk_usage], ends: [resolve, escalate]}
  - {id: train, tool: book, with: {id: '{{ steps.both.hotel.output.id }}'}}
  - id: sum
    claude: {prompt: 'Sum up {{ steps }} for {{ event.data.service }}.'}
  - id: last
    agent: {goal: 'Look at {{ steps.sum }}.', tools: [disk_usage], ends: [resolve]}
";
const UNDO: &str = "on_failure: {compensate: true}";

fn data() -> Value {
    json!({"service": "shop", "pages": ["/a", "/b"]})
}

/// A run that has done all before `sum`, with its prompt.
fn stage() -> Stage {
    let mut stage = Stage::with(definition(UNDO, STEPS), data());
    stage.hears(&[picks("answer", json!({"level": "page"}), 0.9)]);
    decides_all(&mut stage);
    for slot in ["hotel", "look"] {
        gives(&mut stage, slot, json!({"id": "h1"}));
    }
    decides_all(&mut stage);
    for slot in ["read[0]", "read[1]"] {
        gives(&mut stage, slot, json!(1));
    }
    decides_all(&mut stage);
    stage.hears(&[picks("escalate", json!("A person must see this."), 0.9)]);
    decides_all(&mut stage);
    gives(&mut stage, "train", json!({"id": "t1"}));
    stage
}

fn decides_all(stage: &mut Stage) {
    while let Next::Decide(drafts) = stage.next() {
        stage.decides(drafts);
    }
}

fn gives(stage: &mut Stage, slot: &str, output: Value) {
    let decided = stage.journal.iter().find_map(|entry| match &entry.body {
        Body::Decided(decided) if decided.step.to_string() == slot => Some((entry.seq, decided)),
        Body::Decided(_)
        | Body::Started(_)
        | Body::Resulted(_)
        | Body::Signalled(_)
        | Body::Fired(_) => None,
    });
    let (seq, decided) = decided.unwrap_or_else(|| panic!("nothing was decided for {slot}"));
    let tool = decided.decision.name().expect("a name");
    let resulted = Resulted {
        step: decided.step.clone(),
        branch: decided.branch,
        decided: seq,
        tool: tool.clone(),
        outcome: ok(output),
        took_ms: 5,
        attempts: 1,
        worker: "test".into(),
        usd_nano: None,
        reconciled: None,
    };
    stage.writes(Kind::Resulted, tool.as_str(), &Body::Resulted(resulted));
}

/// The run that goes on from this one at a step.
fn fork(stage: &Stage, step: &str) -> Stage {
    let step = step.parse().expect("a name");
    let forked = stage.run.fork_at(&stage.workflow, &step);
    begin(stage, forked.unwrap_or_else(|error| panic!("{error}")))
}

fn begin(stage: &Stage, forked: Forked) -> Stage {
    let mut new = Stage {
        run: Run::new(RunId::of_fork(&stage.run.id, &forked.step, "1")),
        now: stage.now,
        journal: Vec::new(),
        workflow: Arc::clone(&stage.workflow),
    };
    let begun = stage.run.begun.clone().expect("it has begun");
    let started = Started {
        workflow: begun.pin,
        event: begun.event,
        parent: None,
        lessons: begun.lessons,
        forked: Some(Box::new(forked)),
        received: None,
    };
    new.writes(Kind::Started, "w", &Body::Started(started));
    new
}

/// A prompt without the run's own name, which the provider tells users apart by.
fn prompt(stage: &Stage) -> Request {
    Request {
        metadata: None,
        ..stage.ask().request
    }
}

fn refusal(stage: &Stage, step: &str) -> String {
    let step = step.parse().expect("a name");
    let refused = stage.run.fork_at(&stage.workflow, &step);
    refused.expect_err("it cannot be forked there").to_string()
}

#[test]
fn a_fork_goes_on_at_its_step_and_claude_sees_exactly_what_it_saw() {
    let mut old = stage();
    let new = fork(&old, "sum");
    assert_eq!(prompt(&new), prompt(&old), "the same bytes");
    assert_eq!(new.ask().step.to_string(), "sum");

    old.hears(&[says("All is well.")]);
    let mut new = fork(&old, "last");
    assert_eq!(prompt(&new), prompt(&old), "an agent's briefing too");
    assert_ne!(new.run.id, old.run.id);
    old.hears(&[picks("resolve", json!("It is fine."), 0.9)]);
    new.hears(&[picks("resolve", json!("It is fine."), 0.9)]);
    assert_eq!(new.facts()["steps"], old.facts()["steps"]);
    let end = old.ends();
    assert_eq!(new.ends(), end, "an agent before it had handed over");
    assert_eq!(end.0, Outcome::Escalated);
    let from = new.run.summary().and_then(|summary| summary.forked);
    let from = from.map(|from| (from.run, from.step.to_string()));
    assert_eq!(from, Some((old.run.id.clone(), "last".into())));
}

#[test]
fn a_fork_of_a_fork_brings_all_of_it_along() {
    let mut old = stage();
    old.hears(&[says("All is well.")]);
    let mut first = fork(&old, "sum");
    first.hears(&[says("All is well.")]);
    assert_eq!(prompt(&fork(&first, "last")), prompt(&old));
    let earlier = fork(&first, "train");
    let Next::Decide(drafts) = earlier.next() else {
        panic!("it uses a tool again: {:?}", earlier.next());
    };
    let with = matches!(&drafts[0].decision, Decision::Act { with, .. } if with["id"] == "h1");
    assert!(with, "{drafts:?}");
    assert!(refusal(&first, "nowhere").contains("there is no step `nowhere`"));
}

#[test]
fn a_fork_undoes_what_it_did_itself_and_nothing_of_the_other_run() {
    let old = stage();
    let mut new = fork(&old, "train");
    new.goes_on();
    new.results(ok(json!({"id": "t2"})));
    let compensate = Signalled {
        id: "c".into(),
        compensate: true,
        ..Signalled::default()
    };
    new.signals(SIGNAL_CANCEL, compensate);
    new.goes_on();
    new.goes_on();
    let undone: Vec<_> = new.run.asides.keys().map(ToString::to_string).collect();
    assert_eq!(undone, ["train!undo"], "and not `hotel`");
    new.results(ok(json!(1)));
    let (outcome, reason) = new.ends();
    assert_eq!(outcome, Outcome::Cancelled, "{reason}");
    let rebuilt = Run::rebuild(&new.run.id, new.journal.clone());
    assert_eq!(rebuilt.as_ref(), Ok(&new.run));
}

#[test]
fn a_run_is_forked_between_its_own_steps_and_only_where_it_has_come_to() {
    let stage = stage();
    let told = refusal(&stage, "hotel");
    let expected = "step `hotel` is within `both`, and a run can be forked only between its own steps: at kind, way, skipped, both";
    assert!(told.starts_with(expected), "{told}");
    assert!(refusal(&stage, "read").contains("is within `each`"));
    let told = refusal(&stage, "last");
    assert_eq!(
        told,
        "the run has not come to step `last`: step `sum` is not done"
    );
    let told = refusal(&stage, "skipped");
    assert_eq!(
        told,
        "the run has not come to step `skipped`: it went on behind it"
    );
    let fresh = Stage::with(definition(UNDO, STEPS), data());
    assert!(refusal(&fresh, "way").contains("step `kind` is not done"));
    assert_eq!(
        prompt(&fork(&fresh, "kind")),
        prompt(&fresh),
        "the first of all is there to be had"
    );
}

#[test]
fn another_version_may_ask_otherwise_before_the_step_but_not_do_something_else() {
    let own = definition(UNDO, STEPS);
    let other = |from: &str, to: &str| {
        let steps = STEPS.replace(from, to);
        assert_ne!(steps, STEPS);
        let checked = check_same_before(&own, &definition(UNDO, &steps), &"sum".parse()?);
        Ok::<_, crate::ids::IdError>(checked.map_err(|error| error.to_string()))
    };
    let words = other("Which kind?", "How bad is it?");
    assert_eq!(words, Ok(Ok(())), "what it gave is brought along");
    assert_eq!(
        other("Look at", "Look well at"),
        Ok(Ok(())),
        "what comes after is what is tried"
    );
    let renamed = other("id: look", "id: peek").expect("names").unwrap_err();
    assert!(renamed.ends_with("`look` is `peek` there"), "{renamed}");
    let gone = "  - {id: train, tool: book, with: {id: '{{ steps.both.hotel.output.id }}'}}\n";
    let gone = other(gone, "").expect("names").unwrap_err();
    assert!(gone.ends_with("only one of them has `train`"), "{gone}");
    let kind = "{id: look, tool: disk_usage, with: {path: /}}";
    let kind = other(kind, "{id: look, claude: {prompt: Look.}}").expect("names");
    assert!(
        kind.unwrap_err()
            .ends_with("`look` is of another kind there")
    );
}
