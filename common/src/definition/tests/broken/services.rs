//! Broken services, MCP servers and built-in tools. Each case: what is wrong, the definition after it, and after `==>` all that a user
//! is told.

use super::super::as_tools;

#[test]
fn services_and_servers_say_what_is_wrong_with_them() {
    as_tools(SERVICES);
}

const SERVICES: &str = r##"
### a subject of the fleet
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    nats: {subject: runs.x}
==>
tools.yaml:9:21: `runs` is a subject of the fleet's or of the server's own
   |
 9 |     nats: {subject: runs.x}
   |                     ^
 help: give the service a subject of its own, such as `weather.now`

### a subject of the server
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    nats: {subject: $JS.API.INFO}
==>
tools.yaml:9:21: `$JS` is a subject of the fleet's or of the server's own
   |
 9 |     nats: {subject: $JS.API.INFO}
   |                     ^
 help: give the service a subject of its own, such as `weather.now`

### a subject that a parameter chooses
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    nats: {subject: '{{ input.id }}.x'}
==>
tools.yaml:9:21: the first part of a subject must not be a hole: a parameter would choose the service
   |
 9 |     nats: {subject: '{{ input.id }}.x'}
   |                     ^
 help: such as `weather.{{ input.city }}`

### a subject with a wildcard
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    nats: {subject: 'a.*.b'}
==>
tools.yaml:9:21: `a.*.b` is no subject
   |
 9 |     nats: {subject: 'a.*.b'}
   |                     ^
 help: its parts have letters, digits, `_`, `-` and holes, with dots between: no `*`, no `>`, no space

### a subject with a block
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    nats: {subject: 'a.{% if input.id %}b{% endif %}'}
==>
tools.yaml:9:21: a subject has holes and nothing else in braces
   |
 9 |     nats: {subject: 'a.{% if input.id %}b{% endif %}'}
   |                     ^
 help: such as `weather.{{ input.city }}`

### no subject
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    nats: {timeout: 5s}
==>
tools.yaml:9:12: there is no `timeout` here; there are subject
   |
 9 |     nats: {timeout: 5s}
   |            ^

### a folder for a service
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    nats: {subject: a.b}
    cwd: /tmp
==>
tools.yaml:10:10: `cwd` belongs to a `command`, and this tool has `nats`
    |
 10 |     cwd: /tmp
    |          ^

### a server that is not there
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    mcp: {server: nowhere, tool: t, pin: 'sha256:0000000000000000000000000000000000000000000000000000000000000000'}
==>
tools.yaml:9:19: there is no MCP server `nowhere` in this file
   |
 9 |     mcp: {server: nowhere, tool: t, pin: 'sha256:0000000000000000000000000000000000000000000000000000000000000000'}
   |                   ^
 help: there are: own

### a pin that is none
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    mcp: {server: own, tool: t, pin: latest}
==>
tools.yaml:9:38: `pin` is `sha256:` and 64 hex digits
   |
 9 |     mcp: {server: own, tool: t, pin: latest}
   |                                      ^
 help: `flotilla tools mcp own` lists the server's tools with their pins

### variables of a tool whose server has them
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    mcp: {server: own, tool: t, pin: 'sha256:0000000000000000000000000000000000000000000000000000000000000000'}
    env: [A]
==>
tools.yaml:9:19: `env` belongs to the tool's MCP server: it runs for all of its tools
   |
 9 |     mcp: {server: own, tool: t, pin: 'sha256:0000000000000000000000000000000000000000000000000000000000000000'}
   |                   ^

### a server that is reached in two ways
mcp:
  - {server: own, command: [srv], url: 'http://x/'}
==>
tools.yaml:2:14: MCP server `own` has both `command` and `url`
   |
 2 |   - {server: own, command: [srv], url: 'http://x/'}
   |              ^
 help: give it exactly one of them

### a server that is not reached
mcp:
  - {server: own}
==>
tools.yaml:2:14: MCP server `own` has neither `command` nor `url`
   |
 2 |   - {server: own}
   |              ^
 help: give it exactly one of them

### two servers of one name
mcp:
  - {server: own, command: [a]}
  - {server: own, command: [b]}
==>
tools.yaml:3:14: MCP server `own` is here twice
   |
 3 |   - {server: own, command: [b]}
   |              ^
 help: keep one of them

### a server with holes of a call
mcp:
  - {server: own, command: [srv, '{{ input.id }}', '{{ env.TOKEN }}']}
==>
tools.yaml:2:34: `input.id`: a server's holes see only env: it serves many calls
   |
 2 |   - {server: own, command: [srv, '{{ input.id }}', '{{ env.TOKEN }}']}
   |                                  ^

tools.yaml:2:52: `env.TOKEN`: the server may not see `TOKEN`
   |
 2 |   - {server: own, command: [srv, '{{ input.id }}', '{{ env.TOKEN }}']}
   |                                                    ^
 help: add it: `env: [TOKEN]`

### headers of a program
mcp:
  - {server: own, command: [srv], headers: {a: b}}
==>
tools.yaml:2:48: `headers` belong to a `url`, and this server has a `command`
   |
 2 |   - {server: own, command: [srv], headers: {a: b}}
   |                                                ^

### a server at no address
mcp:
  - {server: own, url: 'ftp://x/'}
==>
tools.yaml:2:24: `ftp://x/` is no address
   |
 2 |   - {server: own, url: 'ftp://x/'}
   |                        ^
 help: it starts with http://, https:// or a hole such as {{ env.BASE_URL }}

### a note that says it does something
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: once
    builtin: note
==>
tools.yaml:7:14: `note` has another effect than this tool says
   |
 7 |     builtin: note
   |              ^
 help: write `effect: read`

### an event of the fleet
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: idempotent
    builtin: {emit_event: {type: flotilla.cron, data: {}}}
==>
tools.yaml:7:34: `flotilla.cron` is an event of the fleet's own
   |
 7 |     builtin: {emit_event: {type: flotilla.cron, data: {}}}
   |                                  ^
 help: give it another type

### an event whose type is a hole
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: idempotent
    builtin: {emit_event: {type: '{{ input.id }}', data: {}}}
==>
tools.yaml:7:34: `{{ input.id }}` is not an event type: words of A-Z a-z 0-9 _ - with dots between, such as alertmanager.alert
   |
 7 |     builtin: {emit_event: {type: '{{ input.id }}', data: {}}}
   |                                  ^

### an event with a field that the input has not
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: idempotent
    builtin: {emit_event: {type: a.b, data: {x: '{{ input.ide }}'}}}
==>
tools.yaml:7:45: `input.ide`: the tool's `input` has no property `ide`
   |
 7 |     builtin: {emit_event: {type: a.b, data: {x: '{{ input.ide }}'}}}
   |                                             ^
 help: it has: id

### a url that is looked at without a pause
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    builtin: {wait_for_url: {url: 'x', every: 1ms}}
==>
tools.yaml:7:35: `x` is no address
   |
 7 |     builtin: {wait_for_url: {url: 'x', every: 1ms}}
   |                                   ^
 help: it starts with http://, https:// or a hole such as {{ env.BASE_URL }}

tools.yaml:7:47: `every` must be at least 100ms
   |
 7 |     builtin: {wait_for_url: {url: 'x', every: 1ms}}
   |                                               ^

### nothing that is built in
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    builtin: sing
==>
tools.yaml:7:14: `sing` is none of note, emit_event, wait_for_url
   |
 7 |     builtin: sing
   |              ^

### a built-in program
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    builtin: note
    command: [ls]
==>
tools.yaml:2:11: tool `t` has both `command` and `builtin`
   |
 2 |   - tool: t
   |           ^
 help: give it exactly one of them
"##;
