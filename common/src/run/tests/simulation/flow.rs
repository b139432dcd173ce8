//! Definitions by chance: small, over all that the language has, and always right. They are texts that go through the parser, so
//! that a failing one can be read.

use super::world::Random;
use crate::run::tests::script::Choices;

/// The tools of the simulation: every effect, with and without a way back, with and without a person.
pub(super) const TOOLS: &str = "\
tools:
  - {tool: look, version: 1, description: Looks., input: {type: object}, effect: read, command: [look]}
  - {tool: set, version: 1, description: Sets., input: {type: object}, effect: idempotent, command: [set]}
  - {tool: page, version: 1, description: Pages., input: {type: object}, effect: once, command: [page]}
  - {tool: book, version: 1, description: Books., input: {type: object}, effect: idempotent, compensate: {tool: unbook, with: {of: '{{ input.id }}'}}, command: [book]}
  - {tool: unbook, version: 1, description: Unbooks., input: {type: object}, effect: idempotent, command: [unbook]}
  - {tool: buy, version: 1, description: Buys., input: {type: object}, effect: once, compensate: {tool: refund, with: {of: '{{ input.id }}'}}, command: [buy]}
  - {tool: refund, version: 1, description: Refunds., input: {type: object}, effect: once, command: [refund]}
  - {tool: drop, version: 1, description: Drops., input: {type: object}, effect: once, risk: high, command: [drop]}
  - {tool: wipe, version: 1, description: Wipes., input: {type: object}, effect: idempotent, risk: high, compensate: {tool: set, with: {of: '{{ input.id }}'}}, command: [wipe]}
";
const USED: [&str; 7] = ["look", "set", "page", "book", "buy", "drop", "wipe"];
/// Tools that have a way back.
pub(super) const UNDOABLE: [&str; 3] = ["book", "buy", "wipe"];

/// A definition, in parts that can be left out.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    /// Lines of the file beside its steps.
    pub(super) top: Vec<String>,
    pub(super) steps: Vec<Node>,
    /// What it runs as a step.
    pub(super) child: Option<Box<Flow>>,
}

/// A step.
#[derive(Debug, Clone)]
pub(super) struct Node {
    id: String,
    what: What,
    /// Keys beside what it does.
    pub(super) keys: Vec<String>,
}

#[derive(Debug, Clone)]
enum What {
    /// A step of one thing, as it is written.
    One(String),
    /// Steps within: what is written before and after them.
    Many(&'static str, Vec<Node>, &'static str),
}

impl Flow {
    /// The file of a workflow of this name.
    pub(super) fn yaml(&self, name: &str) -> String {
        let top: String = self.top.iter().map(|line| format!("{line}\n")).collect();
        let steps: String = self
            .steps
            .iter()
            .map(|step| format!("  - {}\n", step.yaml()))
            .collect();
        format!(
            "workflow: {name}\nversion: 1\non: {{event: sim}}\nmodel: haiku\n{top}steps:\n{steps}"
        )
    }

    /// All that is this with one part less.
    pub(super) fn smaller(&self) -> Vec<Self> {
        let lists = smaller_lists(&self.steps).into_iter();
        let mut all: Vec<Self> = lists
            .map(|steps| Self {
                steps,
                ..self.clone()
            })
            .collect();
        all.extend((0..self.top.len()).map(|n| Self {
            top: without(&self.top, n),
            ..self.clone()
        }));
        if let Some(child) = &self.child {
            let smaller = child.smaller().into_iter();
            all.extend(smaller.map(|child| Self {
                child: Some(Box::new(child)),
                ..self.clone()
            }));
            all.push(Self {
                child: None,
                ..self.clone()
            });
        }
        all
    }
}

impl Node {
    fn new(id: String, what: What) -> Self {
        Self {
            id,
            what,
            keys: Vec::new(),
        }
    }

    fn yaml(&self) -> String {
        let what = match &self.what {
            What::One(text) => text.clone(),
            What::Many(before, steps, after) => {
                let steps: Vec<_> = steps.iter().map(Self::yaml).collect();
                format!("{before}[{}]{after}", steps.join(", "))
            }
        };
        let keys: String = self.keys.iter().map(|key| format!(", {key}")).collect();
        format!("{{id: {}, {what}{keys}}}", self.id)
    }

    fn is_undoable(&self) -> bool {
        match &self.what {
            What::One(text) => UNDOABLE.iter().any(|tool| text.contains(tool)),
            What::Many(_, steps, _) => steps.iter().any(Self::is_undoable),
        }
    }
}

fn without<T: Clone>(list: &[T], at: usize) -> Vec<T> {
    let mut list = list.to_vec();
    list.remove(at);
    list
}

fn smaller_lists(steps: &[Node]) -> Vec<Vec<Node>> {
    let mut all = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        if steps.len() > 1 {
            all.push(without(steps, at));
        }
        let mut instead = |node: Vec<Node>| {
            let mut list = steps.to_vec();
            list.splice(at..=at, node);
            all.push(list);
        };
        for key in 0..step.keys.len() {
            let keys = without(&step.keys, key);
            instead(vec![Node {
                keys,
                ..step.clone()
            }]);
        }
        if let What::Many(before, within, after) = &step.what {
            instead(within.clone());
            for within in smaller_lists(within) {
                let what = What::Many(before, within, after);
                instead(vec![Node {
                    what,
                    ..step.clone()
                }]);
            }
        }
    }
    all
}

/// Builds definitions.
struct Maker<'r> {
    random: &'r mut Random,
    ids: usize,
    /// Steps that are left to make.
    left: usize,
    /// What a run within it may be given; `None`: there are none.
    runs: Option<bool>,
    has_run: bool,
}

/// A definition by chance; small ones are more frequent.
pub(super) fn flow(random: &mut Random) -> Flow {
    let ceiling = random.once_in(3);
    let mut maker = Maker {
        left: 1 + random.below(6),
        random,
        ids: 0,
        runs: Some(ceiling),
        has_run: false,
    };
    let steps = maker.list(0, false);
    let has_run = maker.has_run;
    let child = has_run.then(|| {
        let mut maker = Maker {
            left: 1 + random.below(3),
            random,
            ids: 0,
            runs: None,
            has_run: false,
        };
        let steps = maker.list(0, false);
        let top = top(random, &steps, false);
        Box::new(Flow {
            top,
            steps,
            child: None,
        })
    });
    let top = top(random, &steps, ceiling);
    Flow { top, steps, child }
}

fn top(random: &mut Random, steps: &[Node], ceiling: bool) -> Vec<String> {
    let mut limits = Vec::new();
    if random.once_in(5) {
        limits.push(format!("steps: {}", 3 + random.below(12)));
    }
    if random.once_in(5) {
        limits.push(format!("duration: {}s", 5 + random.below(40)));
    }
    if ceiling {
        limits.push(format!("usd: 0.000{}", 1 + random.below(4)));
    }
    let mut top = Vec::new();
    if !limits.is_empty() {
        top.push(format!("limits: {{{}}}", limits.join(", ")));
    }
    if random.once_in(3) {
        let told = if random.once_in(2) {
            ", notify: {tool: set, with: {id: '{{ approval.hash }}'}}"
        } else {
            ""
        };
        top.push(format!("approvals: {{{}{told}}}", in_time(random)));
    }
    let undoes = steps.iter().any(Node::is_undoable) && random.once_in(2);
    let told = random
        .once_in(5)
        .then_some("steps: [{id: tell, tool: set, with: {id: '{{ failure.outcome }}'}}]");
    let on_failure: Vec<_> = undoes
        .then_some("compensate: true")
        .into_iter()
        .chain(told)
        .collect();
    if !on_failure.is_empty() {
        top.push(format!("on_failure: {{{}}}", on_failure.join(", ")));
    }
    top
}

fn in_time(random: &mut Random) -> String {
    let then = *random.pick(&["approve", "reject", "escalate", "fail"]);
    format!("timeout: {}s, on_timeout: {then}", 2 + random.below(6))
}

impl Maker<'_> {
    fn id(&mut self) -> String {
        self.ids += 1;
        format!("s{}", self.ids)
    }

    fn list(&mut self, depth: usize, side_by_side: bool) -> Vec<Node> {
        let most = if depth == 0 {
            6
        } else {
            1 + self.random.below(2)
        };
        let mut list = Vec::new();
        while list.is_empty() || (self.left > 0 && list.len() < most) {
            let step = self.step(depth, side_by_side);
            list.push(step);
        }
        // A switch jumps over what follows it.
        if list.len() > 1 && self.random.once_in(6) {
            let at = self.random.below(list.len() - 1);
            let to = match list.get(at + 1 + self.random.below(2)) {
                Some(step) => step.id.clone(),
                None => "end".into(),
            };
            let id = self.id();
            let when = *self.random.pick(&["event.data.n > 1", "event.data.n == 0"]);
            let what = What::One(format!("switch: [{{when: '{when}', to: {to}}}]"));
            list.insert(at, Node::new(id, what));
        }
        list
    }

    fn step(&mut self, depth: usize, side_by_side: bool) -> Node {
        let id = self.id();
        let chance = self.random.below(if depth < 2 { 24 } else { 18 });
        self.left = self.left.saturating_sub(1);
        let (what, bare) = match chance {
            0..9 => (self.tool(), false),
            9 => ("claude: {prompt: 'Hm?'}".into(), false),
            10 => ("claude: {prompt: 'How bad?', output: {type: object, required: [level], properties: {level: {enum: [info, page]}}}}".into(), false),
            11..14 => (self.agent(), false),
            14 => {
                let terms = if self.random.once_in(2) { format!(", {}", in_time(self.random)) } else { String::new() };
                return self.kept(Node::new(id, What::One(format!("approval: {{show: {{n: '{{{{ event.data.n }}}}'}}{terms}}}"))), false);
            }
            15 => (format!("sleep: {}s", 1 + self.random.below(5)), true),
            16 if self.runs.is_some() && !self.has_run => {
                self.has_run = true;
                let usd = if self.runs == Some(true) || side_by_side { ", usd: 0.0001" } else { "" };
                (format!("run: {{workflow: w2, with: {{n: '{{{{ event.data.n }}}}', items: [a, b]}}{usd}}}"), false)
            }
            16 | 17 => (self.tool(), false),
            _ => return self.group(id, depth, side_by_side),
        };
        let node = Node::new(id, What::One(what));
        if bare { node } else { self.kept(node, true) }
    }

    fn group(&mut self, id: String, depth: usize, side_by_side: bool) -> Node {
        let what = match self.random.below(6) {
            0..2 => {
                let steps = (0..2 + self.random.below(2)).map(|_| self.step(depth + 1, true));
                What::Many("parallel: ", steps.collect(), "")
            }
            2 | 3 if depth == 0 => What::Many(
                "for_each: {in: event.data.items, as: one, width: 2, steps: ",
                self.list(depth + 1, true),
                "}",
            ),
            2 | 3 => What::Many(
                "for_each: {in: event.data.items, width: 1, steps: ",
                self.list(depth + 1, side_by_side),
                "}",
            ),
            _ => What::Many("steps: ", self.list(depth + 1, side_by_side), ""),
        };
        self.kept(Node::new(id, what), true)
    }

    fn tool(&mut self) -> String {
        let tool = *self.random.pick(&USED);
        let approve = match self.random.below(12) {
            0 => ", approve: true",
            1 => ", approve: false",
            _ => "",
        };
        let compensate = if self.random.once_in(12) {
            ", compensate: {tool: set, with: {of: '{{ event.data.n }}'}}"
        } else {
            ""
        };
        format!("tool: {tool}, with: {{id: {tool}}}{approve}{compensate}")
    }

    fn agent(&mut self) -> String {
        let tools: Vec<&str> = (0..1 + self.random.below(3))
            .map(|_| *self.random.pick(&USED))
            .collect();
        let tools: std::collections::BTreeSet<&str> = tools.into_iter().collect();
        let tools: Vec<&str> = tools.into_iter().collect();
        let ends = if self.random.once_in(2) {
            "resolve, escalate"
        } else {
            "resolve"
        };
        let review = if self.random.once_in(4) {
            ", review: {model: haiku, every: 1}"
        } else {
            ""
        };
        let floor = if self.random.once_in(6) {
            ", confidence: {min: 0.5, below: resolve}"
        } else {
            ""
        };
        let usd = if self.random.once_in(8) {
            ", usd: 0.0001"
        } else {
            ""
        };
        format!(
            "agent: {{goal: Mend it., tools: [{}], ends: [{ends}], max_loops: {}, parallel: {}{review}{floor}{usd}}}",
            tools.join(", "),
            1 + self.random.below(3),
            1 + self.random.below(3)
        )
    }

    /// What surrounds a step: its time, its repetitions, what its failure means.
    fn kept(&mut self, mut node: Node, retries: bool) -> Node {
        if self.random.once_in(8) {
            node.keys
                .push(format!("timeout: {}s", 1 + self.random.below(6)));
        }
        if retries && self.random.once_in(7) {
            node.keys.push(format!(
                "retry: {{times: {}, pause: 1s}}",
                1 + self.random.below(2)
            ));
        }
        match self.random.below(8) {
            0 | 1 => node.keys.push("on_error: continue".into()),
            2 if node.is_undoable() => node.keys.push("on_error: compensate".into()),
            _ => {}
        }
        node
    }
}
