//! Everything that is left open in a run, decided by numbers: what Claude says and what tools give. 0 always leads to an end.

use super::*;
use crate::claude::{Message, ToolChoice};

/// Where the numbers come from.
pub(super) trait Choices {
    /// A number below `count`, which is not 0.
    fn below(&mut self, count: usize) -> usize;

    /// True once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    /// One of these.
    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// A fixed list of choices; after its last one, only 0.
#[derive(Debug)]
pub(super) struct Script {
    bytes: std::vec::IntoIter<u8>,
}

impl Script {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes: bytes.into_iter(),
        }
    }
}

impl Choices for Script {
    fn below(&mut self, count: usize) -> usize {
        usize::from(self.bytes.next().unwrap_or(0)) % count
    }
}

/// What Claude says to a request: something right, or one of all that can be wrong. `None`: the call never comes back.
pub(super) fn claude(request: &Request, choices: &mut impl Choices) -> Option<Reply> {
    let id = format!("toolu_{}", request.messages.len());
    let right = |name: &str, confidence: f64| uses(&id, name, filled(name, confidence));
    if request.tools.is_empty() {
        return Some(match choices.below(6) {
            0..3 => says("All is well."),
            3 => says(" "),
            4 => with_reason(says("All is"), StopReason::MaxTokens),
            _ => with_reason(says("No."), StopReason::Refusal),
        });
    }
    let menu: Vec<&str> = request
        .tools
        .iter()
        .rev()
        .map(|tool| tool.name.as_str())
        .collect();
    let name = *choices.pick(&menu);
    if at_once(request) && choices.once_in(2) {
        return Some(several(&id, &menu, choices));
    }
    Some(match choices.below(16) {
        0..7 => right(name, 0.9),
        7 => right(name, 0.3),
        8 => uses(
            &id,
            name,
            json!({"reasoning": "I will.", "confidence": 0.9}),
        ),
        9 => uses(
            &id,
            name,
            json!({"reasoning": "I will.", "confidence": 0.9, "with": 3, "summary": 3}),
        ),
        10 => uses(&id, "rm", filled("rm", 0.9)),
        11 => says("Let me think."),
        12 => {
            let mut both = right(name, 0.9);
            both.content
                .push(json!({"type": "tool_use", "id": "toolu_b", "name": name, "input": {}}));
            both
        }
        13 => with_reason(right(name, 0.9), StopReason::MaxTokens),
        14 => with_reason(right(name, 0.9), StopReason::Other("odd".into())),
        _ => return None,
    })
}

/// Whether several tools may be used in one reply.
fn at_once(request: &Request) -> bool {
    matches!(
        request.tool_choice,
        Some(ToolChoice::Any {
            disable_parallel_tool_use: false
        })
    )
}

/// Several uses: mostly of tools and as they should be, now and then too many, unsure, an end among them, or misspelt.
fn several(id: &str, menu: &[&str], choices: &mut impl Choices) -> Reply {
    let is_tool = |name: &&&str| NAMES.contains(*name);
    let tools: Vec<&str> = menu.iter().filter(is_tool).copied().collect();
    let count = 1 + choices.below(5);
    let content = (0..count).map(|n| {
        let name = match choices.below(12) {
            11 => "rm",
            10 => *choices.pick(menu),
            _ if tools.is_empty() => "resolve",
            _ => *choices.pick(&tools),
        };
        let sure = if choices.once_in(10) { 0.3 } else { 0.9 };
        let input = if choices.once_in(10) {
            json!({"reasoning": "I will.", "confidence": sure})
        } else {
            filled(name, sure)
        };
        json!({"type": "tool_use", "id": format!("{id}_{n}"), "name": name, "input": input})
    });
    reply(content.collect(), StopReason::ToolUse)
}

/// What the provider would refuse: a tool use that the next turn does not answer, each once and in their order.
pub(super) fn unanswered(request: &Request) -> Option<String> {
    let ids = |message: &Message, kind: &str, key: &str| -> Vec<Value> {
        let blocks = message.content.iter().filter(|block| block["type"] == kind);
        blocks.map(|block| block[key].clone()).collect()
    };
    request.messages.windows(2).find_map(|pair| {
        let used = ids(&pair[0], "tool_use", "id");
        let answered = ids(&pair[1], "tool_result", "tool_use_id");
        (used != answered).then(|| format!("{used:?} has no result but {answered:?}"))
    })
}

fn with_reason(mut reply: Reply, stop_reason: StopReason) -> Reply {
    reply.stop_reason = stop_reason;
    reply
}

/// Parameters that fit.
fn filled(name: &str, confidence: f64) -> Value {
    let (inside, value) = match name {
        "answer" => ("with", json!({"level": "info"})),
        "disk_usage" => ("with", json!({"path": "/srv", "deep": [1, 2.5, null]})),
        "restart" => ("with", json!({"service": "shöp"})),
        "page" => ("with", json!({})),
        _ => ("summary", json!("It is done. </data>")),
    };
    json!({"reasoning": "The facts say so.", "confidence": confidence, inside: value})
}

/// What a tool gives.
pub(super) fn outcome(choices: &mut impl Choices) -> ToolOutcome {
    match choices.below(6) {
        0..3 => ok(json!({"used": "91%", "n": choices.below(100)})),
        3 => ok(json!("x".repeat(20_000))),
        4 => failed("status 1"),
        _ => unknown("the executor died"),
    }
}

/// A workflow that can be written.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) steps: Vec<PlannedStep>,
    /// Decisions, at most.
    pub(super) limit: Option<u32>,
    /// Minutes, at most.
    pub(super) minutes: Option<u32>,
}

#[derive(Debug, Clone)]
pub(super) enum PlannedStep {
    Text,
    Answer,
    Tool {
        tool: usize,
        on_error: bool,
    },
    Agent {
        tools: Vec<usize>,
        escalate: bool,
        loops: u32,
        floor: bool,
        parallel: u32,
    },
}

const NAMES: [&str; 3] = ["disk_usage", "restart", "page"];
const WITHS: [&str; 3] = [
    "{path: '/{{ event.data.service }}'}",
    "{service: shop}",
    "{}",
];

impl Plan {
    /// The workflow, by way of its YAML.
    pub(super) fn definition(&self) -> Arc<Workflow> {
        let steps = self.limit.map(|steps| format!("steps: {steps}"));
        let duration = self.minutes.map(|minutes| format!("duration: {minutes}m"));
        let limits: Vec<_> = steps.into_iter().chain(duration).collect();
        let steps: String = self
            .steps
            .iter()
            .enumerate()
            .map(|(n, step)| step.yaml(n))
            .collect();
        definition(&format!("limits: {{{}}}", limits.join(", ")), &steps)
    }
}

impl PlannedStep {
    fn yaml(&self, n: usize) -> String {
        // Each step looks at the one before it.
        let before = n
            .checked_sub(1)
            .map(|n| format!("{{{{ steps.s{n} }}}}"))
            .unwrap_or_default();
        let what = match self {
            Self::Text => format!("claude: {{prompt: 'Sum up {before}'}}"),
            Self::Answer => format!(
                "claude: {{prompt: 'How bad? {before}', output: {{type: object, required: [level], properties: {{level: {{enum: [info, page]}}}}}}}}"
            ),
            Self::Tool { tool, on_error } => {
                let on_error = if *on_error {
                    "\n    on_error: continue"
                } else {
                    ""
                };
                format!(
                    "tool: {}\n    with: {}{on_error}",
                    NAMES[*tool], WITHS[*tool]
                )
            }
            Self::Agent {
                tools,
                escalate,
                loops,
                floor,
                parallel,
            } => {
                let tools: Vec<_> = tools.iter().map(|tool| NAMES[*tool]).collect();
                let ends = if *escalate {
                    "resolve, escalate"
                } else {
                    "resolve"
                };
                let floor = if *floor {
                    ", confidence: {min: 0.5, below: resolve}"
                } else {
                    ""
                };
                format!(
                    "agent: {{goal: 'Mend it. {before}', tools: [{}], ends: [{ends}], max_loops: {loops}, parallel: {parallel}{floor}}}",
                    tools.join(", ")
                )
            }
        };
        format!("\n  - id: s{n}\n    {what}")
    }
}
