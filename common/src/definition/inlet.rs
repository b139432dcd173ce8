//! How events come in: what those of a type hold, version by version, and which webhooks become which events.

mod adapt;
mod event_type;
mod hook;
mod hook_yaml;
mod text;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

pub use adapt::Misfit;
pub use event_type::EventSchema;
pub use hook::{Digest, Encoding, Hook, HookMap, Secret, Verify};
pub use text::{InletKey, InletText};

pub(super) use event_type::check_chains;

use super::{BundleError, Sources, problem::Report};
use crate::{
    event::Event,
    ids::{EventType, Name},
};

/// Every version of every event type, and every webhook.
#[derive(Debug, Default, Clone)]
pub struct Inlets {
    types: BTreeMap<EventType, BTreeMap<u32, Arc<EventSchema>>>,
    hooks: BTreeMap<Name, Arc<Hook>>,
    texts: BTreeMap<InletKey, Arc<InletText>>,
}

/// One of them, compiled.
#[derive(Debug, Clone)]
pub(super) enum Inlet {
    Event(Arc<EventSchema>),
    Hook(Arc<Hook>),
}

/// One of them as its file has it.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) inlet: Inlet,
    text: InletText,
    /// Where its file says what comes before it, or which version it is.
    pub(super) place: serde_saphyr::Location,
}

impl Written {
    /// Reads a file; `None`: the report says what is wrong.
    pub(super) fn read(report: &mut Report<'_>, sources: &Sources, is_hook: bool) -> Option<Self> {
        if is_hook {
            hook_yaml::read(report)
        } else {
            event_type::read(report, sources)
        }
    }

    pub(super) fn key(&self) -> &InletKey {
        &self.text.key
    }
}

impl Inlets {
    /// Takes one in, in the place of the same one.
    ///
    /// # Errors
    /// [`BundleError`]: its text is wrong for this version of flotilla.
    pub fn add(&mut self, text: InletText) -> Result<(), BundleError> {
        let known = self.texts.get(&text.key);
        if known.is_none_or(|known| known.digest != text.digest) {
            self.put(text.compile()?, text);
        }
        Ok(())
    }

    /// Takes one out.
    pub fn remove(&mut self, key: &InletKey) {
        self.texts.remove(key);
        match key {
            InletKey::Hook { hook } => drop(self.hooks.remove(hook)),
            InletKey::Event { event, version } => {
                if let Some(versions) = self.types.get_mut(event) {
                    versions.remove(version);
                    if versions.is_empty() {
                        self.types.remove(event);
                    }
                }
            }
        }
    }

    pub(super) fn take(&mut self, written: Written) {
        self.put(written.inlet, written.text);
    }

    fn put(&mut self, inlet: Inlet, text: InletText) {
        match inlet {
            Inlet::Hook(hook) => drop(self.hooks.insert(hook.name.clone(), hook)),
            Inlet::Event(schema) => {
                let versions = self.types.entry(schema.kind.clone()).or_default();
                versions.insert(schema.version, schema);
            }
        }
        self.texts.insert(text.key.clone(), Arc::new(text));
    }

    /// All of them as they are kept.
    pub fn texts(&self) -> impl Iterator<Item = &Arc<InletText>> {
        self.texts.values()
    }

    /// Whether this very text is here.
    #[must_use]
    pub fn has(&self, text: &InletText) -> bool {
        let known = self.texts.get(&text.key);
        known.is_some_and(|known| known.digest == text.digest)
    }

    /// Whether anything says what events of this type hold.
    #[must_use]
    pub fn declares(&self, kind: &EventType) -> bool {
        self.types.contains_key(kind)
    }

    /// The types that are declared.
    pub fn types(&self) -> impl Iterator<Item = &EventType> {
        self.types.keys()
    }

    /// The versions of a type, by their numbers.
    fn versions(&self, kind: &EventType) -> Option<&BTreeMap<u32, Arc<EventSchema>>> {
        self.types.get(kind)
    }

    /// A webhook, whether or not it is enabled.
    #[must_use]
    pub fn hook(&self, name: &str) -> Option<&Arc<Hook>> {
        self.hooks.get(&name.parse().ok()?)
    }

    /// The webhooks.
    pub fn hooks(&self) -> impl Iterator<Item = &Arc<Hook>> {
        self.hooks.values()
    }

    /// The newest version of this type; `None`: nobody declares it.
    #[must_use]
    pub fn newest(&self, kind: &EventType) -> Option<u32> {
        let (newest, _) = self.types.get(kind)?.last_key_value()?;
        Some(*newest)
    }

    /// The event as workflows see it: checked against the version that it says it has (the newest, where it says none), and made,
    /// step by step, one of the newest. An event of a type that nobody declares is as it is.
    ///
    /// # Errors
    /// [`Misfit`].
    pub fn fit<'e>(&self, event: &'e Event) -> Result<Cow<'e, Event>, Misfit> {
        match self.versions(&event.kind) {
            Some(versions) => adapt::fit(versions, event),
            None => Ok(Cow::Borrowed(event)),
        }
    }
}
