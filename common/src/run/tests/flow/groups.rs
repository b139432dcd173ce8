//! Switches, steps side by side, and steps for each item.

use super::*;

const ROUTES: &str = "
  - id: route
    switch:
      - {when: 'event.data.kind == \"big\"', to: large}
      - {when: 'event.data.kind == \"none\"', to: end}
      - {else: small}
  - {id: small, tool: restart, with: {service: small}, then: last}
  - {id: large, tool: restart, with: {service: large}}
  - {id: last, tool: restart, with: {service: '{{ steps.small and steps.small.output }}/{{ steps.large and steps.large.output }}'}}
";

#[test]
fn a_switch_takes_the_first_way_that_holds_and_what_it_passes_is_nothing() {
    for (kind, first, with) in [("big", "large", "null/did"), ("other", "small", "did/null")] {
        let mut stage = Stage::of("", ROUTES, json!({"kind": kind}));
        stage.goes_far();
        assert_eq!(stage.in_hand(), [first]);
        stage.done(first, json!("did"));
        let (_, last) = stage.last_of("last");
        let said = act_with(&last.decision)["service"]
            .as_str()
            .expect("a text")
            .to_lowercase();
        assert_eq!(said, with.to_lowercase());
        stage.done("last", json!(1));
        assert_eq!(stage.ended().0, Outcome::Completed);
    }
    let mut stage = Stage::of("", ROUTES, json!({"kind": "none"}));
    assert_eq!(stage.ended().0, Outcome::Completed);
    assert_eq!(stage.run.steps.len(), 1, "nothing but the switch");
}

const BESIDE: &str = "
  - id: context
    parallel:
      - {id: disk, tool: disk_usage, with: {path: /}}
      - id: deploys
        steps:
          - {id: first, tool: restart, with: {service: a}}
          - {id: second, tool: restart, with: {service: '{{ steps.first.output }}'}}
  - {id: last, tool: restart, with: {service: '{{ steps.context.disk.output }}-{{ steps.context.deploys.second.output }}'}}
";

#[test]
fn branches_begin_in_one_append_and_are_joined_when_all_are_done() {
    let mut stage = Stage::of("", BESIDE, json!({}));
    let drafts = stage.drafts();
    assert_eq!(drafts.len(), 2, "both, in one batch");
    stage.decides(drafts);
    assert_eq!(stage.in_hand(), ["disk", "first"]);
    stage.done("first", json!("b"));
    assert_eq!(
        act_with(&stage.last_of("second").1.decision)["service"],
        "b"
    );
    stage.done("disk", json!("d"));
    assert_eq!(stage.in_hand(), ["second"], "not before all are done");
    stage.done("second", json!("s"));
    assert_eq!(
        act_with(&stage.last_of("last").1.decision)["service"],
        "d-s"
    );
    stage.done("last", json!(1));
    assert_eq!(stage.ended().0, Outcome::Completed);
}

#[test]
fn claude_is_asked_for_all_branches_at_once_and_what_is_asked_is_not_asked_again() {
    let mut stage = Stage::of(
        "",
        "
  - id: aspects
    parallel:
      - {id: law, claude: {prompt: The law?}}
      - {id: money, claude: {prompt: The money?}}
  - {id: both, claude: {prompt: '{{ steps.aspects.law }} {{ steps.aspects.money }}'}}
",
        json!({}),
    );
    assert_eq!(stage.asked(), ["law", "money"]);
    let busy = ["law".parse().expect("a key")].into();
    let Next::Ask(rest, _) = stage.run.next_beside(&stage.workflow, stage.now, &busy) else {
        panic!("the other one is to be asked");
    };
    assert_eq!(rest.len(), 1);
    assert_eq!(stage.run.wanted(&stage.workflow, &busy), busy);
    stage.replies("money", text("dear"));
    assert_eq!(stage.asked(), ["law"]);
    stage.replies("law", text("fine"));
    let seen = stage.ask().request.messages[0].content[0]["text"].to_string();
    assert!(seen.contains("fine") && seen.contains("dear"), "{seen}");
    stage.cancels("c1");
    assert!(
        stage
            .run
            .wanted(&stage.workflow, &["both".parse().expect("a key")].into())
            .is_empty()
    );
}

fn beside(policy: &str) -> Stage {
    // Only where a failure is forgiven can it be asked for.
    let whole = if policy == "fail" {
        "1"
    } else {
        "steps.both.ok"
    };
    let steps = format!(
        "
  - id: both
    on_error: {policy}
    parallel:
      - id: one
        steps:
          - {{id: a, tool: book, with: {{id: a}}}}
          - {{id: after, tool: disk_usage, with: {{path: /}}}}
      - {{id: b, tool: book, with: {{id: b}}}}
  - {{id: last, tool: disk_usage, with: {{path: '{{{{ steps.both.b.ok }}}} {{{{ steps.both.one.after and 1 }}}} {{{{ {whole} }}}}'}}}}
"
    );
    let mut stage = Stage::of("", &steps, json!({}));
    stage.goes_far();
    assert_eq!(stage.in_hand(), ["a", "b"]);
    assert_eq!(stage.gives("b", failed("no room")), Folded::New);
    stage.goes_far();
    stage
}

#[test]
fn a_failed_branch_fails_the_run_once_what_is_in_flight_is_back() {
    let mut stage = beside("fail");
    assert_eq!(stage.in_hand(), ["a"]);
    assert!(matches!(stage.next(), Next::Wait(_)), "`a` is waited for");
    stage.done("a", json!({"id": "a"}));
    let (outcome, reason) = stage.ended();
    assert_eq!(outcome, Outcome::Failed);
    assert!(reason.contains("no room"), "{reason}");
    assert!(
        !stage
            .run
            .steps
            .contains_key(&"after".parse().expect("a place"))
    );
}

#[test]
fn a_failed_branch_that_is_forgiven_lets_the_others_go_on() {
    let mut stage = beside("continue");
    stage.done("a", json!({"id": "a"}));
    assert_eq!(stage.in_hand(), ["after"]);
    stage.done("after", json!(1));
    let last = act_with(&stage.last_of("last").1.decision)["path"]
        .to_string()
        .to_lowercase();
    assert_eq!(last, "\"false 1 false\"", "the join sees which one failed");
    stage.done("last", json!(1));
    assert_eq!(stage.ended().0, Outcome::Completed);
}

#[test]
fn what_branches_did_is_undone_where_the_policy_says_so() {
    let mut stage = beside("compensate");
    stage.done("a", json!({"id": "a-7"}));
    assert_eq!(stage.in_hand(), ["a!undo"]);
    assert_eq!(
        act_with(&stage.last_of("a!undo").1.decision),
        &json!({"id": "a-7"})
    );
    stage.done("a!undo", json!(1));
    assert_eq!(stage.in_hand(), ["last"]);
    stage.done("last", json!(1));
    assert_eq!(stage.ended().0, Outcome::Completed);
}

fn pages(more: &str, count: usize) -> Stage {
    let steps = format!(
        "
  - id: pages
    for_each:
      in: event.data.pages
      as: page
      width: 2
      {more}
      steps:
        - {{id: fetch, tool: disk_usage, with: {{path: '{{{{ page.at }}}}#{{{{ index }}}}'}}}}
        - {{id: mark, tool: restart, with: {{service: '{{{{ steps.fetch.output }}}}'}}}}
  - {{id: last, tool: disk_usage, with: {{path: '{{{{ steps.pages | length }}}} {{{{ steps.pages[1].mark.output }}}}'}}}}
"
    );
    let list: Vec<Value> = (0..count).map(|n| json!({"at": format!("p{n}")})).collect();
    Stage::of("limits: {steps: 10000}", &steps, json!({"pages": list}))
}

#[test]
fn items_are_taken_so_many_at_once_in_their_order_each_under_its_own_key() {
    let mut stage = pages("max: 5", 3);
    stage.goes_far();
    assert_eq!(stage.in_hand(), ["fetch[0]", "fetch[1]"]);
    assert_eq!(
        act_with(&stage.last_of("fetch[1]").1.decision)["path"],
        "p1#1"
    );
    stage.done("fetch[1]", json!("x"));
    assert_eq!(
        stage.in_hand(),
        ["fetch[0]", "mark[1]"],
        "an item is all of its steps"
    );
    assert_eq!(
        act_with(&stage.last_of("mark[1]").1.decision)["service"],
        "x"
    );
    stage.done("mark[1]", json!("m1"));
    assert_eq!(stage.in_hand(), ["fetch[0]", "fetch[2]"]);
    for slot in ["fetch[0]", "mark[0]", "fetch[2]", "mark[2]"] {
        stage.done(slot, json!("y"));
    }
    assert_eq!(act_with(&stage.last_of("last").1.decision)["path"], "3 m1");
    stage.done("last", json!(1));
    assert_eq!(stage.ended().0, Outcome::Completed);
}

#[test]
fn a_step_that_cannot_even_begin_is_seen_to_have_failed_where_that_is_forgiven() {
    let steps = "
  - id: pages
    for_each:
      in: event.data.pages
      as: page
      width: 1
      steps: [{id: fetch, tool: disk_usage, with: {path: '{{ page.at }}'}, on_error: continue}]
  - id: both
    on_error: continue
    parallel: [{id: a, tool: book, with: {id: '{{ event.data.nobody }}'}}]
  - {id: last, tool: disk_usage, with: {path: '{{ steps.pages[0].fetch.ok }} {{ steps.pages[1].fetch.ok }} {{ steps.both.ok }} {{ steps.both.error.kind }}'}}
";
    let pages = json!([{"scan": 1}, {"at": "p1"}]);
    let mut stage = Stage::of("", steps, json!({"pages": pages}));
    stage.goes_far();
    assert_eq!(stage.in_hand(), ["fetch[1]"], "the other page goes on");
    stage.done("fetch[1]", json!("x"));
    assert_eq!(
        act_with(&stage.last_of("last").1.decision)["path"]
            .to_string()
            .to_lowercase(),
        "\"false true false definition\""
    );
    stage.done("last", json!(1));
    assert_eq!(stage.ended().0, Outcome::Completed);
}

#[test]
fn a_list_that_is_too_long_or_none_or_empty_is_told_before_anything_is_done() {
    let (outcome, reason) = pages("max: 5", 6).ended();
    assert_eq!(outcome, Outcome::Failed);
    assert_eq!(
        reason,
        "step `pages`: its list has 6 items, and it takes at most 5 (`max`)"
    );
    let (outcome, reason) = pages("", 100_000).ended();
    assert_eq!(outcome, Outcome::Failed);
    assert!(reason.contains("100000 items"), "{reason}");
    let steps = "
  - id: pages
    for_each: {in: event.data.pages, steps: [{id: fetch, tool: disk_usage, with: {path: '{{ item }}'}}]}
";
    let (outcome, reason) = Stage::of("", steps, json!({"pages": 7})).ended();
    assert_eq!(outcome, Outcome::Failed);
    assert!(reason.contains("it is no list"), "{reason}");
    assert_eq!(
        Stage::of("", steps, json!({"pages": []})).ended().0,
        Outcome::Completed
    );
}

#[test]
fn loops_within_loops_see_both_items() {
    let steps = "
  - id: outer
    for_each:
      in: event.data.rows
      as: row
      steps:
        - id: inner
          for_each:
            in: row
            as: cell
            steps: [{id: look, tool: disk_usage, with: {path: '{{ row | length }}:{{ cell }}'}}]
";
    let mut stage = Stage::of("", steps, json!({"rows": [["a"], ["b", "c"]]}));
    stage.goes_far();
    assert_eq!(stage.in_hand(), ["look[0][0]", "look[1][0]", "look[1][1]"]);
    assert_eq!(
        act_with(&stage.last_of("look[1][1]").1.decision)["path"],
        "2:c"
    );
    for slot in ["look[1][1]", "look[0][0]", "look[1][0]"] {
        stage.done(slot, json!(slot));
    }
    let seen = stage.facts();
    assert_eq!(
        seen["steps"]["outer"][1]["inner"][0]["look"]["output"],
        "look[1][0]"
    );
    assert_eq!(stage.ended().0, Outcome::Completed);
}

#[test]
fn a_limit_of_decisions_counts_branches_before_they_begin() {
    let mut stage = Stage::of("limits: {steps: 3}", BESIDE, json!({}));
    stage.goes_far();
    stage.done("first", json!("b"));
    stage.done("disk", json!("d"));
    stage.gives("second", ok(json!("s")));
    let (outcome, reason) = stage.ended();
    assert_eq!(outcome, Outcome::Failed);
    assert_eq!(reason, "limits.steps: 3 decisions were not enough");
}

#[test]
fn an_end_within_a_branch_ends_the_run_with_its_words() {
    let steps = "
  - id: both
    parallel:
      - {id: stop, end: {outcome: escalated, reason: 'no {{ event.data.kind }}'}}
      - {id: b, tool: book, with: {id: b}}
";
    let mut stage = Stage::of("", steps, json!({"kind": "tea"}));
    assert_eq!(stage.ended(), (Outcome::Escalated, "no tea".to_owned()));
}

#[test]
fn what_claude_answered_within_a_forgiven_group_is_no_failure_whatever_it_is() {
    let steps = "
  - id: both
    on_error: continue
    steps:
      - {id: words, claude: {prompt: Hm?}}
      - {id: level, claude: {prompt: How bad?, output: {type: object, required: [error], properties: {error: {type: string}}}}, on_error: continue}
  - {id: last, tool: disk_usage, with: {path: '{{ steps.both.ok }} {{ steps.both.words }} {{ steps.both.level.ok }} {{ steps.both.level.error }}'}}
";
    let mut stage = Stage::of("", steps, json!({}));
    stage.replies("words", text("fine"));
    stage.replies(
        "level",
        uses(
            "toolu_1",
            "answer",
            json!({"reasoning": "So.", "confidence": 0.9, "with": {"error": "none"}}),
        ),
    );
    let (_, link) = stage.last_of("last");
    assert_eq!(
        act_with(&link.decision)["path"],
        json!("True fine True none")
    );
}

const LOOPS: &str = "
  - id: all
    parallel:
      - id: rows
        for_each:
          in: event.data.rows
          as: row
          width: 20
          steps:
            - id: cells
              for_each:
                in: event.data.rows
                width: 20
                steps: [{id: cell, tool: restart, with: {service: a}}]
      - {id: other, tool: disk_usage, with: {path: /}}
";

#[test]
fn loops_within_loops_have_no_more_of_a_tool_in_hand_than_one_loop_may() {
    let rows: Vec<u32> = (0..20).collect();
    let mut stage = Stage::of("limits: {steps: 1000}", LOOPS, json!({"rows": rows}));
    stage.goes_far();
    let in_hand = stage.in_hand();
    assert_eq!(in_hand.len(), 101, "another tool is not held back");
    assert!(in_hand.contains(&"other".to_owned()));
    stage.done("other", json!(1));
    let mut done = 0;
    while let Some(next) = stage.in_hand().first().cloned() {
        assert!(stage.in_hand().len() <= 100);
        stage.done(&next, json!(1));
        done += 1;
    }
    assert_eq!((done, stage.ended().0), (400, Outcome::Completed));
}
