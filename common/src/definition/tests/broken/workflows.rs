//! Broken workflow files. Each case: what is wrong, the definition after it, and after `==>` all that a user is told.

use super::super::alone;

#[test]
fn a_file_that_is_not_readable_says_what_is_expected() {
    alone(UNREADABLE);
}

const UNREADABLE: &str = r##"
### broken indentation
workflow: w
version: 1
  on: x
==>
w.yaml:3:5: not valid YAML: mapping values are not allowed in this context
   |
 3 |   on: x
   |     ^
 help: check the indentation and the brackets above; a text that holds `: ` needs quotes

### an open bracket
workflow: [w
version: 1
==>
w.yaml:2:8: not valid YAML: illegal placement of ':' indicator
   |
 2 | version: 1
   |        ^
 help: check the indentation and the brackets above; a text that holds `: ` needs quotes

### a tab
workflow: w
	version: 1
==>
w.yaml:1:11: not valid YAML: while scanning a plain scalar, found a tab
   |
 1 | workflow: w
   |           ^
 help: YAML is indented with spaces

### two documents
workflow: w
---
workflow: v
==>
w.yaml:3:1: a definition file holds one YAML document
   |
 3 | workflow: v
   | ^
 help: put what follows `---` into a file of its own

### a key twice
workflow: w
workflow: v
==>
w.yaml:2:1: `workflow` is here twice
   |
 2 | workflow: v
   | ^
 help: keep one of them

### a list
- workflow: w
==>
w.yaml:1:1: expected `key: value` pairs
   |
 1 | - workflow: w
   | ^

### nothing
==>
w.yaml: no definition: a definition file has `workflow:`, `tools:`, `event:` or `hook:` at its top level
 help: move other files out of the definitions' folder

### neither a workflow nor tools
services:
  web: {image: nginx}
==>
w.yaml: no definition: a definition file has `workflow:`, `tools:`, `event:` or `hook:` at its top level
 help: move other files out of the definitions' folder

### an alias of nothing
workflow: *a
==>
w.yaml:1:11: this refers to an anchor that is not here
   |
 1 | workflow: *a
   |           ^
 help: a text that begins with `*` needs quotes
"##;

#[test]
fn a_wrong_field_or_type_is_told_at_its_place() {
    alone(FIELDS_AND_TYPES);
}

const FIELDS_AND_TYPES: &str = r##"
### a misspelt field
workflow: w
version: 1
on: {event: a.b}
modle: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:4:1: there is no `modle` here; there are workflow, version, description, on, limits, model, lessons, approvals, steps, output, on_failure
   |
 4 | modle: haiku
   | ^
 help: did you mean `model`?

### a missing field
workflow: w
version: 1
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:4:1: `on` is missing
   |
 4 | steps:
   | ^
 help: add `on:` beside this

### a version that is no number
workflow: w
version: one
on: {event: a.b}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:2:10: expected a whole number, 0 or more
   |
 2 | version: one
   |          ^

### a negative version
workflow: w
version: -1
on: {event: a.b}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:2:10: expected a whole number, 0 or more
   |
 2 | version: -1
   |          ^

### versions from 0
workflow: w
version: 0
on: {event: a.b}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:2:10: versions count from 1
   |
 2 | version: 0
   |          ^

### a text where a mapping belongs
workflow: w
version: 1
on: a.b
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:5: expected `key: value` pairs
   |
 3 | on: a.b
   |     ^

### a mapping where a list belongs
workflow: w
version: 1
on: {event: a.b}
model: haiku
steps: {a: 1}
==>
w.yaml:5:8: expected a list
   |
 5 | steps: {a: 1}
   |        ^

### a list where a text belongs
workflow: w
version: 1
on: {event: a.b}
model: [haiku]
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:4:8: expected a text
   |
 4 | model: [haiku]
   |        ^

### nothing where a name belongs
workflow:
version: 1
on: {event: a.b}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:1:9: expected a text, and there is nothing
   |
 1 | workflow:
   |         ^

### a name with a space
workflow: my workflow
version: 1
on: {event: a.b}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:1:11: `my workflow` is not a name: 1 to 64 characters of A-Z a-z 0-9 _ -
   |
 1 | workflow: my workflow
   |           ^

### an event type with an empty word
workflow: w
version: 1
on: {event: a..b}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:13: `a..b` is not an event type: words of A-Z a-z 0-9 _ - with dots between, such as alertmanager.alert
   |
 3 | on: {event: a..b}
   |             ^

### no steps
workflow: w
version: 1
on: {event: a.b}
model: haiku
steps: []
==>
w.yaml:5:8: a workflow needs at least one step
   |
 5 | steps: []
   |        ^
"##;

#[test]
fn limits_out_of_range_are_all_told_at_once() {
    alone(LIMITS);
}

const LIMITS: &str = r##"
### too small
workflow: w
version: 1
on: {event: a.b}
model: haiku
limits: {steps: 0, duration: 0s}
steps:
  - id: a
    claude: {prompt: hi, max_tokens: 0}
==>
w.yaml:5:17: `limits.steps` must be from 1 to 10000, not 0
   |
 5 | limits: {steps: 0, duration: 0s}
   |                 ^

w.yaml:5:30: `limits.duration` must be more than 0
   |
 5 | limits: {steps: 0, duration: 0s}
   |                              ^

w.yaml:8:38: `max_tokens` must be from 1 to 64000, not 0
   |
 8 |     claude: {prompt: hi, max_tokens: 0}
   |                                      ^

### too large
workflow: w
version: 1
on: {event: a.b}
model: haiku
limits: {steps: 10001}
steps:
  - id: a
    claude: {prompt: hi, max_tokens: 64001}
==>
w.yaml:5:17: `limits.steps` must be from 1 to 10000, not 10001
   |
 5 | limits: {steps: 10001}
   |                 ^

w.yaml:8:38: `max_tokens` must be from 1 to 64000, not 64001
   |
 8 |     claude: {prompt: hi, max_tokens: 64001}
   |                                      ^

### no duration
workflow: w
version: 1
on: {event: a.b}
model: haiku
limits: {duration: 5 minutes}
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:5:20: `5 minutes` is not a duration, such as 500ms, 30s, 5m, 4h or 1h30m
   |
 5 | limits: {duration: 5 minutes}
   |                    ^
"##;

#[test]
fn a_condition_can_only_see_the_event() {
    alone(CONDITIONS);
}

const CONDITIONS: &str = r##"
### broken syntax
workflow: w
version: 1
on: {event: a.b, when: 'event.data.x =='}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:24: the condition does not compile: syntax error: unexpected end of input, expected expression
   |
 3 | on: {event: a.b, when: 'event.data.x =='}
   |                        ^

### a field that events do not have
workflow: w
version: 1
on: {event: a.b, when: 'event.dta.x == 1'}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:24: `event.dta.x`: an event has id, source, type, time, subject, data; its payload is under event.data
   |
 3 | on: {event: a.b, when: 'event.dta.x == 1'}
   |                        ^

### a step, before there are any
workflow: w
version: 1
on: {event: a.b, when: 'steps.a.x == 1'}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:24: `steps.a.x`: there is no step `a` before this one
   |
 3 | on: {event: a.b, when: 'steps.a.x == 1'}
   |                        ^

### an unknown filter
workflow: w
version: 1
on: {event: a.b, when: 'event.data | lenght > 1'}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:24: the condition does not compile: unknown filter: filter lenght is unknown
   |
 3 | on: {event: a.b, when: 'event.data | lenght > 1'}
   |                        ^
"##;
