//! The one table of models: alias, id and prices. Built in, or from a file that people edit.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Usage;
use crate::{limit::Limits, money::Usd};

const BUILT_IN: &str = include_str!("../../models.toml");

/// Why a table of models cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// The file is not what it should be; the message has line and column.
    #[error("{file}: {source}")]
    Parse {
        /// The file.
        file: String,
        /// What and where.
        source: Box<toml::de::Error>,
    },
    /// A price or a name that cannot be.
    #[error("{file}: model `{id}`: {problem}")]
    Entry {
        /// The file.
        file: String,
        /// The model.
        id: String,
        /// What is wrong.
        problem: &'static str,
    },
}

/// Prices as people write them: US dollars per million tokens.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct LongRow {
    over: u64,
    input: f64,
    output: f64,
    cache_write: f64,
    cache_write_1h: f64,
    cache_read: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(default)]
    alias: Option<String>,
    id: String,
    #[serde(default)]
    family: Option<String>,
    input: f64,
    output: f64,
    cache_write: f64,
    cache_write_1h: f64,
    cache_read: f64,
    #[serde(default)]
    batch: Option<f64>,
    #[serde(default)]
    long: Option<LongRow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    date: String,
    batch: f64,
    model: Vec<Row>,
    #[serde(default)]
    limit: Vec<LimitRow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitRow {
    family: String,
    #[serde(default)]
    requests: Option<u64>,
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    output_tokens: Option<u64>,
}

/// How a call is served, which changes its price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Answered at once.
    Standard,
    /// As part of a batch.
    Batch,
}

/// Prices of one token, in nano-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prices {
    input: u64,
    output: u64,
    cache_write: u64,
    cache_write_1h: u64,
    cache_read: u64,
}

impl Prices {
    fn dearest_input(&self) -> u64 {
        [self.cache_write, self.cache_write_1h, self.cache_read]
            .into_iter()
            .fold(self.input, u64::max)
    }
}

/// The sum of tokens at their prices; it saturates, as money does.
fn sum(priced: &[(u64, u64)]) -> u64 {
    priced.iter().fold(0, |sum, (tokens, price)| {
        sum.saturating_add(tokens.saturating_mul(*price))
    })
}

/// One model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Its short name (`haiku`), if it has one.
    pub alias: Option<String>,
    /// Its id on the wire.
    pub id: String,
    /// Which models share its rate limits; its id if the table names none.
    pub family: String,
    prices: Prices,
    long: Option<(u64, Prices)>,
    /// What a batch costs, in thousandths of the standard price.
    batch: u64,
}

impl Model {
    /// What a call costs, rounded up to a nano-dollar.
    #[must_use]
    pub fn cost(&self, usage: &Usage, tier: Tier) -> Usd {
        let prices = match self.long {
            Some((over, long)) if usage.prompt_tokens() > over => long,
            Some(_) | None => self.prices,
        };
        let (short, long) = usage.cache_writes();
        let standard = sum(&[
            (usage.input_tokens, prices.input),
            (short, prices.cache_write),
            (long, prices.cache_write_1h),
            (usage.cache_read_input_tokens, prices.cache_read),
            (usage.output_tokens, prices.output),
        ]);
        Usd::from_nano(match tier {
            Tier::Standard => standard,
            Tier::Batch => per_mille(standard, self.batch),
        })
    }

    /// The most that a call can cost, in either tier: every input token at the dearest price that it can have, and the whole
    /// output. [`request_tokens_max`](super::request_tokens_max) bounds the input.
    #[must_use]
    pub fn worst_cost(&self, input_tokens_max: u64, max_tokens: u32) -> Usd {
        let worst = |input: u64, prices: &Prices| {
            sum(&[
                (input, prices.dearest_input()),
                (max_tokens.into(), prices.output),
            ])
        };
        Usd::from_nano(match &self.long {
            Some((over, long)) if input_tokens_max > *over => {
                worst(*over, &self.prices).max(worst(input_tokens_max, long))
            }
            Some(_) | None => worst(input_tokens_max, &self.prices),
        })
    }

    /// The same for an item of a batch.
    #[must_use]
    pub fn worst_batch_cost(&self, input_tokens_max: u64, max_tokens: u32) -> Usd {
        let standard = self.worst_cost(input_tokens_max, max_tokens);
        Usd::from_nano(per_mille(standard.nano(), self.batch))
    }
}

/// The limits of each family, each once and of a family that some model has.
fn limits(
    rows: Vec<LimitRow>,
    models: &[Model],
) -> Result<Vec<(String, Limits)>, (String, &'static str)> {
    let mut limits: Vec<(String, Limits)> = Vec::with_capacity(rows.len());
    for row in rows {
        let of_family = Limits {
            requests: row.requests,
            input: row.input_tokens,
            output: row.output_tokens,
        };
        let given = [row.requests, row.input_tokens, row.output_tokens];
        if given.contains(&Some(0)) {
            return Err((row.family, "a limit must be more than 0"));
        }
        if !models.iter().any(|model| model.family == row.family) {
            return Err((
                row.family,
                "a limit is set for it, but no model is of this family",
            ));
        }
        if limits.iter().any(|(family, _)| *family == row.family) {
            return Err((row.family, "its limits are there twice"));
        }
        limits.push((row.family, of_family));
    }
    Ok(limits)
}

/// So many thousandths of an amount, rounded up; at most the amount itself.
fn per_mille(amount: u64, share: u64) -> u64 {
    let scaled = (u128::from(amount) * u128::from(share)).div_ceil(1_000);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// The table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Models {
    /// The day its prices were read.
    pub date: String,
    /// Where it came from, for messages.
    pub file: String,
    models: Vec<Model>,
    limits: Vec<(String, Limits)>,
}

impl Models {
    /// The table that is built in.
    ///
    /// # Errors
    /// None that a test would not have found.
    pub fn built_in() -> Result<Self, ModelsError> {
        Self::parse("the built-in models.toml", BUILT_IN)
    }

    /// Reads a table; `file` is for messages.
    ///
    /// # Errors
    /// [`ModelsError`], with line and column or the model's id.
    pub fn parse(file: &str, text: &str) -> Result<Self, ModelsError> {
        let table: Table = toml::from_str(text).map_err(|source| ModelsError::Parse {
            file: file.into(),
            source: Box::new(source),
        })?;
        let mut models: Vec<Model> = Vec::with_capacity(table.model.len());
        for row in table.model {
            let id = row.id.clone();
            let wrong = |problem| ModelsError::Entry {
                file: file.into(),
                id,
                problem,
            };
            let added = model(row, table.batch).and_then(|model| {
                let taken = |name: &str| {
                    models
                        .iter()
                        .any(|m| m.id == name || m.alias.as_deref() == Some(name))
                };
                if taken(&model.id) || model.alias.as_deref().is_some_and(taken) {
                    return Err("its id or alias is there twice");
                }
                Ok(model)
            });
            models.push(added.map_err(wrong)?);
        }
        let limits = limits(table.limit, &models).map_err(|(id, problem)| ModelsError::Entry {
            file: file.into(),
            id,
            problem,
        })?;
        Ok(Self {
            date: table.date,
            file: file.into(),
            models,
            limits,
        })
    }

    /// A model by alias or id. A dated id (`claude-haiku-4-5-20251001`) is its family's.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Model> {
        let exact = self
            .models
            .iter()
            .find(|m| m.id == name || m.alias.as_deref() == Some(name));
        exact.or_else(|| {
            let (family, date) = name.rsplit_once('-')?;
            let dated = date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit());
            self.models.iter().find(|m| dated && m.id == family)
        })
    }

    /// The families of models that share their limits, each once.
    #[must_use]
    pub fn families(&self) -> BTreeSet<&str> {
        self.models
            .iter()
            .map(|model| model.family.as_str())
            .collect()
    }

    /// Rate limits that the table sets, by family: they hold where Claude's answers tell higher ones, or none.
    #[must_use]
    pub fn limits(&self) -> &[(String, Limits)] {
        &self.limits
    }

    /// All names that [`Models::find`] takes, for messages.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.models
            .iter()
            .flat_map(|m| m.alias.as_deref().into_iter().chain([m.id.as_str()]))
            .collect()
    }
}

/// A row that was checked; the error says what is wrong with it.
fn model(row: Row, batch: f64) -> Result<Model, &'static str> {
    let family = row.family.unwrap_or_else(|| row.id.clone());
    // It becomes part of the names under which limits are shared.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:@/".contains(c);
    if family.is_empty() || family.len() > 128 || !family.chars().all(plain) {
        return Err(
            "its family (or its id, which stands for it) must be 1 to 128 letters, digits or -_.:@/",
        );
    }
    let standard = prices([
        row.input,
        row.output,
        row.cache_write,
        row.cache_write_1h,
        row.cache_read,
    ])?;
    let long = |long: LongRow| {
        let numbers = [
            long.input,
            long.output,
            long.cache_write,
            long.cache_write_1h,
            long.cache_read,
        ];
        prices(numbers).map(|prices| (long.over, prices))
    };
    let batch = thousandths(row.batch.unwrap_or(batch))
        .filter(|share| *share <= 1_000)
        .ok_or("`batch` must be a share from 0 to 1, in whole thousandths")?;
    Ok(Model {
        alias: row.alias,
        id: row.id,
        family,
        prices: standard,
        long: row.long.map(long).transpose()?,
        batch,
    })
}

/// Nano-dollars per token, which are thousandths of dollars per million tokens.
fn prices(per_million: [f64; 5]) -> Result<Prices, &'static str> {
    let mut nano = [0_u64; 5];
    for (to, from) in nano.iter_mut().zip(per_million) {
        *to = thousandths(from).ok_or(
            "a price must be 0 or more, in whole thousandths of a dollar per million tokens",
        )?;
    }
    let [input, output, cache_write, cache_write_1h, cache_read] = nano;
    Ok(Prices {
        input,
        output,
        cache_write,
        cache_write_1h,
        cache_read,
    })
}

/// A number in whole thousandths, from 0 up to a million.
fn thousandths(number: f64) -> Option<u64> {
    let scaled = number * 1_000.0;
    if !(0.0..=1e9).contains(&scaled) || (scaled - scaled.round()).abs() > 1e-6 {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked just above"
    )]
    Some(scaled.round() as u64)
}

#[cfg(test)]
mod tests;
