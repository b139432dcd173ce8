//! An event against the versions of its type.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::EventSchema;
use crate::{
    event::{DATA_SCHEMA, Event},
    ids::EventType,
    run::event_facts,
};

/// The extension attribute that says which version an event had before it was adapted.
const ADAPTED_FROM: &str = "adaptedfrom";

/// Why an event is none of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// It names a version that there is not.
    #[error("there is no `{said}`; `{kind}` has version {known}")]
    Version {
        /// Its type.
        kind: EventType,
        /// What its `dataschema` says.
        said: String,
        /// The versions, for people.
        known: String,
    },
    /// Its data is not what its version says.
    #[error("the data is none of `{kind}` version {version}: {}", told(.faults))]
    Data {
        /// Its type.
        kind: EventType,
        /// Its version.
        version: u32,
        /// Where in the data, as a JSON Pointer, and what.
        faults: Vec<(String, String)>,
    },
    /// It is right, but cannot be made one of a newer version.
    #[error("the event of `{kind}` version {from} does not become one of version {to}: {problem}")]
    Adapter {
        /// Its type.
        kind: EventType,
        /// The version that it has.
        from: u32,
        /// The one that it was to become.
        to: u32,
        /// Why not.
        problem: String,
    },
}

fn told(faults: &[(String, String)]) -> String {
    let each = faults.iter().map(|(place, fault)| match place.as_str() {
        "" => fault.clone(),
        place => format!("{place}: {fault}"),
    });
    each.collect::<Vec<_>>().join("; ")
}

pub(super) fn fit<'e>(
    versions: &BTreeMap<u32, Arc<EventSchema>>,
    event: &'e Event,
) -> Result<Cow<'e, Event>, Misfit> {
    let Some((newest, _)) = versions.last_key_value() else {
        return Ok(Cow::Borrowed(event));
    };
    let version = version(versions, event)?.unwrap_or(*newest);
    if let Some(schema) = versions.get(&version) {
        let faults = schema.schema.faults(&event.data);
        if !faults.is_empty() {
            let kind = event.kind.clone();
            return Err(Misfit::Data {
                kind,
                version,
                faults,
            });
        }
    }
    if version == *newest {
        return Ok(Cow::Borrowed(event));
    }
    let mut event = event.clone();
    for (next, schema) in versions.range(version + 1..) {
        let facts = json!({"event": event_facts(&event)});
        let made = schema
            .adapted(&facts)
            .unwrap_or_else(|| Err(format!("nothing says how it becomes one of version {next}")));
        let made = made.and_then(|data| schema.schema.check(&data).map(|()| data));
        event.data = made.map_err(|problem| Misfit::Adapter {
            kind: event.kind.clone(),
            from: version,
            to: *next,
            problem,
        })?;
    }
    let of = |version: u32| Value::from(format!("{}/{version}", event.kind));
    let (was, is) = (of(version), of(*newest));
    event.extensions.insert(ADAPTED_FROM.to_owned(), was);
    event.extensions.insert(DATA_SCHEMA.to_owned(), is);
    Ok(Cow::Owned(event))
}

/// The version that an event says it has: `dataschema` is `<type>/<version>`. Another `dataschema` says nothing to us.
fn version(
    versions: &BTreeMap<u32, Arc<EventSchema>>,
    event: &Event,
) -> Result<Option<u32>, Misfit> {
    let said = event.extensions.get(DATA_SCHEMA).and_then(Value::as_str);
    let number = said.and_then(|said| said.strip_prefix(event.kind.as_str())?.strip_prefix('/'));
    let Some(number) = number else {
        return Ok(None);
    };
    let found: Option<u32> = number.parse().ok();
    let found = found.filter(|version| versions.contains_key(version));
    found.map(Some).ok_or_else(|| {
        let known = versions.keys().map(u32::to_string).collect::<Vec<_>>();
        Misfit::Version {
            kind: event.kind.clone(),
            said: said.unwrap_or_default().chars().take(200).collect(),
            known: known.join(", "),
        }
    })
}
