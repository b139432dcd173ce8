//! Figures as people read them.

use flotilla_common::run::{Status, Summary};
use jiff::Timestamp;

use crate::style::{accent, bad, bold, dim, good, warn};

/// A status in its colour.
pub(crate) fn status(status: Status) -> String {
    match status {
        Status::Running => accent(status),
        Status::Completed => good(status),
        Status::Escalated | Status::Parked | Status::Waiting | Status::Paused => warn(status),
        Status::Failed | Status::Cancelled => bad(status),
    }
}

/// 1234567 as `1,234,567`.
pub(crate) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Milliseconds as people say them.
pub(crate) fn millis(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{:02} s", ms / 1_000, ms % 1_000 / 10),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

/// The totals of a run.
pub(crate) fn totals(run: &Summary) -> Vec<String> {
    let took = run
        .ended_at
        .unwrap_or_else(Timestamp::now)
        .duration_since(run.started_at);
    let took = u64::try_from(took.as_millis()).unwrap_or(0);
    let mut lines = vec![
        format!("{} {}", bold("  status "), status(run.status)),
        format!("{} {}", dim("  steps  "), run.steps),
        format!(
            "{} {} in, {} from cache, {} out, in {} Claude calls",
            dim("  tokens "),
            number(run.input_tokens),
            number(run.cache_read_tokens),
            number(run.output_tokens),
            run.model_calls
        ),
        format!("{} {}", dim("  cost   "), run.usd_nano),
        format!("{} {}", dim("  time   "), millis(took)),
    ];
    if let Some(from) = &run.forked {
        let (from, step) = (&from.run, &from.step);
        lines.push(format!("{} from {from} at {step}", dim("  forked ")));
    }
    if run.wasted_calls > 0 {
        lines.push(format!(
            "{} {} Claude call(s) lost with their planner, paid and repeated",
            warn("  wasted "),
            run.wasted_calls
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            (number(7).as_str(), number(1_234_567).as_str()),
            ("7", "1,234,567")
        );
        assert_eq!(
            (
                millis(12).as_str(),
                millis(1_250).as_str(),
                millis(61_000).as_str()
            ),
            ("12 ms", "1.25 s", "1 min 1 s")
        );
    }
}
