//! A bill, from the simulated Claude's ledger: calls, tokens of each kind, and what they cost.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use flotilla_common::{
    claude::{Model, Models, Tier, Usage},
    money::Usd,
};
use serde::{Deserialize, Serialize};

/// What the ledger says of one call, as far as a bill needs it.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    model: Option<String>,
    policy: Option<String>,
    system_tail: String,
    status: u16,
    delivered: bool,
    usage: Option<Usage>,
    usd_nano: u64,
    batch: bool,
}

/// Tokens of one kind, and what they cost.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Part {
    pub(super) tokens: u64,
    /// In nano-dollars.
    pub(super) usd_nano: u64,
}

/// What some calls come to.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Sum {
    pub(super) calls: u64,
    pub(super) usd_nano: u64,
    pub(super) input: Part,
    pub(super) cache_write: Part,
    pub(super) cache_read: Part,
    pub(super) output: Part,
}

/// What all calls come to, and of them those of each model and of each step.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Bill {
    pub(super) all: Sum,
    pub(super) by_model: BTreeMap<String, Sum>,
    /// By `workflow/step`.
    pub(super) by_step: BTreeMap<String, Sum>,
}

impl Bill {
    /// Adds the ledger up. The ledger says what each call cost; the table says how much of that each kind of tokens is.
    ///
    /// # Errors
    /// A call that failed or was lost, one that no policy answered, or one that costs something else by the table.
    pub(super) fn of(ledger: &[Line], models: &Models) -> anyhow::Result<Self> {
        let mut bill = Self::default();
        for line in ledger {
            let step = step(&line.system_tail)?;
            let model = line.model.as_deref().unwrap_or_default();
            ensure!(
                line.status == 200 && line.delivered,
                "a call for {step} was not answered: status {}, delivered: {}",
                line.status,
                line.delivered
            );
            ensure!(
                line.policy.is_some(),
                "no policy knew what to answer for {step}: its reply was made up"
            );
            let known = models
                .find(model)
                .with_context(|| format!("{} has no `{model}`", models.file))?;
            let sum = Sum::of(line, known).with_context(|| format!("a call for {step}"))?;
            bill.all.add(&sum);
            bill.by_model.entry(model.to_owned()).or_default().add(&sum);
            bill.by_step.entry(step).or_default().add(&sum);
        }
        Ok(bill)
    }

    /// What the calls of one workflow cost, in nano-dollars.
    pub(super) fn of_workflow(&self, workflow: &str) -> u64 {
        let steps = self.by_step.iter();
        let own = steps.filter(|(step, _)| step.split('/').next() == Some(workflow));
        own.map(|(_, sum)| sum.usd_nano).sum()
    }
}

impl Sum {
    fn of(line: &Line, model: &Model) -> anyhow::Result<Self> {
        let usage = line.usage.context("the ledger has no usage")?;
        let tier = if line.batch {
            Tier::Batch
        } else {
            Tier::Standard
        };
        let part = |tokens: u64, usage: Usage| Part {
            tokens,
            usd_nano: model.cost(&usage, tier).nano(),
        };
        let none = Usage::default();
        let sum = Self {
            calls: 1,
            usd_nano: line.usd_nano,
            input: part(
                usage.input_tokens,
                Usage {
                    input_tokens: usage.input_tokens,
                    ..none
                },
            ),
            cache_write: part(
                usage.cache_creation_input_tokens,
                Usage {
                    cache_creation_input_tokens: usage.cache_creation_input_tokens,
                    cache_creation: usage.cache_creation,
                    ..none
                },
            ),
            cache_read: part(
                usage.cache_read_input_tokens,
                Usage {
                    cache_read_input_tokens: usage.cache_read_input_tokens,
                    ..none
                },
            ),
            output: part(
                usage.output_tokens,
                Usage {
                    output_tokens: usage.output_tokens,
                    ..none
                },
            ),
        };
        // Each part is rounded up on its own.
        let parts: u64 = sum.parts().iter().map(|part| part.usd_nano).sum();
        ensure!(
            (line.usd_nano..line.usd_nano + 4).contains(&parts),
            "the ledger says {}, the table of models {}",
            Usd::from_nano(line.usd_nano),
            Usd::from_nano(parts)
        );
        Ok(sum)
    }

    /// Input, cache writes, cache reads, output.
    pub(super) fn parts(&self) -> [Part; 4] {
        [self.input, self.cache_write, self.cache_read, self.output]
    }

    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.usd_nano += other.usd_nano;
        for (part, more) in [
            (&mut self.input, other.input),
            (&mut self.cache_write, other.cache_write),
            (&mut self.cache_read, other.cache_read),
            (&mut self.output, other.output),
        ] {
            part.tokens += more.tokens;
            part.usd_nano += more.usd_nano;
        }
    }
}

/// `workflow/step`, which every system prompt ends with.
fn step(system_tail: &str) -> anyhow::Result<String> {
    let named = system_tail.rsplit_once("Workflow: ");
    let (workflow, step) = named
        .and_then(|(_, named)| named.split_once("\nStep: "))
        .with_context(|| format!("a system prompt names no step: {system_tail}"))?;
    Ok(format!("{workflow}/{step}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn line(step: &str, model: &str, usd_nano: u64) -> Value {
        json!({"model": model, "policy": "p", "system_tail": format!("Rules.\n\nWorkflow: w\nStep: {step}"), "status": 200,
            "delivered": true, "usd_nano": usd_nano, "batch": false,
            "usage": {"input_tokens": 10, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 1_000, "output_tokens": 20}})
    }

    fn bill(lines: Value) -> anyhow::Result<Bill> {
        let lines: Vec<Line> = serde_json::from_value(lines).unwrap();
        Bill::of(&lines, &Models::built_in().unwrap())
    }

    /// By the price list: 10 × 2,000 + 100 × 2,500 + 1,000 × 100 + 20 × 10,000 nano-dollars.
    const SONNET: u64 = 570_000;
    /// A twentieth of that, but for the cache reads, which are a tenth.
    const HAIKU: u64 = 1_000 + 12_500 + 10_000 + 10_000;

    #[test]
    fn a_bill_splits_what_the_ledger_says_by_model_step_and_kind() {
        let bill = bill(json!([
            line("think", "claude-sonnet-5-5", SONNET),
            line("think", "claude-sonnet-5-5", SONNET),
            line("sum-up", "claude-haiku-5-5", HAIKU),
        ]))
        .unwrap();
        assert_eq!((bill.all.calls, bill.all.usd_nano), (3, 2 * SONNET + HAIKU));
        let think = &bill.by_step["w/think"];
        assert_eq!(think, &bill.by_model["claude-sonnet-5-5"]);
        let kinds = think.parts().map(|part| (part.tokens, part.usd_nano));
        assert_eq!(
            kinds,
            [
                (20, 40_000),
                (200, 500_000),
                (2_000, 200_000),
                (40, 400_000)
            ]
        );
        assert_eq!(bill.of_workflow("w"), bill.all.usd_nano);
        assert_eq!(bill.of_workflow("other"), 0);
    }

    #[test]
    fn what_is_no_fair_bill_is_refused() {
        let cases: [(&str, Value, &str); 4] = [
            ("/status", json!(529), "was not answered"),
            ("/delivered", json!(false), "was not answered"),
            ("/policy", Value::Null, "made up"),
            ("/usd_nano", json!(1), "the table of models"),
        ];
        for (field, value, said) in cases {
            let mut line = line("think", "claude-sonnet-5-5", SONNET);
            *line.pointer_mut(field).unwrap() = value;
            let error = format!("{:#}", bill(json!([line])).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
    }
}
