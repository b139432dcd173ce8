//! Steps that lead to where they cannot. Each case: what is wrong, the definition after it, and after `==>` all that a user is told.

use super::super::in_full;

#[test]
fn a_step_leads_forward_in_its_own_list() {
    in_full(TARGETS);
}

const TARGETS: &str = r##"
### a step that leads back
steps:
  - {id: a, claude: {prompt: hi}}
  - {id: b, claude: {prompt: hi}, then: a}
  - {id: c, claude: {prompt: hi}}
==>
w.yaml:7:41: `a` is before this step: it would loop; the way is forward only
   |
 7 |   - {id: b, claude: {prompt: hi}, then: a}
   |                                         ^

### a step that leads to itself
steps:
  - {id: a, claude: {prompt: hi}, then: a}
  - {id: b, claude: {prompt: hi}}
==>
w.yaml:6:41: `a` leads to itself: it would loop; the way is forward only
   |
 6 |   - {id: a, claude: {prompt: hi}, then: a}
   |                                         ^

### a step that leads into another list
steps:
  - {id: a, claude: {prompt: hi}, then: inner}
  - {id: b, steps: [{id: inner, claude: {prompt: hi}}]}
==>
w.yaml:6:41: `inner` is in another list: a step leads only to later ones of its own
   |
 6 |   - {id: a, claude: {prompt: hi}, then: inner}
   |                                         ^
 help: `end` leads past the last step of this list

### a step that leads out of its list
steps:
  - {id: b, steps: [{id: inner, claude: {prompt: hi}, then: last}]}
  - {id: last, claude: {prompt: hi}}
==>
w.yaml:6:61: `last` is in another list: a step leads only to later ones of its own
   |
 6 |   - {id: b, steps: [{id: inner, claude: {prompt: hi}, then: last}]}
   |                                                             ^
 help: `end` leads past the last step of this list

### a branch that leads to another
steps:
  - {id: both, parallel: [{id: a, claude: {prompt: hi}, then: b}, {id: b, claude: {prompt: hi}}]}
==>
w.yaml:6:63: `b` is done side by side with this step: neither leads to the other
   |
 6 |   - {id: both, parallel: [{id: a, claude: {prompt: hi}, then: b}, {id: b, claude: {prompt: hi}}]}
   |                                                               ^
 help: to do one after the other, make them one branch: `steps: […]`

### a step that leads to a misspelt one
steps:
  - {id: a, claude: {prompt: hi}, then: sumary}
  - {id: summary, claude: {prompt: hi}}
==>
w.yaml:6:41: there is no step `sumary` after this one
   |
 6 |   - {id: a, claude: {prompt: hi}, then: sumary}
   |                                         ^
 help: did you mean `summary`?

### a step that leads nowhere
steps:
  - {id: a, claude: {prompt: hi}, then: elsewhere}
  - {id: b, claude: {prompt: hi}}
==>
w.yaml:6:41: there is no step `elsewhere` after this one
   |
 6 |   - {id: a, claude: {prompt: hi}, then: elsewhere}
   |                                         ^
 help: it can be: b, end

### a step called end
steps:
  - {id: end, claude: {prompt: hi}}
==>
w.yaml:6:10: no step can be called `end`: `then: end` leads past the last step
   |
 6 |   - {id: end, claude: {prompt: hi}}
   |          ^
 help: give the step another id

### a `then` after the end
steps:
  - {id: a, end: completed, then: end}
==>
w.yaml:6:35: `then` means nothing for a step with `end`
   |
 6 |   - {id: a, end: completed, then: end}
   |                                   ^
 help: take it out

### a `then` that is never taken
steps:
  - id: route
    switch: [{when: 'event.data.x', to: b}, {else: c}]
    then: b
  - {id: b, claude: {prompt: hi}}
  - {id: c, claude: {prompt: hi}}
==>
w.yaml:8:11: this is never taken: the `else` always leads elsewhere
   |
 8 |     then: b
   |           ^
 help: keep one of them
"##;

#[test]
fn a_switch_has_cases_that_can_be_taken() {
    in_full(SWITCHES);
}

const SWITCHES: &str = r##"
### no case
steps:
  - {id: route, switch: []}
  - {id: b, claude: {prompt: hi}}
==>
w.yaml:6:25: a `switch` needs at least one case with `when`
   |
 6 |   - {id: route, switch: []}
   |                         ^
 help: to go on elsewhere always, give the step before it a `then`

### only an `else`
steps:
  - {id: route, switch: [{else: b}]}
  - {id: b, claude: {prompt: hi}}
==>
w.yaml:6:25: a `switch` needs at least one case with `when`
   |
 6 |   - {id: route, switch: [{else: b}]}
   |                         ^
 help: to go on elsewhere always, give the step before it a `then`

### an `else` that is not last
steps:
  - id: route
    switch: [{else: b}, {when: 'event.data.x', to: c}]
  - {id: b, claude: {prompt: hi}}
  - {id: c, claude: {prompt: hi}}
==>
w.yaml:7:21: `else` comes last: cases after it would never be looked at
   |
 7 |     switch: [{else: b}, {when: 'event.data.x', to: c}]
   |                     ^

### a condition that leads nowhere
steps:
  - id: route
    switch: [{when: 'event.data.x'}]
  - {id: b, claude: {prompt: hi}}
==>
w.yaml:7:14: a case has `when` and `to`, or `else` alone
   |
 7 |     switch: [{when: 'event.data.x'}]
   |              ^
 help: write `{when: '…', to: a_step}` or `{else: a_step}`

### a condition that is broken
steps:
  - id: route
    switch: [{when: 'event.data.x ==', to: b}]
  - {id: b, claude: {prompt: hi}}
==>
w.yaml:7:21: the condition does not compile: syntax error: unexpected end of input, expected expression
   |
 7 |     switch: [{when: 'event.data.x ==', to: b}]
   |                     ^

### a condition that names what is not there
steps:
  - id: route
    switch: [{when: 'steps.b', to: b}]
  - {id: b, claude: {prompt: hi}}
==>
w.yaml:7:21: `steps.b`: there is no step `b` before this one
   |
 7 |     switch: [{when: 'steps.b', to: b}]
   |                     ^

### a case that leads back
steps:
  - {id: a, claude: {prompt: hi}}
  - id: route
    switch: [{when: 'event.data.x', to: a}]
  - {id: b, claude: {prompt: hi}}
==>
w.yaml:8:41: `a` is before this step: it would loop; the way is forward only
   |
 8 |     switch: [{when: 'event.data.x', to: a}]
   |                                         ^
"##;

#[test]
fn every_step_is_led_to() {
    in_full(REACHED);
}

const REACHED: &str = r##"
### a step after the end
steps:
  - {id: a, end: completed}
  - {id: b, claude: {prompt: hi}}
  - {id: c, claude: {prompt: hi}}
==>
w.yaml:7:10: step `b` is never reached: `a` ends the run, and nothing else leads here
   |
 7 |   - {id: b, claude: {prompt: hi}}
   |          ^
 help: let a `then` or `switch` before it lead here, or take it out

### steps that are led past
steps:
  - {id: a, claude: {prompt: hi}, then: d}
  - {id: b, claude: {prompt: hi}, then: d}
  - {id: c, claude: {prompt: hi}}
  - {id: d, claude: {prompt: hi}}
==>
w.yaml:7:10: step `b` is never reached: `a` leads to `d`, and nothing else leads here
   |
 7 |   - {id: b, claude: {prompt: hi}, then: d}
   |          ^
 help: let a `then` or `switch` before it lead here, or take it out

w.yaml:8:10: step `c` is never reached: `b` leads to `d`, and nothing else leads here
   |
 8 |   - {id: c, claude: {prompt: hi}}
   |          ^
 help: let a `then` or `switch` before it lead here, or take it out

### a step after one that leads past the last
steps:
  - {id: a, claude: {prompt: hi}, then: end}
  - {id: b, claude: {prompt: hi}}
==>
w.yaml:7:10: step `b` is never reached: `a` leads past the last step, and nothing else leads here
   |
 7 |   - {id: b, claude: {prompt: hi}}
   |          ^
 help: let a `then` or `switch` before it lead here, or take it out

### a switch that always leads elsewhere
steps:
  - id: route
    switch: [{when: 'event.data.x', to: c}, {else: end}]
  - {id: b, claude: {prompt: hi}}
  - {id: c, claude: {prompt: hi}}
==>
w.yaml:8:10: step `b` is never reached: `route` always leads elsewhere, and nothing else leads here
   |
 8 |   - {id: b, claude: {prompt: hi}}
   |          ^
 help: let a `then` or `switch` before it lead here, or take it out

### a step after a group that ends the run
steps:
  - id: all
    steps: [{id: a, claude: {prompt: hi}}, {id: stop, end: failed}]
  - {id: b, claude: {prompt: hi}}
==>
w.yaml:8:10: step `b` is never reached: `all` ends the run, and nothing else leads here
   |
 8 |   - {id: b, claude: {prompt: hi}}
   |          ^
 help: let a `then` or `switch` before it lead here, or take it out

### a step after branches of which one ends the run
steps:
  - id: both
    parallel: [{id: a, claude: {prompt: hi}}, {id: stop, end: failed}]
  - {id: b, claude: {prompt: hi}}
==>
w.yaml:8:10: step `b` is never reached: `both` ends the run, and nothing else leads here
   |
 8 |   - {id: b, claude: {prompt: hi}}
   |          ^
 help: let a `then` or `switch` before it lead here, or take it out
"##;
