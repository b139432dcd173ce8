//! Undoing what cannot be undone. Each case: what is wrong, the definition after it, and after `==>` all that a user is told.

use super::super::{DESK, TOP, as_tools, in_full, parse, refused};

#[test]
fn what_is_to_be_undone_says_how() {
    in_full(UNDOING);
}

const UNDOING: &str = r##"
### nothing that could be undone
steps:
  - {id: a, tool: disk_usage, with: {path: /}}
on_failure: {compensate: true}
==>
w.yaml:7:26: nothing here says how it is undone; give a tool `compensate`
   |
 7 | on_failure: {compensate: true}
   |                          ^
 help: in the tools' file `compensate: {tool: …, with: …}`, or so beside a step's `tool`

### nothing to do on failure
steps:
  - {id: a, claude: {prompt: hi}}
on_failure: {compensate: false}
==>
w.yaml:7:13: this does nothing when the run fails
   |
 7 | on_failure: {compensate: false}
   |             ^
 help: give it `compensate: true`, or `steps`

### a step that cannot be undone
steps:
  - {id: a, tool: disk_usage, with: {path: /}, on_error: compensate}
==>
w.yaml:6:58: nothing here says how it is undone; give a tool `compensate`
   |
 6 |   - {id: a, tool: disk_usage, with: {path: /}, on_error: compensate}
   |                                                          ^
 help: in the tools' file `compensate: {tool: …, with: …}`, or so beside a step's `tool`

### a group in which nothing can be undone
steps:
  - id: all
    steps: [{id: a, claude: {prompt: hi}}]
    on_error: compensate
  - {id: b, tool: book, with: {room: r}}
==>
w.yaml:8:15: nothing here says how it is undone; give a tool `compensate`
   |
 8 |     on_error: compensate
   |               ^
 help: in the tools' file `compensate: {tool: …, with: …}`, or so beside a step's `tool`
"##;

#[test]
fn what_undoes_a_step_is_a_tool_that_fits() {
    in_full(STEPS);
}

const STEPS: &str = r##"
### an unknown tool
steps:
  - {id: a, tool: disk_usage, with: {path: /}, compensate: {tool: cancle}}
==>
w.yaml:6:67: there is no tool `cancle`
   |
 6 |   - {id: a, tool: disk_usage, with: {path: /}, compensate: {tool: cancle}}
   |                                                                   ^
 help: did you mean `cancel`?

### parameters that do not fit
steps:
  - {id: a, tool: disk_usage, with: {path: /}, compensate: {tool: cancel, with: {number: 1}}}
==>
w.yaml:6:81: `with` does not fit the input of `cancel`: Additional properties are not allowed ('number' was unexpected); "id" is a required property
   |
 6 |   - {id: a, tool: disk_usage, with: {path: /}, compensate: {tool: cancel, with: {number: 1}}}
   |                                                                                 ^
 help: it takes: id, room

### a hole that the input has not
steps:
  - {id: a, tool: disk_usage, with: {path: /}, compensate: {tool: cancel, with: {id: '{{ input.pth }}'}}}
==>
w.yaml:6:81: `input.pth`: `input` has no `pth`
   |
 6 |   - {id: a, tool: disk_usage, with: {path: /}, compensate: {tool: cancel, with: {id: '{{ input.pth }}'}}}
   |                                                                                 ^
 help: it has: path, depth

### the step itself
steps:
  - {id: a, tool: disk_usage, with: {path: /}, compensate: {tool: cancel, with: {id: '{{ steps.a.output.id }}'}}}
==>
w.yaml:6:81: `steps.a.output.id`: there is no step `a` before this one
   |
 6 |   - {id: a, tool: disk_usage, with: {path: /}, compensate: {tool: cancel, with: {id: '{{ steps.a.output.id }}'}}}
   |                                                                                 ^

### an input where nothing is undone
steps:
  - {id: a, tool: disk_usage, with: {path: '{{ input.path }}'}}
==>
w.yaml:6:37: `input.path`: there are only event, steps and run
   |
 6 |   - {id: a, tool: disk_usage, with: {path: '{{ input.path }}'}}
   |                                     ^
"##;

#[test]
fn what_undoes_a_tool_is_told_at_its_place() {
    as_tools(TOOLS);
}

const TOOLS: &str = r##"
### a tool that there is not
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, required: [id], properties: {id: {type: string}}, additionalProperties: false}
    effect: once
    compensate: {tool: u}
    command: [x]
==>
tools.yaml:7:24: there is no tool `u`
   |
 7 |     compensate: {tool: u}
   |                        ^
 help: did you mean `t`?

### a version that there is not
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, required: [id], properties: {id: {type: string}}, additionalProperties: false}
    effect: once
    compensate: {tool: t@2, with: {id: x}}
    command: [x]
==>
tools.yaml:7:24: there is no `t@2`
   |
 7 |     compensate: {tool: t@2, with: {id: x}}
   |                        ^
 help: `t` has version 1

### parameters that do not compile
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, required: [id], properties: {id: {type: string}}, additionalProperties: false}
    effect: once
    compensate: {tool: t, with: {id: '{{ output.id }'}}
    command: [x]
==>
tools.yaml:7:33: `with` does not compile: syntax error: unexpected `}`, expected end of variable block
   |
 7 |     compensate: {tool: t, with: {id: '{{ output.id }'}}
   |                                 ^

### parameters that the tool does not take
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, required: [id], properties: {id: {type: string}}, additionalProperties: false}
    effect: once
    compensate: {tool: t, with: {number: 1}}
    command: [x]
==>
tools.yaml:7:33: `with` does not fit the input of `t`: Additional properties are not allowed ('number' was unexpected); "id" is a required property
   |
 7 |     compensate: {tool: t, with: {number: 1}}
   |                                 ^
 help: it takes: id

### a property that the undone one has not
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, required: [id], properties: {id: {type: string}}, additionalProperties: false}
    effect: once
    compensate: {tool: t, with: {id: '{{ input.number }}'}}
    command: [x]
==>
tools.yaml:7:33: `input.number`: the tool's `input` has no property `number`
   |
 7 |     compensate: {tool: t, with: {id: '{{ input.number }}'}}
   |                                 ^
 help: it has: id

### more than its input and output
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, required: [id], properties: {id: {type: string}}, additionalProperties: false}
    effect: once
    compensate: {tool: t, with: {id: '{{ event.data.id }}'}}
    command: [x]
==>
tools.yaml:7:33: `event.data.id`: what undoes a tool sees only its input and output
   |
 7 |     compensate: {tool: t, with: {id: '{{ event.data.id }}'}}
   |                                 ^

### an unknown risk
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, required: [id], properties: {id: {type: string}}, additionalProperties: false}
    effect: once
    risk: huge
    compensate: {tool: t, with: {id: x}}
    command: [x]
==>
tools.yaml:7:11: `huge` is none of low, high
   |
 7 |     risk: huge
   |           ^
"##;

#[test]
fn a_tool_that_cannot_be_undone_as_it_says_is_told_once() {
    let desk = DESK.replace("tool: cancel, with", "tool: cancle, with");
    let text = format!(
        "{TOP}steps: [{{id: a, tool: book, with: {{room: r}}}}]\non_failure: {{compensate: true}}"
    );
    let expected = "
desk.yaml:8:24: there is no tool `cancle`
   |
 8 |     compensate: {tool: cancle, with: {id: '{{ output.id }}', room: '{{ input.room }}'}}
   |                        ^
 help: did you mean `cancel`?
";
    refused(
        "a misspelt tool",
        &[("w.yaml", &text), ("desk.yaml", &desk)],
        expected,
    );
}

#[test]
fn a_step_an_agent_or_a_group_can_be_undone_by_what_its_tools_say() {
    for steps in [
        "{id: a, tool: book, with: {room: r}, on_error: compensate}",
        "{id: a, tool: page, with: {text: r}, on_error: compensate, compensate: {tool: cancel, with: {id: x}}}",
        "{id: a, agent: {goal: hi, tools: [book], ends: [done]}, on_error: compensate}",
        "{id: a, parallel: [{id: b, tool: book, with: {room: r}}], on_error: compensate}",
    ] {
        let text = format!("{TOP}steps: [{steps}]\non_failure: {{compensate: true}}");
        let parsed = parse(&[("w.yaml", &text), ("desk.yaml", DESK)]);
        assert_eq!(parsed.map(drop), Ok(()), "{steps}");
    }
}
