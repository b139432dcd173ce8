//! The one table of models: alias, id and prices. Built in, or from a file that people edit.

use serde::Deserialize;

use super::Usage;
use crate::money::Usd;

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

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct LongYaml {
    over: u64,
    input: f64,
    output: f64,
    cache_write: f64,
    cache_read: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(default)]
    alias: Option<String>,
    id: String,
    input: f64,
    output: f64,
    cache_write: f64,
    cache_read: f64,
    #[serde(default)]
    long: Option<LongYaml>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    date: String,
    model: Vec<Row>,
}

/// Prices of one token, in nano-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prices {
    input: u64,
    output: u64,
    cache_write: u64,
    cache_read: u64,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Its short name (`haiku`), if it has one.
    pub alias: Option<String>,
    /// Its id on the wire.
    pub id: String,
    prices: Prices,
    long: Option<(u64, Prices)>,
}

impl Model {
    /// What a call costs.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Usd {
        let prices = match self.long {
            Some((over, long)) if usage.prompt_tokens() > over => long,
            _ => self.prices,
        };
        Usd::from_nano(
            [
                (usage.input_tokens, prices.input),
                (usage.cache_creation_input_tokens, prices.cache_write),
                (usage.cache_read_input_tokens, prices.cache_read),
                (usage.output_tokens, prices.output),
            ]
            .into_iter()
            .fold(0, |sum: u64, (tokens, price)| {
                sum.saturating_add(tokens.saturating_mul(price))
            }),
        )
    }
}

/// The table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Models {
    /// The day its prices were read.
    pub date: String,
    /// Where it came from, for messages.
    pub file: String,
    models: Vec<Model>,
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
            let wrong = |problem| ModelsError::Entry {
                file: file.into(),
                id: row.id.clone(),
                problem,
            };
            let prices =
                prices([row.input, row.output, row.cache_write, row.cache_read]).map_err(wrong)?;
            let long = match row.long {
                None => None,
                Some(l) => {
                    let long = self::prices([l.input, l.output, l.cache_write, l.cache_read])
                        .map_err(wrong)?;
                    Some((l.over, long))
                }
            };
            if models
                .iter()
                .any(|m| m.id == row.id || (row.alias.is_some() && m.alias == row.alias))
            {
                return Err(wrong("its id or alias is there twice"));
            }
            models.push(Model {
                alias: row.alias,
                id: row.id,
                prices,
                long,
            });
        }
        Ok(Self {
            date: table.date,
            file: file.into(),
            models,
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

    /// All names that [`Models::find`] takes, for messages.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.models
            .iter()
            .flat_map(|m| m.alias.as_deref().into_iter().chain([m.id.as_str()]))
            .collect()
    }
}

fn prices(per_million: [f64; 4]) -> Result<Prices, &'static str> {
    let mut nano = [0_u64; 4];
    for (to, from) in nano.iter_mut().zip(per_million) {
        // Dollars per million tokens are thousands of nano-dollars per token.
        let price = from * 1_000.0;
        if !(0.0..1e9).contains(&price) || (price - price.round()).abs() > 1e-6 {
            return Err(
                "a price must be 0 or more, in whole thousandths of a dollar per million tokens",
            );
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked just above"
        )]
        {
            *to = price.round() as u64;
        }
    }
    let [input, output, cache_write, cache_read] = nano;
    Ok(Prices {
        input,
        output,
        cache_write,
        cache_read,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_exact_and_long_prompts_cost_more() -> Result<(), ModelsError> {
        let models = Models::built_in()?;
        let cost = |name: &str, usage: Usage| models.find(name).map(|m| m.cost(&usage).nano());
        let usage = Usage {
            input_tokens: 1_000,
            cache_creation_input_tokens: 100,
            cache_read_input_tokens: 10,
            output_tokens: 1,
        };
        assert_eq!(cost("haiku", usage), Some(100_000 + 12_500 + 100 + 500));
        let long = Usage {
            cache_read_input_tokens: 100_000,
            ..usage
        };
        assert_eq!(
            cost("claude-haiku-5-5", long),
            Some(500_000 + 62_500 + 5_000_000 + 2_500)
        );
        assert_eq!(
            cost("claude-haiku-4-5-20251001", usage),
            Some(1_000_000 + 125_000 + 1_000 + 5_000)
        );
        assert_eq!(cost("claude-nova", usage), None);
        Ok(())
    }

    #[test]
    fn a_wrong_table_says_where() {
        let shown = |text: &str| {
            Models::parse("m.toml", text)
                .map_err(|e| e.to_string())
                .err()
                .unwrap_or_default()
        };
        assert!(shown("date = 'x'\n[[model]]\nid = 'a'\nprice = 1").contains("line 4"));
        let negative =
            "date='x'\n[[model]]\nid='a'\ninput=-1.0\noutput=1.0\ncache_write=1.0\ncache_read=1.0";
        assert!(shown(negative).contains("model `a`"));
    }
}
