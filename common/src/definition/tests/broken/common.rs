//! What all steps have, and lessons and reviews. Each case: what is wrong, the definition after it, and after `==>` all that a user is told.

use super::super::in_full;

#[test]
fn what_all_steps_have_is_checked_alike() {
    in_full(COMMON);
}

const COMMON: &str = r##"
### no time for a step
steps:
  - {id: a, claude: {prompt: hi}, timeout: 0s}
==>
w.yaml:6:44: `timeout` must be more than 0
   |
 6 |   - {id: a, claude: {prompt: hi}, timeout: 0s}
   |                                            ^

### too many repetitions, without a pause
steps:
  - {id: a, claude: {prompt: hi}, retry: {times: 21, pause: 0s}}
==>
w.yaml:6:50: `retry.times` must be from 1 to 20, not 21
   |
 6 |   - {id: a, claude: {prompt: hi}, retry: {times: 21, pause: 0s}}
   |                                                  ^

w.yaml:6:61: `retry.pause` must be more than 0
   |
 6 |   - {id: a, claude: {prompt: hi}, retry: {times: 21, pause: 0s}}
   |                                                             ^

### no repetitions
steps:
  - {id: a, claude: {prompt: hi}, retry: {times: 0}}
==>
w.yaml:6:50: `retry.times` must be from 1 to 20, not 0
   |
 6 |   - {id: a, claude: {prompt: hi}, retry: {times: 0}}
   |                                                  ^

### keys that mean nothing for a switch
steps:
  - id: a
    switch: [{when: 'event.data.x', to: b}]
    timeout: 1m
    retry: {times: 1}
    on_error: continue
  - {id: b, claude: {prompt: hi}}
==>
w.yaml:8:14: `timeout` means nothing for a step with `switch`
   |
 8 |     timeout: 1m
   |              ^
 help: take it out

w.yaml:9:12: `retry` means nothing for a step with `switch`
   |
 9 |     retry: {times: 1}
   |            ^
 help: take it out

w.yaml:10:15: `on_error` means nothing for a step with `switch`
    |
 10 |     on_error: continue
    |               ^
 help: take it out

### keys that mean nothing for an end
steps:
  - id: a
    end: completed
    timeout: 1m
    retry: {times: 1}
    on_error: continue
==>
w.yaml:8:14: `timeout` means nothing for a step with `end`
   |
 8 |     timeout: 1m
   |              ^
 help: take it out

w.yaml:9:12: `retry` means nothing for a step with `end`
   |
 9 |     retry: {times: 1}
   |            ^
 help: take it out

w.yaml:10:15: `on_error` means nothing for a step with `end`
    |
 10 |     on_error: continue
    |               ^
 help: take it out

### keys that mean nothing for a pause
steps:
  - id: a
    sleep: 1m
    retry: {times: 1}
    on_error: continue
==>
w.yaml:8:12: `retry` means nothing for a step with `sleep`
   |
 8 |     retry: {times: 1}
   |            ^
 help: take it out

w.yaml:9:15: `on_error` means nothing for a step with `sleep`
   |
 9 |     on_error: continue
   |               ^
 help: take it out

### a repeated question to people
steps:
  - id: a
    approval: {show: hi}
    retry: {times: 1}
==>
w.yaml:8:12: `retry` means nothing for a step with `approval`
   |
 8 |     retry: {times: 1}
   |            ^
 help: take it out

### keys of tools elsewhere
steps:
  - id: a
    claude: {prompt: hi}
    approve: true
    compensate: {tool: cancel, with: {id: x}}
==>
w.yaml:9:17: `compensate` belongs to a `tool`, and step `a` has none
   |
 9 |     compensate: {tool: cancel, with: {id: x}}
   |                 ^

w.yaml:8:14: `approve` belongs to a `tool`, and step `a` has none
   |
 8 |     approve: true
   |              ^
"##;

#[test]
fn lessons_and_reviews_have_bounds() {
    in_full(BOUNDS);
}

const BOUNDS: &str = r##"
### too many lessons
lessons: 21
steps:
  - {id: a, claude: {prompt: hi}}
==>
w.yaml:5:10: `lessons` must be from 0 to 20, not 21
   |
 5 | lessons: 21
   |          ^

### too many lessons, in full
lessons: {keep: 21}
steps:
  - {id: a, claude: {prompt: hi}}
==>
w.yaml:5:10: `lessons` must be from 0 to 20, not 21
   |
 5 | lessons: {keep: 21}
   |          ^

### lessons that are no number
lessons: all
steps:
  - {id: a, claude: {prompt: hi}}
==>
w.yaml:5:1: expected a whole number, 0 or more
   |
 5 | lessons: all
   | ^

### a review that never comes
steps:
  - {id: a, agent: {goal: hi, tools: [disk_usage], ends: [done], review: {every: 11}}}
==>
w.yaml:6:82: `every: 11` is never reached: the agent has at most 10 turns
   |
 6 |   - {id: a, agent: {goal: hi, tools: [disk_usage], ends: [done], review: {every: 11}}}
   |                                                                                  ^
 help: make it smaller, or `max_loops` larger

### a review of nothing
steps:
  - {id: a, agent: {goal: hi, tools: [disk_usage], ends: [done], review: {every: 0}}}
==>
w.yaml:6:82: `every` must be from 1 to 10000, not 0
   |
 6 |   - {id: a, agent: {goal: hi, tools: [disk_usage], ends: [done], review: {every: 0}}}
   |                                                                                  ^

### a review by nobody, of what is not there
steps:
  - {id: a, agent: {goal: hi, tools: [disk_usage], ends: [done], review: {every: 3, model: sonet, prompt: '{{ steps.b }}'}}}
==>
w.yaml:6:107: `steps.b`: there is no step `b` before this one
   |
 6 |   - {id: a, agent: {goal: hi, tools: [disk_usage], ends: [done], review: {every: 3, model: sonet, prompt: '{{ steps.b }}'}}}
   |                                                                                                           ^

w.yaml:6:92: there is no model `sonet` in the table of models
   |
 6 |   - {id: a, agent: {goal: hi, tools: [disk_usage], ends: [done], review: {every: 3, model: sonet, prompt: '{{ steps.b }}'}}}
   |                                                                                            ^
 help: did you mean `sonnet`? known: haiku, claude-haiku-5-5, sonnet, claude-sonnet-5-5, opus, claude-opus-5-5, claude-sonnet-5, claude-opus-5, claude-opus-4-8, claude-opus-4-5, claude-sonnet-4-6, claude-sonnet-4-5, claude-haiku-4-5, claude-fable-5-1; the table is the built-in models.toml
"##;
