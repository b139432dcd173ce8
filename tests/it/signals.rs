//! Signals, as people give them to a gateway. No planner runs: how the runs stand is put on the journal by the tests.

use std::collections::BTreeSet;

use flotilla_common::{
    entry::{Account, Decision, Outcome, ParkedBy},
    ids::RunId,
    io::{bus::Bus, journal::Journal},
    run::{Draft, Run},
};
use flotilla_tests::{
    Answer, Fleet, PATIENCE, Process, Workflows, eventually, flotilla, run_flotilla,
};
use jiff::Timestamp;
use serde_json::{Value, json};

const JSON: &str = "application/json";

const SPENDER: &str = r#"
workflow: spender
version: 1
on: {event: test.spend}
limits: {usd_per_day: 10}
steps:
  - id: note
    tool: note
    with: {}
  - id: triage
    claude: {model: haiku, prompt: Say yes.}
"#;

const TOOLS: &str = r#"
tools:
  - tool: note
    version: 1
    description: Notes.
    input: {type: object, additionalProperties: false}
    effect: read
    command: ['true']
"#;

/// A fleet that nobody plans for, and the test's own way to its journal.
pub(crate) struct Still {
    pub(crate) fleet: Fleet,
    pub(crate) journal: Journal,
}

impl Still {
    pub(crate) async fn start() -> Self {
        let workflows = Workflows::files(&[("spender.yaml", SPENDER), ("tools.yaml", TOOLS)]);
        let fleet = Fleet::builder()
            .workflows(workflows)
            .planners(0)
            .executors(0)
            .start()
            .await;
        let bus = Bus::connect(&fleet.nats.url(), "test").await.unwrap();
        let journal = Journal::new(bus);
        Self { fleet, journal }
    }

    /// A run of this tenant that has begun.
    pub(crate) async fn run(&self, id: &str, tenant: &str) -> RunId {
        let event = json!({"specversion": "1.0", "id": id, "source": "tests", "type": "test.spend", "tenant": tenant,
            "data": {}});
        let answer = self.fleet.api();
        let answer = answer.post(
            "/v1/events",
            "application/cloudevents+json",
            event.to_string(),
        );
        let submitted: Value = answer.await.json();
        self.fleet.wait_intake().await;
        submitted["runs"][0].as_str().unwrap().parse().unwrap()
    }

    async fn decide(&self, id: &RunId, decision: Decision) {
        self.decide_at(id, "triage", 0, decision).await;
    }

    /// As a planner decides it.
    pub(crate) async fn decide_at(&self, id: &RunId, step: &str, branch: u32, decision: Decision) {
        let entries = self.journal.read(id).await.unwrap();
        let run = Run::rebuild(id, entries).unwrap();
        let draft = Draft {
            step: step.parse().unwrap(),
            branch,
            decision,
            reasoning: None,
            confidence: None,
            call: None,
            left: Vec::new(),
        };
        let links = run.link(vec![draft], Timestamp::now()).unwrap();
        self.journal.append(id, &links, run.chain).await.unwrap();
    }

    /// As a planner parks it.
    pub(crate) async fn park(&self, id: &RunId, by: ParkedBy) {
        let park = Decision::Park {
            by,
            why: "the next call could cost $0.50, of $10.00 a day $9.80 are spent".into(),
            until: Some("2100-01-01T00:00:00Z".parse().unwrap()),
            replies: Vec::new(),
            account: Account::default(),
            batch: None,
        };
        self.decide(id, park).await;
    }

    /// The gateway makes its index from the journal again, until that many runs are parked.
    pub(crate) async fn index(&self, parked: usize) {
        self.fleet.redis.flush().await;
        eventually("the parked runs are listed", PATIENCE, || async {
            let answer = self.fleet.api().get("/v1/runs?status=parked").await;
            let listed: Value = answer.json();
            let found = listed["runs"].as_array().map_or(0, Vec::len);
            if listed["complete"] == true && found == parked {
                Ok(())
            } else {
                Err(listed)
            }
        })
        .await;
    }

    pub(crate) async fn tell(&self, run: &RunId, signal: &str, body: &Value) -> Answer {
        let path = format!("/v1/runs/{run}/{signal}");
        self.fleet.api().post(&path, JSON, body.to_string()).await
    }

    /// The `resume`s on the journal: run and id.
    async fn resumed(&self) -> BTreeSet<(String, String)> {
        let journal = self.fleet.journal_of_all().await;
        let signals: Vec<_> = journal
            .of("signalled", Some("resume"))
            .map(|entry| (entry.run.clone(), entry.text("/id").to_owned()))
            .collect();
        let different: BTreeSet<_> = signals.iter().cloned().collect();
        assert_eq!(signals.len(), different.len(), "one is there twice");
        different
    }

    pub(crate) async fn wait_resumed(&self, count: usize) -> BTreeSet<(String, String)> {
        eventually("runs are resumed", PATIENCE, || async {
            let resumed = self.resumed().await;
            if resumed.len() == count {
                Ok(resumed)
            } else {
                Err(resumed)
            }
        })
        .await
    }
}

/// The detail of a problem.
pub(crate) fn problem(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.content_type, "application/problem+json");
    let problem: Value = answer.json();
    problem["detail"].as_str().unwrap().to_owned()
}

pub(crate) fn accepted(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text);
    answer.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_is_on_the_journal_once_and_only_where_it_means_something() {
    let still = Still::start().await;
    let run = still.run("a", "default").await;

    let raise = json!({"id": "r1", "usd": 2.5, "step": "triage", "by": "me", "reason": "sale"});
    let first = accepted(&still.tell(&run, "raise", &raise).await, 202);
    let again = accepted(&still.tell(&run, "raise", &raise).await, 202);
    assert_eq!(first, again);
    let more = json!({"id": "r1", "usd": 3, "step": "triage"});
    let detail = problem(&still.tell(&run, "raise", &more).await, 409);
    assert!(detail.contains("`r1`"), "{detail}");
    let detail = problem(&still.tell(&run, "cancel", &json!({"id": "r1"})).await, 409);
    assert!(detail.contains("raise"), "{detail}");

    let detail = problem(&still.tell(&run, "resume", &json!({})).await, 409);
    assert!(detail.contains("it is running"), "{detail}");
    still.park(&run, ParkedBy::Blocked).await;
    let resume = json!({"id": "s1", "reason": "a new key"});
    let first = accepted(&still.tell(&run, "resume", &resume).await, 202);
    let again = accepted(&still.tell(&run, "resume", &resume).await, 202);
    assert_eq!(first, again);
    let detail = problem(&still.tell(&run, "resume", &json!({})).await, 409);
    assert!(detail.contains("told to go on"), "{detail}");

    let end = Decision::End {
        outcome: Outcome::Escalated,
        reason: None,
    };
    still.decide(&run, end).await;
    for (signal, body) in [
        ("cancel", json!({})),
        ("resume", json!({})),
        ("raise", json!({"usd": 1})),
    ] {
        let detail = problem(&still.tell(&run, signal, &body).await, 409);
        assert!(detail.contains("escalated"), "{signal}: {detail}");
    }
    let journal = still.fleet.journal(run.as_str()).await;
    let signals: Vec<_> = journal
        .of("signalled", None)
        .map(|entry| (entry.name.as_str(), entry.text("/id")))
        .collect();
    assert_eq!(signals, [("raise", "r1"), ("resume", "s1")]);
    let raised = journal.of("signalled", Some("raise")).next().unwrap();
    assert_eq!(raised.at("/usd_nano"), 2_500_000_000_u64);
    assert_eq!((raised.text("/step"), raised.text("/by")), ("triage", "me"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_signal_or_a_ceiling_is_told_with_its_pointer() {
    let still = Still::start().await;
    let run = still.run("a", "default").await;
    for (signal, body, pointer) in [
        ("raise", json!({}), "`/usd`"),
        ("raise", json!({"usd": 0}), "`/usd`"),
        ("raise", json!({"usd": 1, "step": "note"}), "`/step`"),
        ("raise", json!({"usd": 1, "step": "a b"}), "`/step`"),
        ("resume", json!({"usd": 1}), "`/usd`"),
        ("cancel", json!({"by": 5}), "`/by`"),
    ] {
        let detail = problem(&still.tell(&run, signal, &body).await, 400);
        assert!(detail.starts_with(pointer), "{signal}: {detail}");
    }
    let detail = still
        .tell(&run, "raise", &json!({"usd": 1, "step": "note"}))
        .await;
    assert!(
        problem(&detail, 400).ends_with("these do: triage"),
        "{}",
        detail.text
    );
    let nobody = RunId::derive(&"w".parse().unwrap(), "s", "1");
    problem(&still.tell(&nobody, "resume", &json!({})).await, 404);

    let api = still.fleet.api();
    for (path, body, pointer) in [
        ("workflow/spender", json!({"usd": "20"}), "`/usd`"),
        ("workflow/spender", json!({"usd": 20, "why": "x"}), "`/why`"),
        ("tenant/acme", json!({"usd": 1e7}), "`/usd`"),
    ] {
        let answer = api.put(&format!("/v1/ceilings/{path}"), &body).await;
        let detail = problem(&answer, 400);
        assert!(detail.starts_with(pointer), "{path}: {detail}");
    }
    let usd = json!({"usd": 20});
    problem(&api.put("/v1/ceilings/step/triage", &usd).await, 404);
    problem(&api.put("/v1/ceilings/workflow/a.b", &usd).await, 400);
    problem(&api.delete("/v1/ceilings/tenant/acme").await, 404);
    let listed: Value = api.get("/v1/ceilings").await.json();
    assert_eq!(listed["ceilings"].as_array().unwrap().len(), 1, "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_shows_what_waits_and_tells_it_to_go_on() {
    let still = Still::start().await;
    let run = still.run("a", "acme").await;
    let url = still.fleet.api().base().to_owned();
    let env = [("FLOTILLA_URL", url.as_str())];
    let cli = async |line: &str, success: bool| -> String {
        let args: Vec<&str> = line.split(' ').collect();
        let done = run_flotilla(&args, &env, PATIENCE).await;
        assert_eq!(done.status.success(), success, "{line}: {}", done.output);
        done.output
    };
    let text = cli(&format!("resume {run}"), false).await;
    assert!(text.contains("it is running"), "{text}");
    still.park(&run, ParkedBy::Ceiling).await;
    still.index(1).await;

    let text = cli("runs --status parked", true).await;
    assert!(
        text.contains(run.as_str()) && text.contains("parked"),
        "{text}"
    );
    let text = cli(&format!("show {run}"), true).await;
    for part in [
        "$9.80 are spent",
        "looks again at 2100-01-01T00:00:00Z",
        &format!("flotilla resume {run}"),
        &format!("flotilla raise {run} --usd USD"),
        "flotilla ceiling set workflow spender USD",
        "flotilla ceiling set tenant acme USD",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }

    let folder = tempfile::tempdir().unwrap();
    let mut following = Process::start(
        "show --follow",
        flotilla(),
        &["show", run.as_str(), "--follow"],
        &[
            ("FLOTILLA_URL".to_owned(), url.clone()),
            ("NO_COLOR".to_owned(), "1".to_owned()),
        ],
        &folder.path().join("log"),
    );
    eventually("it says what to do", PATIENCE, async || {
        let log = following.log();
        if log.contains("flotilla resume") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
    let text = cli(
        &format!("raise {run} --usd 2 --step triage --reason sale"),
        true,
    )
    .await;
    assert!(
        text.contains("step triage") && text.contains("$2.00"),
        "{text}"
    );
    let end = Decision::End {
        outcome: Outcome::Completed,
        reason: None,
    };
    still.decide(&run, end).await;
    assert!(following.wait_exit(PATIENCE).await.success());
    let log = following.log();
    assert_eq!(log.matches("flotilla resume").count(), 1, "{log}");
    assert!(
        log.contains("raise to $2.00 (step triage) by somebody: sale · from 127.0.0.1")
            && log.contains("completed"),
        "{log}"
    );

    let text = cli("ceiling set workflow spendr 20", true).await;
    assert!(
        text.contains("$20.00") && text.contains("is the name right?"),
        "{text}"
    );
    let listed: Value = serde_json::from_str(&cli("ceiling list --json", true).await).unwrap();
    assert_eq!(listed["ceilings"].as_array().unwrap().len(), 2, "{listed}");
    let text = cli("ceiling clear workflow spendr", true).await;
    assert!(text.contains("no ceiling of a day"), "{text}");
    let text = cli("ceiling list", true).await;
    assert!(
        text.contains("spender") && text.contains("$10.00"),
        "{text}"
    );
    cli("ceiling set step triage 20", false).await;
}
