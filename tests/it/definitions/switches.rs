//! Tools and steps that are switched off on a running fleet.

use flotilla_common::{
    definition::{Switch, Switched},
    io::definitions::Activate,
};
use flotilla_tests::{PATIENCE, eventually};
use jiff::Timestamp;

use super::fleet::{Stage, assert_each_its_own, event, files, pinned, until, w};

const AGENT: &str = "
workflow: helper
version: 1
on: {event: test.help}
model: haiku
steps:
  - id: help
    agent: {goal: Help., tools: [first, second], ends: [resolve, escalate], max_loops: 5}
";

const AGENT_TOOLS: &str = "
tools:
  - {tool: first, version: 1, description: The usual way., effect: read, input: {type: object}, command: ['true']}
  - {tool: second, version: 1, description: The other way., effect: read, input: {type: object}, command: ['true']}
";

const POLICIES: &str = "
policies:
  - policy: help
    rules:
      - when: calls | length == 0
        use: first
        with: {reasoning: As always., confidence: 0.9, with: {}}
      - when: last.error and calls | length == 1
        use: second
        with: {reasoning: '{{ last.result }}', confidence: 0.9, with: {}}
      - use: resolve
        with: {reasoning: It is done., confidence: 0.9, summary: Done.}
";

fn tool(name: &str, version: Option<u32>) -> Switched {
    let name = name.parse().unwrap();
    Switched::Tool { name, version }
}

fn off(hold: bool) -> Switch {
    let reason = Some("it hurts".to_owned());
    Switch::off(Timestamp::now(), Some("ann".to_owned()), reason, hold)
}

impl Stage {
    async fn switch_off(&self, what: &Switched, hold: bool) {
        let (known, off) = (self.live.current(), off(hold));
        let switched = self.definitions.switch_off(&known, what, &off);
        switched.await.unwrap();
    }

    /// How many decisions wait in the stream for a tool, and how many somebody has in hand.
    async fn waiting(&self, tool: &str) -> (u64, usize) {
        let stream = self.fleet.nats.jetstream().await.get_stream("RUNS").await;
        let info = stream.unwrap().consumer_info(format!("tool-{tool}")).await;
        let info = info.unwrap();
        (info.num_pending, info.num_ack_pending)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_that_is_off_is_refused_with_who_and_why_and_claude_takes_another() {
    let files = [
        ("helper.yaml", AGENT),
        ("first.yaml", AGENT_TOOLS),
        ("policies.yaml", POLICIES),
    ];
    let stage = Stage::with(1, 1, &files).await;
    stage.switch_off(&tool("first", None), false).await;
    stage.until_off(1).await;
    let submitted = stage.fleet.submit(&event("test.help", "1")).await;
    let run = &submitted.runs[0];
    assert_eq!(stage.fleet.wait_run_end(run).await.status, "completed");
    let journal = stage.fleet.journal(run).await;
    let refused: Vec<_> = journal.of("resulted", Some("first")).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].text("/outcome/error"), "switched_off");
    let message = refused[0].text("/outcome/message");
    assert!(
        message.contains("`first@1` is switched off by ann at ") && message.contains("it hurts"),
        "{message}"
    );
    let other = journal.of("decided", Some("second")).next().unwrap();
    assert!(other.text("/reasoning").contains("it hurts"), "{other:?}");
    assert_eq!(
        journal
            .of("resulted", Some("second"))
            .next()
            .unwrap()
            .text("/outcome/kind"),
        "ok"
    );

    // On again, it is as before.
    stage
        .definitions
        .switch_on(&tool("first", None))
        .await
        .unwrap();
    stage.until_off(0).await;
    let submitted = stage.fleet.submit(&event("test.help", "2")).await;
    stage.fleet.wait_run_end(&submitted.runs[0]).await;
    let journal = stage.fleet.journal(&submitted.runs[0]).await;
    assert_eq!(journal.of("decided", Some("second")).count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_decided_for_a_tool_that_waits_is_done_when_it_is_on_again() {
    let stage = Stage::new(1, 2).await;
    stage.switch_off(&tool("note", None), true).await;
    stage.until_off(1).await;
    stage.send(0..20).await;
    eventually("all wait in the stream", PATIENCE, || async {
        let (waiting, in_hand) = stage.waiting("note").await;
        if (waiting, in_hand) == (20, 0) {
            Ok(())
        } else {
            Err((waiting, in_hand))
        }
    })
    .await;
    assert!(stage.sink.effects().is_empty());
    let journal = stage.fleet.journal_of_all().await;
    assert_eq!(journal.of("resulted", None).count(), 0);

    stage
        .definitions
        .switch_on(&tool("note", None))
        .await
        .unwrap();
    stage.fleet.wait_ends(20, PATIENCE).await;
    assert_each_its_own(&stage.fleet.journal_of_all().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_version_of_a_tool_waits_and_the_others_go_on() {
    let stage = Stage::new(1, 1).await;
    stage.switch_off(&tool("note", Some(1)), true).await;
    stage.until_off(1).await;
    stage.send(0..3).await;
    stage.apply(&files(&stage.sink, 2), Activate::Newer).await;
    stage
        .until_all_say("flotilla_workflow_active_version", 2.0)
        .await;
    stage.send(3..6).await;
    stage.fleet.wait_ends(3, PATIENCE).await;
    assert!(stage.sink.effects_at("/note1").is_empty());
    stage
        .definitions
        .switch_on(&tool("note", Some(1)))
        .await
        .unwrap();
    stage.fleet.wait_ends(6, PATIENCE).await;
    let journal = stage.fleet.journal_of_all().await;
    assert_each_its_own(&journal);
    assert_eq!(stage.sink.effects_at("/note1").len(), 6);
    assert_eq!(
        pinned(&journal).values().filter(|one| **one == 1).count(),
        3
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_is_off_is_skipped_and_the_journal_says_why() {
    let stage = Stage::new(1, 1).await;
    let step = Switched::Step {
        workflow: w(),
        step: "a".parse().unwrap(),
    };
    stage.switch_off(&step, false).await;
    stage.until_off(1).await;
    let run = &stage.send(0..1).await[&0];
    assert_eq!(stage.fleet.wait_run_end(run).await.status, "completed");
    let journal = stage.fleet.journal(run).await;
    let skip = journal.of("decided", Some("skip")).next().expect("a skip");
    assert_eq!(skip.text("/step"), "a");
    let why = skip.text("/reasoning");
    assert!(
        why.starts_with("switched off by ann at ") && why.ends_with("it hurts"),
        "{why}"
    );
    let done: Vec<_> = journal.of("decided", Some("note")).collect();
    assert_eq!((done.len(), done[0].text("/step")), (1, "b"));
    stage.definitions.switch_on(&step).await.unwrap();
    until(&stage.live, "it is on", |seen| {
        seen.switches().iter().count() == 0
    })
    .await;
    stage.until_off(0).await;
    stage.send(1..2).await;
    stage.fleet.wait_ends(2, PATIENCE).await;
    let journal = stage.fleet.journal_of_all().await;
    assert_eq!(journal.of("decided", Some("skip")).count(), 1);
}
