//! What a call costs, in nano-USD: 0.000000001 US dollars.

use crate::models::Model;
use crate::reply::Usage;

/// A prompt longer than this, the cached part included, is at the higher price where a model has one. In tokens.
const LONG_PROMPT: u64 = 100_000;

/// Prices of one model, in nano-USD per token: 1,000 are 1 USD for a million. The provider's price list of October
/// 2026.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Price {
    input: u64,
    output: u64,
    /// Reading from the cache.
    read: u64,
    /// The same for long prompts, where they cost more.
    long: Option<&'static Price>,
}

impl Price {
    /// By the price list: USD per million tokens of input and output times 1,000, and nano-USD per token read from the
    /// cache.
    pub(crate) const fn new(input: u64, output: u64, read: u64) -> Self {
        Self {
            input,
            output,
            read,
            long: None,
        }
    }

    pub(crate) const fn with_long(self, long: &'static Self) -> Self {
        Self {
            long: Some(long),
            ..self
        }
    }
}

/// What the usage of one call costs. A batch is half of everything.
pub(crate) fn of(model: &Model, usage: &Usage, batch: bool) -> u64 {
    let prompt = usage
        .input_tokens
        .saturating_add(usage.cache_creation_input_tokens)
        .saturating_add(usage.cache_read_input_tokens);
    let price = model
        .price
        .long
        .filter(|_| prompt > LONG_PROMPT)
        .unwrap_or(&model.price);
    let written = &usage.cache_creation;
    // In quarters, because writing for five minutes costs 1.25 times the input.
    let quarters: u128 = [
        (4, usage.input_tokens, price.input),
        (5, written.ephemeral_5m_input_tokens, price.input),
        (8, written.ephemeral_1h_input_tokens, price.input),
        (4, usage.cache_read_input_tokens, price.read),
        (4, usage.output_tokens, price.output),
    ]
    .into_iter()
    .map(|(quarters, tokens, price)| quarters * u128::from(tokens) * u128::from(price))
    .sum();
    u64::try_from(quarters.div_ceil(if batch { 8 } else { 4 })).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models;
    use crate::reply::CacheCreation;

    fn usage(input: u64, written: [u64; 2], read: u64, output: u64) -> Usage {
        let [ephemeral_5m_input_tokens, ephemeral_1h_input_tokens] = written;
        Usage {
            input_tokens: input,
            cache_creation_input_tokens: written.iter().sum(),
            cache_read_input_tokens: read,
            cache_creation: CacheCreation {
                ephemeral_5m_input_tokens,
                ephemeral_1h_input_tokens,
            },
            output_tokens: output,
            service_tier: "standard",
        }
    }

    fn usd(model: &str, usage: &Usage, batch: bool) -> f64 {
        of(models::find(model).unwrap(), usage, batch) as f64 / 1e9
    }

    #[test]
    fn a_million_of_each_kind_costs_what_the_price_list_says() {
        let million = 1_000_000;
        for (model, input, output, read) in [
            ("claude-haiku-5-5", 0.5, 2.5, 0.05),
            ("claude-sonnet-5-5", 2.0, 10.0, 0.1),
            ("claude-opus-5-5", 4.0, 20.0, 0.2),
            ("claude-sonnet-5", 2.0, 10.0, 0.2),
            ("claude-opus-4-7", 5.0, 25.0, 0.5),
            ("claude-sonnet-4-6", 3.0, 15.0, 0.3),
            ("claude-haiku-4-5", 1.0, 5.0, 0.1),
            ("claude-fable-5-1", 10.0, 50.0, 0.25),
        ] {
            for (usage, expected) in [
                (usage(million, [0, 0], 0, 0), input),
                (usage(0, [million, 0], 0, 0), 1.25 * input),
                (usage(0, [0, million], 0, 0), 2.0 * input),
                (usage(0, [0, 0], million, 0), read),
            ] {
                let cost = usd(model, &usage, false);
                assert!((cost - expected).abs() < 1e-9, "{model}: {cost} {expected}");
            }
            let long = usage(million, [0, 0], 0, million);
            assert!(
                (usd(model, &long, false) - input - output).abs() < 1e-9,
                "{model}"
            );
            assert!((usd(model, &long, true) - (input + output) / 2.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_short_prompt_of_haiku_is_cheaper_and_the_cached_part_counts_for_its_length() {
        let haiku = models::find("claude-haiku-5-5").unwrap();
        assert_eq!(of(haiku, &usage(100_000, [0, 0], 0, 10), false), 10_005_000);
        assert_eq!(
            of(haiku, &usage(1, [0, 0], 100_000, 10), false),
            500 + 100_000 * 50 + 25_000
        );
    }
}
