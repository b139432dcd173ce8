//! Holes that name what is not to be seen from there. Each case: what is wrong, the definition after it, and after `==>` all that a user is told.

use super::super::in_full;

#[test]
fn steps_within_a_step_are_named_by_way_of_it() {
    in_full(WITHIN);
}

const WITHIN: &str = r##"
### a branch by its own id
steps:
  - {id: both, parallel: [{id: a, claude: {prompt: hi}}]}
  - {id: b, claude: {prompt: '{{ steps.a }}'}}
==>
w.yaml:7:30: `steps.a`: step `a` is within step `both`
   |
 7 |   - {id: b, claude: {prompt: '{{ steps.a }}'}}
   |                              ^
 help: name it so: `steps.both.a`

### a step of a branch by its own id
steps:
  - {id: both, parallel: [{id: one, steps: [{id: a, claude: {prompt: hi}}]}]}
  - {id: b, claude: {prompt: '{{ steps.a }}'}}
==>
w.yaml:7:30: `steps.a`: step `a` is within step `both`
   |
 7 |   - {id: b, claude: {prompt: '{{ steps.a }}'}}
   |                              ^
 help: name it so: `steps.both.one.a`

### a step of a loop by its own id
steps:
  - {id: all, for_each: {in: event.data.x, steps: [{id: a, claude: {prompt: hi}}]}}
  - {id: b, claude: {prompt: '{{ steps.a }}'}}
==>
w.yaml:7:30: `steps.a`: step `a` is within step `all`
   |
 7 |   - {id: b, claude: {prompt: '{{ steps.a }}'}}
   |                              ^
 help: name it so: `steps.all[0].a`

### a step of a loop without an item
steps:
  - {id: all, for_each: {in: event.data.x, steps: [{id: a, claude: {prompt: hi}}]}}
  - {id: b, claude: {prompt: '{{ steps.all.a }}'}}
==>
w.yaml:7:30: `steps.all.a`: step `all` gives a list, one item for each time, which has no `a`
   |
 7 |   - {id: b, claude: {prompt: '{{ steps.all.a }}'}}
   |                              ^
 help: take one item of it, as in `[0].a`, or go through it with a loop

### a sibling
steps:
  - {id: both, parallel: [{id: a, claude: {prompt: hi}}, {id: b, claude: {prompt: '{{ steps.a }}'}}]}
==>
w.yaml:6:83: `steps.a`: step `a` is done side by side with this one
   |
 6 |   - {id: both, parallel: [{id: a, claude: {prompt: hi}}, {id: b, claude: {prompt: '{{ steps.a }}'}}]}
   |                                                                                   ^
 help: move what needs it behind the `parallel`

### what is around it
steps:
  - {id: all, steps: [{id: a, claude: {prompt: '{{ steps.all }}'}}]}
==>
w.yaml:6:48: `steps.all`: there is no step `all` before this one
   |
 6 |   - {id: all, steps: [{id: a, claude: {prompt: '{{ steps.all }}'}}]}
   |                                                ^

### a branch that there is not
steps:
  - {id: both, parallel: [{id: a, claude: {prompt: hi}}, {id: pause, sleep: 1s}]}
  - {id: b, claude: {prompt: '{{ steps.both.c }}'}}
==>
w.yaml:7:30: `steps.both.c`: what step `both` gives has no `c`
   |
 7 |   - {id: b, claude: {prompt: '{{ steps.both.c }}'}}
   |                              ^
 help: it gives: a

### more than a branch gives
steps:
  - {id: both, parallel: [{id: a, tool: disk_usage, with: {path: /}}]}
  - {id: b, claude: {prompt: '{{ steps.both.a.stdout }}'}}
==>
w.yaml:7:30: `steps.both.a.stdout`: what step `a` gives has no `stdout`
   |
 7 |   - {id: b, claude: {prompt: '{{ steps.both.a.stdout }}'}}
   |                              ^
 help: it gives: ok, output, error
"##;

#[test]
fn what_a_step_gives_depends_on_its_kind() {
    in_full(GIVES);
}

const GIVES: &str = r##"
### what an approval has not
steps:
  - {id: ask, approval: {show: hi}}
  - {id: b, claude: {prompt: '{{ steps.ask.who }}'}}
==>
w.yaml:7:30: `steps.ask.who`: what step `ask` gives has no `who`
   |
 7 |   - {id: b, claude: {prompt: '{{ steps.ask.who }}'}}
   |                              ^
 help: it gives: approved, by, reason, with

### what another run has not
steps:
  - {id: child, run: {workflow: remediate}}
  - {id: b, claude: {prompt: '{{ steps.child.result }}'}}
==>
w.yaml:7:30: `steps.child.result`: what step `child` gives has no `result`
   |
 7 |   - {id: b, claude: {prompt: '{{ steps.child.result }}'}}
   |                              ^
 help: it gives: ok, output, error, outcome, run

### a switch
steps:
  - {id: route, switch: [{when: 'event.data.x', to: b}]}
  - {id: b, claude: {prompt: '{{ steps.route }}'}}
==>
w.yaml:7:30: `steps.route`: step `route` gives nothing that could be named
   |
 7 |   - {id: b, claude: {prompt: '{{ steps.route }}'}}
   |                              ^

### a pause
steps:
  - {id: pause, sleep: 1s}
  - {id: b, claude: {prompt: '{{ steps.pause.at }}'}}
==>
w.yaml:7:30: `steps.pause.at`: step `pause` gives nothing that could be named
   |
 7 |   - {id: b, claude: {prompt: '{{ steps.pause.at }}'}}
   |                              ^

### more than its failure of a step that goes on
steps:
  - {id: a, claude: {prompt: hi}, on_error: continue}
  - {id: b, claude: {prompt: '{{ steps.a.error }} {{ steps.a.reason }}'}}
==>
w.yaml:7:30: `steps.a.reason`: step `a` gives a text, which has no `reason`
   |
 7 |   - {id: b, claude: {prompt: '{{ steps.a.error }} {{ steps.a.reason }}'}}
   |                              ^
 help: give that step an `output` schema
"##;

#[test]
fn items_and_indices_are_seen_within_their_loop_only() {
    in_full(ITEMS);
}

const ITEMS: &str = r##"
### an item outside of its loop
steps:
  - {id: all, for_each: {in: event.data.x, as: page, steps: [{id: a, claude: {prompt: hi}}]}}
  - {id: b, claude: {prompt: '{{ page }}'}}
==>
w.yaml:7:30: `page`: there are only event, steps and run
   |
 7 |   - {id: b, claude: {prompt: '{{ page }}'}}
   |                              ^

### an item by another name
steps:
  - {id: all, for_each: {in: event.data.x, as: page, steps: [{id: a, claude: {prompt: '{{ item }}'}}]}}
==>
w.yaml:6:87: `item`: there are only event, steps, run, page and index
   |
 6 |   - {id: all, for_each: {in: event.data.x, as: page, steps: [{id: a, claude: {prompt: '{{ item }}'}}]}}
   |                                                                                       ^

### more of an index than a number
steps:
  - {id: all, for_each: {in: event.data.x, steps: [{id: a, claude: {prompt: '{{ index.first }}'}}]}}
==>
w.yaml:6:77: `index.first`: `index` is a number and has no `first`
   |
 6 |   - {id: all, for_each: {in: event.data.x, steps: [{id: a, claude: {prompt: '{{ index.first }}'}}]}}
   |                                                                             ^

### an item in the list itself
steps:
  - {id: all, for_each: {in: item.x, steps: [{id: a, claude: {prompt: hi}}]}}
==>
w.yaml:6:30: `item.x`: there are only event, steps and run
   |
 6 |   - {id: all, for_each: {in: item.x, steps: [{id: a, claude: {prompt: hi}}]}}
   |                              ^
"##;

#[test]
fn what_there_is_only_in_some_places_is_named_only_there() {
    in_full(PLACES);
}

const PLACES: &str = r##"
### a failure where there is none
steps:
  - {id: a, claude: {prompt: '{{ failure.reason }}'}}
==>
w.yaml:6:30: `failure.reason`: there are only event, steps and run
   |
 6 |   - {id: a, claude: {prompt: '{{ failure.reason }}'}}
   |                              ^

### more of a failure than it has
steps:
  - {id: a, claude: {prompt: hi}}
on_failure: {steps: [{id: b, claude: {prompt: '{{ failure.step }}'}}]}
==>
w.yaml:7:47: `failure.step`: `failure` has no `step`
   |
 7 | on_failure: {steps: [{id: b, claude: {prompt: '{{ failure.step }}'}}]}
   |                                               ^
 help: it has: outcome, reason

### a step of `on_failure` outside of it
steps:
  - {id: a, claude: {prompt: '{{ steps.b }}'}}
on_failure: {steps: [{id: b, claude: {prompt: hi}}]}
==>
w.yaml:6:30: `steps.b`: there is no step `b` before this one
   |
 6 |   - {id: a, claude: {prompt: '{{ steps.b }}'}}
   |                              ^

### an output that names a step of `on_failure`
steps:
  - {id: a, claude: {prompt: hi}}
output: {all: '{{ steps.b }}'}
on_failure: {steps: [{id: b, claude: {prompt: hi}}]}
==>
w.yaml:7:9: `steps.b`: there is no step `b` before this one
   |
 7 | output: {all: '{{ steps.b }}'}
   |         ^
 help: did you mean `a`?

### an output that is broken
steps:
  - {id: a, claude: {prompt: hi}}
output: '{{ steps.a'
==>
w.yaml:7:9: `output` does not compile: syntax error: unexpected end of input, expected end of variable block
   |
 7 | output: '{{ steps.a'
   |         ^

### an approval that is told of before there are steps
approvals: {notify: {tool: page, with: {text: '{{ approval.text }} {{ steps.a }}'}}}
steps:
  - {id: a, claude: {prompt: hi}}
==>
w.yaml:5:40: `approval.text`: `approval` has no `text`
   |
 5 | approvals: {notify: {tool: page, with: {text: '{{ approval.text }} {{ steps.a }}'}}}
   |                                        ^
 help: it has: step, hash, show, until

w.yaml:5:40: `steps.a`: there is no step `a` before this one
   |
 5 | approvals: {notify: {tool: page, with: {text: '{{ approval.text }} {{ steps.a }}'}}}
   |                                        ^
"##;
