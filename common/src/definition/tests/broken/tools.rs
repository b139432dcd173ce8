//! Broken tools. Each case: what is wrong, the definition after it, and after `==>` all that a user is told.

use super::super::as_tools;

#[test]
fn a_tool_has_one_name_one_version_and_one_adapter() {
    as_tools(TOOLS);
}

const TOOLS: &str = r##"
### a reserved name
tools:
  - tool: claude
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x]
==>
tools.yaml:2:11: `claude` is a reserved name: planners publish what they settle themselves under it
   |
 2 |   - tool: claude
   |           ^
 help: give the tool another name

### both adapters
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x]
    http: {url: 'http://x'}
==>
tools.yaml:2:11: tool `t` has both `command` and `http`
   |
 2 |   - tool: t
   |           ^
 help: give it exactly one of them

### no adapter
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
==>
tools.yaml:2:11: tool `t` has none of `command`, `http`, `nats`, `mcp` and `builtin`
   |
 2 |   - tool: t
   |           ^
 help: give it exactly one of them

### versions from 0
tools:
  - tool: t
    version: 0
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x]
==>
tools.yaml:3:14: versions count from 1
   |
 3 |     version: 0
   |              ^

### the same version twice
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x]
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x]
==>
tools.yaml:8:11: tool `t` version 1 is in tools.yaml already
   |
 8 |   - tool: t
   |           ^
 help: give this one another version

### no description
tools:
  - tool: t
    version: 1
    description: ''
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x]
==>
tools.yaml:4:18: `t` needs a `description`: the model picks tools by it
   |
 4 |     description: ''
   |                  ^

### nothing for a description
tools:
  - tool: t
    version: 1
    description:
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x]
==>
tools.yaml:4:16: expected a text, and there is nothing
   |
 4 |     description:
   |                ^

### no effect
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    command: [x]
==>
tools.yaml:6:5: `effect` is missing
   |
 6 |     command: [x]
   |     ^
 help: add `effect:` beside this

### an unknown effect
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: write
    command: [x]
==>
tools.yaml:6:13: `write` is none of read, idempotent, once
   |
 6 |     effect: write
   |             ^

### an unknown field
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x]
    timout: 3s
==>
tools.yaml:8:5: there is no `timout` here; there are tool, version, description, input, output, effect, risk, compensate, reconcile, timeout, concurrency, rate, retry, breaker, cost, output_limit, env, command, cwd, limits, stdout, http, nats, mcp, builtin, redact, deprecated
   |
 8 |     timout: 3s
   |     ^
 help: did you mean `timeout`?
"##;

#[test]
fn what_a_tool_takes_and_how_much_is_checked() {
    as_tools(INPUTS_AND_LIMITS);
}

const INPUTS_AND_LIMITS: &str = r##"
### an input that is no object
tools:
  - tool: t
    version: 1
    description: d
    input: {type: string}
    effect: read
    command: [x]
==>
tools.yaml:5:12: a tool's `input` must be a JSON Schema with `type: object`
   |
 5 |     input: {type: string}
   |            ^
 help: a tool that takes nothing has `input: {type: object}`

### an input that is no schema
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, required: id, properties: {id: {type: string}}}
    effect: read
    command: [x]
==>
tools.yaml:5:12: `input` is no valid JSON Schema: /required: "id" is not of type "array"
   |
 5 |     input: {type: object, required: id, properties: {id: {type: string}}}
   |            ^

### a timeout without a unit
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x]
    timeout: 10
==>
tools.yaml:8:14: `10` is not a duration, such as 500ms, 30s, 5m, 4h or 1h30m
   |
 8 |     timeout: 10
   |              ^

### no time at all
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x]
    timeout: 0s
==>
tools.yaml:8:14: `timeout` must be more than 0
   |
 8 |     timeout: 0s
   |              ^

### too much output
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x]
    output_limit: 1MiB
==>
tools.yaml:8:19: `output_limit` must be from 1B to 256KiB: results go on the journal
   |
 8 |     output_limit: 1MiB
   |                   ^

### a size that is none
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x]
    output_limit: 1MB
==>
tools.yaml:8:19: `1MB` is not a size, such as 500B, 64KiB or 1MiB
   |
 8 |     output_limit: 1MB
   |                   ^

### a rate without a time
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x]
    rate: 10
==>
tools.yaml:8:11: `10` is not a rate, such as 10/s, 100/m or 5/h
   |
 8 |     rate: 10
   |           ^

### no concurrency
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x]
    concurrency: 0
==>
tools.yaml:8:5: expected a whole number, 1 or more
   |
 8 |     concurrency: 0
   |     ^
"##;
