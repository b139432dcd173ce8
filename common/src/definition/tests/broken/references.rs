//! Steps that name what is not there. Each case: what is wrong, the definition after it, and after `==>` all that a user is told.

use super::super::below_the_top;

#[test]
fn models_tools_and_files_that_are_not_there_come_with_the_nearest_name() {
    below_the_top(NAMES);
}

const NAMES: &str = r##"
### an unknown tool
steps:
  - id: a
    tool: disk_usge
    with: {path: x}
==>
w.yaml:7:11: there is no tool `disk_usge`
   |
 7 |     tool: disk_usge
   |           ^
 help: did you mean `disk_usage`?

### a tool like no other
steps:
  - id: a
    tool: restart
==>
w.yaml:7:11: there is no tool `restart`
   |
 7 |     tool: restart
   |           ^
 help: there are: disk_usage

### a version that is not there
steps:
  - id: a
    tool: disk_usage@2
    with: {path: x}
==>
w.yaml:7:11: there is no `disk_usage@2`
   |
 7 |     tool: disk_usage@2
   |           ^
 help: `disk_usage` has version 1

### a version that is none
steps:
  - id: a
    tool: disk_usage@new
    with: {path: x}
==>
w.yaml:7:11: `new` in `disk_usage@new` is no version
   |
 7 |     tool: disk_usage@new
   |           ^
 help: write it so: `disk_usage@1`

### an unknown model
steps:
  - id: a
    claude: {prompt: hi, model: sonet}
==>
w.yaml:7:33: there is no model `sonet` in the table of models
   |
 7 |     claude: {prompt: hi, model: sonet}
   |                                 ^
 help: did you mean `sonnet`? known: haiku, claude-haiku-5-5, sonnet, claude-sonnet-5-5, opus, claude-opus-5-5, claude-sonnet-5, claude-opus-5, claude-opus-4-8, claude-opus-4-5, claude-sonnet-4-6, claude-sonnet-4-5, claude-haiku-4-5, claude-fable-5-1; the table is the built-in models.toml

### a missing prompt file
steps:
  - id: a
    claude: {prompt: prompts/q.md}
==>
w.yaml:7:22: there is no file `prompts/q.md`
   |
 7 |     claude: {prompt: prompts/q.md}
   |                      ^
 help: paths are relative to the folder of this file, and stay in it

### a prompt file of another kind
steps:
  - id: a
    claude: {prompt: prompts/q.txt}
==>
w.yaml:7:22: `prompts/q.txt` looks like a file, but prompts are files that end in .md
   |
 7 |     claude: {prompt: prompts/q.txt}
   |                      ^
 help: rename it, or write the prompt here as a text

### a file out of the folder
steps:
  - id: a
    claude: {prompt: ../q.md}
==>
w.yaml:7:22: `../q.md` leads out of the workflow's folder
   |
 7 |     claude: {prompt: ../q.md}
   |                      ^
 help: paths are relative to the folder of this file, and stay in it

### an absolute path
steps:
  - id: a
    claude: {prompt: /etc/q.md}
==>
w.yaml:7:22: `/etc/q.md` leads out of the workflow's folder
   |
 7 |     claude: {prompt: /etc/q.md}
   |                      ^
 help: paths are relative to the folder of this file, and stay in it
"##;

#[test]
fn holes_name_only_what_will_be_there() {
    below_the_top(HOLES);
}

const HOLES: &str = r##"
### a hole that is not closed
steps:
  - id: a
    claude: {prompt: 'hi {{ event.data.x'}
==>
w.yaml:7:22: the prompt does not compile: syntax error: unexpected end of input, expected end of variable block
   |
 7 |     claude: {prompt: 'hi {{ event.data.x'}
   |                      ^

### a wrong line of a prompt
steps:
  - id: a
    claude:
      prompt: |
        hi there
        and {{ event.data.x }
==>
w.yaml:9:9: the prompt does not compile: syntax error: unexpected `}`, expected end of variable block (in line 2)
   |
 9 |         hi there
   |         ^

### a wrong line of a prompt file
steps:
  - id: a
    claude: {prompt: prompts/broken.md}
==>
w.yaml:7:22: prompts/broken.md does not compile: syntax error: unexpected end of input, expected end of block (in line 3)
   |
 7 |     claude: {prompt: prompts/broken.md}
   |                      ^

### an unknown filter
steps:
  - id: a
    claude: {prompt: '{{ event.data | tojsn }}'}
==>
w.yaml:7:22: the prompt does not compile: unknown filter: filter tojsn is unknown
   |
 7 |     claude: {prompt: '{{ event.data | tojsn }}'}
   |                      ^

### an included file
steps:
  - id: a
    claude: {prompt: '{% include "x.md" %}'}
==>
w.yaml:7:22: the prompt does not compile: template not found: tried to include non-existing template 'x.md'
   |
 7 |     claude: {prompt: '{% include "x.md" %}'}
   |                      ^

### a later step
steps:
  - id: first
    claude: {prompt: 'hi {{ steps.second }}'}
  - id: second
    claude: {prompt: hi}
==>
w.yaml:7:22: `steps.second`: there is no step `second` before this one
   |
 7 |     claude: {prompt: 'hi {{ steps.second }}'}
   |                      ^

### a misspelt step
steps:
  - id: first
    claude: {prompt: hi}
  - id: second
    claude: {prompt: '{{ steps.frist }}'}
==>
w.yaml:9:22: `steps.frist`: there is no step `frist` before this one
   |
 9 |     claude: {prompt: '{{ steps.frist }}'}
   |                      ^
 help: did you mean `first`?

### a property that the answer has not
steps:
  - id: a
    claude: {prompt: hi, output: {$ref: schemas/s.json}}
  - id: b
    claude: {prompt: '{{ steps.a.levl }}'}
==>
w.yaml:9:22: `steps.a.levl`: what step `a` gives has no `levl`
   |
 9 |     claude: {prompt: '{{ steps.a.levl }}'}
   |                      ^
 help: it gives: level

### a property of a text
steps:
  - id: a
    claude: {prompt: hi}
  - id: b
    claude: {prompt: '{{ steps.a.level }}'}
==>
w.yaml:9:22: `steps.a.level`: step `a` gives a text, which has no `level`
   |
 9 |     claude: {prompt: '{{ steps.a.level }}'}
   |                      ^
 help: give that step an `output` schema

### a property that a tool step has not
steps:
  - id: a
    tool: disk_usage
    with: {path: /}
  - id: b
    claude: {prompt: '{{ steps.a.stdout }}'}
==>
w.yaml:10:22: `steps.a.stdout`: what step `a` gives has no `stdout`
    |
 10 |     claude: {prompt: '{{ steps.a.stdout }}'}
    |                      ^
 help: it gives: ok, output, error

### a property that an agent has not
steps:
  - id: a
    agent: {goal: hi, tools: [disk_usage], ends: [done]}
  - id: b
    claude: {prompt: '{{ steps.a.turns }}'}
==>
w.yaml:9:22: `steps.a.turns`: what step `a` gives has no `turns`
   |
 9 |     claude: {prompt: '{{ steps.a.turns }}'}
   |                      ^
 help: it gives: end, summary

### something in a prompt file
steps:
  - id: a
    claude: {prompt: prompts/wrong.md}
==>
w.yaml:7:22: prompts/wrong.md: `events.data`: there are only event, steps and run
   |
 7 |     claude: {prompt: prompts/wrong.md}
   |                      ^

### more of the run than its id
steps:
  - id: a
    claude: {prompt: '{{ run.started }}'}
==>
w.yaml:7:22: `run.started`: a run has only its `id`
   |
 7 |     claude: {prompt: '{{ run.started }}'}
   |                      ^
"##;
