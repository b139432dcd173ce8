//! A version of an event type: what its data must be, and how data of the version before becomes it.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use serde::Deserialize;
use serde_json::{Value, json};
use serde_saphyr::{Location, Spanned};

use super::{Inlet, InletKey, InletText, Inlets, Written};
use crate::{
    definition::{
        Sources,
        problem::Report,
        schema::Schema,
        template::{Context, Shape},
    },
    ids::EventType,
};

/// What events of one version of a type hold.
#[derive(Debug, Clone)]
pub struct EventSchema {
    /// The type.
    pub kind: EventType,
    /// The version.
    pub version: u32,
    /// For people.
    pub description: String,
    /// What their data must be.
    pub schema: Schema,
    /// Data of such an event.
    pub example: Option<Value>,
    /// The version before, and how the data of its events becomes data of this one.
    pub(super) adapt: Option<(u32, Shape)>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventYaml {
    event: Spanned<EventType>,
    version: Spanned<u32>,
    #[serde(default)]
    description: String,
    schema: Spanned<Value>,
    #[serde(default)]
    example: Option<Spanned<Value>>,
    #[serde(default)]
    adapt: Option<AdaptYaml>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AdaptYaml {
    from: Spanned<u32>,
    with: Spanned<Value>,
}

/// Reads its file.
pub(super) fn read(report: &mut Report<'_>, sources: &Sources) -> Option<Written> {
    let read = serde_saphyr::from_str::<EventYaml>(report.text)
        .and_then(|yaml| Ok((yaml, serde_saphyr::from_str::<Value>(report.text)?)));
    let (yaml, mut source) = match read {
        Ok(read) => read,
        Err(error) => {
            report.yaml(&error);
            return None;
        }
    };
    let before = report.problems.len();
    if yaml.version.value == 0 {
        report.at(yaml.version.referenced, "versions begin with 1", None);
    }
    let schema = schema(report, sources, &yaml.schema);
    if let Some(schema) = &schema {
        source["schema"] = schema.source().clone();
        if let Some(example) = &yaml.example
            && let Err(faults) = schema.check(&example.value)
        {
            let message = format!("the example does not fit the schema: {faults}");
            report.at(example.referenced, message, None);
        }
    }
    let adapt = yaml.adapt.as_ref().and_then(|adapt| adapter(report, adapt));
    let schema = schema.filter(|_| report.problems.len() == before)?;
    let (kind, version) = (yaml.event.value, yaml.version.value);
    let key = key(&kind, version);
    let place = yaml.adapt.as_ref().map(|adapt| adapt.from.referenced);
    Some(Written {
        text: InletText::new(key, &source),
        place: place.unwrap_or(yaml.version.referenced),
        inlet: Inlet::Event(Arc::new(EventSchema {
            kind,
            version,
            description: yaml.description,
            schema,
            example: yaml.example.map(|example| example.value),
            adapt,
        })),
    })
}

fn key(kind: &EventType, version: u32) -> InletKey {
    InletKey::Event {
        event: kind.clone(),
        version,
    }
}

/// The schema, here or in a file beside this one.
fn schema(report: &mut Report<'_>, sources: &Sources, given: &Spanned<Value>) -> Option<Schema> {
    let place = given.referenced;
    let file = given.value.get("$ref").and_then(Value::as_str);
    let source = match file.filter(|path| !path.starts_with('#')) {
        None => Ok(given.value.clone()),
        Some(path) => sources.beside(report.file, path).and_then(|text| {
            serde_json::from_str(text).map_err(|error| format!("`{path}` is not JSON: {error}"))
        }),
    };
    let compiled = source.and_then(|source| {
        Schema::compile(source)
            .map_err(|fault| format!("`schema` is no valid JSON Schema: {fault}"))
    });
    match compiled {
        Ok(schema) => Some(schema),
        Err(message) => {
            report.at(place, message, None);
            None
        }
    }
}

fn adapter(report: &mut Report<'_>, adapt: &AdaptYaml) -> Option<(u32, Shape)> {
    let place = adapt.with.referenced;
    let shape = match Shape::compile(&adapt.with.value) {
        Ok(shape) => shape,
        Err(error) => {
            report.at(place, format!("`with` does not compile: {error}"), None);
            return None;
        }
    };
    for path in shape.paths() {
        if path != "event" && !path.starts_with("event.") {
            let message = format!("`{path}`: an adapter sees only the `event`");
            let help = "the old data is `event.data`";
            report.at(place, message, Some(help));
        }
    }
    Some((adapt.from.value, shape))
}

impl EventSchema {
    /// Data of the version before as data of this one; it is not checked.
    pub(super) fn adapted(&self, facts: &Value) -> Option<Result<Value, String>> {
        let (_, with) = self.adapt.as_ref()?;
        let made = with.render(&Context::new(facts));
        Some(made.map_err(|error| error.to_string()))
    }

    /// What is wrong with it as the one that follows `before`, and what to do.
    fn follows(&self, before: Option<&Self>) -> Result<(), (String, Option<String>)> {
        let Self { kind, version, .. } = self;
        let (before, from, with) = match (before, &self.adapt) {
            (None, None) => return Ok(()),
            (None, Some((from, _))) => {
                let message = format!("`{kind}` has no version {from}, or any before {version}");
                return Err((
                    message,
                    Some("leave out `adapt`, or add that version".into()),
                ));
            }
            (Some(before), None) => {
                let message = format!(
                    "`{kind}` has a version {}, and nothing says how its events become ones of version {version}",
                    before.version
                );
                let help = format!("add `adapt: {{from: {}, with: {{…}}}}`", before.version);
                return Err((message, Some(help)));
            }
            (Some(before), Some((from, with))) => (before, from, with),
        };
        if *from != before.version {
            let message = format!(
                "the version before this one is {}, not {from}",
                before.version
            );
            return Err((message, Some(format!("write `from: {}`", before.version))));
        }
        for path in with.paths() {
            let field = path.strip_prefix("event.data.");
            let field = field.and_then(|rest| rest.split('.').next());
            if let Some(field) = field.filter(|field| !before.schema.allows_property(field)) {
                let message = format!("the data of version {from} has no property `{field}`");
                let help = format!("it has: {}", before.schema.properties().join(", "));
                return Err((message, Some(help)));
            }
        }
        let Some(example) = &before.example else {
            return Ok(());
        };
        let event = json!({"type": kind, "source": "example", "id": "example", "data": example});
        let made = self
            .adapted(&json!({"event": event}))
            .unwrap_or(Ok(Value::Null));
        let fits = made.and_then(|data| self.schema.check(&data));
        fits.map_err(|fault| {
            let message = format!(
                "the example of version {from} does not become one of version {version}: {fault}"
            );
            (message, None)
        })
    }
}

/// Notes versions that nothing leads to, or to which a new one below them leads no more, and what is there twice. What the fleet has
/// counts too.
pub(in crate::definition) fn check_chains(files: &mut [(Report<'_>, Written)], fleet: &Inlets) {
    let mut all: BTreeMap<EventType, BTreeMap<u32, Arc<EventSchema>>> = fleet.types.clone();
    let mut first: BTreeMap<InletKey, String> = BTreeMap::new();
    for (report, written) in &mut *files {
        if let Some(first) = first.get(written.key()) {
            let message = format!("{} is in {first} already", written.key());
            report.at(written.place, message, Some("keep one of them"));
        } else {
            first.insert(written.key().clone(), report.file.to_owned());
        }
        if let Inlet::Event(schema) = &written.inlet {
            let versions = all.entry(schema.kind.clone()).or_default();
            versions.insert(schema.version, Arc::clone(schema));
        }
    }
    for (report, written) in files {
        let Inlet::Event(schema) = &written.inlet else {
            continue;
        };
        let versions = all.get(&schema.kind);
        let before = versions.and_then(|all| all.range(..schema.version).next_back());
        let place: Location = written.place;
        if let Err((message, help)) = schema.follows(before.map(|(_, before)| before.as_ref())) {
            report.at(place, message, help.as_deref());
        }
        // The one above, where it is the fleet's, has no file here in which it could be told.
        let above = (Bound::Excluded(schema.version), Bound::Unbounded);
        let above = versions.and_then(|all| all.range(above).next());
        // A version that the fleet has already changes nothing.
        if let Some((_, above)) = above.filter(|_| !fleet.has(&written.text))
            && !first.contains_key(&key(&above.kind, above.version))
            && let Err((message, _)) = above.follows(Some(schema))
        {
            let kind = &schema.kind;
            let message = format!(
                "with it, the fleet's version {} of `{kind}` does not hold any more: {message}",
                above.version
            );
            let help =
                "a version that is there does not change: give this one a number above all others";
            report.at(place, message, Some(help));
        }
    }
}
