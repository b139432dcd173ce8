//! Broken commands and HTTP requests of tools. Each case: what is wrong, the definition after it, and after `==>` all that a user is told.

use super::super::as_tools;

#[test]
fn a_tools_holes_see_its_input_and_what_it_was_given() {
    as_tools(ADAPTERS);
}

const ADAPTERS: &str = r##"
### an empty command
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: []
==>
tools.yaml:7:14: `command` is empty; its first item is the program
   |
 7 |     command: []
   |              ^

### a program from the input
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: ['{{ input.id }}', x]
==>
tools.yaml:7:15: the program must not come from `input`: its parameters would choose what runs
   |
 7 |     command: ['{{ input.id }}', x]
   |               ^
 help: write the program here, and use the hole as an argument

### a hole that is not closed
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x, '{{ input.id']
==>
tools.yaml:7:18: this does not compile: syntax error: unexpected end of input, expected end of variable block
   |
 7 |     command: [x, '{{ input.id']
   |                  ^

### a property that the input has not
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x, '{{ input.ip }}']
==>
tools.yaml:7:18: `input.ip`: the tool's `input` has no property `ip`
   |
 7 |     command: [x, '{{ input.ip }}']
   |                  ^
 help: it has: id

### a variable that the tool may not see
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x, '{{ env.TOKEN }}']
==>
tools.yaml:7:18: `env.TOKEN`: the tool may not see `TOKEN`
   |
 7 |     command: [x, '{{ env.TOKEN }}']
   |                  ^
 help: add it: `env: [TOKEN]`

### the event
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [x, '{{ event.id }}']
==>
tools.yaml:7:18: `event.id`: a tool's holes see only input, env, run, step and idempotency_key
   |
 7 |     command: [x, '{{ event.id }}']
   |                  ^

### an unknown method
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    http: {url: 'http://x', method: post}
==>
tools.yaml:7:37: `post` is none of GET, HEAD, POST, PUT, PATCH, DELETE
   |
 7 |     http: {url: 'http://x', method: post}
   |                                     ^

### an address that is none
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    http: {url: 'x/{{ input.id }}'}
==>
tools.yaml:7:17: `x/{{ input.id }}` is no address
   |
 7 |     http: {url: 'x/{{ input.id }}'}
   |                 ^
 help: it starts with http://, https:// or a hole such as {{ env.BASE_URL }}

### a blob that is read and kept
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {doc: {x-blob: path}}}
    effect: read
    http: {url: 'http://x', download: {limit: 2GiB}, result: /a, body: {}, body_from: '{{ input.doc }}'}
==>
tools.yaml:7:47: `limit` must be from 1B to 1GiB
   |
 7 |     http: {url: 'http://x', download: {limit: 2GiB}, result: /a, body: {}, body_from: '{{ input.doc }}'}
   |                                               ^

tools.yaml:7:62: `result` looks into an answer, and `download` keeps it unread
   |
 7 |     http: {url: 'http://x', download: {limit: 2GiB}, result: /a, body: {}, body_from: '{{ input.doc }}'}
   |                                                              ^
 help: keep one of them

tools.yaml:7:87: there is a `body` already
   |
 7 |     http: {url: 'http://x', download: {limit: 2GiB}, result: /a, body: {}, body_from: '{{ input.doc }}'}
   |                                                                                       ^
 help: keep one of them

tools.yaml:5:12: `x-blob` of `doc` belongs to a `command`
   |
 5 |     input: {type: object, properties: {doc: {x-blob: path}}}
   |            ^
 help: an `http` tool sends a blob by its `body_from`

### words that say nothing of what is kept
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {doc: {x-blob: text}}}
    effect: read
    stdout: true
    command: [x]
==>
tools.yaml:7:13: `stdout` is neither true nor false
   |
 7 |     stdout: true
   |             ^
 help: write `stdout: blob`, or `stdout: {limit: 100MiB}`

tools.yaml:5:12: `x-blob` of `doc` can only be `path`
   |
 5 |     input: {type: object, properties: {doc: {x-blob: text}}}
   |            ^

### a folder for an http tool
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    http: {url: 'http://x'}
    cwd: /tmp
==>
tools.yaml:8:10: `cwd` belongs to a `command`, and this tool has `http`
   |
 8 |     cwd: /tmp
   |          ^

### a wrong hole in a body
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    http: {url: 'http://x', body: {id: '{{ input.di }}'}}
==>
tools.yaml:7:35: `input.di`: the tool's `input` has no property `di`
   |
 7 |     http: {url: 'http://x', body: {id: '{{ input.di }}'}}
   |                                   ^
 help: it has: id

### a wrong hole in a header
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    http: {url: 'http://x', headers: {X-Id: '{{ input.di }}'}}
==>
tools.yaml:7:45: `input.di`: the tool's `input` has no property `di`
   |
 7 |     http: {url: 'http://x', headers: {X-Id: '{{ input.di }}'}}
   |                                             ^
 help: it has: id
"##;
