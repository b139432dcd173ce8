//! Definitions that are wrong, or not the same any more.

use flotilla_tests::{PATIENCE, Workflows, run_flotilla};
use serde_json::{Value, json};

use super::{apply, body, desk, gateway, refused, told};

const WRONG: &str = "\
workflow: desk
version: 0
on: {event: test.desk}
steps:
  - {id: look, tool: lst}
  - {id: more, run: {workflow: still}}
  - {id: none, run: {workflow: stil}}
";

const TOOLS: &str = "\
tools:
  - {tool: list, version: 1, description: d, effect: read, input: {type: object}, command: [ls]}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_by_the_fleet_as_check_tells_it() {
    let fleet = gateway().await;
    // What a workflow runs may be on the fleet alone.
    let still = fleet.workflows().folder().display().to_string();
    told(&fleet, &["apply", &still]).await;

    let files = json!({"w.yaml": WRONG, "tools.yaml": TOOLS});
    let answer = apply(&fleet, &json!({"files": files})).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert_eq!(answer.content_type, "application/problem+json");
    let problem: Value = answer.json();
    let problems = problem["problems"].as_array().unwrap();
    let places: Vec<_> = problems
        .iter()
        .map(|one| {
            format!(
                "{}:{}:{}",
                one["file"].as_str().unwrap(),
                one["line"],
                one["column"]
            )
        })
        .collect();
    assert_eq!(places, ["w.yaml:2:10", "w.yaml:5:22", "w.yaml:7:32"]);
    assert_eq!(problems[1]["message"], "there is no tool `lst`");
    assert_eq!(problems[1]["help"], "did you mean `list`?");
    assert_eq!(problems[1]["source"], "  - {id: look, tool: lst}");

    // Without the fleet, `still` is missing too; else the words are the same.
    let alone = WRONG.replace("  - {id: more, run: {workflow: still}}\n", "");
    let folder = Workflows::files(&[("w.yaml", alone.as_str()), ("tools.yaml", TOOLS)]);
    let path = folder.folder().display().to_string();
    let checked = run_flotilla(&["check", &path], &[], PATIENCE).await;
    assert_eq!(checked.status.code(), Some(1), "{}", checked.output);
    assert!(
        checked.output.contains("w.yaml:5:22: there is no tool `lst`\n   |\n 5 |   - {id: look, tool: lst}\n   |                      ^\n help: did you mean `list`?"),
        "{}",
        checked.output
    );
    assert_eq!(
        refused(&fleet, &["apply", &path]).await,
        checked
            .output
            .replace("there are: desk", "did you mean `still`?")
    );

    let (check, apply) = (["check", &path, "--json"], ["apply", &path, "--json"]);
    let checked: Value = serde_json::from_str(&refused(&fleet, &check).await).unwrap();
    let applied: Value = serde_json::from_str(&refused(&fleet, &apply).await).unwrap();
    assert_eq!(checked["problems"].as_array().unwrap().len(), 3);
    assert_eq!(checked["problems"][1], applied["problems"][1]);
    let listed = told(&fleet, &["workflows"]).await;
    assert!(!listed.contains("desk"), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_does_not_change_and_who_tries_is_told_what_to_do() {
    let fleet = gateway().await;
    let first = Workflows::files(&desk(1, "/"));
    let path = first.folder().display().to_string();
    told(&fleet, &["apply", &path]).await;

    let other = Workflows::files(&desk(1, "/tmp"));
    let path = other.folder().display().to_string();
    let said = refused(&fleet, &["apply", &path]).await;
    assert!(
        said.contains("give the changed tool `version: 2`") && said.contains("409"),
        "{said}"
    );
    let dry = refused(&fleet, &["apply", &path, "--dry-run"]).await;
    assert!(
        dry.contains("desk v1") && dry.contains("refused: workflow `desk` version 1"),
        "{dry}"
    );
    let answer = apply(&fleet, &body(1, "/tmp")).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    let problem: Value = answer.json();
    assert_eq!(problem["workflows"][0]["outcome"], "refused");

    // All or none: what is fine and came with it is not there either.
    let mut both = body(1, "/tmp");
    let fine = desk(1, "/")[0]
        .1
        .replace("workflow: desk", "workflow: fine");
    both["files"]["desk/fine.yaml"] = json!(fine);
    assert_eq!(apply(&fleet, &both).await.status, 409);
    assert_eq!(fleet.api().get("/v1/definitions/fine").await.status, 404);

    let diff = told(&fleet, &["diff", "desk", "--workflows", &path]).await;
    for line in [
        "--- v1/tools.yaml/list@1",
        "-    \"/\"",
        "+    \"/tmp\"",
        "give desk `version: 2` in the folder",
    ] {
        assert!(diff.contains(line), "{line}:\n{diff}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deprecated_tools_are_warned_of_where_they_are_used() {
    let fleet = gateway().await;
    let mut files = desk(1, "/");
    let first = Workflows::files(&files);
    told(&fleet, &["apply", &first.folder().display().to_string()]).await;
    let before = told(&fleet, &["workflows"]).await;
    assert!(!before.contains("deprecated"), "{before}");

    files[2].1.push_str("    deprecated: use `list@2`\n");
    let folder = Workflows::files(&files);
    let path = folder.folder().display().to_string();
    let warning = "\
warning: desk/workflow.yaml:5:22: `list@1` is deprecated: use `list@2`
   |
 5 |   - {id: look, tool: list@1}
   |                      ^";
    let applied = told(&fleet, &["apply", &path]).await;
    assert!(
        applied.contains("unchanged") && applied.contains(warning),
        "{applied}"
    );
    let checked = told(&fleet, &["check", &path]).await;
    assert!(checked.contains(warning), "{checked}");
    let listed = told(&fleet, &["workflows"]).await;
    let expected = "    tool list@1 is deprecated: use `list@2`";
    assert!(listed.contains(expected), "{listed}");
}
