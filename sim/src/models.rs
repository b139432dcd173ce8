//! The models this server knows, with what its prompt cache needs to know about each.

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
}

/// The cache minimums of the 5.5 generation are not published; each takes its predecessor's.
const MODELS: &[Model] = &[
    model("claude-fable-5-1", "Claude Fable 5.1", 512, false),
    model("claude-opus-5-5", "Claude Opus 5.5", 512, false),
    model("claude-sonnet-5-5", "Claude Sonnet 5.5", 1024, false),
    model("claude-haiku-5-5", "Claude Haiku 5.5", 4096, false),
    model("claude-opus-5", "Claude Opus 5", 512, false),
    model("claude-sonnet-5", "Claude Sonnet 5", 1024, false),
    model("claude-opus-4-8", "Claude Opus 4.8", 1024, false),
    model("claude-opus-4-7", "Claude Opus 4.7", 2048, false),
    model("claude-opus-4-6", "Claude Opus 4.6", 4096, false),
    model("claude-sonnet-4-6", "Claude Sonnet 4.6", 1024, false),
    model("claude-opus-4-5", "Claude Opus 4.5", 4096, true),
    model("claude-opus-4-5-20251101", "Claude Opus 4.5", 4096, true),
    model("claude-sonnet-4-5", "Claude Sonnet 4.5", 1024, true),
    model(
        "claude-sonnet-4-5-20250929",
        "Claude Sonnet 4.5",
        1024,
        true,
    ),
    model("claude-haiku-4-5", "Claude Haiku 4.5", 4096, true),
    model("claude-haiku-4-5-20251001", "Claude Haiku 4.5", 4096, true),
];

const fn model(
    id: &'static str,
    display_name: &'static str,
    cache_minimum: u64,
    prefill: bool,
) -> Model {
    Model {
        id,
        display_name,
        cache_minimum,
        prefill,
    }
}

/// The model of that id, or `None`: then the API answers 404.
pub(crate) fn find(id: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.id == id)
}

/// The body of `GET /v1/models`: one page with all of them.
pub(crate) fn page() -> Value {
    let entry = |model: &Model| json!({"type": "model", "id": model.id, "display_name": model.display_name, "created_at": "2026-01-01T00:00:00Z", "lifecycle": "active"});
    json!({
        "data": MODELS.iter().map(entry).collect::<Vec<_>>(),
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
