//! Counters that are there from the start on: a rate over one misses its first increment, unless it was 0 before.

use flotilla_common::{beat::Role, dead::LetterKind, io::telemetry::metric};
use metrics::{counter, gauge};

/// Where events come from, as [`metric::EVENTS`] tells it.
const SOURCES: [&str; 5] = ["http", "hook", "console", "alertmanager", "nats"];
const OUTCOMES: [&str; 5] = ["accepted", "duplicate", "ignored", "refused", "unavailable"];

/// Begins all whose labels are known.
pub(crate) fn begin() {
    for source in SOURCES {
        for outcome in OUTCOMES {
            counter!(metric::EVENTS, "source" => source, "outcome" => outcome).increment(0);
        }
    }
    for role in Role::ALL {
        for kind in LetterKind::ALL {
            let kind = kind.to_string();
            counter!(metric::DEAD_LETTERS_CAME, "role" => role.as_str(), "kind" => kind)
                .increment(0);
        }
    }
    for outcome in ["redriven", "dropped", "refused"] {
        counter!(metric::DEAD_LETTERS_SETTLED, "outcome" => outcome).increment(0);
    }
    for kind in ["run", "list"] {
        counter!(metric::WATCHERS_LAGGED, "kind" => kind).increment(0);
        gauge!(metric::WATCHERS, "kind" => kind).increment(0.0);
    }
}
