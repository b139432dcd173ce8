//! Which events start which workflows.

use std::{
    borrow::Cow,
    cell::LazyCell,
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use flotilla_common::{
    definition::{Catalogue, Context, Misfit, Workflow},
    event::{DATA_SCHEMA, Event},
    ids::{EventType, Name, RunId},
    names,
    run::event_facts,
};
use serde_json::json;

/// Known types that a refusal names.
const TYPES_NAMED_MAX: usize = 20;

/// The active workflows, by what triggers them.
#[derive(Debug)]
pub(crate) struct Triggers {
    catalogue: Arc<Catalogue>,
    /// Those of which the version that runs get, or its candidate, is triggered by such events.
    by_type: BTreeMap<EventType, Vec<Name>>,
    /// The version that runs get, of those that a clock starts by it.
    by_clock: BTreeMap<Name, Arc<Workflow>>,
}

/// What an event starts.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// The runs.
    pub(crate) starts: Vec<Start>,
    /// The workflows for which nobody can say: their conditions do not fit this event. One sentence each.
    pub(crate) faults: Vec<String>,
    /// The event as workflows see it, where its type has a newer version than it has.
    pub(crate) adapted: Option<Event>,
    /// The version of its type that it was judged by as it is, where the type is declared.
    pub(crate) version: Option<u32>,
}

/// A run that an event starts.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    /// Always the same for this event and workflow.
    pub(crate) run: RunId,
    /// What runs.
    pub(crate) workflow: Arc<Workflow>,
}

/// Why an event is not taken in.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    /// Because of its type.
    #[error(transparent)]
    Type(#[from] WrongType),
    /// Because of what it holds.
    #[error(transparent)]
    Misfit(#[from] Misfit),
}

/// Why an event starts nothing, whatever it holds.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WrongType {
    /// No workflow is triggered by events of this type, and no definition says what they hold.
    #[error(
        "no workflow is triggered by events of type `{kind}`; known types: {known}. Add a workflow with `on: {{event: {kind}}}`, or correct the type"
    )]
    Unknown {
        /// Its type.
        kind: EventType,
        /// Those that there are, for people.
        known: String,
    },
    /// Nobody may send it.
    #[error(
        "events of type `{}` are made by Flotilla itself, when a workflow with `on: {{cron: …}}` falls due, and taken from nobody; send one of another type",
        names::event::CRON
    )]
    Reserved,
}

/// Whether events of this type are Flotilla's own.
pub(crate) fn is_reserved(kind: &EventType) -> bool {
    kind.as_str() == names::event::CRON
}

impl Triggers {
    pub(crate) fn new(catalogue: Arc<Catalogue>) -> Self {
        let mut by_type: BTreeMap<EventType, Vec<Name>> = BTreeMap::new();
        let mut by_clock = BTreeMap::new();
        for (name, _) in catalogue.active() {
            let stable = catalogue.stable(name);
            for workflow in stable.into_iter().chain(catalogue.candidate(name)) {
                if workflow.on.cron.is_some() {
                    continue;
                }
                let names = by_type.entry(workflow.on.event.clone()).or_default();
                if names.last() != Some(name) {
                    names.push(name.clone());
                }
            }
            if let Some(stable) = stable.filter(|stable| stable.on.cron.is_some()) {
                by_clock.insert(name.clone(), Arc::clone(stable));
            }
        }
        Self {
            catalogue,
            by_type,
            by_clock,
        }
    }

    /// Whether it was made from these very definitions.
    pub(crate) fn is_of(&self, catalogue: &Arc<Catalogue>) -> bool {
        Arc::ptr_eq(&self.catalogue, catalogue)
    }

    /// The known types, for people.
    pub(crate) fn known(&self) -> String {
        let triggering = self.by_type.keys();
        let types: BTreeSet<_> = triggering.chain(self.catalogue.inlets.types()).collect();
        let mut types = types.into_iter();
        let mut text = String::new();
        for kind in types.by_ref().take(TYPES_NAMED_MAX) {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{comma}{kind}");
        }
        match types.count() {
            0 if text.is_empty() => "none".to_owned(),
            0 => text,
            more => format!("{text} and {more} more"),
        }
    }

    /// The workflows that a clock starts.
    pub(crate) fn by_clock(&self) -> &BTreeMap<Name, Arc<Workflow>> {
        &self.by_clock
    }

    /// What workflows this type of event may start.
    pub(crate) fn of(&self, kind: &EventType) -> Result<&[Name], WrongType> {
        if is_reserved(kind) {
            return Err(WrongType::Reserved);
        }
        let workflows = self.by_type.get(kind).map(Vec::as_slice);
        let declared = self.catalogue.inlets.declares(kind).then_some(&[][..]);
        workflows.or(declared).ok_or_else(|| WrongType::Unknown {
            kind: kind.clone(),
            known: self.known(),
        })
    }

    /// What this event starts: of each workflow, the version that its run would get says whether it does.
    pub(crate) fn judge(&self, event: &Event) -> Result<Verdict, NotTaken> {
        let triggered = self.of(&event.kind)?;
        let seen = self.catalogue.inlets.fit(event)?;
        let picked = triggered.iter().filter_map(|name| {
            let run = RunId::derive(name, &event.source, &event.id);
            self.catalogue.pick(name, &run)
        });
        let picked = picked.filter(|workflow| workflow.on.event == event.kind);
        let verdict = Verdict::over(picked, &seen);
        let (adapted, version) = match seen {
            Cow::Borrowed(_) => (None, self.catalogue.inlets.newest(&event.kind)),
            Cow::Owned(adapted) => (Some(adapted), None),
        };
        Ok(Verdict {
            adapted,
            version,
            ..verdict
        })
    }

    /// An event that was judged before as workflows see it now; `version` as [`Verdict::version`] was then. Where its sender named
    /// none, it is of that one and not of one that came since.
    pub(crate) fn seen<'e>(
        &self,
        event: &'e Event,
        version: Option<u32>,
    ) -> Result<Cow<'e, Event>, Misfit> {
        let newest = self.catalogue.inlets.newest(&event.kind);
        let Some(version) = version.filter(|version| newest.is_some_and(|now| now != *version))
        else {
            return self.catalogue.inlets.fit(event);
        };
        let mut event = event.clone();
        let named = format!("{}/{version}", event.kind);
        event
            .extensions
            .insert(DATA_SCHEMA.to_owned(), named.into());
        let seen = self.catalogue.inlets.fit(&event)?.into_owned();
        Ok(Cow::Owned(seen))
    }
}

impl Verdict {
    /// Which of these workflows this event starts.
    pub(crate) fn over<'w>(
        workflows: impl IntoIterator<Item = &'w Arc<Workflow>>,
        event: &Event,
    ) -> Self {
        // As the run's own conditions and prompts will see it.
        let facts = LazyCell::new(|| Context::new(&json!({"event": event_facts(event)})));
        let mut verdict = Self::default();
        for workflow in workflows {
            let name = &workflow.pin.name;
            let holds = workflow
                .on
                .when
                .as_ref()
                .map_or(Ok(true), |when| when.holds(&facts));
            match holds {
                Ok(true) => verdict.starts.push(Start {
                    run: RunId::derive(name, &event.source, &event.id),
                    workflow: Arc::clone(workflow),
                }),
                Ok(false) => {}
                Err(problem) => {
                    let when = workflow.on.when.as_ref().map_or("", |when| when.source());
                    verdict.faults.push(format!(
                        "the condition of workflow `{name}`, `{when}`, cannot be evaluated for this event: {problem}"
                    ));
                }
            }
        }
        verdict
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use flotilla_common::{
        claude::Models,
        definition::{Active, Candidate, Sources, VersionRef, slot},
    };
    use serde_json::Value;

    use super::*;

    /// Two workflows for `test.alert`, one of which looks at `event.data.level`, one for `test.other`, and one every Monday at nine
    /// in the first half of the year.
    pub(crate) fn catalogue() -> Catalogue {
        let workflow = |name: &str, on: &str| {
            let steps = "steps:\n  - id: a\n    claude: {model: haiku, prompt: Say yes.}\n";
            format!("workflow: {name}\nversion: 1\non: {on}\n{steps}")
        };
        let files = [
            ("any", "{event: test.alert}"),
            (
                "high",
                "{event: test.alert, when: 'event.data.level > 3 and event.source == \"s\"'}",
            ),
            ("other", "{event: test.other}"),
            (
                "weekly",
                "{cron: 0 9 * * 1, when: 'event.data.due[5:7] < \"07\"'}",
            ),
        ];
        let sources = files.map(|(name, on)| (format!("{name}.yaml"), workflow(name, on)));
        let models = Models::built_in().unwrap();
        Catalogue::parse(&Sources(sources.into()), &models).unwrap()
    }

    pub(crate) fn triggers() -> Triggers {
        Triggers::new(Arc::new(catalogue()))
    }

    pub(crate) fn event(kind: &str, data: Value) -> Event {
        Event::new(kind.parse().unwrap(), "s".into(), "1".into(), data)
    }

    fn names(verdict: &Verdict) -> Vec<&str> {
        let starts = verdict.starts.iter();
        starts
            .map(|start| start.workflow.pin.name.as_str())
            .collect()
    }

    #[test]
    fn an_event_starts_every_workflow_whose_condition_holds() {
        let verdict = triggers()
            .judge(&event("test.alert", json!({"level": 4})))
            .unwrap();
        assert_eq!(names(&verdict), ["any", "high"]);
        let name = "high".parse().unwrap();
        assert_eq!(verdict.starts[1].run, RunId::derive(&name, "s", "1"));
        let verdict = triggers()
            .judge(&event("test.alert", json!({"level": 2})))
            .unwrap();
        assert_eq!(names(&verdict), ["any"]);
    }

    #[test]
    fn a_condition_that_cannot_be_evaluated_stops_no_other_workflow() {
        let verdict = triggers().judge(&event("test.alert", json!({}))).unwrap();
        assert_eq!(names(&verdict), ["any"]);
        let [fault] = &verdict.faults[..] else {
            panic!("one fault: {verdict:?}");
        };
        assert!(
            fault.contains("`high`") && fault.contains("event.data.level"),
            "{fault}"
        );
    }

    #[test]
    fn events_of_the_clock_are_taken_from_nobody() {
        let refused = triggers().judge(&event("flotilla.cron", json!({})));
        assert!(matches!(refused, Err(NotTaken::Type(WrongType::Reserved))));
        assert!(
            triggers()
                .by_clock()
                .keys()
                .eq([&"weekly".parse().unwrap()])
        );
    }

    #[test]
    fn an_unknown_type_is_told_together_with_the_known_ones() {
        let problem = triggers()
            .judge(&event("test.alrt", json!({})))
            .unwrap_err();
        let text = problem.to_string();
        assert!(
            text.contains("`test.alrt`") && text.contains("test.alert, test.other"),
            "{text}"
        );
        assert_eq!(
            Triggers::new(Arc::new(Catalogue::default())).known(),
            "none"
        );
    }

    #[test]
    fn the_version_that_a_run_would_get_says_whether_it_starts() {
        let mut catalogue = catalogue();
        let models = Models::built_in().unwrap();
        let second = "workflow: other\nversion: 2\non: {event: test.new}\nsteps: [{id: a, claude: {model: haiku, prompt: hi}}]\n";
        let sources = Sources([("w.yaml".to_owned(), second.to_owned())].into());
        let newer = Catalogue::parse(&sources, &models).unwrap();
        let newer = newer.newest().next().unwrap();
        let name = &newer.pin.name;
        let stable = VersionRef::from(&catalogue.stable(name).unwrap().pin);
        catalogue.add(Arc::clone(newer));
        let mut active = Active::only(stable, jiff::Timestamp::UNIX_EPOCH);
        active.candidate = Some(Candidate {
            version: VersionRef::from(&newer.pin),
            percent: "40".parse().unwrap(),
        });
        catalogue.set_active(name, Some(active));
        let triggers = Triggers::new(Arc::new(catalogue));
        for id in 0..50 {
            let run = RunId::derive(name, "s", &id.to_string());
            let is_new = slot(&run) < 4_000;
            for (kind, starts) in [("test.other", !is_new), ("test.new", is_new)] {
                let mut event = event(kind, json!({}));
                event.id = id.to_string();
                let verdict = triggers.judge(&event).unwrap();
                assert_eq!(verdict.starts.len(), usize::from(starts), "{kind} {id}");
            }
        }
        assert!(triggers.known().contains("test.new"));
    }
}
