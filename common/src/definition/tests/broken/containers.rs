//! Steps with steps in them. Each case: what is wrong, the definition after it, and after `==>` all that a user is told.

use super::super::{Problems, TOP, in_full, parse, refused};

#[test]
fn steps_in_steps_have_bounds() {
    in_full(BOUNDS);
}

const BOUNDS: &str = r##"
### no branches
steps:
  - {id: a, parallel: []}
==>
w.yaml:6:23: `parallel` needs at least one step
   |
 6 |   - {id: a, parallel: []}
   |                       ^

### an empty group
steps:
  - {id: a, steps: []}
==>
w.yaml:6:20: `steps` needs at least one step
   |
 6 |   - {id: a, steps: []}
   |                    ^

### an empty loop
steps:
  - {id: a, for_each: {in: event.data.x, steps: []}}
==>
w.yaml:6:49: `steps` needs at least one step
   |
 6 |   - {id: a, for_each: {in: event.data.x, steps: []}}
   |                                                 ^

### groups nine deep
steps:
  - {id: g1, steps: [{id: g2, steps: [{id: g3, steps: [{id: g4, steps: [{id: g5, steps: [{id: g6, steps: [{id: g7, steps: [{id: g8, steps: [{id: g9, steps: [{id: a, claude: {prompt: hi}}]}]}]}]}]}]}]}]}]}
==>
w.yaml:6:146: steps are nested more than 8 deep
   |
 6 |   - {id: g1, steps: [{id: g2, steps: [{id: g3, steps: [{id: g4, steps: [{id: g5, steps: [{id: g6, steps: [{id: g7, steps: [{id: g8, steps: [{id: g9, steps: [{id
   |                                                                                                                                                  ^
 help: make a part of it a workflow of its own, and `run` that

### loops four deep
steps:
  - {id: l1, for_each: {in: event.data.x, as: i1, steps: [{id: l2, for_each: {in: event.data.x, as: i2, steps: [{id: l3, for_each: {in: event.data.x, as: i3, steps: [{id: l4, for_each: {in: event.data.x, as: i4, steps: [{id: a, claude: {prompt: hi}}]}}]}}]}}]}}
==>
w.yaml:6:172: loops are nested more than 3 deep
 help: make a part of it a workflow of its own, and `run` that

### an id twice, in other lists
steps:
  - {id: a, claude: {prompt: hi}}
  - {id: all, steps: [{id: a, claude: {prompt: hi}}]}
==>
w.yaml:7:28: there is a step `a` already
   |
 7 |   - {id: all, steps: [{id: a, claude: {prompt: hi}}]}
   |                            ^
 help: give each step its own id

### an id twice, once in `on_failure`
steps:
  - {id: a, claude: {prompt: hi}}
on_failure: {steps: [{id: a, claude: {prompt: hi}}]}
==>
w.yaml:7:27: there is a step `a` already
   |
 7 | on_failure: {steps: [{id: a, claude: {prompt: hi}}]}
   |                           ^
 help: give each step its own id
"##;

#[test]
fn a_loop_says_what_it_goes_through() {
    in_full(LOOPS);
}

const LOOPS: &str = r##"
### too wide and too long
steps:
  - {id: a, for_each: {in: event.data.x, width: 101, max: 10001, steps: [{id: b, claude: {prompt: hi}}]}}
==>
w.yaml:6:49: `width` must be from 1 to 100, not 101
   |
 6 |   - {id: a, for_each: {in: event.data.x, width: 101, max: 10001, steps: [{id: b, claude: {prompt: hi}}]}}
   |                                                 ^

w.yaml:6:59: `max` must be from 1 to 10000, not 10001
   |
 6 |   - {id: a, for_each: {in: event.data.x, width: 101, max: 10001, steps: [{id: b, claude: {prompt: hi}}]}}
   |                                                           ^

### no width
steps:
  - {id: a, for_each: {in: event.data.x, width: 0, max: 0, steps: [{id: b, claude: {prompt: hi}}]}}
==>
w.yaml:6:49: `width` must be from 1 to 100, not 0
   |
 6 |   - {id: a, for_each: {in: event.data.x, width: 0, max: 0, steps: [{id: b, claude: {prompt: hi}}]}}
   |                                                 ^

w.yaml:6:57: `max` must be from 1 to 10000, not 0
   |
 6 |   - {id: a, for_each: {in: event.data.x, width: 0, max: 0, steps: [{id: b, claude: {prompt: hi}}]}}
   |                                                         ^

### no list
steps:
  - {id: a, for_each: {steps: [{id: b, claude: {prompt: hi}}]}}
==>
w.yaml:6:24: `in` is missing
   |
 6 |   - {id: a, for_each: {steps: [{id: b, claude: {prompt: hi}}]}}
   |                        ^
 help: add `in:` beside this

### a text instead of an expression
steps:
  - {id: a, for_each: {in: 'all {{ event.data.x }}', steps: [{id: b, claude: {prompt: hi}}]}}
==>
w.yaml:6:28: `in` must be one expression, with nothing around it
   |
 6 |   - {id: a, for_each: {in: 'all {{ event.data.x }}', steps: [{id: b, claude: {prompt: hi}}]}}
   |                            ^
 help: write it so: `{{ event.data.x }}`

### a list that does not compile
steps:
  - {id: a, for_each: {in: event.data., steps: [{id: b, claude: {prompt: hi}}]}}
==>
w.yaml:6:28: `in` does not compile: syntax error: unexpected end of input, expected identifier or integer
   |
 6 |   - {id: a, for_each: {in: event.data., steps: [{id: b, claude: {prompt: hi}}]}}
   |                            ^

### an item called like something else
steps:
  - {id: a, for_each: {in: event.data.x, as: steps, steps: [{id: b, claude: {prompt: hi}}]}}
==>
w.yaml:6:46: no item can be called `steps`: holes have that for something else
   |
 6 |   - {id: a, for_each: {in: event.data.x, as: steps, steps: [{id: b, claude: {prompt: hi}}]}}
   |                                              ^
 help: give it another name, such as `as: page`

### an item called like its number
steps:
  - {id: a, for_each: {in: event.data.x, as: index, steps: [{id: b, claude: {prompt: hi}}]}}
==>
w.yaml:6:46: no item can be called `index`: holes have that for something else
   |
 6 |   - {id: a, for_each: {in: event.data.x, as: index, steps: [{id: b, claude: {prompt: hi}}]}}
   |                                              ^
 help: give it another name, such as `as: page`

### an item that no hole can name
steps:
  - {id: a, for_each: {in: event.data.x, as: my-page, steps: [{id: b, claude: {prompt: hi}}]}}
==>
w.yaml:6:46: no item can be called `my-page`: a hole could not name it
   |
 6 |   - {id: a, for_each: {in: event.data.x, as: my-page, steps: [{id: b, claude: {prompt: hi}}]}}
   |                                              ^
 help: give it another name, such as `as: page`

### an item called like that of the loop around
steps:
  - {id: a, for_each: {in: event.data.x, as: page, steps: [{id: b, for_each: {in: page.x, as: page, steps: [{id: c, claude: {prompt: hi}}]}}]}}
==>
w.yaml:6:95: an item of a loop around this one is called `page` already
   |
 6 |   - {id: a, for_each: {in: event.data.x, as: page, steps: [{id: b, for_each: {in: page.x, as: page, steps: [{id: c, claude: {prompt: hi}}]}}]}}
   |                                                                                               ^
 help: give it another name, such as `as: page`

### two items without a name
steps:
  - {id: a, for_each: {in: event.data.x, steps: [{id: b, for_each: {in: item.x, steps: [{id: c, claude: {prompt: hi}}]}}]}}
==>
w.yaml:6:73: an item of a loop around this one is called `item` already
   |
 6 |   - {id: a, for_each: {in: event.data.x, steps: [{id: b, for_each: {in: item.x, steps: [{id: c, claude: {prompt: hi}}]}}]}}
   |                                                                         ^
 help: give this one a name, such as `as: page`
"##;

#[test]
fn a_workflow_has_so_many_steps_and_no_more() {
    let text = |steps: usize| {
        let steps = (0..steps).map(|n| format!("  - {{id: s{n}, sleep: 1s}}\n"));
        format!("{TOP}steps:\n{}", steps.collect::<String>())
    };
    assert!(parse(&[("w.yaml", &text(500))]).is_ok());
    let expected = "
w.yaml:506:10: a workflow has at most 500 steps in all
     |
 506 |   - {id: s500, sleep: 1s}
     |          ^
 help: make a part of it a workflow of its own, and `run` that
";
    refused("501 steps", &[("w.yaml", &text(502))], expected);
}

#[test]
fn a_parallel_has_so_many_branches_and_no_more() {
    let text = |branches: usize| {
        let branches = (0..branches).map(|n| format!("      - {{id: s{n}, sleep: 1s}}\n"));
        format!(
            "{TOP}steps:\n  - id: all\n    parallel:\n{}",
            branches.collect::<String>()
        )
    };
    assert!(parse(&[("w.yaml", &text(64))]).is_ok());
    let expected = "
w.yaml:8:7: `parallel` has at most 64 steps, not 65
   |
 8 |       - {id: s0, sleep: 1s}
   |       ^
 help: a `for_each` does the same for each item of a list
";
    refused("65 branches", &[("w.yaml", &text(65))], expected);
}

#[test]
fn eight_groups_and_three_loops_deep_is_not_too_deep() {
    let loops = |inner: String, n: usize| {
        format!("{{id: l{n}, for_each: {{in: event.data.x, as: i{n}, steps: [{inner}]}}}}")
    };
    let group = |inner: String, n: usize| format!("{{id: g{n}, steps: [{inner}]}}");
    let deep = (0..3).fold("{id: s, sleep: 1s}".to_owned(), loops);
    let deep = (0..5).fold(deep, group);
    let text = format!("{TOP}steps: [{deep}]");
    assert!(parse(&[("w.yaml", &text)]).is_ok());
}

#[test]
fn steps_far_too_deep_are_told_and_break_nothing() {
    for (groups, column) in [(18, 150), (30, 341), (3_000, 557)] {
        let open = (0..groups).map(|n| format!("{{id: g{n}, steps: ["));
        let deep = open.collect::<String>() + "{id: s, sleep: 1s}" + &"]}".repeat(groups);
        let text = format!("{TOP}steps: [{deep}]");
        let Problems(problems) = parse(&[("w.yaml", &text)]).map(drop).expect_err("too deep");
        let [problem] = problems.as_slice() else {
            panic!("it is told once: {problems:?}");
        };
        let message = if column == 150 {
            "steps are nested more than 8 deep"
        } else {
            "this is nested too deep"
        };
        assert_eq!(
            (problem.message.as_str(), problem.column),
            (message, column),
            "{groups}"
        );
    }
}
