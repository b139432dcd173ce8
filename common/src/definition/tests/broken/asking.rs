//! Asking whether something was done, wrongly. Each case: what is wrong, the definition after it, and after `==>` all that a user
//! is told.

use super::super::as_tools;

#[test]
fn who_is_asked_whether_it_was_done_is_told_at_its_place() {
    as_tools(ASKED);
}

const ASKED: &str = r##"
### a tool that there is not
tools:
  - tool: pay
    version: 1
    description: d
    input: {type: object}
    effect: once
    reconcile: {tool: look}
    command: [x]
==>
tools.yaml:7:23: there is no tool `look`
   |
 7 |     reconcile: {tool: look}
   |                       ^
 help: there are: pay

### a tool that changes something
tools:
  - tool: pay
    version: 1
    description: d
    input: {type: object}
    effect: once
    reconcile: {tool: find}
    command: [x]
  - {tool: find, version: 1, description: d, input: {type: object}, effect: idempotent, command: [x]}
==>
tools.yaml:7:23: `find` is not `read`, and asking whether something was done must change nothing
   |
 7 |     reconcile: {tool: find}
   |                       ^
 help: name a tool with `effect: read` that looks it up

### itself
tools:
  - tool: pay
    version: 1
    description: d
    input: {type: object}
    effect: once
    reconcile: {tool: pay}
    command: [x]
==>
tools.yaml:7:23: `pay` is not `read`, and asking whether something was done must change nothing
   |
 7 |     reconcile: {tool: pay}
   |                       ^
 help: name a tool with `effect: read` that looks it up

### a tool that is run again anyway
tools:
  - tool: pay
    version: 1
    description: d
    input: {type: object}
    effect: idempotent
    reconcile: {tool: find}
    command: [x]
  - {tool: find, version: 1, description: d, input: {type: object}, effect: read, command: [x]}
==>
tools.yaml:7:23: `reconcile` is for a tool that is `once`, and `pay` is `idempotent`
   |
 7 |     reconcile: {tool: find}
   |                       ^
 help: nothing is in doubt after a crash: it is run again; leave this out

### somebody who is asked about in turn
tools:
  - tool: pay
    version: 1
    description: d
    input: {type: object}
    effect: once
    reconcile: {tool: find}
    command: [x]
  - {tool: find, version: 1, description: d, input: {type: object}, effect: read, reconcile: {tool: find}, command: [x]}
==>
tools.yaml:9:101: `reconcile` is for a tool that is `once`, and `find` is `read`
   |
 9 |   - {tool: find, version: 1, description: d, input: {type: object}, effect: read, reconcile: {tool: find}, command: [x]}
   |                                                                                                     ^
 help: nothing is in doubt after a crash: it is run again; leave this out

### what nobody knows
tools:
  - tool: pay
    version: 1
    description: d
    input: {type: object, properties: {bill: {type: string}}, additionalProperties: false}
    effect: once
    reconcile: {tool: find, with: {a: '{{ input.bil }} {{ output.id }}', b: '{{ run }} {{ step }} {{ idempotency_key }} {{ input.bill }}'}}
    command: [x]
  - {tool: find, version: 1, description: d, input: {type: object}, effect: read, command: [x]}
==>
tools.yaml:7:35: `input.bil`: the tool's `input` has no property `bil`
   |
 7 |     reconcile: {tool: find, with: {a: '{{ input.bil }} {{ output.id }}', b: '{{ run }} {{ step }} {{ idempotency_key }} {{ input.bill }}'}}
   |                                   ^
 help: it has: bill

tools.yaml:7:35: `output.id`: who is asked whether it was done sees only input, idempotency_key, run and step; the output is what nobody knows
   |
 7 |     reconcile: {tool: find, with: {a: '{{ input.bil }} {{ output.id }}', b: '{{ run }} {{ step }} {{ idempotency_key }} {{ input.bill }}'}}
   |                                   ^

### parameters that do not fit
tools:
  - tool: pay
    version: 1
    description: d
    input: {type: object}
    effect: once
    reconcile: {tool: find, with: {b: 1}}
    command: [x]
  - {tool: find, version: 1, description: d, input: {type: object, properties: {a: {type: string}}, additionalProperties: false}, effect: read, command: [x]}
==>
tools.yaml:7:35: `with` does not fit the input of `find`: Additional properties are not allowed ('b' was unexpected)
   |
 7 |     reconcile: {tool: find, with: {b: 1}}
   |                                   ^
 help: it takes: a
"##;
