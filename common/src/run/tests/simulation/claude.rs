//! What Claude says in the simulation: mostly what was asked for, now and then one of all that can be wrong.

use super::{super::*, world::Random};
use crate::run::tests::script::Choices;

/// `None`: the call never comes back.
pub(super) fn reply_to(request: &Request, kind: bool, random: &mut Random) -> Option<Reply> {
    let odd = if kind { 100 } else { random.below(24) };
    if odd == 0 {
        return None;
    }
    let mut reply = right(request, random);
    match odd {
        1 => reply.stop_reason = StopReason::MaxTokens,
        2 => reply.stop_reason = StopReason::Refusal,
        3 => {
            reply = says("Wait.");
            reply.stop_reason = StopReason::PauseTurn;
        }
        4 => reply = says(" "),
        5 => {
            reply = uses(
                "toolu_x",
                "rm",
                json!({"reasoning": "I will.", "confidence": 0.9, "with": {}}),
            )
        }
        _ => {}
    }
    Some(reply)
}

fn right(request: &Request, random: &mut Random) -> Reply {
    let names: Vec<&str> = request
        .tools
        .iter()
        .map(|tool| tool.name.as_str())
        .collect();
    match names.as_slice() {
        [] => says("Well."),
        ["review"] => {
            let verdict = *random.pick(&["go_on", "go_on", "change", "stop"]);
            used(
                &["review"],
                &json!({"verdict": verdict, "advice": "Look again."}),
                0.9,
            )
        }
        ["answer"] => used(&["answer"], &json!({"level": "info"}), 0.9),
        _ => {
            let is_end = |name: &&&str| ["resolve", "escalate"].contains(*name);
            let ends: Vec<&str> = names.iter().filter(is_end).copied().collect();
            let tools: Vec<&str> = names.iter().filter(|name| !is_end(name)).copied().collect();
            let sure = if random.once_in(8) { 0.3 } else { 0.9 };
            if tools.is_empty() || random.once_in(3) {
                return used(&[*random.pick(&ends)], &json!({}), sure);
            }
            let most = if at_once(request) {
                1 + random.below(3)
            } else {
                1
            };
            let picked: Vec<&str> = (0..most).map(|_| *random.pick(&tools)).collect();
            used(&picked, &json!({"id": "a"}), sure)
        }
    }
}

fn at_once(request: &Request) -> bool {
    use crate::claude::ToolChoice;
    matches!(
        request.tool_choice,
        Some(ToolChoice::Any {
            disable_parallel_tool_use: false
        })
    )
}

fn used(names: &[&str], with: &Value, confidence: f64) -> Reply {
    let uses = names.iter().enumerate().map(|(n, name)| {
        let mut input = json!({"reasoning": "So.", "confidence": confidence});
        match *name {
            "resolve" | "escalate" => input["summary"] = json!("Done."),
            _ => input["with"] = with.clone(),
        }
        json!({"type": "tool_use", "id": format!("toolu_{n}"), "name": name, "input": input})
    });
    reply(uses.collect::<Vec<_>>().into(), StopReason::ToolUse)
}
