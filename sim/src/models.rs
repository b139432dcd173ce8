//! The models this server knows, with what its prompt cache needs to know about each.

use crate::price::Price;
use serde_json::{Value, json};

/// One model id that `POST /v1/messages` accepts.
#[derive(Debug)]
pub(crate) struct Model {
    /// The id clients send, such as `claude-sonnet-5`.
    pub(crate) id: &'static str,
    /// What `GET /v1/models` calls it.
    pub(crate) display_name: &'static str,
    /// Shortest prefix that is cached, in tokens. Shorter ones are silently not cached.
    pub(crate) cache_minimum: u64,
    /// Whether the conversation may end with an assistant turn that the model continues.
    pub(crate) prefill: bool,
    pub(crate) price: Price,
}

const FABLE: Price = Price::new(10_000, 50_000, 250);
const OPUS_5_5: Price = Price::new(4_000, 20_000, 200);
const SONNET_5_5: Price = Price::new(2_000, 10_000, 100);
const HAIKU_5_5: Price = Price::new(100, 500, 10).with_long(&HAIKU_5_5_LONG);
const HAIKU_5_5_LONG: Price = Price::new(500, 2_500, 50);
const OPUS: Price = Price::new(5_000, 25_000, 500);
const SONNET_5: Price = Price::new(2_000, 10_000, 200);
const SONNET_4: Price = Price::new(3_000, 15_000, 300);
const HAIKU_4_5: Price = Price::new(1_000, 5_000, 100);

/// The cache minimums of the 5.5 generation are not published; each takes its predecessor's.
const MODELS: &[Model] = &[
    model("claude-fable-5-1", "Claude Fable 5.1", 512, FABLE),
    model("claude-opus-5-5", "Claude Opus 5.5", 512, OPUS_5_5),
    model("claude-sonnet-5-5", "Claude Sonnet 5.5", 1024, SONNET_5_5),
    model("claude-haiku-5-5", "Claude Haiku 5.5", 4096, HAIKU_5_5),
    model("claude-opus-5", "Claude Opus 5", 512, OPUS),
    model("claude-sonnet-5", "Claude Sonnet 5", 1024, SONNET_5),
    model("claude-opus-4-8", "Claude Opus 4.8", 1024, OPUS),
    model("claude-opus-4-7", "Claude Opus 4.7", 2048, OPUS),
    model("claude-opus-4-6", "Claude Opus 4.6", 4096, OPUS),
    model("claude-sonnet-4-6", "Claude Sonnet 4.6", 1024, SONNET_4),
    model("claude-opus-4-5", "Claude Opus 4.5", 4096, OPUS).with_prefill(),
    model("claude-opus-4-5-20251101", "Claude Opus 4.5", 4096, OPUS).with_prefill(),
    model("claude-sonnet-4-5", "Claude Sonnet 4.5", 1024, SONNET_4).with_prefill(),
    model(
        "claude-sonnet-4-5-20250929",
        "Claude Sonnet 4.5",
        1024,
        SONNET_4,
    )
    .with_prefill(),
    model("claude-haiku-4-5", "Claude Haiku 4.5", 4096, HAIKU_4_5).with_prefill(),
    model(
        "claude-haiku-4-5-20251001",
        "Claude Haiku 4.5",
        4096,
        HAIKU_4_5,
    )
    .with_prefill(),
];

const fn model(
    id: &'static str,
    display_name: &'static str,
    cache_minimum: u64,
    price: Price,
) -> Model {
    Model {
        id,
        display_name,
        cache_minimum,
        prefill: false,
        price,
    }
}

impl Model {
    /// The body of `GET /v1/models/{id}`.
    pub(crate) fn json(&self) -> Value {
        json!({
            "type": "model",
            "id": self.id,
            "display_name": self.display_name,
            "created_at": "2026-01-01T00:00:00Z",
            "lifecycle": "active",
        })
    }

    const fn with_prefill(self) -> Self {
        Self {
            prefill: true,
            ..self
        }
    }
}

/// The model of that id, or `None`: then the API answers 404.
pub(crate) fn find(id: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.id == id)
}

/// The body of `GET /v1/models`: one page with all of them.
pub(crate) fn page() -> Value {
    json!({
        "data": MODELS.iter().map(Model::json).collect::<Vec<_>>(),
        "has_more": false,
        "first_id": MODELS.first().map(|model| model.id),
        "last_id": MODELS.last().map(|model| model.id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_id_is_known_once_and_a_made_up_one_is_not() {
        for model in MODELS {
            assert_eq!(
                MODELS.iter().filter(|other| other.id == model.id).count(),
                1,
                "{}",
                model.id
            );
            assert!(find(model.id).is_some());
        }
        assert!(find("claude-sonnet").is_none());
    }
}
