//! Folding what comes twice, late, changed or forged.

use super::*;

/// A run with a decision of each kind, a signal that is not known and a second result.
fn recorded() -> Stage {
    let mut stage = Stage::new(&format!(
        "\n  - id: sum\n    claude: {{prompt: Sum up.}}\n{TRIAGE}"
    ));
    stage.hears(&[says("It is slow.")]);
    stage.hears(&[picks("disk_usage", json!({"path": "/"}), 0.9)]);
    stage.results(ok(json!("91%")));
    stage.results(ok(json!("a second executor ran it too")));
    stage.hears(&[picks("restart", json!({"service": "shop"}), 0.9)]);
    stage.cancels("c1");
    stage.results(ok(Value::Null));
    stage.goes_on();
    stage
}

fn rebuild(stage: &Stage) -> Result<Run, FoldError> {
    Run::rebuild(&stage.run.id, stage.journal.clone())
}

fn problem(stage: &Stage) -> String {
    rebuild(stage).expect_err("it is broken").to_string()
}

/// The same entry with other bytes, as somebody would change it in the stream.
fn change(entry: &mut Entry, change: impl FnOnce(&mut Body)) {
    change(&mut entry.body);
    let payload = entry.body.encode(entry.at).expect("JSON");
    *entry = Entry::decode(entry.seq, entry.address.clone(), &payload).expect("an entry");
}

#[test]
fn entries_may_come_twice_and_the_first_result_counts() {
    let stage = recorded();
    let mut run = Run::new(stage.run.id.clone());
    for entry in &stage.journal {
        let first = run.fold(entry).expect("it follows");
        let before = run.clone();
        assert_eq!(run.fold(entry), Ok(Folded::Old), "{entry:?}");
        assert_eq!(run, before);
        let second = matches!(&entry.body, Body::Resulted(r) if r.outcome == ok(json!("a second executor ran it too")));
        assert_eq!(first == Folded::Old, second, "{entry:?}");
    }
    assert_eq!(run, stage.run);
}

#[test]
fn a_state_that_lacks_a_decision_is_stale_and_the_journal_is_not_to_blame() {
    let stage = recorded();
    for missing in [0, 1, 2] {
        let mut run = Run::new(stage.run.id.clone());
        let rest = stage
            .journal
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != missing);
        let error = rest.map(|(_, entry)| run.fold(entry)).find_map(Result::err);
        assert!(
            matches!(error, Some(FoldError::Stale { .. })),
            "without {missing}: {error:?}"
        );
    }
    let mut other = Run::new(RunId::derive(&"w".parse().expect("a name"), "test", "2"));
    assert!(matches!(
        other.fold(&stage.journal[0]),
        Err(FoldError::Foreign { .. })
    ));
}

#[test]
fn a_journal_that_lost_an_entry_is_broken_and_says_where() {
    let mut stage = recorded();
    let result = stage.journal.remove(3);
    let seq = stage.journal[4].seq;
    let expected = format!(
        "the journal of {} is broken at entry {seq}: it rests on entry {}, which is not there, or an earlier one rests on it already",
        stage.run.id, result.seq
    );
    assert_eq!(problem(&stage), expected);

    let mut stage = recorded();
    stage.journal.remove(1);
    assert!(
        problem(&stage).ends_with("nothing started this run, or its first decision is missing")
    );

    let mut stage = recorded();
    stage.journal.remove(2);
    assert!(problem(&stage).contains("which rests on no entry before it"));

    let mut stage = recorded();
    stage.journal.remove(0);
    assert!(problem(&stage).contains(
        "it rests on entry 7, which is not there, or an earlier one rests on it already"
    ));
}

#[test]
fn a_changed_payload_a_renamed_entry_and_a_second_decision_are_seen() {
    let changed = "an entry was changed";
    let mut stage = recorded();
    change(&mut stage.journal[0], |body| {
        if let Body::Started(started) = body {
            started.event.data = json!({"service": "shop2"});
        }
    });
    assert!(problem(&stage).ends_with(changed));

    // A result whose text is changed but whose meaning for the run is not.
    let mut stage = recorded();
    change(&mut stage.journal[3], |body| {
        if let Body::Resulted(resulted) = body {
            resulted.worker = "somebody else".into();
        }
    });
    assert!(problem(&stage).ends_with(changed));

    // A signal's name is in its subject only.
    let mut stage = recorded();
    let signal = stage
        .journal
        .iter_mut()
        .find(|entry| entry.address.kind == Kind::Signalled);
    signal.expect("one").address.name = "feedback".parse().expect("a name");
    assert!(problem(&stage).ends_with("what it rests on is not what came before it"));

    // Where a result stands is covered too, although the fold does not look at it.
    let mut stage = recorded();
    stage.journal[3].address.name = "restart".parse().expect("a name");
    assert!(problem(&stage).ends_with(changed));

    // Two planners, and nothing that lets only one of them write.
    let mut stage = recorded();
    let mut again = stage.journal[1].clone();
    again.seq += 1;
    stage.journal.push(again);
    assert!(problem(&stage).ends_with("or an earlier one rests on it already"));
}

#[test]
fn decisions_that_belong_nowhere_are_refused_even_with_a_right_hash() {
    let agent = |turn: u32| StepKey::turn(&"triage".parse().expect("a name"), turn);
    let act = || Decision::Act {
        tool: "restart".parse().expect("a name"),
        version: 2,
        with: json!({}),
    };
    let finish = || Decision::Finish {
        end: "resolve".parse().expect("a name"),
        summary: "x".into(),
    };
    let answer = || Decision::Answer { output: json!("x") };
    let step = || StepKey::step(&"sum".parse().expect("a name"));
    let cases = [
        (agent(2), 0, act(), "turn 2 branch 0 does not follow turn 0"),
        (agent(1), 1, act(), "turn 1 branch 1 does not follow turn 0"),
        (agent(2), 0, finish(), "turn 2 does not follow turn 0"),
        (agent(1), 0, answer(), "cannot be for `triage/1`"),
        (step(), 0, answer(), "step `sum` is decided twice"),
        (step(), 0, finish(), "cannot be for `sum`"),
    ];
    for (step, branch, decision, why) in cases {
        let mut stage = Stage::new(&format!(
            "\n  - id: sum\n    claude: {{prompt: Sum up.}}\n{TRIAGE}"
        ));
        stage.hears(&[says("It is slow.")]);
        let draft = Draft {
            branch,
            ..Draft::new(step, decision)
        };
        let link = stage
            .run
            .link(vec![draft], stage.now)
            .expect("a link")
            .remove(0);
        let entry = Entry::decode(99, link.address, &link.payload).expect("an entry");
        let error = stage
            .run
            .clone()
            .fold(&entry)
            .expect_err("it belongs nowhere");
        assert!(
            matches!(error, FoldError::Broken { seq: 99, .. }) && error.to_string().contains(why),
            "{error}"
        );
        stage.journal.push(entry);
        assert_eq!(problem(&stage), error.to_string());
    }
}

#[test]
fn a_forged_result_that_no_decision_asked_for_counts_nowhere() {
    let mut stage = Stage::new(TRIAGE);
    stage.hears(&[picks("disk_usage", json!({"path": "/"}), 0.9)]);
    let before = stage.run.clone();
    let forged = Resulted {
        decided: 1,
        ..stage.result_of_last(ok(json!("all is well")))
    };
    let payload = Body::Resulted(forged).encode(stage.now).expect("JSON");
    let address = Address {
        kind: Kind::Resulted,
        ..stage.journal[1].address.clone()
    };
    let entry = Entry::decode(50, address, &payload).expect("an entry");
    assert!(matches!(
        stage.run.fold(&entry),
        Err(FoldError::Stale { .. })
    ));
    stage.journal.push(entry);
    assert_eq!(rebuild(&stage).as_ref(), Ok(&before));
}

#[test]
fn branches_of_one_decision_are_one_batch_and_fold_to_one_turn() {
    let mut stage = Stage::new(TRIAGE);
    let key = StepKey::turn(&"triage".parse().expect("a name"), 1);
    let act = |path: &str| Decision::Act {
        tool: "disk_usage".parse().expect("a name"),
        version: 1,
        with: json!({"path": path}),
    };
    let drafts = [act("/"), act("/srv"), act("/var")].into_iter().enumerate();
    let drafts = drafts.map(|(branch, act)| Draft {
        branch: u32::try_from(branch).expect("few"),
        ..Draft::new(key.clone(), act)
    });
    stage.decides(drafts.collect());
    assert_eq!(stage.run.outstanding().count(), 3);
    assert!(matches!(stage.next(), Next::Wait(_)));
    for (branch, decided) in [(2, 16), (0, 10), (1, 13)] {
        let resulted = Resulted {
            branch,
            decided,
            ..stage.result_of_last(ok(json!(branch)))
        };
        assert_eq!(
            stage.writes(Kind::Resulted, "disk_usage", &Body::Resulted(resulted)),
            Folded::New
        );
    }
    assert!(matches!(stage.next(), Next::Ask(..)));
    assert_eq!(rebuild(&stage).as_ref(), Ok(&stage.run));
}
