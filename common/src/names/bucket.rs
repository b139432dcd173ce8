//! Key-value buckets, and their keys.

use crate::{
    definition::{InletKey, Switched},
    ids::{IdError, Name},
};

/// What people set for a day: JSON, see `io::ceilings`. Written by gateways, read by planners.
pub const CEILINGS: &str = "CEILINGS";

/// What runs taught: JSON, see `io::lessons`. Written by gateways and planners, read by them when a run begins.
pub const LESSONS: &str = "LESSONS";

/// Workflows and tools, which of them are active, and what is switched off: JSON, see `io::definitions`. Written by whoever applies
/// definitions or changes what is active, watched by every role.
pub const DEFINITIONS: &str = "DEFINITIONS";

/// What became of dead letters that are not on DEAD any more, and who wanted that: JSON, see `io::redrives`. Lives 30 days.
pub const LETTERS: &str = "LETTERS";

/// Dead letters that are settled many at a time, and how far that is: JSON, see `io::redrives`. Lives 30 days.
pub const REDRIVES: &str = "REDRIVES";

/// Which process does what only one may do at a time. Lives five minutes.
pub const LEASES: &str = "LEASES";

/// How the breakers of tools stand, and what people said of them: JSON, see `io::tools`. Written by executors, of what they have, and
/// by gateways; watched by executors.
pub const TOOLS: &str = "TOOLS";

/// What is kept of tokens, by their ids: JSON, see `access::token`. Written by gateways, and by `flotilla token --direct`; watched by
/// gateways.
pub const TOKENS: &str = "TOKENS";

/// The keys of [`TOOLS`] that people wrote.
pub const ALL_FORCED: &str = "*";

/// The keys of [`DEFINITIONS`] that say what is switched off.
pub const ALL_SWITCHES: &str = "switch.>";

/// The stream that a bucket is.
#[must_use]
pub fn stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// All keys of a bucket.
#[must_use]
pub fn subjects(bucket: &str) -> String {
    format!("$KV.{bucket}.>")
}

/// A key of [`CEILINGS`]: `workflow.<name>`, `tenant.<name>`.
#[must_use]
pub fn ceiling(scope: &str, name: &Name) -> String {
    format!("{scope}.{name}")
}

/// A key of [`LESSONS`]: `<workflow>.<version>`.
#[must_use]
pub fn lessons(workflow: &Name, version: u32) -> String {
    format!("{workflow}.{version}")
}

/// The scope and the name of a key of [`CEILINGS`].
///
/// # Errors
/// What it should be.
pub fn ceiling_parts(key: &str) -> Result<(&str, Name), IdError> {
    let (scope, name) = key.split_once('.').unwrap_or((key, ""));
    Ok((scope, name.parse()?))
}

/// A key of [`TOOLS`]: what a person said of a tool, `<tool>`.
#[must_use]
pub fn forced(tool: &Name) -> String {
    tool.to_string()
}

/// A key of [`TOOLS`]: how an executor's breakers of a tool stand, `<tool>.<worker>`.
#[must_use]
pub fn tool_state(tool: &Name, worker: &str) -> String {
    let worker = super::fleet::token(worker);
    format!("{tool}.{worker}")
}

/// What a key of [`DEFINITIONS`] is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Definition {
    /// A version of a workflow, by the first digits of its digest: a bundle.
    Workflow,
    /// A version of a tool.
    Tool,
    /// Which version of this workflow new runs get.
    Active(Name),
    /// That something is switched off.
    Switch(Switched),
    /// A version of an event type, or a webhook.
    Inlet(InletKey),
}

/// Digits of a digest that tell the texts of one version apart.
const DIGITS: usize = 16;

/// A key of [`DEFINITIONS`]: `workflow.<name>.<version>.<16 digits of its digest>`.
#[must_use]
pub fn workflow(name: &Name, version: u32, digest: &str) -> String {
    let digits = digest.get(..DIGITS).unwrap_or(digest);
    format!("workflow.{name}.{version}.{digits}")
}

/// All texts of a version of a workflow.
#[must_use]
pub fn workflow_version(name: &Name, version: u32) -> String {
    format!("workflow.{name}.{version}.*")
}

/// All versions of a workflow.
#[must_use]
pub fn workflow_versions(name: &Name) -> String {
    format!("workflow.{name}.>")
}

/// A key of [`DEFINITIONS`]: `tool.<name>.<version>`.
#[must_use]
pub fn tool(name: &Name, version: u32) -> String {
    format!("tool.{name}.{version}")
}

/// A key of [`DEFINITIONS`]: `active.<workflow>`.
#[must_use]
pub fn active(workflow: &Name) -> String {
    format!("active.{workflow}")
}

/// A key of [`DEFINITIONS`]: `switch.tool.<name>`, `switch.tool.<name>.<version>`, `switch.step.<workflow>.<step>`.
#[must_use]
pub fn switch(what: &Switched) -> String {
    match what {
        Switched::Tool {
            name,
            version: None,
        } => format!("switch.tool.{name}"),
        Switched::Tool {
            name,
            version: Some(version),
        } => format!("switch.tool.{name}.{version}"),
        Switched::Step { workflow, step } => format!("switch.step.{workflow}.{step}"),
    }
}

/// A key of [`DEFINITIONS`]: `event.<version>.<type>`, whose type may hold dots, or `hook.<name>`.
#[must_use]
pub fn inlet(key: &InletKey) -> String {
    match key {
        InletKey::Event { event, version } => format!("event.{version}.{event}"),
        InletKey::Hook { hook } => format!("hook.{hook}"),
    }
}

/// A key of a bucket as the subject it is published on.
#[must_use]
pub fn subject(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{key}")
}

/// The key of a bucket that is published on a subject.
#[must_use]
pub fn key<'s>(bucket: &str, subject: &'s str) -> Option<&'s str> {
    subject
        .strip_prefix("$KV.")?
        .strip_prefix(bucket)?
        .strip_prefix('.')
}

/// What a key of [`DEFINITIONS`] is about; `None` where it is none of ours.
#[must_use]
pub fn definition(key: &str) -> Option<Definition> {
    let parts: Vec<&str> = key.split('.').collect();
    match parts.as_slice() {
        ["workflow", _, _, _] => Some(Definition::Workflow),
        ["tool", _, _] => Some(Definition::Tool),
        ["active", workflow] => Some(Definition::Active(workflow.parse().ok()?)),
        ["switch", "tool", name] => Some(Definition::Switch(Switched::Tool {
            name: name.parse().ok()?,
            version: None,
        })),
        ["switch", "tool", name, version] => Some(Definition::Switch(Switched::Tool {
            name: name.parse().ok()?,
            version: Some(version.parse().ok()?),
        })),
        ["switch", "step", workflow, step] => Some(Definition::Switch(Switched::Step {
            workflow: workflow.parse().ok()?,
            step: step.parse().ok()?,
        })),
        ["hook", name] => Some(Definition::Inlet(InletKey::Hook {
            hook: name.parse().ok()?,
        })),
        ["event", version, kind @ ..] => Some(Definition::Inlet(InletKey::Event {
            event: kind.join(".").parse().ok()?,
            version: version.parse().ok()?,
        })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_read_and_nothing_else() -> Result<(), IdError> {
        let name: Name = "w".parse()?;
        let digest = "0123456789abcdef0123";
        let key = workflow(&name, 3, digest);
        assert_eq!(key, "workflow.w.3.0123456789abcdef");
        assert_eq!(definition(&key), Some(Definition::Workflow));
        assert_eq!(definition(&tool(&name, 1)), Some(Definition::Tool));
        assert_eq!(
            definition(&active(&name)),
            Some(Definition::Active(name.clone()))
        );
        for what in [
            Switched::Tool {
                name: name.clone(),
                version: None,
            },
            Switched::Tool {
                name: name.clone(),
                version: Some(2),
            },
            Switched::Step {
                workflow: name.clone(),
                step: name.clone(),
            },
        ] {
            assert_eq!(definition(&switch(&what)), Some(Definition::Switch(what)));
        }
        let event = InletKey::Event {
            event: "order.created".parse()?,
            version: 2,
        };
        assert_eq!(inlet(&event), "event.2.order.created");
        for key in [event, InletKey::Hook { hook: name.clone() }] {
            assert_eq!(definition(&inlet(&key)), Some(Definition::Inlet(key)));
        }
        for none in ["event.2", "event.x.a", "event.1.a..b", "hook.a.b"] {
            assert_eq!(definition(none), None, "{none}");
        }
        for none in ["", "active", "active.a.b", "switch.tool.a.x", "other.a"] {
            assert_eq!(definition(none), None, "{none}");
        }
        assert_eq!(forced(&name), "w");
        assert_eq!(tool_state(&name, "executor-1"), "w.executor-1");
        assert_eq!(tool_state(&name, "a.b *>"), "w.a_b___");
        let on = subject(DEFINITIONS, "active.w");
        assert_eq!(self::key(DEFINITIONS, &on), Some("active.w"));
        assert_eq!(self::key(DEFINITIONS, "$KV.OTHER.active.w"), None);
        Ok(())
    }
}
