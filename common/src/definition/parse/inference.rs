//! How a step asks Claude: its models, its patience, its ceiling.

use std::time::Duration;

use serde_saphyr::{Location, Spanned};

use super::{
    super::{
        step::{Inference, Unavailable},
        yaml::{AgentYaml, ClaudeYaml, ReviewYaml},
    },
    Parser,
};
use crate::{claude::Model, money::Usd, units::Span};

const MAX_TOKENS_MAX: u32 = 64_000;
/// Models that a step may fall back to: more is a mistake.
const FALLBACKS_MAX: usize = 5;

/// What `claude` and `agent` steps and reviews have in common.
pub(super) struct InferenceYaml<'y> {
    model: Option<&'y Spanned<String>>,
    fallback: &'y [Spanned<String>],
    max_tokens: Option<&'y Spanned<u32>>,
    patience: Option<&'y Spanned<Span>>,
    unavailable: Unavailable,
    usd: Option<&'y Spanned<f64>>,
}

// The shapes cannot share the keys as a struct of their own: serde cannot refuse unknown keys where one is flattened.
macro_rules! inference_of {
    ($shape:ty, $yaml:ident => $unavailable:expr) => {
        impl<'y> From<&'y $shape> for InferenceYaml<'y> {
            fn from($yaml: &'y $shape) -> Self {
                Self {
                    model: $yaml.model.as_ref(),
                    fallback: &$yaml.fallback,
                    max_tokens: $yaml.max_tokens.as_ref(),
                    patience: $yaml.patience.as_ref(),
                    unavailable: $unavailable,
                    usd: $yaml.usd.as_ref(),
                }
            }
        }
    };
}

inference_of!(ClaudeYaml, yaml => yaml.unavailable);
inference_of!(AgentYaml, yaml => yaml.unavailable);
inference_of!(ReviewYaml, yaml => Unavailable::default());

impl Parser<'_, '_> {
    /// `need` is `max_tokens` where the step does not say it; `place` is where a missing model is told.
    pub(super) fn inference(
        &mut self,
        yaml: &InferenceYaml<'_>,
        need: u32,
        place: Location,
    ) -> Option<Inference> {
        let model = self.model(yaml.model, place);
        let mut models: Vec<Model> = model.into_iter().collect();
        for given in yaml.fallback {
            let Some(model) = self.model(Some(given), place) else {
                continue;
            };
            if models.iter().any(|other| other.id == model.id) {
                let message = format!("`{}` is asked already before this", given.value);
                self.report
                    .at(given.referenced, message, Some("keep one of them"));
            }
            models.push(model);
        }
        if let Some(last) = yaml.fallback.get(FALLBACKS_MAX) {
            let message = format!("at most {FALLBACKS_MAX} models can be fallen back to");
            self.report.at(last.referenced, message, None);
        }
        self.within("max_tokens", yaml.max_tokens, MAX_TOKENS_MAX);
        Some(Inference {
            models: (models.len() == 1 + yaml.fallback.len()).then(|| models.into())?,
            max_tokens: yaml
                .max_tokens
                .map_or(need.min(MAX_TOKENS_MAX), |given| given.value),
            patience: yaml.patience.and_then(|given| self.span("patience", given)),
            unavailable: yaml.unavailable,
            usd: yaml.usd.and_then(|given| self.usd("usd", given)),
        })
    }

    /// A time of more than nothing.
    pub(super) fn span(&mut self, what: &str, given: &Spanned<Span>) -> Option<Duration> {
        if given.value.0.is_zero() {
            let message = format!("`{what}` must be more than 0");
            self.report.at(given.referenced, message, None);
            return None;
        }
        Some(given.value.0)
    }

    /// An amount of dollars.
    pub(super) fn usd(&mut self, what: &str, given: &Spanned<f64>) -> Option<Usd> {
        let usd = Usd::from_dollars(given.value).filter(|usd| *usd > Usd::default());
        if usd.is_none() {
            let message = format!(
                "`{what}` must be dollars from 0.000000001 to 1000000, not {}",
                given.value
            );
            self.report.at(given.referenced, message, None);
        }
        usd
    }
}
