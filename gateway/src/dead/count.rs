//! How many letters there are, for dashboards.

use std::{collections::BTreeMap, time::Duration};

use flotilla_common::io::{letters::Letters, telemetry::metric};
use metrics::gauge;
use tokio::time::sleep;
use tracing::debug;

/// How often somebody looks whether the stream has changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Counts for ever.
pub(super) async fn run(letters: Letters) {
    let mut counted = None;
    let mut shown: BTreeMap<(String, String), f64> = BTreeMap::new();
    loop {
        match letters.state().await {
            Ok(state) if counted != Some(state) => match letters.look(0).await {
                Ok(looked) => {
                    counted = Some(state);
                    // What there is no more of is told once more, as none.
                    shown.values_mut().for_each(|count| *count = 0.0);
                    for letter in looked.letters {
                        let key = (letter.role, letter.kind.to_string());
                        *shown.entry(key).or_default() += 1.0;
                    }
                    for ((role, kind), count) in &shown {
                        gauge!(metric::DEAD_LETTERS, "role" => role.clone(), "kind" => kind.clone())
                            .set(*count);
                    }
                }
                Err(problem) => debug!(%problem, "dead letters are not counted now"),
            },
            Ok(_) => {}
            Err(problem) => debug!(%problem, "dead letters are not counted now"),
        }
        sleep(LOOK_EVERY).await;
    }
}
