//! Steps that are wrong in themselves. Each case: what is wrong, the definition after it, and after `==>` all that a user is told.

use super::super::below_the_top;

#[test]
fn a_step_is_one_thing_and_has_its_own_id() {
    below_the_top(STEPS);
}

const STEPS: &str = r##"
### an id twice
steps:
  - id: a
    claude: {prompt: hi}
  - id: a
    claude: {prompt: hi}
==>
w.yaml:8:9: there is a step `a` already
   |
 8 |   - id: a
   |         ^
 help: give each step its own id

### nothing to do
steps:
  - id: a
==>
w.yaml:6:9: step `a` does nothing
   |
 6 |   - id: a
   |         ^
 help: give it one of `claude`, `tool`, `agent`, `switch`, `parallel`, `for_each`, `steps`, `approval`, `sleep`, `until`, `run` and `end`

### two things to do
steps:
  - id: a
    claude: {prompt: hi}
    tool: disk_usage
    with: {path: x}
==>
w.yaml:6:9: step `a` does more than one thing
   |
 6 |   - id: a
   |         ^
 help: keep one of `claude` and `tool`; make the others steps of their own

### a kind of step that there is not
steps:
  - id: a
    paralel: []
==>
w.yaml:7:5: there is no `paralel` here; there are id, claude, tool, agent, switch, parallel, for_each, steps, approval, sleep, until, run, end, with, compensate, approve, then, timeout, retry, on_error
   |
 7 |     paralel: []
   |     ^
 help: did you mean `parallel`?

### `with` without a tool
steps:
  - id: a
    claude: {prompt: hi}
    with: {path: x}
==>
w.yaml:8:11: `with` belongs to a `tool`, and step `a` has none
   |
 8 |     with: {path: x}
   |           ^

### an unknown `on_error`
steps:
  - id: a
    tool: disk_usage
    with: {path: /}
    on_error: ignore
==>
w.yaml:9:15: `ignore` is none of fail, continue, compensate
   |
 9 |     on_error: ignore
   |               ^
"##;

#[test]
fn schemas_are_checked_before_a_model_sees_them() {
    below_the_top(SCHEMAS);
}

const SCHEMAS: &str = r##"
### an unknown type
steps:
  - id: a
    claude: {prompt: hi, output: {type: object, properties: {level: {type: strnig}}}}
==>
w.yaml:7:34: `output` is no valid JSON Schema: /properties/level/type: "strnig" is none of array, boolean, integer, null, number, object, string
   |
 7 |     claude: {prompt: hi, output: {type: object, properties: {level: {type: strnig}}}}
   |                                  ^

### no object
steps:
  - id: a
    claude: {prompt: hi, output: {type: string}}
==>
w.yaml:7:34: `output` must be a JSON Schema with `type: object`
   |
 7 |     claude: {prompt: hi, output: {type: string}}
   |                                  ^
 help: without `output` the step gives a text

### a file that is not JSON
steps:
  - id: a
    claude: {prompt: hi, output: {$ref: schemas/broken.json}}
==>
w.yaml:7:34: `schemas/broken.json` is not JSON: EOF while parsing an object at line 1 column 1
   |
 7 |     claude: {prompt: hi, output: {$ref: schemas/broken.json}}
   |                                  ^

### a file that is not there
steps:
  - id: a
    claude: {prompt: hi, output: {$ref: schemas/none.json}}
==>
w.yaml:7:34: there is no file `schemas/none.json`
   |
 7 |     claude: {prompt: hi, output: {$ref: schemas/none.json}}
   |                                  ^
 help: paths are relative to the folder of this file, and stay in it

### a file of another kind
steps:
  - id: a
    claude: {prompt: hi, output: {$ref: schemas/s.yaml}}
==>
w.yaml:7:34: `$ref: schemas/s.yaml` is no schema file; those end in .json
   |
 7 |     claude: {prompt: hi, output: {$ref: schemas/s.yaml}}
   |                                  ^

### a reference to another host
steps:
  - id: a
    claude: {prompt: hi, output: {type: object, properties: {x: {$ref: 'https://example.com/x.json'}}}}
==>
w.yaml:7:34: `output` is no valid JSON Schema: a `$ref` must lead to a place in the same document (`#/…`): Resource 'https://example.com/x.json' is not present in a registry
   |
 7 |     claude: {prompt: hi, output: {type: object, properties: {x: {$ref: 'https://example.com/x.json'}}}}
   |                                  ^
"##;

#[test]
fn an_agent_can_end_and_only_by_its_ends() {
    below_the_top(AGENTS);
}

const AGENTS: &str = r##"
### no ends
steps:
  - id: a
    agent: {goal: hi, tools: [disk_usage], ends: []}
==>
w.yaml:7:50: an agent needs at least one end, or it could never stop
   |
 7 |     agent: {goal: hi, tools: [disk_usage], ends: []}
   |                                                  ^
 help: add one, such as `ends: [resolve, escalate]`

### no `ends`
steps:
  - id: a
    agent:
      goal: hi
      tools: [disk_usage]
==>
w.yaml:9:7: `ends` is missing
   |
 9 |       tools: [disk_usage]
   |       ^
 help: add `ends:` beside this

### an end with a tool's name
steps:
  - id: a
    agent: {goal: hi, tools: [disk_usage], ends: [disk_usage]}
==>
w.yaml:7:51: `disk_usage` is a tool of this agent, so it cannot be an end too
   |
 7 |     agent: {goal: hi, tools: [disk_usage], ends: [disk_usage]}
   |                                                   ^
 help: give the end another name

### a tool twice and an end twice
steps:
  - id: a
    agent: {goal: hi, tools: [disk_usage, disk_usage@1], ends: [done, done]}
==>
w.yaml:7:43: `disk_usage` is on the menu twice
   |
 7 |     agent: {goal: hi, tools: [disk_usage, disk_usage@1], ends: [done, done]}
   |                                           ^
 help: keep one of them

w.yaml:7:71: the end `done` is here twice
   |
 7 |     agent: {goal: hi, tools: [disk_usage, disk_usage@1], ends: [done, done]}
   |                                                                       ^
 help: keep one of them

### a floor that leads to no end
steps:
  - id: a
    agent: {goal: hi, tools: [], ends: [resolve], confidence: {min: 0.5, below: escalate}}
==>
w.yaml:7:81: `escalate` is none of the agent's ends
   |
 7 |     agent: {goal: hi, tools: [], ends: [resolve], confidence: {min: 0.5, below: escalate}}
   |                                                                                 ^
 help: `below` takes one of: resolve

### a floor above 1
steps:
  - id: a
    agent: {goal: hi, tools: [], ends: [resolve], confidence: {min: 1.5, below: resolve}}
==>
w.yaml:7:69: a confidence is from 0 to 1, not 1.5
   |
 7 |     agent: {goal: hi, tools: [], ends: [resolve], confidence: {min: 1.5, below: resolve}}
   |                                                                     ^

### no loops
steps:
  - id: a
    agent: {goal: hi, tools: [], ends: [resolve], max_loops: 0}
==>
w.yaml:7:62: `max_loops` must be from 1 to 10000, not 0
   |
 7 |     agent: {goal: hi, tools: [], ends: [resolve], max_loops: 0}
   |                                                              ^

### too much at once
steps:
  - id: a
    agent: {goal: hi, tools: [], ends: [resolve], parallel: 17}
==>
w.yaml:7:61: `parallel` must be from 1 to 16, not 17
   |
 7 |     agent: {goal: hi, tools: [], ends: [resolve], parallel: 17}
   |                                                             ^

### an agent by batch
steps:
  - id: a
    agent: {goal: hi, tools: [], ends: [resolve], batch: true}
==>
w.yaml:7:58: an agent cannot go by batches: each of its turns could take a day
   |
 7 |     agent: {goal: hi, tools: [], ends: [resolve], batch: true}
   |                                                          ^
 help: make what can wait a `claude` step with `batch: true`
"##;

#[test]
fn parameters_must_fit_their_tool_as_far_as_they_are_known() {
    below_the_top(PARAMETERS);
}

const PARAMETERS: &str = r##"
### a wrong type
steps:
  - id: a
    tool: disk_usage
    with: {path: 3}
==>
w.yaml:8:11: `with` does not fit the input of `disk_usage`: /path: 3 is not of type "string"
   |
 8 |     with: {path: 3}
   |           ^
 help: it takes: path, depth

### nothing at all
steps:
  - id: a
    tool: disk_usage
==>
w.yaml:7:11: `with` does not fit the input of `disk_usage`: "path" is a required property
   |
 7 |     tool: disk_usage
   |           ^
 help: it takes: path, depth

### a misspelt name beside a hole
steps:
  - id: a
    tool: disk_usage
    with: {pth: '{{ event.data.x }}'}
==>
w.yaml:8:11: `with` does not fit the input of `disk_usage`: Additional properties are not allowed ('pth' was unexpected); "path" is a required property
   |
 8 |     with: {pth: '{{ event.data.x }}'}
   |           ^
 help: it takes: path, depth

### a wrong type beside a hole
steps:
  - id: a
    tool: disk_usage
    with: {path: '{{ event.data.x }}', depth: deep}
==>
w.yaml:8:11: `with` does not fit the input of `disk_usage`: /depth: "deep" is not of type "integer"
   |
 8 |     with: {path: '{{ event.data.x }}', depth: deep}
   |           ^
 help: it takes: path, depth

### a hole that is not closed
steps:
  - id: a
    tool: disk_usage
    with: {path: '{{ event.data.x }'}
==>
w.yaml:8:11: `with` does not compile: syntax error: unexpected `}`, expected end of variable block
   |
 8 |     with: {path: '{{ event.data.x }'}
   |           ^
"##;
