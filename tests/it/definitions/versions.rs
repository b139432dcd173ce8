//! Versions on a running fleet.

use std::fs;

use flotilla_common::{
    definition::slot,
    io::definitions::{Activate, Said},
};
use flotilla_tests::{PATIENCE, RoleOptions, run_flotilla};

use super::fleet::{Stage, assert_each_its_own, event, files, pinned, steps, w};

const ACTIVE: &str = "flotilla_workflow_active_version";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_a_version_comes_and_goes_and_every_run_keeps_its_own() {
    let mut stage = Stage::new(2, 2).await;
    let before = stage.send(0..120).await;
    let second = files(&stage.sink, 2);
    stage.apply(&second, Activate::Newer).await;
    // Nobody waits for anybody: some of these get the one, some the other.
    stage.send(120..200).await;
    stage.until_all_say(ACTIVE, 2.0).await;
    let on_second = stage.send(200..280).await;
    stage.fleet.planners[0].kill9();
    stage
        .definitions
        .rollback(&w(), &Said::default())
        .await
        .unwrap();
    stage.fleet.planners.remove(0);
    stage.send(280..320).await;
    stage.until_all_say(ACTIVE, 1.0).await;
    let after = stage.send(320..400).await;

    stage.fleet.wait_ends(400, 3 * PATIENCE).await;
    let journal = stage.fleet.journal_of_all().await;
    assert_each_its_own(&journal);
    let pinned = pinned(&journal);
    assert_eq!(pinned.len(), 400);
    for (runs, version) in [(&before, 1), (&on_second, 2), (&after, 1)] {
        assert!(runs.values().all(|run| pinned[run] == version));
    }
    let effects = |path: &str| stage.sink.effects_at(path).len();
    let of = |version: u64| pinned.values().filter(|one| **one == version).count();
    assert_eq!(effects("/note1"), of(1) * steps(1).len());
    assert_eq!(effects("/note2"), of(2) * steps(2).len());

    // A gateway that starts with version 2 in its folder does not undo what a person said.
    for (path, text) in second {
        fs::write(stage.fleet.workflows().folder().join(path), text).unwrap();
    }
    stage.fleet.replace_gateway(RoleOptions::default()).await;
    let late = stage.send(400..401).await;
    stage.fleet.wait_run_end(&late[&400]).await;
    let journal = stage.fleet.journal(&late[&400]).await;
    assert_eq!(super::fleet::pinned(&journal)[&late[&400]], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_the_runs_is_exactly_those_whose_slot_says_so() {
    let stage = Stage::new(1, 1).await;
    stage.apply(&files(&stage.sink, 2), Activate::Never).await;
    let (ten, said) = ("10".parse().unwrap(), Said::default());
    stage
        .definitions
        .rollout(&w(), 2, ten, &said)
        .await
        .unwrap();
    stage
        .until_all_say("flotilla_workflow_candidate_percent", 10.0)
        .await;
    stage.send(0..200).await;
    for id in 200..400 {
        let id = id.to_string();
        let event = event("test.w", &id);
        stage.fleet.publish_event("test.w", &event, None).await;
    }
    stage.fleet.wait_ends(400, 3 * PATIENCE).await;
    let journal = stage.fleet.journal_of_all().await;
    assert_each_its_own(&journal);
    let pinned = pinned(&journal);
    assert_eq!(pinned.len(), 400);
    for (run, version) in &pinned {
        let expected = if slot(&run.parse().unwrap()) < 1_000 {
            2
        } else {
            1
        };
        assert_eq!(*version, expected, "{run}");
    }
    let tried = pinned.values().filter(|version| **version == 2).count();
    assert!((20..=60).contains(&tried), "{tried} of 400");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_without_a_folder_work_from_the_bucket_and_new_tools_come_to_them() {
    let mut stage = Stage::new(0, 0).await;
    let bare = || RoleOptions::default().without("FLOTILLA_WORKFLOWS");
    let planner = stage.fleet.planner(bare()).await;
    let executor = stage.fleet.executor(bare()).await;
    stage.fleet.planners.push(planner);
    stage.fleet.executors.push(executor);
    stage.fleet.replace_gateway(bare()).await;
    let run = &stage.send(0..1).await[&0];
    assert_eq!(stage.fleet.wait_run_end(run).await.status, "completed");

    // A tool that no executor has ever heard of, and a run of it at once.
    let tool = "tools:\n  - {tool: fresh, version: 1, description: d, effect: read, input: {type: object}, command: ['true'], concurrency: 3}\n";
    let flow = "workflow: v\nversion: 1\non: {event: test.v}\nsteps:\n  - {id: a, tool: fresh}\n  - {id: b, run: {workflow: w}}\n";
    let new = [("t.yaml", tool), ("v.yaml", flow)].map(|(p, t)| (p.to_owned(), t.to_owned()));
    stage.apply(&new, Activate::Newer).await;
    let submitted = stage.fleet.submit(&event("test.v", "1")).await;
    let end = stage.fleet.wait_run_end(&submitted.runs[0]).await;
    assert_eq!(end.status, "completed", "{:?}", end.reason);

    // Wider, in another version.
    let wider = [
        tool.replace("version: 1", "version: 2")
            .replace("concurrency: 3", "concurrency: 40"),
        flow.replace("version: 1", "version: 2"),
    ];
    let [tool, flow] = wider;
    let new = [("t.yaml".to_owned(), tool), ("v.yaml".to_owned(), flow)];
    stage.apply(&new, Activate::Newer).await;
    // Version 1 of `w`, version 2 of `v`.
    stage.until_all_say(ACTIVE, 3.0).await;
    let submitted = stage.fleet.submit(&event("test.v", "2")).await;
    let run = &submitted.runs[0];
    assert_eq!(stage.fleet.wait_run_end(run).await.status, "completed");
    let journal = stage.fleet.journal(run).await;
    let used = journal
        .of("decided", Some("fresh"))
        .next()
        .expect("it is used");
    assert_eq!(used.at("/decision/version"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_whose_folder_has_other_texts_of_a_version_does_not_start() {
    let stage = Stage::new(0, 0).await;
    let folder = stage.fleet.workflows().folder();
    let file = folder.join("w1.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + "  - {id: more, sleep: 1s}\n").unwrap();
    let (nats, redis) = (stage.fleet.nats.url(), stage.fleet.redis.url());
    let folder = folder.display().to_string();
    for role in ["gateway", "planner", "executor"] {
        let env = [
            ("FLOTILLA_NATS_URL", nats.as_str()),
            ("FLOTILLA_REDIS_URL", &redis),
            ("FLOTILLA_HTTP", "127.0.0.1:0"),
            ("FLOTILLA_WORKFLOWS", &folder),
            ("ANTHROPIC_API_KEY", "sk-ant-only-a-test"),
        ];
        let ended = run_flotilla(&[role], &env, PATIENCE).await;
        assert!(!ended.status.success(), "{role}: {}", ended.output);
        let says = |what: &str| ended.output.contains(what);
        assert!(
            says("`w` version 1 is there with other texts") && says("`version: 2`"),
            "{role}: {}",
            ended.output
        );
    }
}
