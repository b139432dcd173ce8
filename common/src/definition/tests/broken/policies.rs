//! Broken policies of tools: outputs, retries, breakers, rates, costs. Each case: what is wrong, the definition after it, and after
//! `==>` all that a user is told.

use super::super::as_tools;

#[test]
fn what_is_done_about_failures_is_checked_where_it_stands() {
    as_tools(POLICIES);
}

const POLICIES: &str = r##"
### an output that is no schema
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: read
    command: [x]
    output: {type: 5}
==>
tools.yaml:8:13: `output` is no valid JSON Schema: /type: 5 is none of array, boolean, integer, null, number, object, string
   |
 8 |     output: {type: 5}
   |             ^

### no tries
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: read
    command: [x]
    retry: {times: 0}
==>
tools.yaml:8:20: `times` must be from 1 to 100
   |
 8 |     retry: {times: 0}
   |                    ^
 help: a tool that is not tried again has no `retry`

### no number of tries
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: read
    command: [x]
    retry: {pause: 1s}
==>
tools.yaml:8:13: `times` is missing
   |
 8 |     retry: {pause: 1s}
   |             ^
 help: add `times:` beside this

### a failure that there is not
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: read
    command: [x]
    retry: {times: 2, on: [timeout, gone]}
==>
tools.yaml:8:37: `gone` is no kind of failure: timeout, connect, network, spawn, signal, lost, status, a status such as 503, exit, or a status of a program such as exit:75
   |
 8 |     retry: {times: 2, on: [timeout, gone]}
   |                                     ^

### a status that is none
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: read
    command: [x]
    retry: {times: 2, on: [200]}
==>
tools.yaml:8:28: `200` is no kind of failure: timeout, connect, network, spawn, signal, lost, status, a status such as 503, exit, or a status of a program such as exit:75
   |
 8 |     retry: {times: 2, on: [200]}
   |                            ^

### no failures
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: read
    command: [x]
    retry: {times: 2, on: []}
==>
tools.yaml:8:27: `on` is empty: the tool would never be tried again
   |
 8 |     retry: {times: 2, on: []}
   |                           ^

### what must not be repeated
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: once
    command: [x]
    retry: {times: 2, on: [429, timeout]}
==>
tools.yaml:8:33: the tool is `once`, and after `timeout` nobody knows whether it was done
   |
 8 |     retry: {times: 2, on: [429, timeout]}
   |                                 ^
 help: what certainly did nothing can be tried again: connect, spawn, 429

### pauses that do not fit
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: read
    command: [x]
    retry: {times: 2, pause: 10s, max_pause: 1s}
==>
tools.yaml:8:46: `max_pause` is less than `pause`
   |
 8 |     retry: {times: 2, pause: 10s, max_pause: 1s}
   |                                              ^

### no time for tries
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: read
    command: [x]
    retry: {times: 2, within: 0s}
==>
tools.yaml:8:31: `within` must be more than 0
   |
 8 |     retry: {times: 2, within: 0s}
   |                               ^

### a breaker that is neither off nor one
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: read
    command: [x]
    breaker: never
==>
tools.yaml:8:14: `never` is no breaker: `off`, or `failures`, `rate`, `window` and `cool`
   |
 8 |     breaker: never
   |              ^

### a breaker that no failure opens
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: read
    command: [x]
    breaker: {failures: 0}
==>
tools.yaml:8:25: `failures` counts from 1
   |
 8 |     breaker: {failures: 0}
   |                         ^
 help: a tool without a breaker has `breaker: off`

### a part that is more than all
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: read
    command: [x]
    breaker: {rate: 1.5}
==>
tools.yaml:8:21: `rate` must be a part of the calls: more than 0, at most 1
   |
 8 |     breaker: {rate: 1.5}
   |                     ^

### a cool-down that gets shorter
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: read
    command: [x]
    breaker: {cool: {min: 10s, max: 5s}}
==>
tools.yaml:8:37: `max` is less than `min`
   |
 8 |     breaker: {cool: {min: 10s, max: 5s}}
   |                                     ^

### a window of nothing
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: read
    command: [x]
    breaker: {window: 0s}
==>
tools.yaml:8:23: `window` must be more than 0 and at most a day
   |
 8 |     breaker: {window: 0s}
   |                       ^

### a misspelt key of a breaker
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: read
    command: [x]
    breaker: {failure: 3}
==>
tools.yaml:8:15: there is no `failure` here; there are failures, rate, window, cool
   |
 8 |     breaker: {failure: 3}
   |               ^
 help: did you mean `failures`?

### a rate of nobody
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: read
    command: [x]
    rate: {limit: 10/s, per: planet}
==>
tools.yaml:8:30: `planet` is none of executor, fleet
   |
 8 |     rate: {limit: 10/s, per: planet}
   |                              ^

### a fleet's rate of less than one a minute
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: read
    command: [x]
    rate: {limit: 5/h, per: fleet}
==>
tools.yaml:8:19: the fleet's rates are counted by the minute: this is less than one
   |
 8 |     rate: {limit: 5/h, per: fleet}
   |                   ^
 help: write 1/m or more, or leave `per: fleet` out

### a cost below nothing
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object}
    effect: read
    command: [x]
    cost: -1
==>
tools.yaml:8:11: `cost` must be a number of dollars, 0 to 1000000: what one call costs
   |
 8 |     cost: -1
   |           ^
"##;
