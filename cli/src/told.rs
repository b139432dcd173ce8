//! Signals in a line: what a run was told, by whom, why, and from where.

use flotilla_common::{
    entry::Signalled,
    ids::{Name, Slot},
};

use crate::style::one_line;

/// Longest words of people in a line, in characters.
const WORDS_MAX: usize = 300;

/// What somebody told a run.
pub(crate) fn in_words(signal: &Name, signalled: &Signalled) -> String {
    let Signalled {
        id: _,
        by,
        reason,
        usd_nano,
        step,
        from,
        text,
        good,
        compensate,
        approval,
        letter,
    } = signalled;
    let mut line = signal.to_string();
    if let Some(judged) = approval {
        let slot = Slot {
            step: judged.step.clone(),
            branch: judged.branch,
        };
        line += &format!(" {slot}");
    }
    if let Some(letter) = letter {
        line += &format!(" letter {}", letter.letter);
    }
    if let Some(usd) = usd_nano {
        line += &format!(" to {usd}");
    }
    if let Some(step) = step {
        line += &format!(" (step {step})");
    }
    match good {
        Some(true) => line += " (good)",
        Some(false) => line += " (bad)",
        None => {}
    }
    let by = by.as_deref().unwrap_or("somebody");
    line += &format!(" by {}", one_line(by, 60));
    let words: Vec<String> = [text, reason]
        .into_iter()
        .flatten()
        .map(|words| one_line(words, WORDS_MAX))
        .collect();
    if !words.is_empty() {
        line += &format!(": {}", words.join(" · "));
    }
    let with = approval.as_ref().and_then(|judged| judged.with.as_ref());
    if let Some(with) = with {
        let with = one_line(&with.to_string(), WORDS_MAX);
        line += &format!(" · with {with} instead");
    }
    if *compensate {
        line += " · what was done is undone";
    }
    if let Some(from) = from {
        line += &format!(" · from {}", one_line(from, 60));
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(signal: &str, signalled: serde_json::Value) -> String {
        let signalled = serde_json::from_value(signalled).unwrap();
        in_words(&signal.parse().unwrap(), &signalled)
    }

    #[test]
    fn a_signal_says_what_who_why_and_from_where() {
        let approval =
            json!({"step": "triage/3", "branch": 1, "hash": "ab", "with": {"host": "b"}});
        let said = json!({"id": "1", "by": "ana", "reason": "the other one", "from": "10.0.0.1", "approval": approval});
        assert_eq!(
            words("approve", said),
            r#"approve triage/3#1 by ana: the other one · with {"host":"b"} instead · from 10.0.0.1"#
        );
        let raise = json!({"id": "1", "usd_nano": 2_000_000_000_u64, "step": "triage"});
        assert_eq!(
            words("raise", raise),
            "raise to $2.00 (step triage) by somebody"
        );
        let cancel = json!({"id": "1", "by": "a\u{1b}b", "reason": "enough", "compensate": true});
        assert_eq!(
            words("cancel", cancel),
            "cancel by a b: enough · what was done is undone"
        );
        let feedback = json!({"id": "1", "by": "ana", "text": "too\nlate", "good": false});
        assert_eq!(
            words("feedback", feedback),
            "feedback (bad) by ana: too late"
        );
    }
}
