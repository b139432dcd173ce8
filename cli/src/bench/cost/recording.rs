//! What was recorded of a run: its event, and what the tools said. Recordings are made by rule from a seed, so that the same seed
//! gives the same bytes on every machine.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::Value;

use super::{alerts, builds};

/// One event and what the tools say in its run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recording {
    /// Where the gateway takes it.
    pub(super) path: &'static str,
    /// What is posted there.
    pub(super) body: Value,
    /// What each program prints.
    pub(super) programs: BTreeMap<&'static str, String>,
    /// What each address answers, use by use.
    pub(super) answers: BTreeMap<&'static str, Vec<Answer>>,
}

/// An answer over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Content,
}

/// What it holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Text(String),
    Json(Value),
}

/// 200 with this text.
pub(super) fn text(text: String) -> Answer {
    Answer {
        status: 200,
        body: Content::Text(text),
    }
}

/// This JSON with a status.
pub(super) fn json(status: u16, value: Value) -> Answer {
    Answer {
        status,
        body: Content::Json(value),
    }
}

/// So many recordings, alerts and failed builds in turn; fewer are the first ones of more.
pub(super) fn recordings(seed: u64, count: usize) -> Vec<Recording> {
    let mut rng = Rng::with_seed(seed);
    (0..count)
        .map(|index| {
            // Its own generator, so that one recording's length does not change the next one.
            let mut rng = rng.fork();
            match index % 2 {
                0 => alerts::recording(&mut rng, index / 2),
                _ => builds::recording(&mut rng, index / 2),
            }
        })
        .collect()
}

/// One of several.
pub(super) fn one_of<'a>(rng: &mut Rng, all: &[&'a str]) -> &'a str {
    rng.choice(all).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_recordings_and_another_one_others() {
        assert_eq!(recordings(1, 20), recordings(1, 20));
        assert_eq!(recordings(1, 20)[..8], recordings(1, 8));
        assert_ne!(recordings(1, 20), recordings(2, 20));
    }

    #[test]
    fn no_two_events_are_the_same_one() {
        let mut bodies: Vec<String> = recordings(1, 200)
            .iter()
            .map(|recording| recording.body.to_string())
            .collect();
        bodies.sort();
        bodies.dedup();
        assert_eq!(bodies.len(), 200);
    }
}
