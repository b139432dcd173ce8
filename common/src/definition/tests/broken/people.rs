//! People, time and ends. Each case: what is wrong, the definition after it, and after `==>` all that a user is told.

use super::super::in_full;

#[test]
fn an_approval_says_what_its_timeout_means() {
    in_full(APPROVALS);
}

const APPROVALS: &str = r##"
### a timeout without what then
steps:
  - {id: a, approval: {show: hi, timeout: 4h}}
==>
w.yaml:6:43: a timeout must say what then: approve, reject, escalate or fail
   |
 6 |   - {id: a, approval: {show: hi, timeout: 4h}}
   |                                           ^
 help: add `on_timeout: escalate` beside it

### what then without a timeout
steps:
  - {id: a, approval: {show: hi, on_timeout: reject}}
==>
w.yaml:6:46: `on_timeout` says what then, but not when
   |
 6 |   - {id: a, approval: {show: hi, on_timeout: reject}}
   |                                              ^
 help: add `timeout: 4h` beside it

### a timeout of nothing
steps:
  - {id: a, approval: {show: hi, timeout: 0s, on_timeout: fail}}
==>
w.yaml:6:43: `timeout` must be more than 0
   |
 6 |   - {id: a, approval: {show: hi, timeout: 0s, on_timeout: fail}}
   |                                           ^

### an unknown way out
steps:
  - {id: a, approval: {show: hi, timeout: 1h, on_timeout: wait}}
==>
w.yaml:6:59: `wait` is none of approve, reject, escalate, fail
   |
 6 |   - {id: a, approval: {show: hi, timeout: 1h, on_timeout: wait}}
   |                                                           ^

### the same for a whole workflow
approvals: {timeout: 4h}
steps:
  - {id: a, claude: {prompt: hi}}
==>
w.yaml:5:22: a timeout must say what then: approve, reject, escalate or fail
   |
 5 | approvals: {timeout: 4h}
   |                      ^
 help: add `on_timeout: escalate` beside it

### nothing to show
steps:
  - {id: a, approval: {timeout: 1h, on_timeout: fail}}
==>
w.yaml:6:37: `show` is missing
   |
 6 |   - {id: a, approval: {timeout: 1h, on_timeout: fail}}
   |                                     ^
 help: add `show:` beside this

### something to show that is not there
steps:
  - {id: a, approval: {show: {plan: '{{ steps.plan }}'}}}
==>
w.yaml:6:30: `steps.plan`: there is no step `plan` before this one
   |
 6 |   - {id: a, approval: {show: {plan: '{{ steps.plan }}'}}}
   |                              ^

### nobody who could tell
steps:
  - {id: a, approval: {show: hi, notify: {tool: pge, with: {text: hi}}}}
==>
w.yaml:6:49: there is no tool `pge`
   |
 6 |   - {id: a, approval: {show: hi, notify: {tool: pge, with: {text: hi}}}}
   |                                                 ^
 help: did you mean `page`?

### words that do not fit
steps:
  - {id: a, approval: {show: hi, notify: {tool: page, with: {words: hi}}}}
==>
w.yaml:6:61: `with` does not fit the input of `page`: Additional properties are not allowed ('words' was unexpected); "text" is a required property
   |
 6 |   - {id: a, approval: {show: hi, notify: {tool: page, with: {words: hi}}}}
   |                                                             ^
 help: it takes: text

### more than is known of an approval
steps:
  - {id: a, approval: {show: hi, notify: {tool: page, with: {text: '{{ approval.by }}'}}}}
==>
w.yaml:6:61: `approval.by`: `approval` has no `by`
   |
 6 |   - {id: a, approval: {show: hi, notify: {tool: page, with: {text: '{{ approval.by }}'}}}}
   |                                                             ^
 help: it has: step, hash, show, until
"##;

#[test]
fn time_is_a_duration_or_a_hole() {
    in_full(TIMES);
}

const TIMES: &str = r##"
### no time to sleep
steps:
  - {id: a, sleep: 0s}
==>
w.yaml:6:20: `sleep` must be more than 0
   |
 6 |   - {id: a, sleep: 0s}
   |                    ^

### a time without a unit
steps:
  - {id: a, sleep: 10}
==>
w.yaml:6:20: `10` is not a duration, such as 500ms, 30s, 5m, 4h or 1h30m
   |
 6 |   - {id: a, sleep: 10}
   |                    ^
 help: or a hole that gives seconds, such as '{{ event.data.minutes * 60 }}'

### a time with a hole in it
steps:
  - {id: a, sleep: '{{ event.data.x }}m'}
==>
w.yaml:6:20: `sleep` must be one expression, with nothing around it
   |
 6 |   - {id: a, sleep: '{{ event.data.x }}m'}
   |                    ^
 help: write it so: `{{ event.data.x }}`

### a day that is none
steps:
  - {id: a, until: tomorrow}
==>
w.yaml:6:20: `tomorrow`: there are only event, steps and run
   |
 6 |   - {id: a, until: tomorrow}
   |                    ^

### a date that is no time
steps:
  - {id: a, until: 2027-01-31}
==>
w.yaml:6:20: `until` takes a time (RFC 3339, such as 2027-01-31T08:00:00Z)
   |
 6 |   - {id: a, until: 2027-01-31}
   |                    ^
 help: or a hole that gives one, such as '{{ event.data.at }}'
"##;

#[test]
fn an_end_has_an_outcome() {
    in_full(ENDS);
}

const ENDS: &str = r##"
### an unknown outcome
steps:
  - {id: a, end: done}
==>
w.yaml:6:18: `done` is none of completed, escalated, failed, cancelled
   |
 6 |   - {id: a, end: done}
   |                  ^

### an unknown outcome with a reason
steps:
  - {id: a, end: {outcome: done, reason: hi}}
==>
w.yaml:6:28: `done` is none of completed, escalated, failed, cancelled
   |
 6 |   - {id: a, end: {outcome: done, reason: hi}}
   |                            ^

### a reason without an outcome
steps:
  - {id: a, end: {reason: hi}}
==>
w.yaml:6:19: `outcome` is missing
   |
 6 |   - {id: a, end: {reason: hi}}
   |                   ^
 help: add `outcome:` beside this

### a reason that is broken
steps:
  - {id: a, end: {outcome: failed, reason: 'no {{ event.data.x'}}
==>
w.yaml:6:44: `reason` does not compile: syntax error: unexpected end of input, expected end of variable block
   |
 6 |   - {id: a, end: {outcome: failed, reason: 'no {{ event.data.x'}}
   |                                            ^

### a reason that names what is not there
steps:
  - {id: a, end: {outcome: failed, reason: '{{ steps.b }}'}}
==>
w.yaml:6:44: `steps.b`: there is no step `b` before this one
   |
 6 |   - {id: a, end: {outcome: failed, reason: '{{ steps.b }}'}}
   |                                            ^

### a list for an end
steps:
  - {id: a, end: [failed]}
==>
w.yaml:6:13: expected an outcome, or `outcome` and `reason`
   |
 6 |   - {id: a, end: [failed]}
   |             ^
"##;
