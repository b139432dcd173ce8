//! The kit that breaks fleets on purpose: green for this one, and red for each rule of the protocol that is broken. A kit that cannot
//! fail proves nothing.

use std::{fs, process::Command, time::Duration};

use flotilla_tests::{
    Finished, Fleet, Process, Workflows, eventually, flotilla, free_port, run_flotilla,
};
use serde_json::Value;
use tokio::sync::Semaphore;

/// One kit at a time: each is ten busy processes.
static ALONE: Semaphore = Semaphore::const_new(1);
/// Much more than it takes, on a machine that does other things.
const LIMIT: Duration = Duration::from_secs(600);
/// How long nothing may come to its end before what has not is lost, where something will be.
const SOON: &str = "10s";

/// Where the servers are.
fn path() -> String {
    let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/bin");
    format!("{tools}:{}", std::env::var("PATH").unwrap())
}

/// Runs it with this in its environment.
async fn kit(args: &[&str], env: &[(&str, &str)]) -> Finished {
    let _alone = ALONE.acquire().await.unwrap();
    let args: Vec<&str> = ["chaos", "--json"].iter().chain(args).copied().collect();
    let path = path();
    let env: Vec<(&str, &str)> = [("PATH", &*path)].iter().chain(env).copied().collect();
    run_flotilla(&args, &env, LIMIT).await
}

/// Runs it; gives its exit status and its scorecard.
async fn chaos(args: &[&str]) -> (Finished, Value) {
    let told = kit(args, &[]).await;
    let card = card(&told);
    (told, card)
}

fn card(told: &Finished) -> Value {
    let card = told.output.lines().find(|line| line.starts_with('{'));
    let card = card.unwrap_or_else(|| panic!("no scorecard: {}", told.output));
    serde_json::from_str(card).unwrap()
}

fn row<'a>(card: &'a Value, what: &str) -> &'a Value {
    let rows = card["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["what"] == what);
    row.unwrap_or_else(|| panic!("no row {what}: {card}"))
}

/// Plays one scene on a fleet that breaks one rule: it must show in that row of the scorecard, and was set up as it should be.
async fn is_seen(rule: &str, scene: &str, what: &str) {
    let args = [
        "--runs",
        "0",
        "--faults",
        scene,
        "--break",
        rule,
        "--patience",
        SOON,
    ];
    let (told, card) = chaos(&args).await;
    assert_eq!(told.status.code(), Some(1), "{card}");
    assert_eq!(
        (&card["passed"], &card["broken"]),
        (&Value::from(false), &Value::from(rule))
    );
    assert_eq!(row(&card, "other problems")["wrong"], 0, "{card}");
    assert!(row(&card, what)["wrong"].as_u64() > Some(0), "{card}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_in_the_smoke_profile() {
    let (told, card) = chaos(&["--seed", "8"]).await;
    assert!(told.status.success(), "{}", told.output);
    assert_eq!(card["passed"], true);
    for row in card["rows"].as_array().unwrap() {
        assert_eq!(row["wrong"], 0, "{card}");
    }
    // It was no walk in the park.
    assert!(card["runs"].as_u64() >= Some(150), "{card}");
    assert!(card["faults"].as_u64() >= Some(20), "{card}");
    assert!(
        row(&card, "approvals misapplied")["of"].as_u64() > Some(0),
        "{card}"
    );
    assert!(row(&card, "not undone")["of"].as_u64() > Some(0), "{card}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_acknowledges_before_it_appends_loses_runs() {
    is_seen("ack_before_append", "early-death", "runs lost").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_does_not_save_replies_pays_for_them_twice() {
    is_seen("reply_not_saved", "saved-reply", "calls paid twice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_expects_no_sequence_repeats_steps() {
    is_seen("expected_sequence", "late-append", "steps repeated").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_ignores_claims_doubles_effects() {
    is_seen("claim_ignored", "slow-worker", "effects doubled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_without_fences_loses_what_another_planner_knew() {
    is_seen("fencing", "fan-in", "runs lost").await;
}

/// Whether something that a kit made is still there.
fn is_there(named: &str) -> bool {
    let spaces = Command::new("ip").args(["netns", "list"]).output();
    let spaces = spaces.map(|told| String::from_utf8_lossy(&told.stdout).into_owned());
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    spaces.unwrap_or_default().contains(named) || mounts.contains(named)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_goes_by_its_own_clocks_leaves_runs_waiting_for_an_hour() {
    let libraries = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut found = libraries.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    if !found.any(|library| library.is_file()) {
        eprintln!("SKIPPED: there is no libfaketime here");
        return;
    }
    is_seen("own_clock", "wrong-clock", "runs lost").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_when_servers_of_a_cluster_are_cut_off() {
    let args =
        "--profile cluster --for 60s --runs 100 --seed 3 --patience 240s --skip-if-impossible";
    let told = kit(&args.split(' ').collect::<Vec<_>>(), &[]).await;
    assert!(told.status.success(), "{}", told.output);
    if told.output.contains("SKIPPED") {
        eprintln!("{}", told.output);
        return;
    }
    let card = card(&told);
    assert!(card["runs"].as_u64() >= Some(100), "{card}");
    let happened = card["happened"].as_array().unwrap();
    let was_cut = |name: &str| happened.iter().any(|fault| fault["kind"] == name);
    assert!(was_cut("node-cut") && was_cut("leader-cut"), "{card}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_kit_leaves_behind_is_removed_by_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let env = [
        ("PATH".to_owned(), path()),
        (
            "FLOTILLA_DATA".to_owned(),
            folder.path().display().to_string(),
        ),
    ];
    let args = [
        "chaos",
        "--faults",
        "disk-full",
        "--for",
        "60s",
        "--skip-if-impossible",
    ];
    let log = folder.path().join("kit");
    let mut killed = {
        let _alone = ALONE.acquire().await.unwrap();
        let mut kit = Process::start("a kit", flotilla(), &args, &env, &log);
        let own = format!("flotilla-chaos-{}", kit.pid());
        let begun = eventually("a disk is mounted", LIMIT, || async {
            let told = kit.log();
            match told.contains("SKIPPED") {
                true => Ok(false),
                false if is_there(&own) => Ok(true),
                false => Err(told),
            }
        });
        if !begun.await {
            eprintln!("SKIPPED: no disk can be mounted here");
            return;
        }
        kit.kill9();
        assert!(
            is_there(&own),
            "it goes by itself, and nobody need clean up"
        );
        kit
    };
    let own = format!("flotilla-chaos-{}", killed.pid());
    killed.wait_exit(LIMIT).await;
    let next = kit(&["--runs", "1", "--for", "1s", "--faults", "none"], &[]).await;
    assert!(next.status.success(), "{}", next.output);
    assert!(
        next.output.contains("removed what a kit"),
        "{}",
        next.output
    );
    assert!(!is_there(&own));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_runs_is_judged_from_outside_while_its_processes_are_killed() {
    let other = "workflow: other\nversion: 1\non: {event: other}\nmodel: haiku\nsteps:\n  - {id: say, claude: {prompt: Hello}}\n";
    let mut fleet = Fleet::builder()
        .workflows(Workflows::files(&[("other.yaml", other)]))
        .planners(2)
        .env("FLOTILLA_PARK_PAUSE", "1s")
        .start()
        .await;
    let (url, nats) = (fleet.api().base().to_owned(), fleet.nats.url());
    let (claude, sink) = (fleet.sim.url(), format!("127.0.0.1:{}", free_port()));
    let env = [
        ("FLOTILLA_URL", &*url),
        ("FLOTILLA_NATS_URL", &*nats),
        ("FLOTILLA_SIM_URL", &*claude),
    ];
    let args =
        format!("--attach --sink-address {sink} --runs 40 --for 20s --seed 5 --patience 60s");
    let args: Vec<&str> = args.split(' ').collect();
    let killing = async {
        eventually("runs are on their way", LIMIT, || async {
            let runs = fleet.runs().await.len();
            if runs > 10 { Ok(()) } else { Err(runs) }
        })
        .await;
        fleet.planners[0].kill9();
    };
    let (told, ()) = tokio::join!(kit(&args, &env), killing);
    assert!(told.status.success(), "{}", told.output);
    let card = card(&told);
    assert_eq!(card["profile"], "attached");
    assert!(card["runs"].as_u64() >= Some(40), "{card}");
    assert!(
        row(&card, "calls paid twice")["of"].as_u64() > Some(40),
        "{card}"
    );
    // Claude is left as it was found.
    let control = reqwest::get(format!("{claude}/control")).await.unwrap();
    let control: Value = control.json().await.unwrap();
    assert_eq!(control["faults"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_one_file_that_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    let name = file.to_str().unwrap();
    let args = [
        "--runs", "3", "--for", "5s", "--faults", "flush", "--html", name,
    ];
    let (told, card) = chaos(&args).await;
    assert!(told.status.success(), "{card}");
    let page = fs::read_to_string(file).unwrap();
    assert!(page.contains("<svg") && page.contains("flush"), "{page}");
    for from_elsewhere in ["http:", "https:", "src=", "<link", "@import"] {
        assert!(!page.contains(from_elsewhere), "{from_elsewhere}: {page}");
    }
}
