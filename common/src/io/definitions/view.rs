//! What a role knows of the bucket: entries in, a catalogue out. Every text is compiled once, when it is first seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use metrics::{counter, gauge};
use tracing::{debug, error, warn};

use crate::{
    claude::Models,
    definition::{
        Active, Bundle, BundleError, Catalogue, InletKey, InletText, Switch, Switched, ToolText,
        ValueError,
    },
    ids::Name,
    io::telemetry::metric,
    names::bucket::{self, Definition},
};

/// A catalogue on its way.
#[derive(Debug)]
pub(super) struct View {
    models: Arc<Models>,
    catalogue: Catalogue,
    /// Keys whose value cannot be used here; each is told once.
    broken: BTreeSet<String>,
}

impl View {
    pub(super) fn new(models: Arc<Models>) -> Self {
        Self {
            models,
            catalogue: Catalogue::default(),
            broken: BTreeSet::new(),
        }
    }

    /// All that is known now. A clone of it costs no compilation.
    pub(super) fn catalogue(&self) -> Arc<Catalogue> {
        let catalogue = &self.catalogue;
        let kinds = catalogue.switches().iter().map(|(what, _)| match what {
            Switched::Tool { .. } => (1.0, 0.0),
            Switched::Step { .. } => (0.0, 1.0),
        });
        let (tools, steps) = kinds.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        gauge!(metric::SWITCHED_OFF, "kind" => "tool").set(tools);
        gauge!(metric::SWITCHED_OFF, "kind" => "step").set(steps);
        let active: BTreeMap<&Name, &Active> = catalogue.active().collect();
        for name in catalogue.names() {
            let active = active.get(name);
            let version = active.map_or(0, |active| active.stable.version);
            let candidate = active.and_then(|active| active.candidate.as_ref());
            let percent = candidate.map_or(0.0, |candidate| candidate.percent.into());
            let workflow = name.to_string();
            gauge!(metric::CANDIDATE_PERCENT, "workflow" => workflow.clone()).set(percent);
            gauge!(metric::ACTIVE_VERSION, "workflow" => workflow).set(f64::from(version));
        }
        Arc::new(catalogue.clone())
    }

    /// Takes in what a key holds since `at`; `None`: it was deleted.
    pub(super) fn take(&mut self, key: &str, value: Option<&[u8]>, at: Timestamp) {
        let taken = match bucket::definition(key) {
            Some(Definition::Workflow) => value.map_or(Ok(()), |text| self.workflow(text)),
            Some(Definition::Tool) => value.map_or(Ok(()), |text| self.tool(text)),
            Some(Definition::Active(name)) => self.active(&name, value),
            Some(Definition::Switch(what)) => self.switch(&what, value, at),
            Some(Definition::Inlet(inlet)) => self.inlet(&inlet, value),
            None => {
                debug!(key, "not a definition; left out");
                Ok(())
            }
        };
        match taken {
            Ok(()) => {
                self.broken.remove(key);
            }
            Err(problem) if self.broken.insert(key.to_owned()) => {
                counter!(metric::DEFINITIONS_UNREADABLE).increment(1);
                error!(key, %problem, "a definition cannot be used by this version of flotilla; what needs it waits");
            }
            Err(problem) => debug!(key, %problem, "still not usable"),
        }
    }

    fn workflow(&mut self, text: &[u8]) -> Result<(), BundleError> {
        let bundle = Bundle::read(text)?;
        if self.catalogue.as_written(&bundle.pin()).is_none() {
            self.catalogue.add(bundle.compile(&self.models)?);
        }
        Ok(())
    }

    fn tool(&mut self, text: &[u8]) -> Result<(), BundleError> {
        self.catalogue.add_tool(&ToolText::read(text)?)
    }

    fn inlet(&mut self, key: &InletKey, value: Option<&[u8]>) -> Result<(), BundleError> {
        match value {
            Some(text) => self.catalogue.inlets.add(InletText::read(text)?),
            None => {
                self.catalogue.inlets.remove(key);
                Ok(())
            }
        }
    }

    /// What is active and cannot be used here leaves active what was: a newer role has it.
    fn active(&mut self, name: &Name, value: Option<&[u8]>) -> Result<(), BundleError> {
        let active = value.map(Active::read).transpose()?;
        let active = active.filter(|active| !active.retired);
        if let Some(active) = &active
            && self
                .catalogue
                .as_written(&active.stable.pin(name))
                .is_none()
        {
            let (name, version) = (name.clone(), active.stable.version);
            return Err(BundleError::NotThere { name, version });
        }
        self.catalogue.set_active(name, active);
        Ok(())
    }

    fn switch(
        &mut self,
        what: &Switched,
        value: Option<&[u8]>,
        at: Timestamp,
    ) -> Result<(), BundleError> {
        let (switch, problem): (Option<Switch>, Option<ValueError>) =
            match value.map(Switch::read).transpose() {
                Ok(switch) => (switch, None),
                Err(problem) => (Some(Switch::unreadable(at)), Some(problem)),
            };
        if let Switched::Step { workflow, step } = what
            && switch.is_some()
            && let Err(why) = self.catalogue.can_be_off(what)
        {
            warn!(%workflow, %step, why, "a step is switched off that cannot be, in some version; there it has no effect");
        }
        self.catalogue.set_switch(what, switch);
        problem.map_or(Ok(()), |problem| Err(problem.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Sources;

    const TOOL: &str = "tools:\n- {tool: t, version: 1, description: d, effect: read, input: {type: object}, command: [ls]}\n";

    fn bundle(version: u32) -> Bundle {
        let text = format!(
            "workflow: w\nversion: {version}\non: {{event: a.b}}\nsteps:\n  - {{id: a, tool: t}}\n"
        );
        let files = [
            ("w.yaml".to_owned(), text),
            ("t.yaml".to_owned(), TOOL.to_owned()),
        ];
        let (sources, models) = (Sources(files.into()), Models::built_in().unwrap());
        let catalogue = Catalogue::parse(&sources, &models).unwrap();
        catalogue.bundles(&sources, &models).unwrap().remove(0)
    }

    fn view() -> View {
        View::new(Arc::new(Models::built_in().unwrap()))
    }

    fn put(view: &mut View, bundle: &Bundle) {
        let key = bucket::workflow(&bundle.workflow, bundle.version, &bundle.digest);
        let value = bundle.encode().unwrap();
        view.take(&key, Some(&value), Timestamp::UNIX_EPOCH);
    }

    fn activate(view: &mut View, bundle: &Bundle, retired: bool) {
        let active = Active {
            retired,
            ..Active::only(bundle.version(), Timestamp::UNIX_EPOCH)
        };
        let key = bucket::active(&bundle.workflow);
        view.take(&key, Some(&active.encode().unwrap()), Timestamp::UNIX_EPOCH);
    }

    fn stable(view: &View) -> Option<u32> {
        let catalogue = view.catalogue();
        let stable = catalogue.stable(&"w".parse().unwrap());
        stable.map(|workflow| workflow.pin.version)
    }

    #[test]
    fn texts_become_a_catalogue_and_a_change_compiles_nothing_again() {
        let (mut view, first, second) = (view(), bundle(1), bundle(2));
        put(&mut view, &first);
        assert_eq!(stable(&view), None, "nothing is active yet");
        activate(&mut view, &first, false);
        let before = view.catalogue();
        put(&mut view, &first);
        put(&mut view, &second);
        assert_eq!(stable(&view), Some(1));
        activate(&mut view, &second, false);
        assert_eq!(stable(&view), Some(2));
        let after = view.catalogue();
        let same = |catalogue: &Catalogue| Arc::clone(catalogue.pinned(&first.pin()).unwrap());
        assert!(Arc::ptr_eq(&same(&before), &same(&after)));
        assert_eq!(before.stable(&"w".parse().unwrap()).unwrap().pin.version, 1);
        activate(&mut view, &second, true);
        assert_eq!(stable(&view), None);
        assert!(view.catalogue().pinned(&second.pin()).is_some());
        view.take("active.w", None, Timestamp::UNIX_EPOCH);
        assert_eq!(stable(&view), None);
    }

    #[test]
    fn what_cannot_be_used_here_leaves_active_what_was() {
        let (mut view, first) = (view(), bundle(1));
        put(&mut view, &first);
        activate(&mut view, &first, false);
        let mut newer = bundle(2);
        for text in newer.files.values_mut() {
            text.push_str("telepathy: yes\n");
        }
        put(&mut view, &newer);
        activate(&mut view, &newer, false);
        assert_eq!(stable(&view), Some(1));
        assert_eq!(view.broken.len(), 2);
        put(&mut view, &newer);
        view.take("active.w", Some(b"{\"v\":9}"), Timestamp::UNIX_EPOCH);
        view.take("of.another.program", Some(b"x"), Timestamp::UNIX_EPOCH);
        assert_eq!(stable(&view), Some(1));
        activate(&mut view, &first, false);
        assert_eq!(view.broken.len(), 1, "only its text is broken now");
    }

    #[test]
    fn a_switch_that_cannot_be_read_is_off_and_holds() {
        let (mut view, first) = (view(), bundle(1));
        put(&mut view, &first);
        for text in first.tools().unwrap() {
            let key = bucket::tool(&text.tool, text.version);
            view.take(&key, Some(&text.encode().unwrap()), Timestamp::UNIX_EPOCH);
        }
        let tool = "t".parse().unwrap();
        assert!(view.catalogue().tools.get(&tool, 1).is_some());
        let key = bucket::switch(&Switched::Tool {
            name: tool.clone(),
            version: None,
        });
        view.take(&key, Some(b"{\"v\":9}"), Timestamp::UNIX_EPOCH);
        assert!(view.catalogue().switches().holds(&tool));
        view.take(&key, None, Timestamp::UNIX_EPOCH);
        assert!(view.catalogue().switches().tool(&tool, 1).is_none());
    }
}
