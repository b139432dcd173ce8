//! Workflows that run others. Each case: what is wrong, the definition after it, and after `==>` all that a user is told.

use super::super::{REMEDIATE, TOP, in_full, parse, refused};

#[test]
fn a_workflow_that_is_run_is_there_and_has_its_share() {
    in_full(RUNS);
}

const RUNS: &str = r##"
### an unknown workflow
steps:
  - {id: a, run: {workflow: remidiate}}
==>
w.yaml:6:29: there is no workflow `remidiate`
   |
 6 |   - {id: a, run: {workflow: remidiate}}
   |                             ^
 help: did you mean `remediate`?

### a workflow like no other
steps:
  - {id: a, run: {workflow: triage}}
==>
w.yaml:6:29: there is no workflow `triage`
   |
 6 |   - {id: a, run: {workflow: triage}}
   |                             ^
 help: there are: remediate, w

### a workflow that runs itself
steps:
  - {id: a, run: {workflow: w}}
==>
w.yaml:6:29: `w` runs `w`: it would never end
   |
 6 |   - {id: a, run: {workflow: w}}
   |                             ^

### what is not there for it
steps:
  - {id: a, run: {workflow: remediate, with: {of: '{{ steps.b }}'}, usd: 0}}
==>
w.yaml:6:46: `steps.b`: there is no step `b` before this one
   |
 6 |   - {id: a, run: {workflow: remediate, with: {of: '{{ steps.b }}'}, usd: 0}}
   |                                              ^

w.yaml:6:74: `usd` must be dollars from 0.000000001 to 1000000, not 0
   |
 6 |   - {id: a, run: {workflow: remediate, with: {of: '{{ steps.b }}'}, usd: 0}}
   |                                                                          ^

### branches without a share
limits: {usd: 1}
steps:
  - {id: both, parallel: [{id: a, run: {workflow: remediate}}]}
==>
w.yaml:7:51: say `usd`: side by side, each needs its own share of `limits.usd`
   |
 7 |   - {id: both, parallel: [{id: a, run: {workflow: remediate}}]}
   |                                                   ^
 help: add `usd: 0.10` beside it

### a loop without a share
limits: {usd: 1}
steps:
  - {id: all, for_each: {in: event.data.x, steps: [{id: a, run: {workflow: remediate}}]}}
==>
w.yaml:7:76: say `usd`: side by side, each needs its own share of `limits.usd`
   |
 7 |   - {id: all, for_each: {in: event.data.x, steps: [{id: a, run: {workflow: remediate}}]}}
   |                                                                            ^
 help: add `usd: 0.10` beside it
"##;

fn runs(name: &str, other: &str) -> String {
    let top = TOP.replace("workflow: w", &format!("workflow: {name}"));
    format!("{top}steps:\n  - {{id: a, run: {{workflow: {other}}}}}\n")
}

#[test]
fn a_circle_of_workflows_is_told_once() {
    let files = [
        ("a.yaml", runs("a", "b")),
        ("b.yaml", runs("b", "c")),
        ("c.yaml", runs("c", "a")),
    ];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    let expected = "
a.yaml:6:29: `a` runs `b` runs `c` runs `a`: it would never end
   |
 6 |   - {id: a, run: {workflow: b}}
   |                             ^
";
    refused("a circle", &files, expected);
}

#[test]
fn an_old_version_may_run_what_runs_the_newest_one() {
    let newest = runs("a", "c").replace("version: 1", "version: 2");
    let files = [
        ("a.yaml", runs("a", "b")),
        ("a2.yaml", newest),
        ("b.yaml", runs("b", "a")),
    ];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    let last = TOP.replace("workflow: w", "workflow: c") + "steps: [{id: a, sleep: 1s}]";
    let files: Vec<_> = files
        .into_iter()
        .chain([("c.yaml", last.as_str())])
        .collect();
    assert!(parse(&files).is_ok());
}

#[test]
fn a_wrong_workflow_is_told_once_and_not_again_by_those_who_run_it() {
    let broken = runs("b", "a").replace("version: 1", "version: one");
    let files = [("a.yaml", runs("a", "b")), ("b.yaml", broken)];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    let expected = "
b.yaml:2:10: expected a whole number, 0 or more
   |
 2 | version: one
   |          ^
";
    refused("a broken workflow", &files, expected);
}

#[test]
fn one_after_the_other_what_is_left_is_enough() {
    let alone = "steps:\n  - id: all\n    for_each: {in: event.data.x, width: 1, steps: [{id: a, run: {workflow: remediate}}]}\n";
    let text = format!("{TOP}limits: {{usd: 1}}\n{alone}");
    assert!(parse(&[("w.yaml", &text), ("r.yaml", REMEDIATE)]).is_ok());
}
