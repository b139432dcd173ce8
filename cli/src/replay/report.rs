//! What came of asking again: how many differ and how, what it cost and took beside what was recorded, and the cases, worst first.

use std::collections::BTreeMap;

use flotilla_common::{
    entry::Decision,
    money::Usd,
    run::{Difference, Side},
};
use serde_json::{Value, json};

use super::{
    cases::{Compared, Tried},
    select::Window,
};
use crate::{
    decision::in_words,
    figures::{millis, number},
    style::{bad, bold, dim, good, one_line, warn},
};

/// Cases that are shown in full; `--json` has all of them.
const CASES_SHOWN: usize = 20;
/// Reasons that are shown why decisions could not be compared.
const REASONS_SHOWN: usize = 10;
const WORDS_MAX: usize = 300;

/// What was looked at.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) window: Window,
    pub(super) runs: usize,
    pub(super) decisions: usize,
    /// Whether the list of runs had all of them.
    pub(super) complete: bool,
    /// Runs whose journals cannot be folded, and why.
    pub(super) broken: Vec<String>,
    /// Whether there were more decisions than were wanted.
    pub(super) cut: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Report {
    scope: Scope,
    /// The worst first.
    tried: Vec<Tried>,
    spent: Usd,
}

/// How long calls took, in milliseconds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Latency {
    p50: u64,
    p95: u64,
}

impl Latency {
    fn of(mut took: Vec<u64>) -> Self {
        took.sort_unstable();
        // Nearest rank.
        let rank = |percent: usize| {
            let at = (took.len() * percent).div_ceil(100).saturating_sub(1);
            took.get(at).copied().unwrap_or_default()
        };
        Self {
            p50: rank(50),
            p95: rank(95),
        }
    }

    fn json(&self) -> Value {
        json!({"p50_ms": self.p50, "p95_ms": self.p95})
    }
}

impl Report {
    pub(super) fn new(scope: Scope, mut tried: Vec<Tried>, spent: Usd) -> Self {
        let rank = |one: &Tried| one.compared.as_ref().ok().map(|it| it.difference);
        tried.sort_by(|one, other| {
            let place = |one: &Tried| (one.case.run.clone(), one.case.observation.seq);
            rank(other)
                .cmp(&rank(one))
                .then_with(|| place(one).cmp(&place(other)))
        });
        Self {
            scope,
            tried,
            spent,
        }
    }

    /// How many decisions differ.
    pub(super) fn differ(&self) -> usize {
        let differ = self.compared().filter(|(_, one)| one.difference.counts());
        differ.count()
    }

    /// Whether everything was asked that could be.
    pub(super) fn is_whole(&self) -> bool {
        let mut failed = self.tried.iter().filter(|one| one.case.ask.is_ok());
        self.scope.complete
            && self.scope.broken.is_empty()
            && failed.all(|one| one.compared.is_ok())
    }

    fn compared(&self) -> impl Iterator<Item = (&Tried, &Compared)> {
        self.tried
            .iter()
            .filter_map(|one| Some((one, one.compared.as_ref().ok()?)))
    }

    fn count(&self, difference: Difference) -> usize {
        let mut count = 0;
        for (_, one) in self.compared() {
            count += usize::from(one.difference == difference);
        }
        count
    }

    /// What cannot be compared, by why; what could have been asked, and was not, apart.
    fn not_compared(&self, asked: bool) -> BTreeMap<&str, usize> {
        let mut why: BTreeMap<&str, usize> = BTreeMap::new();
        for one in self
            .tried
            .iter()
            .filter(|one| one.case.ask.is_ok() == asked)
        {
            if let Err(problem) = &one.compared {
                *why.entry(problem.as_str()).or_default() += 1;
            }
        }
        why
    }

    fn recorded_usd(&self) -> Usd {
        self.compared()
            .map(|(one, _)| one.case.observation.call.usd_nano)
            .sum()
    }

    fn now_usd(&self) -> Usd {
        self.compared().map(|(_, now)| now.usd).sum()
    }

    /// Answers of batches took as long as their batch.
    fn recorded_latency(&self) -> Latency {
        let calls = self.compared().map(|(one, _)| &one.case.observation.call);
        let live = calls.filter(|call| call.batch.is_none());
        Latency::of(live.map(|call| call.took_ms).collect())
    }

    fn now_latency(&self) -> Latency {
        Latency::of(self.compared().map(|(_, now)| now.took_ms).collect())
    }

    fn same_prompts(&self) -> usize {
        let same = self
            .compared()
            .filter(|(one, _)| one.case.has_same_prompt());
        same.count()
    }

    /// The whole of it.
    pub(super) fn json(&self) -> Value {
        let by: BTreeMap<String, usize> = Difference::ALL
            .into_iter()
            .map(|one| (name(one), self.count(one)))
            .collect();
        let cases: Vec<Value> = self
            .compared()
            .filter(|(_, one)| one.difference != Difference::Same)
            .map(|(tried, one)| case(tried, one))
            .collect();
        let Scope {
            window,
            runs,
            decisions,
            complete,
            broken,
            cut,
        } = &self.scope;
        json!({
            "since": window.since,
            "until": window.until,
            "runs": runs,
            "complete": complete,
            "broken": broken,
            "decisions": decisions,
            "cut": cut,
            "compared": self.compared().count(),
            "differ": self.differ(),
            "by": by,
            "same_prompts": self.same_prompts(),
            "not_comparable": self.not_compared(false),
            "not_answered": self.not_compared(true),
            "recorded": {"usd_nano": self.recorded_usd(), "latency": self.recorded_latency().json()},
            "now": {"usd_nano": self.now_usd(), "latency": self.now_latency().json()},
            "spent_usd_nano": self.spent,
            "cases": cases,
        })
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = self.scope.lines();
        let compared = self.compared().count();
        let differ = self.differ();
        let said = match differ {
            0 => good("none differs"),
            _ => bad(format!("{differ} differ")),
        };
        lines.push(format!(
            "{} compared, {} of them asked with the very prompt that was sent: {said}",
            number(u64::try_from(compared).unwrap_or(0)),
            self.same_prompts()
        ));
        for difference in Difference::ALL {
            let count = self.count(difference);
            if count > 0 {
                lines.push(format!("  {count:>6} {difference}"));
            }
        }
        for (asked, words) in [(false, "cannot be compared"), (true, "not answered")] {
            for (why, count) in self.not_compared(asked).iter().take(REASONS_SHOWN) {
                let why = one_line(why, WORDS_MAX);
                lines.push(format!("  {count:>6} {}: {why}", warn(words)));
            }
        }
        if compared > 0 {
            lines.extend(self.figures());
        }
        let cases = self.compared();
        let counted = cases.filter(|(_, one)| one.difference.counts());
        lines.extend(
            counted
                .take(CASES_SHOWN)
                .flat_map(|(tried, one)| shown(tried, one)),
        );
        if differ > CASES_SHOWN {
            let more = differ - CASES_SHOWN;
            lines.push(dim(format!("… and {more} more, see --json")));
        }
        lines
    }

    fn figures(&self) -> [String; 3] {
        let (then, now) = (self.recorded_latency(), self.now_latency());
        let latency = |one: &Latency| format!("p50 {}, p95 {}", millis(one.p50), millis(one.p95));
        [
            format!(
                "{} recorded {}, now {}",
                dim("  cost   "),
                self.recorded_usd(),
                self.now_usd()
            ),
            format!(
                "{} recorded {}; now {}",
                dim("  time   "),
                latency(&then),
                latency(&now)
            ),
            format!(
                "{} {}, lost calls at their most",
                dim("  spent  "),
                self.spent
            ),
        ]
    }
}

impl Scope {
    fn lines(&self) -> Vec<String> {
        let Window { since, until } = self.window;
        let mut lines = vec![format!(
            "{} runs began or ended from {since:.0} to {until:.0}; {} decisions of Claude's",
            self.runs, self.decisions
        )];
        if self.cut {
            lines.push(warn("there are more of them: see --limit"));
        }
        if !self.complete {
            lines.push(warn(
                "the list of runs is being built anew: older ones may be missing",
            ));
        }
        let broken = self.broken.iter().take(REASONS_SHOWN);
        lines.extend(broken.map(|why| warn(format!("left out: {}", one_line(why, WORDS_MAX)))));
        lines
    }
}

fn name(difference: Difference) -> String {
    let name = serde_json::to_value(difference).unwrap_or_default();
    name.as_str().unwrap_or_default().to_owned()
}

fn explain(tried: &Tried) -> String {
    format!(
        "flotilla explain {} {}",
        tried.case.run,
        tried.case.told_as()
    )
}

fn case(tried: &Tried, one: &Compared) -> Value {
    let case = &tried.case;
    json!({
        "run": case.run,
        "workflow": case.workflow,
        "version": case.version,
        "step": case.observation.step,
        "seq": case.observation.seq,
        "at": case.observation.at,
        "difference": one.difference,
        "recorded": case.observation.recorded,
        "now": one.now,
        "recorded_usd_nano": case.observation.call.usd_nano,
        "now_usd_nano": tried.paid,
        "explain": explain(tried),
    })
}

fn shown(tried: &Tried, one: &Compared) -> Vec<String> {
    let case = &tried.case;
    let title = format!("{} {}", case.workflow, case.observation.step);
    let mut lines = vec![
        String::new(),
        format!("{} {}", bold(title), warn(one.difference)),
    ];
    for (word, side) in [("recorded", &case.observation.recorded), ("now", &one.now)] {
        for told in told(side) {
            lines.push(format!("  {} {told}", dim(format!("{word:<8}"))));
        }
    }
    lines.push(format!("  {} {}", dim("look at "), explain(tried)));
    lines
}

/// What a side decided, a line for each branch.
fn told(side: &Side) -> Vec<String> {
    if let Some(why) = &side.refused {
        return vec![format!("{} {}", bad("refused:"), one_line(why, WORDS_MAX))];
    }
    let words = |decision: &Decision| in_words(decision, WORDS_MAX);
    side.decisions.iter().map(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let all = Latency::of((1..=100).rev().collect());
        assert_eq!(all, Latency { p50: 50, p95: 95 });
        assert_eq!(Latency::of(vec![7]), Latency { p50: 7, p95: 7 });
        assert_eq!(Latency::of(Vec::new()), Latency::default());
    }
}
