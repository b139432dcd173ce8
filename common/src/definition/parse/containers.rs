//! Steps with steps in them.

use serde_saphyr::{Location, Spanned};

use super::{
    super::{
        step::{EachStep, Step},
        template::Formula,
        yaml::{EachYaml, KindYaml, StepYaml},
    },
    Parser,
    holes::EVERYWHERE,
    nesting::Container,
    scope::{Gives, Known},
    ways::At,
};
use crate::ids::Name;

/// Branches of one step: each begins at once.
const BRANCHES_MAX: usize = 64;
const WIDTH: u32 = 8;
const WIDTH_MAX: u32 = 100;
const ITEMS: u32 = 1_000;
const ITEMS_MAX: u32 = 10_000;
const ITEM: &str = "item";
const INDEX: &str = "index";
/// Words that holes use for something else, here or in what a step can hold.
const TAKEN: [&str; 5] = [INDEX, "failure", "approval", "input", "output"];

impl Parser<'_, '_> {
    /// Whatever is compiled in here is within this step.
    pub(super) fn contained<T>(
        &mut self,
        at: At<'_>,
        kind: KindYaml<'_>,
        compile: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let depth = self.around.len();
        self.around.extend(at.step().map(|yaml| Container {
            id: yaml.id.value.clone(),
            key: kind.key(),
        }));
        let compiled = compile(self);
        self.around.truncate(depth);
        compiled
    }

    /// Steps side by side: none sees the others.
    pub(super) fn parallel(&mut self, yaml: &Spanned<Vec<StepYaml>>) -> (Vec<Step>, Vec<Known>) {
        self.not_empty("parallel", yaml);
        if yaml.value.len() > BRANCHES_MAX {
            let message = format!(
                "`parallel` has at most {BRANCHES_MAX} steps, not {}",
                yaml.value.len()
            );
            let help = "a `for_each` does the same for each item of a list";
            self.report.at(yaml.referenced, message, Some(help));
        }
        let before = std::mem::replace(&mut self.side_by_side, true);
        let mut all = (Vec::new(), Vec::new());
        for branch in &yaml.value {
            let list = std::slice::from_ref(branch);
            let (steps, known) = self.inner(|parser| {
                let step = parser.step(At { list, index: 0 });
                step.into_iter().collect()
            });
            all.0.extend(steps);
            all.1.extend(known);
        }
        self.side_by_side = before;
        all
    }

    /// Steps one after the other, in a step of their own.
    pub(super) fn group(&mut self, yaml: &Spanned<Vec<StepYaml>>) -> (Vec<Step>, Vec<Known>) {
        self.not_empty("steps", yaml);
        self.inner(|parser| parser.list(&yaml.value))
    }

    pub(super) fn each(&mut self, yaml: &EachYaml) -> Option<EachStep> {
        let list = self.expression("in", &yaml.list);
        let item = match &yaml.item {
            Some(given) => self.item(given),
            None => self.default_item(yaml.list.referenced),
        };
        self.within("width", yaml.width.as_ref(), WIDTH_MAX);
        self.within("max", yaml.most.as_ref(), ITEMS_MAX);
        self.not_empty("steps", &yaml.steps);
        let width = yaml.width.as_ref().map_or(WIDTH, |given| given.value);
        let before = self.side_by_side;
        self.side_by_side = before || width > 1;
        let name = item.as_ref().map_or(ITEM, Name::as_str);
        let more = [(name, Gives::Unknown), (INDEX, Gives::Number)];
        let steps = self.seeing(more, |parser| {
            parser.inner(|parser| parser.list(&yaml.steps.value)).0
        });
        self.side_by_side = before;
        Some(EachStep {
            list: list?,
            item: item?,
            width,
            most: yaml.most.as_ref().map_or(ITEMS, |given| given.value),
            steps,
        })
    }

    /// What holes call an item: a word that they have not for something else.
    fn item(&mut self, given: &Spanned<Name>) -> Option<Name> {
        let name = given.value.as_str();
        let around = || self.scope.more.iter().any(|(other, _)| other == name);
        let message = if EVERYWHERE
            .into_iter()
            .chain(TAKEN)
            .any(|taken| taken == name)
        {
            format!("no item can be called `{name}`: holes have that for something else")
        } else if around() {
            format!("an item of a loop around this one is called `{name}` already")
        } else if !Formula::compile(name).is_ok_and(|hole| hole.paths().contains(name)) {
            format!("no item can be called `{name}`: a hole could not name it")
        } else {
            return Some(given.value.clone());
        };
        self.report.at(
            given.referenced,
            message,
            Some("give it another name, such as `as: page`"),
        );
        None
    }

    fn default_item(&mut self, place: Location) -> Option<Name> {
        if self.scope.more.iter().any(|(other, _)| other == ITEM) {
            let message = format!("an item of a loop around this one is called `{ITEM}` already");
            self.report.at(
                place,
                message,
                Some("give this one a name, such as `as: page`"),
            );
            return None;
        }
        // The word is a name; the type cannot know.
        ITEM.parse().ok()
    }

    fn not_empty(&mut self, key: &str, steps: &Spanned<Vec<StepYaml>>) {
        if steps.value.is_empty() {
            let message = format!("`{key}` needs at least one step");
            self.report.at(steps.referenced, message, None);
        }
    }
}
