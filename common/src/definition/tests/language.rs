//! One workflow with every construct, and what it compiles to.

use std::time::Duration;

use serde_json::{Value, json};

use std::sync::Arc;

use super::*;
use crate::{entry::Outcome, ids::Name, money::Usd};

const ORDER: &str = "\
workflow: order
version: 1
on: {event: shop.order}
model: haiku
limits: {steps: 50, usd: 1.0, duration: 2d}
lessons: {keep: 10}
output: {said: '{{ steps.summary }}', kind: '{{ steps.kind.level }}'}
approvals: {timeout: 4h, on_timeout: escalate, notify: {tool: page@1, with: {text: '{{ approval.show }}'}}}
steps:
  - id: kind
    claude: {prompt: prompts/ask.md, output: {$ref: schemas/s.json}}
    timeout: 10m
    retry: {times: 3, pause: 10s}
    on_error: continue
  - id: route
    switch:
      - {when: 'steps.kind.level == \"info\"', to: summary}
      - {when: 'steps.kind.error is defined', to: stop}
      - {else: context}
  - id: context
    parallel:
      - {id: disk, tool: disk_usage, with: {path: /}}
      - id: deploys
        steps:
          - {id: first, claude: {prompt: 'What is {{ event.data.x }}?'}}
          - {id: which, switch: [{when: steps.first, to: third}]}
          - {id: second, claude: {prompt: '{{ steps.first }}'}, then: end}
          - {id: third, sleep: 1s}
    retry: {times: 1}
  - id: pages
    for_each:
      in: '{{ event.data.pages }}'
      as: page
      width: 4
      max: 100
      steps:
        - {id: read, claude: {prompt: 'Read {{ page.text }}, the one numbered {{ index }}.'}}
        - {id: lines, for_each: {in: page.lines, steps: [{id: count, run: {workflow: remediate, usd: 0.1, with: {line: '{{ item }}', of: '{{ steps.read }}'}}}]}}
  - id: triage
    agent:
      goal: 'Look at {{ steps.context.disk.output }}, {{ steps.context.deploys.first }} and {{ steps.pages[0].read }}.'
      tools: [disk_usage, page]
      ends: [done, escalate]
      review: {model: sonnet, every: 3, prompt: 'Is {{ steps.kind.level }} right?', fallback: [haiku], usd: 0.05}
  - id: plan_check
    approval: {show: {plan: '{{ steps.triage.summary }}'}, timeout: 1h, on_timeout: reject}
    timeout: 2h
  - {id: other_check, approval: {show: hi, notify: {tool: page, with: {text: '{{ steps.plan_check.by }}'}}}}
  - {id: pause, sleep: 10m}
  - {id: longer, sleep: '{{ event.data.minutes * 60 }}'}
  - {id: late, until: '{{ event.data.at }}'}
  - {id: newyear, until: 2027-01-01T00:00:00Z}
  - {id: child, run: {workflow: remediate}}
  - id: book
    tool: book
    with: {room: '{{ steps.child.output.room }}'}
    compensate: {tool: cancel@1, with: {id: '{{ output.id }}', room: '{{ input.room }} of {{ steps.kind.level }}'}}
    approve: false
    on_error: compensate
  - {id: plain, tool: book, with: {room: a}, approve: true, then: summary}
  - {id: stop, end: {outcome: failed, reason: 'no such {{ event.data.kind }}'}}
  - {id: summary, claude: {prompt: hi}}
  - {id: done, end: completed}
on_failure:
  compensate: true
  steps:
    - {id: tell, tool: page, with: {text: '{{ failure.outcome }}: {{ failure.reason }} ({{ steps.kind.level }})'}}
    - {id: word, claude: {prompt: '{{ steps.tell.ok }}'}}
";

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn shape(value: &Value) -> Shape {
    Shape::compile(value).expect("a shape")
}

fn formula(text: &str) -> Formula {
    Formula::compile(text).expect("a formula")
}

fn tools() -> Tools {
    parse(&[("desk.yaml", DESK), ("tools.yaml", TOOLS)])
        .expect("the tools are right")
        .tools
}

fn tool(text: &str) -> Arc<Tool> {
    let tools = tools();
    let tool = tools.get(&name(text), 1).expect("there is such a tool");
    Arc::clone(tool)
}

fn order(text: &str) -> Arc<Workflow> {
    let files = [
        ("order.yaml", text),
        ("desk.yaml", DESK),
        ("remediate.yaml", REMEDIATE),
    ];
    let files: Vec<_> = files
        .into_iter()
        .chain([("tools.yaml", TOOLS)])
        .chain(FILES)
        .collect();
    let catalogue = parse(&files).unwrap_or_else(|problems| panic!("{problems}"));
    let mut found = catalogue
        .newest()
        .filter(|workflow| workflow.pin.name.as_str() == "order");
    Arc::clone(found.next().expect("there is one"))
}

fn step<'w>(workflow: &'w Workflow, id: &str) -> &'w Step {
    workflow.step(&name(id)).expect("there is such a step")
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_all_steps_have_is_kept() {
    let order = order(ORDER);
    let kind = step(&order, "kind");
    assert_eq!(kind.timeout, Some(SECOND * 600));
    let retry = |times, pause| Some(Retry { times, pause });
    assert_eq!(kind.retry, retry(3, SECOND * 10));
    assert_eq!(step(&order, "context").retry, retry(1, SECOND));
    assert_eq!(kind.on_error, OnError::Continue);
    assert_eq!(step(&order, "book").on_error, OnError::Compensate);
    assert_eq!(step(&order, "second").then, Some(Target::End));
    assert_eq!(
        step(&order, "plain").then,
        Some(Target::Step(name("summary")))
    );
    let summary = step(&order, "summary");
    let rest = (
        &summary.then,
        summary.timeout,
        summary.retry,
        summary.on_error,
    );
    assert_eq!(rest, (&None, None, None, OnError::Fail));
}

#[test]
fn steps_that_hold_steps_keep_them_in_order() {
    let order = order(ORDER);
    let ids: Vec<_> = order
        .all_steps()
        .iter()
        .map(|step| step.id.to_string())
        .collect();
    let expected = "kind route context disk deploys first which second third pages read lines count triage plan_check \
        other_check pause longer late newyear child book plain stop summary done tell word";
    assert_eq!(ids.join(" "), expected);
    let case = |when: Option<&str>, to| Case {
        when: when.map(formula),
        to: Target::Step(name(to)),
    };
    let cases = vec![
        case(Some("steps.kind.level == \"info\""), "summary"),
        case(Some("steps.kind.error is defined"), "stop"),
        case(None, "context"),
    ];
    assert_eq!(step(&order, "route").kind, StepKind::Switch(cases));
    let StepKind::Each(pages) = &step(&order, "pages").kind else {
        panic!("`pages` goes through a list");
    };
    let loops = (&pages.list, pages.item.as_str(), pages.width, pages.most);
    assert_eq!(loops, (&formula("event.data.pages"), "page", 4, 100));
    let StepKind::Each(lines) = &step(&order, "lines").kind else {
        panic!("`lines` goes through a list");
    };
    let loops = (&lines.list, lines.item.as_str(), lines.width, lines.most);
    assert_eq!(loops, (&formula("page.lines"), "item", 8, 1_000));
    let StepKind::Parallel(branches) = &step(&order, "context").kind else {
        panic!("`context` has branches");
    };
    assert!(matches!(branches[1].kind, StepKind::Steps(ref steps) if steps.len() == 4));
}

#[test]
fn people_are_asked_as_the_workflow_says_where_the_step_does_not() {
    let order = order(ORDER);
    let notify = |text: &str| Notify {
        tool: tool("page"),
        with: shape(&json!({"text": text})),
    };
    let all = ApprovalTerms {
        timeout: Some((SECOND * 4 * 3_600, OnTimeout::Escalate)),
        notify: Some(notify("{{ approval.show }}")),
    };
    assert_eq!(order.approvals, all);
    let plan = ApprovalStep {
        show: shape(&json!({"plan": "{{ steps.triage.summary }}"})),
        terms: ApprovalTerms {
            timeout: Some((SECOND * 3_600, OnTimeout::Reject)),
            ..all.clone()
        },
    };
    assert_eq!(step(&order, "plan_check").kind, StepKind::Approval(plan));
    let other = ApprovalStep {
        show: shape(&json!("hi")),
        terms: ApprovalTerms {
            notify: Some(notify("{{ steps.plan_check.by }}")),
            ..all
        },
    };
    assert_eq!(step(&order, "other_check").kind, StepKind::Approval(other));
}

#[test]
fn time_passes_as_it_is_written() {
    let order = order(ORDER);
    for (id, sleep) in [
        ("pause", Sleep::For(SECOND * 600)),
        (
            "longer",
            Sleep::ForValue(formula("event.data.minutes * 60")),
        ),
        ("late", Sleep::Until(formula("event.data.at"))),
        ("newyear", Sleep::Until(formula("\"2027-01-01T00:00:00Z\""))),
    ] {
        assert_eq!(step(&order, id).kind, StepKind::Sleep(sleep), "{id}");
    }
}

#[test]
fn other_workflows_are_run_with_what_they_are_given() {
    let order = order(ORDER);
    let count = RunStep {
        workflow: name("remediate"),
        with: shape(&json!({"line": "{{ item }}", "of": "{{ steps.read }}"})),
        usd: Usd::from_dollars(0.1),
    };
    assert_eq!(step(&order, "count").kind, StepKind::Run(count));
    let child = RunStep {
        workflow: name("remediate"),
        with: shape(&json!({})),
        usd: None,
    };
    assert_eq!(step(&order, "child").kind, StepKind::Run(child));
}

#[test]
fn what_is_done_can_be_undone_by_the_step_or_else_by_its_tool() {
    let order = order(ORDER);
    let [book, plain] = ["book", "plain"].map(|id| {
        let StepKind::Tool(tool) = &step(&order, id).kind else {
            panic!("`{id}` is a tool");
        };
        tool.clone()
    });
    let own = Compensate {
        tool: tool("cancel"),
        with: shape(
            &json!({"id": "{{ output.id }}", "room": "{{ input.room }} of {{ steps.kind.level }}"}),
        ),
    };
    assert_eq!((book.compensate, book.approve), (Some(own), Some(false)));
    assert_eq!((plain.compensate, plain.approve), (None, Some(true)));
    let of_tool = Compensate {
        tool: tool("cancel"),
        with: shape(&json!({"id": "{{ output.id }}", "room": "{{ input.room }}"})),
    };
    assert_eq!(plain.tool.compensate, Some(of_tool));
    assert_eq!(
        (plain.tool.risk, tool("cancel").risk),
        (Risk::High, Risk::Low)
    );
    assert!(order.on_failure.compensate);
    let mut used: Vec<_> = order
        .tools()
        .iter()
        .map(|tool| tool.name.to_string())
        .collect();
    used.sort();
    assert_eq!(used, ["book", "cancel", "disk_usage", "page"]);
}

#[test]
fn a_run_ends_and_gives_what_is_written() {
    let order = order(ORDER);
    let StepKind::End(stop) = &step(&order, "stop").kind else {
        panic!("`stop` is an end");
    };
    assert_eq!(stop.outcome, Outcome::Failed);
    let reason = stop.reason.as_ref().map(Template::source);
    assert_eq!(reason, Some("no such {{ event.data.kind }}"));
    let done = EndStep {
        outcome: Outcome::Completed,
        reason: None,
    };
    assert_eq!(step(&order, "done").kind, StepKind::End(done));
    let output = json!({"said": "{{ steps.summary }}", "kind": "{{ steps.kind.level }}"});
    assert_eq!(order.output, Some(shape(&output)));
    assert_eq!(order.lessons, 10);
    let failing: Vec<_> = order
        .on_failure
        .steps
        .iter()
        .map(|step| step.id.as_str())
        .collect();
    assert_eq!(failing, ["tell", "word"]);
}

#[test]
fn an_agent_is_reviewed_by_whom_it_says() {
    let order = order(ORDER);
    let StepKind::Agent(agent) = &step(&order, "triage").kind else {
        panic!("`triage` is an agent");
    };
    let review = agent.review.as_ref().expect("it is reviewed");
    let models: Vec<_> = review
        .inference
        .models
        .iter()
        .map(|model| model.id.as_str())
        .collect();
    assert_eq!(models, ["claude-sonnet-5-5", "claude-haiku-5-5"]);
    assert_eq!(
        (review.every, review.inference.usd),
        (3, Usd::from_dollars(0.05))
    );
    let prompt = review.prompt.as_ref().map(Template::source);
    assert_eq!(prompt, Some("Is {{ steps.kind.level }} right?"));
    let short = ORDER.replace(", prompt: 'Is {{ steps.kind.level }} right?'", "");
    let order = self::order(&short);
    let StepKind::Agent(agent) = &step(&order, "triage").kind else {
        panic!("`triage` is an agent");
    };
    let review = agent.review.as_ref().expect("it is reviewed");
    assert_eq!(review.prompt, None);
}

#[test]
fn lessons_can_be_written_as_a_number() {
    for (written, lessons) in [("lessons: 20", 20), ("lessons: 0", 0), ("", 0)] {
        let order = order(&ORDER.replace("lessons: {keep: 10}", written));
        assert_eq!(order.lessons, lessons, "{written}");
    }
}

#[test]
fn what_undoes_a_tool_makes_a_version_too() {
    let digest = |desk: &str| {
        let text = format!("{TOP}steps: [{{id: a, tool: book, with: {{room: r}}}}]");
        let catalogue = parse(&[("w.yaml", &text), ("desk.yaml", desk)]).expect("these are right");
        let workflow = catalogue.newest().next().expect("there is one");
        workflow.pin.digest.clone()
    };
    let other_cancel = DESK.replace("[cancel, ", "[cancel, now, ");
    let other_page = DESK.replace("[page, ", "[page, now, ");
    assert_ne!(digest(&other_cancel), digest(DESK));
    assert_eq!(digest(&other_page), digest(DESK));
}

#[test]
fn tools_that_undo_each_other_are_each_undone_once() {
    let both = DESK.replace(
        "    command: [cancel, ",
        "    compensate: {tool: book, with: {room: '{{ input.room }}'}}\n    command: [cancel, ",
    );
    let catalogue = parse(&[("desk.yaml", &both)]).expect("these are right");
    let undoes = |text: &str| {
        let tool = catalogue
            .tools
            .get(&name(text), 1)
            .expect("there is such a tool");
        let undo = tool.compensate.as_ref().expect("it can be undone");
        (undo.tool.name.to_string(), undo.tool.compensate.is_none())
    };
    assert_eq!(undoes("book"), ("cancel".to_owned(), true));
    assert_eq!(undoes("cancel"), ("book".to_owned(), true));
}
