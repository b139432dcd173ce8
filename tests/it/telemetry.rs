//! Traces and logs: what they show of a run, that they hold together when processes die, and that nobody waits for them.

mod collector;
mod logs;

use std::collections::BTreeSet;

use flotilla_tests::{
    CLAUDE_KEY, Fleet, PATIENCE, Proxy, RoleOptions, Workflows, eventually, free_port,
};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use collector::{Collector, Link, OUTPUT, Span};

const EVENT: &str = "the-data-of-the-event";
const REPLY: &str = "the-reply-of-claude";
const REASON: &str = "the-reason-of-a-person";
/// What spans are sent with as a key: it must be nowhere else.
const EXPORT_KEY: &str = "the-key-of-the-collector";
const SENDER: (&str, &str) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");

const CHAT: &str = "chat claude-haiku-5-5";

const WORKFLOW: &str = "
workflow: traced
version: 3
on: {event: test.traced}
model: haiku
steps:
  - id: ask
    claude:
      prompt: 'What is this? {{ event.data.text }}'
      output: {type: object, properties: {level: {type: string}}, required: [level], additionalProperties: false}
  - id: check
    approval: {show: 'May {{ event.data.text }} go on?', timeout: 28d, on_timeout: escalate}
  - {id: act, tool: act@1, with: {text: '{{ event.data.text }}'}}
";

fn workflows(collector: &Collector) -> Workflows {
    let tools = format!(
        "
tools:
  - tool: act
    version: 1
    description: Does something.
    input: {{type: object, properties: {{text: {{type: string}}}}, required: [text], additionalProperties: false}}
    effect: idempotent
    http: {{method: POST, url: '{}', body: {{text: '{{{{ input.text }}}}'}}}}
",
        collector.url("/act")
    );
    let policies = format!(
        "
policies:
  - policy: any
    rules:
      - use: answer
        with: {{reasoning: {REPLY}, confidence: 0.9, with: {{level: {REPLY}}}}}
"
    );
    Workflows::files(&[
        ("workflow.yaml", WORKFLOW),
        ("tools.yaml", &tools),
        ("policies.yaml", &policies),
    ])
}

fn builder(collector: &Collector, endpoint: &str) -> flotilla_tests::Builder {
    Fleet::builder()
        .workflows(workflows(collector))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_EXPORTER_OTLP_HEADERS", &format!("x-key={EXPORT_KEY}"))
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
}

async fn submit(fleet: &Fleet, id: &str) -> String {
    let event =
        json!({"id": id, "source": "tests", "type": "test.traced", "data": {"text": EVENT}});
    let sender = format!("00-{}-{}-01", SENDER.0, SENDER.1);
    let headers = [
        ("content-type", "application/json"),
        ("traceparent", &sender),
    ];
    let answer = fleet
        .api()
        .post_with("/v1/events", &headers, event.to_string())
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let taken: Value = answer.json();
    taken["runs"][0].as_str().unwrap().to_owned()
}

/// Waits until a run asks a person, and lets it go on.
async fn allow(fleet: &Fleet, run: &str) {
    let question = eventually("the run asks a person", PATIENCE, async || {
        let listed: Value = fleet.api().get("/v1/approvals").await.json();
        let all = listed["approvals"].as_array().unwrap();
        let own = all.iter().find(|one| one["run"] == run).cloned();
        own.ok_or(listed)
    })
    .await;
    let said =
        json!({"step": question["step"], "hash": question["hash"], "by": "ana", "reason": REASON});
    let path = format!("/v1/runs/{run}/approve");
    let answer = fleet.api().post_json(&path, &said).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
}

/// The one root of a run's trace, after a look at all of it: every parent is there, and below the root in the end.
fn whole(spans: &[Span]) -> Span {
    let ids: BTreeSet<_> = spans.iter().map(|span| &span.id).collect();
    assert_eq!(ids.len(), spans.len(), "no span comes twice: {spans:#?}");
    for span in spans {
        let is_held = span.parent.is_empty() || ids.contains(&span.parent);
        assert!(is_held, "{span:#?} has no parent in {spans:#?}");
    }
    let roots: Vec<_> = spans.iter().filter(|span| span.parent.is_empty()).collect();
    assert_eq!(roots.len(), 1, "{roots:#?}");
    roots[0].clone()
}

fn one<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let first = found
        .next()
        .unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    assert_eq!(found.next(), None, "more than one {name}");
    first
}

fn link<'s>(span: &'s Span, what: &str) -> &'s Link {
    let mut links = span.links.iter();
    let found = links.find(|link| link.attributes["flotilla.link"] == what);
    found.unwrap_or_else(|| panic!("no {what} in {span:#?}"))
}

fn says(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_one_trace_from_the_request_to_the_tool_and_back() {
    let collector = Collector::start().await;
    let fleet = builder(&collector, &collector.url(""))
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
        .start()
        .await;
    let run = submit(&fleet, "a").await;
    allow(&fleet, &run).await;
    let end = fleet.wait_run_end(&run).await;
    assert_eq!(end.status, "completed");

    let trace = run.strip_prefix("run_").unwrap();
    let spans = collector
        .trace(trace, &["invoke_workflow traced", "execute_tool act"])
        .await;
    let root = whole(&spans);
    assert_eq!(
        (root.name.as_str(), root.kind, root.service.as_str()),
        (
            "invoke_workflow traced",
            SpanKind::Internal,
            "flotilla-planner"
        )
    );
    assert_eq!(root.attributes["flotilla.outcome"], "completed");
    assert!(root.instance.starts_with("planner-"), "{}", root.instance);

    // The sender's trace goes on to the stream, and is tied to the run's from both sides.
    let sent = collector
        .trace(SENDER.0, &["POST /v1/events", "publish test.traced"])
        .await;
    let request = one(&sent, "POST /v1/events");
    assert_eq!(
        (
            request.parent.as_str(),
            request.kind,
            request.service.as_str()
        ),
        (SENDER.1, SpanKind::Server, "flotilla-gateway")
    );
    let to_run = link(request, "run");
    assert_eq!((&*to_run.trace, &*to_run.id), (trace, &*root.id));
    let publish = one(&sent, "publish test.traced");
    assert_eq!(
        (&publish.parent, publish.kind),
        (&request.id, SpanKind::Producer)
    );
    let start = one(&spans, "start traced");
    assert_eq!(start.parent, root.id);
    for span in [&root, start] {
        let from = link(span, "sender");
        assert_eq!((&*from.trace, &from.id), (SENDER.0, &publish.id));
    }

    // Claude's call, with the tokens that were billed.
    let plans: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "plan traced")
        .collect();
    assert_eq!(plans.len(), 3, "{plans:#?}");
    let chat = one(&spans, CHAT);
    assert_eq!(chat.kind, SpanKind::Client);
    assert_eq!(chat.attributes["gen_ai.provider.name"], "anthropic");
    assert_eq!(chat.attributes["gen_ai.operation.name"], "chat");
    assert_eq!(chat.attributes["gen_ai.conversation.id"], *run);
    let asked = plans.iter().find(|plan| plan.id == chat.parent).unwrap();
    let publisher = link(asked, "publisher");
    assert_eq!(publisher.id, start.id, "the one who started it");
    let call = &fleet.sim.ledger_of(&run).await[0];
    assert_eq!(
        chat.attributes["gen_ai.request.model"],
        *call.model.as_ref().unwrap()
    );
    let tokens = |key: &str| {
        chat.attributes[&format!("gen_ai.usage.{key}")]
            .as_u64()
            .unwrap()
    };
    assert_eq!(
        tokens("input_tokens"),
        end.input_tokens + end.cache_read_tokens + tokens("cache_creation.input_tokens")
    );
    assert_eq!(tokens("cache_read.input_tokens"), end.cache_read_tokens);
    assert_eq!(tokens("output_tokens"), end.output_tokens);
    assert!(tokens("output_tokens") > 0);

    // The wait is a link from the work that went on to the decision to ask.
    let question = one(&spans, "decide check");
    let went_on = plans
        .iter()
        .find(|plan| plan.links.iter().any(|link| link.id == question.id));
    let went_on = went_on.expect("somebody went on");
    let wait = link(went_on, "wait");
    assert_eq!(wait.attributes["flotilla.wait.kind"], "approval");
    assert!(wait.attributes["flotilla.wait.seconds"].as_f64().unwrap() > 0.0);

    // The tool, and back.
    let tool = one(&spans, "execute_tool act");
    assert_eq!((&tool.parent, tool.kind), (&root.id, SpanKind::Consumer));
    assert_eq!(link(tool, "publisher").id, went_on.id);
    assert_eq!(tool.service, "flotilla-executor");
    assert_eq!(tool.attributes["messaging.message.delivery_attempt"], 1);
    assert_eq!(collector.called(), [format!("00-{trace}-{}-01", tool.id)]);
    let request = one(&spans, "call act");
    assert_eq!(
        (&request.parent, request.kind),
        (&tool.id, SpanKind::Client)
    );
    let back = plans
        .iter()
        .find(|plan| link(plan, "publisher").id == tool.id);
    assert!(back.is_some(), "{plans:#?}");

    // On the stream, too.
    let journal = fleet
        .nats
        .jetstream()
        .await
        .get_stream("RUNS")
        .await
        .unwrap();
    let subject = format!("runs.{run}.decided.act");
    let decided = journal
        .get_last_raw_message_by_subject(&subject)
        .await
        .unwrap();
    let named = decided.headers.get("traceparent").unwrap().as_str();
    assert_eq!(named, format!("00-{trace}-{}-01", went_on.id));

    let bytes = collector.bytes();
    assert!(says(&bytes, "deployment.environment"));
    for secret in [EVENT, REPLY, REASON, OUTPUT, CLAUDE_KEY, EXPORT_KEY] {
        assert!(!says(&bytes, secret), "{secret}");
    }
    assert!(collector.keys().iter().all(|key| key == EXPORT_KEY));
    assert!(!collector.keys().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_is_one_tree_though_planners_were_killed_in_the_middle() {
    let collector = Collector::start().await;
    let mut fleet = builder(&collector, &collector.url(""))
        .planners(0)
        .start()
        .await;
    let to_claude = Proxy::to(fleet.sim.port()).await;
    to_claude.pause_downstream().await;
    let ways = RoleOptions::default().claude(to_claude.url("http"));
    let mut first = fleet.planner(ways).await;
    let run = submit(&fleet, "a").await;
    eventually("Claude has answered once", PATIENCE, async || {
        let calls = fleet.sim.ledger_of(&run).await;
        if calls.len() == 1 { Ok(()) } else { Err(calls) }
    })
    .await;
    first.kill9();
    to_claude.cut().await;

    let trace = run.strip_prefix("run_").unwrap();
    let mut second = fleet.planner(RoleOptions::default()).await;
    collector.trace(trace, &[CHAT, "decide check"]).await;
    second.kill9();
    let _third = fleet.planner(RoleOptions::default()).await;
    allow(&fleet, &run).await;
    assert_eq!(fleet.wait_run_end(&run).await.status, "completed");

    let spans = collector
        .trace(trace, &["invoke_workflow traced", "execute_tool act"])
        .await;
    let root = whole(&spans);
    assert_eq!(root.name, "invoke_workflow traced");
    // The one that was killed left nothing half: the second delivery says that it is one.
    let planned = one(&spans, CHAT).parent.clone();
    let planned = spans.iter().find(|span| span.id == planned).unwrap();
    let delivery = &planned.attributes["messaging.message.delivery_attempt"];
    assert!(delivery.as_u64().unwrap() > 1, "{planned:#?}");
}

/// Runs that nobody's traces hold up, and an orderly end of every role.
async fn goes_on_without(endpoint: &str, env: &[(&str, &str)]) -> Vec<String> {
    const RUNS: usize = 5;
    let collector = Collector::start().await;
    let mut builder = builder(&collector, endpoint);
    for (name, value) in env {
        builder = builder.env(name, value);
    }
    let mut fleet = builder.start().await;
    let mut runs = Vec::new();
    for number in 0..RUNS {
        runs.push(submit(&fleet, &number.to_string()).await);
    }
    for run in &runs {
        allow(&fleet, run).await;
    }
    for run in &runs {
        assert_eq!(fleet.wait_run_end(run).await.status, "completed");
    }
    assert_eq!(collector.spans(), []);
    let roles = fleet.planners.iter_mut().chain(&mut fleet.executors);
    let mut logs = Vec::new();
    for role in roles.chain([&mut fleet.gateway]) {
        role.drain(PATIENCE).await;
        logs.push(role.log());
    }
    logs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_not_there_holds_nothing_up_and_is_told_of_once() {
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    for log in goes_on_without(&endpoint, &[]).await {
        assert_eq!(log.matches("traces cannot be exported").count(), 1, "{log}");
        assert!(!log.contains(EXPORT_KEY), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_never_answers_holds_nothing_up() {
    // The system takes connections; nobody ever reads from them.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let small = [("OTEL_BSP_MAX_QUEUE_SIZE", "4")];
    for log in goes_on_without(&endpoint, &small).await {
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_setting_of_traces_stops_the_start_with_its_name() {
    let collector = Collector::start().await;
    let mut fleet = builder(&collector, &collector.url("")).start().await;
    let wrong = RoleOptions::default().env("OTEL_TRACES_SAMPLER", "sometimes");
    let mut gateway = fleet.start_gateway(wrong);
    let status = gateway.wait_exit(PATIENCE).await;
    assert_eq!(status.code(), Some(1));
    let log = gateway.log();
    assert!(log.contains("OTEL_TRACES_SAMPLER is `sometimes`"), "{log}");
}
