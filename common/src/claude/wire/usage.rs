//! What is billed.

use serde::{Deserialize, Deserializer, Serialize};

/// Tokens of a call. The prompt's size is the sum of the three kinds of input.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Input that was neither read from nor written to the cache.
    #[serde(default, deserialize_with = "nullable")]
    pub input_tokens: u64,
    /// Input written to the cache, for however long.
    #[serde(default, deserialize_with = "nullable")]
    pub cache_creation_input_tokens: u64,
    /// Input read from the cache.
    #[serde(default, deserialize_with = "nullable")]
    pub cache_read_input_tokens: u64,
    /// Output, all that is billed.
    #[serde(default, deserialize_with = "nullable")]
    pub output_tokens: u64,
    /// For how long the input written to the cache is kept.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "CacheCreation::is_empty"
    )]
    pub cache_creation: CacheCreation,
}

/// Input written to the cache, by how long it is kept.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheCreation {
    /// Tokens for five minutes.
    #[serde(default, deserialize_with = "nullable")]
    pub ephemeral_5m_input_tokens: u64,
    /// Tokens for one hour.
    #[serde(default, deserialize_with = "nullable")]
    pub ephemeral_1h_input_tokens: u64,
}

impl CacheCreation {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

// The SDK types most counters as nullable.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

impl Usage {
    /// Tokens written to the cache for five minutes and for one hour. What the split does not name is for five minutes, as
    /// the provider does where nothing is said.
    #[must_use]
    pub fn cache_writes(&self) -> (u64, u64) {
        let split = self.cache_creation;
        let rest = self
            .cache_creation_input_tokens
            .saturating_sub(split.ephemeral_1h_input_tokens);
        (
            rest.max(split.ephemeral_5m_input_tokens),
            split.ephemeral_1h_input_tokens,
        )
    }

    /// The whole prompt, in tokens.
    #[must_use]
    pub fn prompt_tokens(&self) -> u64 {
        let (short, long) = self.cache_writes();
        [short, long, self.cache_read_input_tokens]
            .into_iter()
            .fold(self.input_tokens, u64::saturating_add)
    }
}

impl std::ops::Add for Usage {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (mine, others) = (self.cache_creation, other.cache_creation);
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            cache_creation_input_tokens: self
                .cache_creation_input_tokens
                .saturating_add(other.cache_creation_input_tokens),
            cache_read_input_tokens: self
                .cache_read_input_tokens
                .saturating_add(other.cache_read_input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cache_creation: CacheCreation {
                ephemeral_5m_input_tokens: mine
                    .ephemeral_5m_input_tokens
                    .saturating_add(others.ephemeral_5m_input_tokens),
                ephemeral_1h_input_tokens: mine
                    .ephemeral_1h_input_tokens
                    .saturating_add(others.ephemeral_1h_input_tokens),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_without_the_split_reads_and_writes_as_before() -> Result<(), serde_json::Error> {
        let old = r#"{"input_tokens":1,"cache_creation_input_tokens":2,"cache_read_input_tokens":3,"output_tokens":4}"#;
        let usage: Usage = serde_json::from_str(old)?;
        assert_eq!(usage.cache_writes(), (2, 0));
        assert_eq!(usage.prompt_tokens(), 6);
        assert_eq!(serde_json::to_string(&usage)?, old);
        Ok(())
    }

    #[test]
    fn writes_are_told_apart_and_none_is_lost_where_the_figures_disagree()
    -> Result<(), serde_json::Error> {
        let text = r#"{"input_tokens":1,"output_tokens":1,"cache_creation_input_tokens":10,"service_tier":"batch",
            "cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":7}}"#;
        let usage: Usage = serde_json::from_str(text)?;
        assert_eq!(usage.cache_writes(), (3, 7));
        assert_eq!((usage + usage).cache_writes(), (6, 14));
        let again: Usage = serde_json::from_str(&serde_json::to_string(&usage)?)?;
        assert_eq!(again, usage);
        let total = |total| Usage {
            cache_creation_input_tokens: total,
            ..usage
        };
        assert_eq!(total(0).cache_writes(), (3, 7));
        assert_eq!(total(20).cache_writes(), (13, 7));
        let null = r#"{"input_tokens":1,"output_tokens":1,"cache_creation":null}"#;
        assert_eq!(serde_json::from_str::<Usage>(null)?.cache_writes(), (0, 0));
        Ok(())
    }
}
