//! Which letters have one cause: a short hash over who gave up, on what kind of message, and why, without what differs from one
//! message to the next.

use sha2::{Digest as _, Sha256};

use crate::ids::hex;

/// Bytes of the hash: 12 digits are easy to type, and causes are few.
const BYTES: usize = 6;
/// Characters of a reason that count: what is further behind may have been cut off.
const REASON_LENGTH_MAX: usize = 240;
/// Letters of a word that may be a number in hexadecimal, from here on.
const HEX_LENGTH_MIN: usize = 12;

/// The print of a letter: the same for all that came to be for one reason, whatever they are about.
#[must_use]
pub fn fingerprint(role: &str, subject: &str, reason: &str) -> String {
    let hash = Sha256::new()
        .chain_update(role)
        .chain_update([0])
        .chain_update(shape(subject))
        .chain_update([0])
        .chain_update(without_values(reason))
        .finalize();
    hex(hash.get(..BYTES).unwrap_or_default())
}

/// A subject without the run's id.
fn shape(subject: &str) -> String {
    let tokens = subject.split('.').enumerate();
    let runs = subject.starts_with("runs.");
    let tokens = tokens.map(|(at, token)| if runs && at == 1 { "*" } else { token });
    tokens.collect::<Vec<_>>().join(".")
}

/// A reason without numbers, ids and what is quoted.
fn without_values(reason: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in unquoted(reason).split_whitespace() {
        let word: String = if is_value(word) {
            "#".to_owned()
        } else {
            word.to_owned()
        };
        // How many there are of them differs, too.
        if word != "#" || words.last().is_none_or(|last| last != "#") {
            words.push(word);
        }
    }
    words.join(" ").chars().take(REASON_LENGTH_MAX).collect()
}

/// Each quoted part becomes a mark; one whose end was cut off goes to the end.
fn unquoted(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['`', '"']) {
        let (before, quoted) = rest.split_at(at);
        clean.push_str(before);
        clean.push_str(" # ");
        let mark = if quoted.starts_with('`') { '`' } else { '"' };
        let inside = quoted.get(1..).unwrap_or_default();
        rest = inside.split_once(mark).map_or("", |(_, after)| after);
    }
    clean.push_str(rest);
    clean
}

fn is_value(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '#');
    let is_mark = word.is_empty() || word == "#";
    let is_hex = word.len() >= HEX_LENGTH_MIN && word.chars().all(|c| c.is_ascii_hexdigit());
    is_mark || is_hex || word.chars().any(char::is_numeric)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::RunId;

    fn run(id: u64) -> RunId {
        RunId::derive(&"w".parse().expect("a name"), "s", &id.to_string())
    }

    fn of_version(run: &RunId, version: u32, seq: u64) -> String {
        let subject = format!("runs.{run}.resulted.df");
        let reason = format!(
            "the payload of `{subject}` has version {version}, this flotilla reads version 1; at entry {seq} of {run}"
        );
        fingerprint("planner", &subject, &reason)
    }

    #[test]
    fn another_role_another_subject_and_another_reason_are_other_causes() {
        let prints = [
            fingerprint("planner", "runs.a.started.w", "it is broken"),
            fingerprint("executor", "runs.a.started.w", "it is broken"),
            fingerprint("planner", "runs.a.started.x", "it is broken"),
            fingerprint("planner", "events.a.started.w", "it is broken"),
            fingerprint("planner", "runs.a.started.w", "it is late"),
        ];
        let different: std::collections::BTreeSet<_> = prints.iter().collect();
        assert_eq!(different.len(), prints.len());
        assert!(prints.iter().all(|print| print.len() == 2 * BYTES));
    }

    #[test]
    fn what_was_cut_off_within_a_quotation_is_no_cause_of_its_own() {
        let cut = |value: &str| fingerprint("gateway", "events.a", &format!("no `{value}"));
        assert_eq!(cut("one long value"), cut("other"));
    }

    proptest! {
        #[test]
        fn no_print_depends_on_ids_numbers_or_sequences(
            ids in any::<(u64, u64)>(), versions in any::<(u32, u32)>(), seqs in any::<(u64, u64)>(),
        ) {
            prop_assert_eq!(
                of_version(&run(ids.0), versions.0, seqs.0),
                of_version(&run(ids.1), versions.1, seqs.1)
            );
        }

        #[test]
        fn no_print_depends_on_what_is_quoted(
            one in "[^`]{0,400}", other in "[^`]{0,400}", mark in prop::sample::select(vec!['`', '"']),
        ) {
            let print = |value: &str| {
                let value = value.replace('"', "");
                fingerprint("gateway", "events.a.b", &format!("{mark}{value}{mark} is no field, line 3"))
            };
            prop_assert_eq!(print(&one), print(&other));
        }

        #[test]
        fn any_text_has_a_print_and_always_the_same(role in ".*", subject in ".*", reason in ".*") {
            let print = fingerprint(&role, &subject, &reason);
            prop_assert_eq!(print.len(), 2 * BYTES);
            prop_assert_eq!(fingerprint(&role, &subject, &reason), print);
        }
    }
}
