//! Broken triggers. Each case: what is wrong, the definition after it, and after `==>` all that a user is told.

use super::super::alone;

#[test]
fn a_wrong_trigger_is_told_at_its_place() {
    alone(TRIGGERS);
}

const TRIGGERS: &str = r##"
### neither an event nor a cron expression
workflow: w
version: 1
on: {when: 'true'}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:5: `on` needs an `event`, or `cron`
   |
 3 | on: {when: 'true'}
   |     ^
 help: write `on: {event: alertmanager.alert}`; for a clock, write `on: {cron: '0 9 * * 1-5'}`

### both
workflow: w
version: 1
on: {event: a.b, cron: 0 9 * * *}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:24: a workflow is started by an `event` or by `cron`, not by both
   |
 3 | on: {event: a.b, cron: 0 9 * * *}
   |                        ^
 help: keep one of them; a second workflow can `run` this one

### a zone for events
workflow: w
version: 1
on: {event: a.b, timezone: Europe/Berlin}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:28: `timezone` says where the clock of `cron` stands, and there is no `cron`
   |
 3 | on: {event: a.b, timezone: Europe/Berlin}
   |                            ^

### Flotilla's own event
workflow: w
version: 1
on: {event: flotilla.cron}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:13: events of type `flotilla.cron` are made by Flotilla itself
   |
 3 | on: {event: flotilla.cron}
   |             ^
 help: for a clock, write `on: {cron: '0 9 * * 1-5'}`

### four fields
workflow: w
version: 1
on: {cron: 9 * * *}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:12: a cron expression has five fields (minute, hour, day of the month, month, weekday), or six with seconds before them; this has 4
   |
 3 | on: {cron: 9 * * *}
   |            ^
 help: every weekday at nine is `0 9 * * 1-5`

### a nickname
workflow: w
version: 1
on: {cron: '@daily'}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:12: a cron expression has five fields (minute, hour, day of the month, month, weekday), or six with seconds before them; this has 1
   |
 3 | on: {cron: '@daily'}
   |            ^
 help: every weekday at nine is `0 9 * * 1-5`

### seven fields
workflow: w
version: 1
on: {cron: 0 0 9 * * * 2026}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:12: a cron expression has five fields (minute, hour, day of the month, month, weekday), or six with seconds before them; this has 7
   |
 3 | on: {cron: 0 0 9 * * * 2026}
   |            ^
 help: every weekday at nine is `0 9 * * 1-5`

### an hour too late
workflow: w
version: 1
on: {cron: 0 24 * * *}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:12: `24` is no hour
   |
 3 | on: {cron: 0 24 * * *}
   |            ^
 help: write 0 to 23; `*` is each of them

### a day that is no day
workflow: w
version: 1
on: {cron: 0 9 * * MOON}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:12: `MOON` is no weekday
   |
 3 | on: {cron: 0 9 * * MOON}
   |            ^
 help: write 0 to 7, or SUN to SAT; `*` is each of them

### a month that is no month
workflow: w
version: 1
on: {cron: 0 9 1 Sept *}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:12: `Sept` is no month
   |
 3 | on: {cron: 0 9 1 Sept *}
   |            ^
 help: write 1 to 12, or JAN to DEC; `*` is each of them

### days from 0
workflow: w
version: 1
on: {cron: 0 9 0 * *}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:12: `0` is no day of the month
   |
 3 | on: {cron: 0 9 0 * *}
   |            ^
 help: write 1 to 31; `*` is each of them

### what only other programs know
workflow: w
version: 1
on: {cron: 0 9 L * *}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:12: `L` is no day of the month
   |
 3 | on: {cron: 0 9 L * *}
   |            ^
 help: write 1 to 31; `*` is each of them

### a range that runs backwards
workflow: w
version: 1
on: {cron: 0 22-6 * * *}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:12: the range `22-6` runs backwards
   |
 3 | on: {cron: 0 22-6 * * *}
   |            ^
 help: write it as two: `22-23,0-6`

### days that run backwards
workflow: w
version: 1
on: {cron: 0 9 * * FRI-MON}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:12: the range `FRI-MON` runs backwards
   |
 3 | on: {cron: 0 9 * * FRI-MON}
   |            ^
 help: write it as two: `FRI-SAT,SUN-MON`

### no step
workflow: w
version: 1
on: {cron: '*/0 * * * *'}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:12: `0` is no step
   |
 3 | on: {cron: '*/0 * * * *'}
   |            ^
 help: a step is a whole number, 1 or more, such as `*/15`

### a step of words
workflow: w
version: 1
on: {cron: 0-30/x * * * *}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:12: `x` is no step
   |
 3 | on: {cron: 0-30/x * * * *}
   |            ^
 help: a step is a whole number, 1 or more, such as `*/15`

### a step from a single minute
workflow: w
version: 1
on: {cron: 5/15 * * * *}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:12: `5/15` has a step, but no range to walk over
   |
 3 | on: {cron: 5/15 * * * *}
   |            ^
 help: from 5 on is `5-59/15`

### an empty part of a list
workflow: w
version: 1
on: {cron: '5,, * * * *'}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:12: there is nothing between two commas of `5,,`, or beside one
   |
 3 | on: {cron: '5,, * * * *'}
   |            ^
 help: remove a comma

### a sign
workflow: w
version: 1
on: {cron: +5 * * * *}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:12: `+5` is no minute
   |
 3 | on: {cron: +5 * * * *}
   |            ^
 help: write 0 to 59; `*` is each of them

### a star without quotes
workflow: w
version: 1
on: {cron: * * * * *}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:12: not valid YAML: while scanning an anchor or alias, did not find expected alphabetic or numeric character
   |
 3 | on: {cron: * * * * *}
   |            ^
 help: a text that begins with `*` or `&` needs quotes

### a day that never comes
workflow: w
version: 1
on: {cron: 0 9 30 FEB *}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:12: no day is ever like that, so this would never fire
   |
 3 | on: {cron: 0 9 30 FEB *}
   |            ^
 help: check the day of the month and the month

### a misspelt zone
workflow: w
version: 1
on: {cron: 0 9 * * *, timezone: Europe/Berln}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:33: there is no time zone `Europe/Berln`
   |
 3 | on: {cron: 0 9 * * *, timezone: Europe/Berln}
   |                                 ^
 help: did you mean `Europe/Berlin`?

### no zone
workflow: w
version: 1
on: {cron: 0 9 * * *, timezone: my place}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:33: there is no time zone `my place`
   |
 3 | on: {cron: 0 9 * * *, timezone: my place}
   |                                 ^
 help: name one as the tz database does, such as `Europe/Berlin`; where that is right, tzdata is missing here

### two things at once
workflow: w
version: 1
on: {cron: 0 9 * * 8, when: 'event.data.due == ', timezone: UTC}
model: haiku
steps:
  - id: a
    claude: {prompt: hi}
==>
w.yaml:3:29: the condition does not compile: syntax error: unexpected end of input, expected expression
   |
 3 | on: {cron: 0 9 * * 8, when: 'event.data.due == ', timezone: UTC}
   |                             ^

w.yaml:3:12: `8` is no weekday
   |
 3 | on: {cron: 0 9 * * 8, when: 'event.data.due == ', timezone: UTC}
   |            ^
 help: write 0 to 7, or SUN to SAT; `*` is each of them

"##;
