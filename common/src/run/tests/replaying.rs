//! Journals folded again: state by state, and question by question.

use super::*;

/// Every kind of question: a text, a shape, turns with one use and with several, a review.
const STEPS: &str = "
  - id: kind
    claude: {prompt: 'Which kind? {{ event.data.service }}', output: {type: object, required: [level], properties: {level: {enum: [info, page]}}}}
  - id: work
    agent:
      goal: Mend {{ event.data.service }}.
      tools: [disk_usage, restart]
      ends: [resolve, escalate]
      max_loops: 4
      parallel: 2
      confidence: {min: 0.5, below: escalate}
      review: {model: sonnet, every: 2}
  - id: sum
    claude: {prompt: Sum up.}
";

fn wide() -> Reply {
    let block = |id: &str| {
        json!({"type": "tool_use", "id": id, "name": "disk_usage",
            "input": {"reasoning": id, "confidence": 0.9, "with": {"path": id}}})
    };
    reply(json!([block("a"), block("b")]), StopReason::ToolUse)
}

fn reviewed(verdict: &str, advice: &str) -> Reply {
    let with = json!({"verdict": verdict, "advice": advice});
    uses(
        "r",
        "review",
        json!({"reasoning": "I looked.", "confidence": 0.9, "with": with}),
    )
}

/// What Claude said in the recorded run, question by question.
fn script() -> Vec<Vec<Reply>> {
    let wrong = picks("rm", json!({}), 0.9);
    vec![
        vec![picks("answer", json!({"level": "page"}), 0.9)],
        vec![wide()],
        vec![wrong, picks("restart", json!({"service": "shop"}), 0.9)],
        vec![reviewed("go_on", "")],
        vec![picks("resolve", json!("It is fine."), 0.9)],
        vec![says("All is well.")],
    ]
}

fn recorded() -> Stage {
    let mut stage = Stage::new(STEPS);
    for replies in script() {
        let drafts = stage.settles_all(&replies);
        stage.decides(drafts);
        loop {
            let acts: Vec<_> = stage.run.outstanding().map(|act| act.decided).collect();
            let Some(decided) = acts.first() else { break };
            result_of(&mut stage, *decided);
        }
    }
    stage.ends();
    stage
}

fn result_of(stage: &mut Stage, seq: u64) {
    let found = stage.journal.iter().find(|entry| entry.seq == seq).cloned();
    let Some(Entry {
        body: Body::Decided(decided),
        ..
    }) = found
    else {
        panic!("{seq} is no decision")
    };
    let tool = decided.decision.name().expect("a name");
    let resulted = Resulted {
        step: decided.step.clone(),
        branch: decided.branch,
        decided: seq,
        tool: tool.clone(),
        outcome: ok(json!("91%")),
        took_ms: 5,
        attempts: 1,
        worker: "test".into(),
        usd_nano: None,
        reconciled: None,
    };
    stage.writes(Kind::Resulted, tool.as_str(), &Body::Resulted(resulted));
}

/// Asks again what a run was asked; `claude` answers by the question's number.
fn again(
    stage: &Stage,
    workflow: &Workflow,
    claude: impl Fn(usize) -> Vec<Reply>,
) -> Vec<(String, Result<Difference, String>)> {
    let mut found = Vec::new();
    let each = |before: &Run, observation: Observation| {
        let ask = question(before, &observation, workflow, None);
        let compared = ask.map_err(|error| error.to_string()).map(|ask| {
            let replies: Vec<_> = claude(found.len()).into_iter().map(answered).collect();
            let Settled::Decided(drafts) = ask.settle(&replies) else {
                panic!("{} wants more replies", observation.step)
            };
            compare(&observation.recorded, &Side::new(&drafts).expect("a call"))
        });
        found.push((observation.step.to_string(), compared));
    };
    observations(&stage.run.id, stage.journal.clone(), each).expect("it folds");
    found
}

fn differences(
    stage: &Stage,
    claude: impl Fn(usize) -> Vec<Reply>,
) -> Vec<(String, Result<Difference, String>)> {
    again(stage, &stage.workflow, claude)
}

#[test]
fn the_same_answers_to_the_same_questions_differ_nowhere_and_the_prompts_are_the_same() {
    let stage = recorded();
    let found = differences(&stage, |number| script()[number].clone());
    let expected = ["kind", "work/1", "work/2", "work/2!review", "work/3", "sum"];
    let expected = expected.map(|step| (step.to_owned(), Ok(Difference::Same)));
    assert_eq!(found, expected);
    let mut same = 0;
    let each = |before: &Run, observation: Observation| {
        let ask = question(before, &observation, &stage.workflow, None).expect("it asks");
        assert_eq!(ask.prompt_digest(), observation.call.prompt);
        same += 1;
    };
    observations(&stage.run.id, stage.journal.clone(), each).expect("it folds");
    assert_eq!(same, 6);
}

#[test]
fn each_kind_of_difference_is_told_apart() {
    let stage = recorded();
    let with = |number: usize, replies: &[Reply]| {
        let said = |at: usize| {
            if at == number {
                replies.to_vec()
            } else {
                script()[at].clone()
            }
        };
        let all = differences(&stage, said);
        let others = all.iter().enumerate().filter(|(at, _)| *at != number);
        for (_, (step, other)) in others {
            assert_eq!(other, &Ok(Difference::Same), "{step}");
        }
        all[number].1.clone().expect("it was asked")
    };
    let wrong = picks("rm", json!({}), 0.9);
    let mut turned = wide();
    turned.content.reverse();
    let mut other_reasons = wide();
    other_reasons.content[0]["input"]["reasoning"] = json!("Because.");
    let mut other_path = wide();
    other_path.content[0]["input"]["with"]["path"] = json!("/other");
    let restart = |service: &str, sure| picks("restart", json!({"service": service}), sure);
    let cases: [(usize, Vec<Reply>, Difference); 14] = [
        (
            0,
            vec![picks("answer", json!({"level": "info"}), 0.9)],
            Difference::Answer,
        ),
        (0, vec![wrong.clone(), wrong.clone()], Difference::Refused),
        (1, vec![turned], Difference::Same),
        (1, vec![other_reasons], Difference::Words),
        (1, vec![other_path], Difference::Parameters),
        (
            1,
            vec![picks("disk_usage", json!({"path": "a"}), 0.9)],
            Difference::Choice,
        ),
        (2, vec![restart("shop", 0.8)], Difference::Same),
        (2, vec![restart("till", 0.9)], Difference::Parameters),
        (2, vec![restart("shop", 0.1)], Difference::Choice),
        (
            3,
            vec![reviewed("change", "Do it otherwise.")],
            Difference::Answer,
        ),
        (
            4,
            vec![picks("resolve", json!("All done."), 0.9)],
            Difference::Words,
        ),
        (
            4,
            vec![picks("escalate", json!("It is fine."), 0.9)],
            Difference::Choice,
        ),
        (4, vec![wrong.clone(), wrong], Difference::Refused),
        (5, vec![says("It is slow.")], Difference::Words),
    ];
    for (number, replies, expected) in cases {
        assert_eq!(
            with(number, &replies),
            expected,
            "question {number}: {replies:?}"
        );
    }
}

#[test]
fn what_the_checks_refused_then_is_a_decision_of_claudes_too() {
    let wrong = picks("rm", json!({}), 0.9);
    for (steps, key) in [(TRIAGE, "triage/1"), (STEPS, "kind")] {
        let mut stage = Stage::new(steps);
        stage.hears(&[wrong.clone(), wrong.clone()]);
        let refused = differences(&stage, |_| vec![wrong.clone(), wrong.clone()]);
        assert_eq!(refused, [(key.to_owned(), Ok(Difference::Same))]);
        let right = |_| {
            vec![if key == "kind" {
                picks("answer", json!({"level": "page"}), 0.9)
            } else {
                picks("resolve", json!("Fine."), 0.9)
            }]
        };
        let expected = if key == "kind" {
            Difference::Answer
        } else {
            Difference::Choice
        };
        assert_eq!(differences(&stage, right), [(key.to_owned(), Ok(expected))]);
    }
}

#[test]
fn what_a_candidate_would_not_ask_is_told_and_not_guessed() {
    let stage = recorded();
    let told = |from: &str, to: &str| -> Vec<String> {
        let steps = STEPS.replace(from, to);
        assert_ne!(steps, STEPS);
        let found = again(&stage, &definition("", &steps), |number| {
            script()[number].clone()
        });
        let told = found.into_iter().map(|(_, compared)| match compared {
            Ok(difference) => difference.to_string(),
            Err(why) => why,
        });
        told.collect()
    };
    let same = "same".to_owned();
    let gone = told("  - id: sum\n    claude: {prompt: Sum up.}\n", "");
    assert_eq!(gone[..5], vec![same.clone(); 5]);
    assert_eq!(gone[5], "it has no step `sum`");
    let more = told(
        "  - id: sum\n",
        "  - {id: extra, claude: {prompt: Hm.}}\n  - id: sum\n",
    );
    let expected = "it would not ask for `sum` there: it would first ask for extra";
    assert_eq!(more[5], expected);
    let fewer = told("max_loops: 4", "max_loops: 2");
    assert_eq!(fewer[..4], vec![same; 4], "its first turns are reached");
    let expected = "it would not ask for `work/3` there: it would first decide work/3: claude";
    assert_eq!(fewer[4], expected);
    let kind = told(
        "claude: {prompt: Sum up.}",
        "tool: disk_usage\n    with: {path: /}",
    );
    assert_eq!(
        kind[5],
        "it would not ask for `sum` there: it would first decide sum: disk_usage"
    );
}

#[test]
fn what_people_said_while_claude_was_asked_it_had_not_heard() {
    let mut stage = Stage::new(TRIAGE);
    let asked = stage.ask();
    let message = Signalled {
        id: "m".into(),
        text: Some("Look at the disk.".into()),
        ..Signalled::default()
    };
    stage.signals(SIGNAL_MESSAGE, message);
    let mut reply = answered(picks("disk_usage", json!({"path": "/"}), 0.9));
    reply.heard = asked.heard;
    let Settled::Decided(drafts) = asked.settle(&[reply]) else {
        panic!("it decides")
    };
    stage.decides(drafts);
    stage.results(ok(json!("91%")));
    stage.hears(&[picks("resolve", json!("Fine."), 0.9)]);
    let mut same = Vec::new();
    let each = |before: &Run, observation: Observation| {
        let ask = question(before, &observation, &stage.workflow, None).expect("it asks");
        same.push(ask.prompt_digest() == observation.call.prompt);
    };
    observations(&stage.run.id, stage.journal.clone(), each).expect("it folds");
    assert!(same[0], "the first turn did not know it");
}

#[test]
fn another_model_is_asked_in_place_of_the_definitions() {
    let stage = recorded();
    let models = Models::built_in().expect("the built-in table is right");
    let opus = models.find("opus").expect("it is there");
    let mut asked = Vec::new();
    let each = |before: &Run, observation: Observation| {
        let ask = question(before, &observation, &stage.workflow, Some(opus)).expect("it asks");
        asked.push((ask.request.model.clone(), ask.models.len()));
    };
    observations(&stage.run.id, stage.journal.clone(), each).expect("it folds");
    assert_eq!(asked, vec![(opus.id.clone(), 1); 6], "reviews too");
}

#[test]
fn what_a_batch_answered_is_asked_live() {
    let mut stage = Stage::new("\n  - id: sum\n    claude: {prompt: Sum up., batch: true}\n");
    assert!(stage.ask().by_batch);
    stage.hears(&[says("All is well.")]);
    let mut asked = Vec::new();
    let each = |before: &Run, observation: Observation| {
        let ask = question(before, &observation, &stage.workflow, None).expect("it asks");
        asked.push((ask.by_batch, ask.patience));
    };
    observations(&stage.run.id, stage.journal.clone(), each).expect("it folds");
    assert_eq!(asked, [(false, None)]);
}

#[test]
fn every_entry_says_what_it_changed_and_the_states_are_those_of_the_live_run() {
    let stage = recorded();
    let mut replay = Replay::new(&stage.run.id, stage.journal.clone());
    let mut before = Standing::default();
    let mut told = Vec::new();
    while let Some((entry, folded)) = replay.fold_next().expect("it folds") {
        assert_eq!(folded, Folded::New);
        let after = standing(replay.run(), Some(&stage.workflow));
        let words = changes(&before, &after)
            .into_iter()
            .map(|it| format!("{}: {}", it.what, it.to));
        told.push((entry.seq, words.collect::<Vec<_>>().join(" | ")));
        before = after;
    }
    assert_eq!(replay.run(), &stage.run);
    let line = |at: usize| told[at].1.as_str();
    assert_eq!(line(0), "status: running | next: ask Claude for kind");
    assert_eq!(
        line(1),
        "step kind: answered | money: $0.00002 | next: ask Claude for work/1"
    );
    let turn = "step work: turn 1, disk_usage: with an executor, disk_usage: with an executor";
    assert!(line(3).starts_with(turn), "{}", line(3));
    let last = line(told.len() - 1);
    assert!(
        last.starts_with("status: completed") && last.contains("next: nothing"),
        "{last}"
    );
    assert_eq!(
        replay.unvouched(),
        [stage.journal.last().map_or(0, |last| last.seq)]
    );
}

#[test]
fn a_broken_chain_names_where_it_is_and_what_may_have_been_changed() {
    let mut stage = recorded();
    let changed = stage
        .journal
        .iter_mut()
        .find(|entry| matches!(entry.body, Body::Resulted(_)));
    let changed = changed.expect("there are results");
    if let Body::Resulted(resulted) = &mut changed.body {
        resulted.worker = "somebody else".into();
    }
    let payload = changed.body.encode(changed.at).expect("JSON");
    let seq = changed.seq;
    *changed = Entry::decode(seq, changed.address.clone(), &payload).expect("an entry");
    let mut replay = Replay::new(&stage.run.id, stage.journal.clone());
    let error = loop {
        match replay.fold_next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it is broken"),
            Err(error) => break error,
        }
    };
    let next = stage
        .journal
        .iter()
        .find(|entry| entry.seq > seq && matches!(entry.body, Body::Decided(_)));
    let next = next.map_or(0, |next| next.seq);
    assert!(
        matches!(error, FoldError::Broken { seq, .. } if seq == next),
        "{error}"
    );
    assert!(
        replay.unvouched().contains(&seq),
        "{:?}",
        replay.unvouched()
    );
    assert!(replay.unvouched().len() < 5, "{:?}", replay.unvouched());
}
