//! Three models that are no good: one that loops, one that lies, one that is lazy. Each run ends where its definition says, within
//! its ceilings, and the journal tells every reply that was not taken. Calls and money are read from the simulated Claude's ledger.

use flotilla_tests::{Call, Entry, Fleet, PATIENCE, Sink, Summary, Workflows, eventually};
use serde_json::{Value, json};

use crate::flows::submit_events;

/// What one run left behind.
struct Told {
    run: Summary,
    journal: Vec<Entry>,
    calls: Vec<Call>,
}

impl Told {
    /// What was wrong with each reply, in order; `None` for those that were taken.
    fn complaints(&self) -> Vec<Option<&str>> {
        let calls = self
            .journal
            .iter()
            .filter_map(|entry| entry.at("/call/attempts").as_array());
        calls
            .flatten()
            .map(|attempt| attempt["complaint"].as_str())
            .collect()
    }

    /// Tools that were decided, in order.
    fn acts(&self) -> Vec<&str> {
        let decided = self
            .journal
            .iter()
            .filter(|entry| entry.text("/decision/kind") == "act");
        decided.map(|entry| entry.text("/decision/tool")).collect()
    }

    /// How the agent ended: (end, summary).
    fn finish(&self) -> (&str, &str) {
        let finish = self
            .journal
            .iter()
            .find(|entry| entry.text("/decision/kind") == "finish");
        let finish = finish.unwrap_or_else(|| panic!("no end was taken: {:?}", self.run));
        (
            finish.text("/decision/end"),
            finish.text("/decision/summary"),
        )
    }

    fn reason(&self) -> &str {
        self.run.reason.as_deref().unwrap_or_default()
    }

    /// What the simulated Claude says it cost, in billionths of a dollar.
    fn spent(&self) -> u64 {
        self.calls.iter().map(|call| call.usd_nano).sum()
    }
}

/// One agent with these settings, in a run with these limits. It can look and mend; both are requests to the sink.
async fn fleet(sink: &Sink, limits: &str, agent: &str, policies: &str) -> Fleet {
    let workflow = format!(
        "workflow: watch\nversion: 1\non: {{event: test.watch}}\nlimits: {limits}\nmodel: haiku\nsteps:\n  - id: work\n    agent:\n      goal: Repair what is broken.\n      tools: [look@1, mend@1]\n      ends: [resolve, escalate]\n      max_tokens: 300\n{agent}"
    );
    let tool = |name: &str, effect: &str, input: &str| {
        let url = sink.url(&format!("/{name}"));
        format!(
            "  - tool: {name}\n    version: 1\n    description: It is what it says.\n    input: {{type: object, additionalProperties: false, {input}}}\n    effect: {effect}\n    http: {{method: POST, url: '{url}'}}\n"
        )
    };
    let tools = format!(
        "tools:\n{}{}{}",
        tool("look", "read", "properties: {}"),
        tool(
            "mend",
            "idempotent",
            "properties: {part: {type: string, enum: [disk, fan]}}, required: [part]"
        ),
        tool("drop_tables", "once", "properties: {}"),
    );
    let files = [
        ("watch.yaml", workflow.as_str()),
        ("tools.yaml", &tools),
        ("policies.yaml", policies),
    ];
    Fleet::builder()
        .workflows(Workflows::files(&files))
        .start()
        .await
}

const NO_POLICY: &str = "policies: []\n";

/// Starts one run, and waits until it has ended or waits for a person.
async fn run(fleet: &Fleet, id: &str) -> Told {
    let event = json!({"id": id, "source": "tests", "type": "test.watch", "data": {}});
    let [run] = submit_events(fleet, &[event]).await.try_into().unwrap();
    let view = eventually("it has ended or waits", PATIENCE, || async {
        let view = fleet.run(&run).await;
        view.filter(|view| view.run.status != "running")
            .ok_or("it goes on")
    })
    .await;
    let told = Told {
        run: view.run,
        journal: fleet.journal(&run).await.0,
        calls: fleet.sim.ledger_of(&run).await,
    };
    let wasted = usize::try_from(told.run.wasted_calls).unwrap();
    assert_eq!(
        told.complaints().len() + wasted,
        told.calls.len(),
        "every reply is on the journal, and every call that was abandoned"
    );
    if wasted == 0 {
        assert_eq!(told.spent(), told.run.usd_nano, "and so is what it cost");
    }
    told
}

async fn wrong(fleet: &Fleet, wrong: Value) {
    fleet.sim.control(json!({"wrong": wrong})).await;
}

const LOOP: &str = r#"[{"kind": "endless_loop", "terminal": ["resolve", "escalate"]}]"#;

async fn looping(limits: &str, max_loops: u32) -> (Told, usize) {
    let sink = Sink::start().await;
    let agent = format!("      max_loops: {max_loops}\n");
    let fleet = fleet(&sink, limits, &agent, NO_POLICY).await;
    wrong(&fleet, serde_json::from_str(LOOP).unwrap()).await;
    let told = run(&fleet, "looping").await;
    assert!(
        told.acts().iter().all(|tool| *tool == "look"),
        "{:?}",
        told.acts()
    );
    (told, sink.effects().len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_loops_is_sent_to_a_person_after_its_last_loop() {
    let (told, looked) = looping("{steps: 50, usd: 1.0, duration: 30m}", 5).await;
    let why = "max_loops: 5 tools were used, and it picked no end";
    assert_eq!(
        (told.run.status.as_str(), told.reason()),
        ("escalated", why)
    );
    assert_eq!(told.finish(), ("escalate", why));
    assert_eq!((told.calls.len(), looked), (5, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_loops_fails_its_run_at_the_last_step() {
    let (told, looked) = looping("{steps: 4, usd: 1.0, duration: 30m}", 100).await;
    let why = "limits.steps: 4 decisions were not enough";
    assert_eq!((told.run.status.as_str(), told.reason()), ("failed", why));
    assert_eq!((told.calls.len(), looked), (4, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_loops_waits_at_its_ceiling_of_money() {
    const CEILING: u64 = 2_000_000;
    let (told, looked) = looping("{steps: 1000, usd: 0.002, duration: 30m}", 1000).await;
    assert_eq!(
        told.run.parked_by.as_deref(),
        Some("ceiling"),
        "{:?}",
        told.run
    );
    assert!(
        told.reason().contains("`limits.usd` is $0.00200"),
        "{}",
        told.reason()
    );
    let spent = told.spent();
    assert!(spent <= CEILING, "{spent} of {CEILING}");
    assert!(looked > 1, "it was stopped after {looked}");
    assert_eq!(
        told.calls.len(),
        looked,
        "the last look was paid for, and the next one was not asked for"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_loops_fails_its_run_when_its_time_is_up() {
    let (told, looked) = looping("{steps: 10000, usd: 100.0, duration: 2s}", 10_000).await;
    assert_eq!(told.run.status, "failed");
    assert!(
        told.reason().starts_with("limits.duration: "),
        "{}",
        told.reason()
    );
    let calls = told.calls.len();
    assert!(
        looked <= calls && calls <= looked + 1 && looked > 0,
        "{looked} looks of {calls} calls"
    );
}

/// It uses what is not there, then what does not fit, and in the end it claims what was never done.
const LIAR: &str = r#"
policies:
  - policy: stubborn
    when: "'stubborn' in user"
    rules:
      - use: drop_tables
        with: {reasoning: I was given this tool., confidence: 1.0, with: {}}
  - policy: liar
    rules:
      - when: calls | length == 0
        use: drop_tables
        with: {reasoning: I was given this tool., confidence: 1.0, with: {}}
      - when: calls | length == 1
        use: look
        with: {reasoning: As drop_tables has shown., confidence: 1.0, with: {}}
      - when: calls | length == 2
        use: mend
        with: {reasoning: I am certain., confidence: 1.0, with: {part: everything, approved_by: ann}}
      - use: resolve
        with: {reasoning: The result of mend was 42., confidence: 1.0, summary: 'I mended the disk, as ann approved; mend said 42.'}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_lies_does_nothing_by_it_and_its_lies_stand_beside_what_was_done() {
    let sink = Sink::start().await;
    let limits = "{steps: 20, usd: 0.01, duration: 30m}";
    let fleet = fleet(
        &sink,
        limits,
        "      max_loops: 6\n      confidence: {min: 0.7, below: escalate}\n",
        LIAR,
    )
    .await;
    let told = run(&fleet, "liar").await;
    let complaints = told.complaints();
    let [Some(off_menu), None, Some(unfit), None] = complaints[..] else {
        panic!("{complaints:?}");
    };
    assert_eq!(
        off_menu,
        "`drop_tables` is not on the menu; there are look, mend, resolve, escalate."
    );
    assert!(
        unfit.starts_with("`with` does not fit the input of `mend`: "),
        "{unfit}"
    );
    assert!(
        unfit.contains("/part: ") && unfit.contains("approved_by"),
        "{unfit}"
    );
    // Nobody can check a summary; but what was done and what came back is on the same journal, and it is not what the summary says.
    assert_eq!(
        (told.run.status.as_str(), told.finish().0),
        ("completed", "resolve")
    );
    assert!(told.finish().1.contains("mended the disk"));
    assert_eq!(told.acts(), ["look"]);
    let done: Vec<_> = sink
        .effects()
        .into_values()
        .map(|effect| (effect.what, effect.executions))
        .collect();
    assert_eq!(done, [("POST /look".to_owned(), 1)]);
    assert!(
        !told.journal.iter().any(|entry| entry.kind == "signalled"),
        "nobody approved anything"
    );
    assert!(told.spent() <= 10_000_000);

    let told = run(&fleet, "stubborn").await;
    let complaint =
        Some("`drop_tables` is not on the menu; there are look, mend, resolve, escalate.");
    assert_eq!(
        told.complaints(),
        [complaint, complaint],
        "it has one try to mend it"
    );
    assert_eq!(told.run.status, "escalated");
    assert_eq!(
        (told.acts().len(), sink.effects().len()),
        (0, 1),
        "the one look of before"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_is_lazy_is_asked_once_more_and_then_a_person_is() {
    let sink = Sink::start().await;
    let limits = "{steps: 20, usd: 0.01, duration: 30m}";
    let fleet = fleet(
        &sink,
        limits,
        "      max_loops: 6\n      confidence: {min: 0.7, below: escalate}\n",
        NO_POLICY,
    )
    .await;
    let cut = ["cut at max_tokens = 300", "cut at max_tokens = 600"];
    let none = ["exactly one tool must be used, not 0."; 2];
    let empty = ["the reply is empty"; 2];
    let set = |key: &str, kind: &str| json!({"wrong": null, "faults": null, key: [{"kind": kind}]});
    let cases = [
        (set("wrong", "no_tool"), none),
        (set("faults", "empty_content"), empty),
        (set("wrong", "cut"), cut),
    ];
    for (id, (control, complaints)) in cases.into_iter().enumerate() {
        fleet.sim.control(control.clone()).await;
        let told = run(&fleet, &format!("lazy-{id}")).await;
        assert_eq!(told.complaints(), complaints.map(Some), "{control}");
        assert_eq!(told.run.status, "escalated", "{control}");
        assert_eq!(told.reason(), format!("step `work/1`: {}", complaints[1]));
        assert!(told.spent() <= 10_000_000);
    }

    fleet.sim.control(set("wrong", "low_confidence")).await;
    let told = run(&fleet, "unsure").await;
    assert_eq!(
        (told.run.status.as_str(), told.complaints()),
        ("escalated", vec![None])
    );
    let why = "confidence 0.05 is below 0.7: it wanted to use look with {}";
    assert_eq!(told.finish(), ("escalate", why));
    assert_eq!(sink.effects().len(), 0, "nothing was ever done");
}

/// It ends at once, without a look.
const AT_ONCE: &str = r"
policies:
  - policy: lazy
    rules:
      - use: resolve
        with: {reasoning: It will be fine., confidence: 0.9, summary: All is well.}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_ends_at_once_ends_the_run_and_the_journal_shows_that_it_did_nothing() {
    let sink = Sink::start().await;
    let fleet = fleet(
        &sink,
        "{steps: 20, usd: 0.01, duration: 30m}",
        "      max_loops: 6\n",
        AT_ONCE,
    )
    .await;
    let told = run(&fleet, "at-once").await;
    assert_eq!(
        (told.run.status.as_str(), told.calls.len()),
        ("completed", 1)
    );
    assert_eq!(told.finish(), ("resolve", "All is well."));
    assert_eq!((told.acts().len(), sink.effects().len()), (0, 0));
}
