//! Broken options of requests and programs. Each case: what is wrong, the definition after it, and after `==>` all that a user is told.

use super::super::as_tools;

#[test]
fn options_say_what_is_wrong_with_them() {
    as_tools(OPTIONS);
}

const OPTIONS: &str = r##"
### limits of a request
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    http: {url: 'http://x/'}
    limits: {memory: 64MiB}
==>
tools.yaml:10:13: `limits` belongs to a `command`, and this tool has `http`
    |
 10 |     limits: {memory: 64MiB}
    |             ^

### limits that say nothing
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [ls]
    limits: {}
==>
tools.yaml:10:13: `limits` says nothing
    |
 10 |     limits: {}
    |             ^
 help: such as `limits: {memory: 512MiB, cpu: 20s}`

### limits that no program bears
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [ls]
    limits: {memory: 1MiB, cpu: 0s, open_files: 3}
==>
tools.yaml:10:22: `memory` must be at least 16MiB: with less no program starts
    |
 10 |     limits: {memory: 1MiB, cpu: 0s, open_files: 3}
    |                      ^

tools.yaml:10:33: `cpu` must be more than 0
    |
 10 |     limits: {memory: 1MiB, cpu: 0s, open_files: 3}
    |                                 ^

tools.yaml:10:49: `open_files` must be at least 16
    |
 10 |     limits: {memory: 1MiB, cpu: 0s, open_files: 3}
    |                                                 ^

### a pointer that is none
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    http: {url: 'http://x/', result: data.items}
==>
tools.yaml:9:38: `data.items` is no JSON pointer
   |
 9 |     http: {url: 'http://x/', result: data.items}
   |                                      ^
 help: it begins with `/`, such as /data/items

### a status that is none
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    http: {url: 'http://x/', expect: [200, ok, 999]}
==>
tools.yaml:9:44: `ok` is no status
   |
 9 |     http: {url: 'http://x/', expect: [200, ok, 999]}
   |                                            ^
 help: such as 200, or 2xx for all of a kind

tools.yaml:9:48: `999` is no status
   |
 9 |     http: {url: 'http://x/', expect: [200, ok, 999]}
   |                                                ^
 help: such as 200, or 2xx for all of a kind

### a token in the definition
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    http: {url: 'http://x/', auth: {bearer: s3cret}}
==>
tools.yaml:9:45: this says of no secret where it is
   |
 9 |     http: {url: 'http://x/', auth: {bearer: s3cret}}
   |                                             ^
 help: env:NAME or file:/absolute/path: a secret is never in a definition

### two authorizations
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    http: {url: 'http://x/', auth: {bearer: 'env:A'}, headers: {Authorization: x}}
==>
tools.yaml:9:45: there is an `authorization` header already
   |
 9 |     http: {url: 'http://x/', auth: {bearer: 'env:A'}, headers: {Authorization: x}}
   |                                             ^
 help: keep one of them

### a certificate without its key
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    http: {url: 'https://x/', tls: {cert: 'file:/a.pem'}}
==>
tools.yaml:9:36: `cert` and `key` belong together
   |
 9 |     http: {url: 'https://x/', tls: {cert: 'file:/a.pem'}}
   |                                    ^
 help: give both, or neither

### an authority that is no file
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    http: {url: 'https://x/', tls: {ca: /a.pem}}
==>
tools.yaml:9:41: `/a.pem` is no file
   |
 9 |     http: {url: 'https://x/', tls: {ca: /a.pem}}
   |                                         ^
 help: write it so: file:/absolute/path.pem

### a pattern that is everywhere
mcp:
  - {server: own, command: [srv]}
tools:
  - tool: t
    version: 1
    description: d
    input: {type: object, properties: {id: {type: string}}}
    effect: read
    command: [ls]
    redact: [/a, 'a*', '*']
==>
tools.yaml:10:18: `a*` would be found everywhere: a pattern has 3 characters in a row that are none of its `*`
    |
 10 |     redact: [/a, 'a*', '*']
    |                  ^
 help: a JSON pointer begins with `/`, such as /body/token; a pattern is such as tok_*

tools.yaml:10:24: `*` would be found everywhere: a pattern has 3 characters in a row that are none of its `*`
    |
 10 |     redact: [/a, 'a*', '*']
    |                        ^
 help: a JSON pointer begins with `/`, such as /body/token; a pattern is such as tok_*
"##;
