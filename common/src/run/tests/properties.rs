//! What holds for every workflow, whatever Claude says, whatever tools give, and in whatever order it arrives.

use proptest::{collection::vec, prelude::*};

use super::{
    recording::{Recording, record},
    script::{Plan, PlannedStep},
    *,
};

fn step() -> impl Strategy<Value = PlannedStep> {
    let agent = (
        Just(vec![0, 1, 2]).prop_shuffle(),
        0_usize..4,
        any::<bool>(),
        1_u32..4,
        any::<bool>(),
        prop_oneof![Just(1_u32), 2_u32..5],
    );
    prop_oneof![
        Just(PlannedStep::Text),
        Just(PlannedStep::Answer),
        (0_usize..3, any::<bool>())
            .prop_map(|(tool, on_error)| PlannedStep::Tool { tool, on_error }),
        agent.prop_map(|(mut tools, count, escalate, loops, floor, parallel)| {
            tools.truncate(count);
            PlannedStep::Agent {
                tools,
                escalate,
                loops,
                floor,
                parallel,
            }
        }),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let limit = proptest::option::weighted(0.3, 1_u32..8);
    let minutes = proptest::option::weighted(0.3, 1_u32..10);
    (vec(step(), 1..5), limit, minutes).prop_map(|(steps, limit, minutes)| Plan {
        steps,
        limit,
        minutes,
    })
}

fn recording() -> impl Strategy<Value = Recording> {
    (plan(), vec(any::<u8>(), 0..400)).prop_map(|(plan, script)| record(plan.definition(), script))
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (entry, payload) in self.journal.iter().zip(&self.payloads) {
            writeln!(
                f,
                "{} {} {}",
                entry.seq,
                entry.address.subject(),
                String::from_utf8_lossy(payload)
            )?;
        }
        write!(f, "{:?}", self.live)
    }
}

impl Recording {
    fn rebuild(&self, entries: impl IntoIterator<Item = Entry>) -> Result<Run, FoldError> {
        Run::rebuild(&self.live.id, entries)
    }

    /// Places in the journal of entries that some decision covers by its hash: all that was folded before the last one.
    fn covered(&self) -> Vec<usize> {
        let (folded, _) = self.snapshots.last().expect("at least the end was decided");
        let covered = folded.len() - 1;
        let place = |seq: &u64| self.journal.iter().position(|entry| entry.seq == *seq);
        folded.iter().take(covered).filter_map(place).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    // Recording itself checks that no state waits for nothing, and that every entry folds twice like once.
    #[test]
    fn every_run_ends_and_decides_each_step_once(recording in recording()) {
        prop_assert!(recording.live.end.is_some());
        let mut decided = BTreeSet::new();
        for entry in &recording.journal {
            if let Body::Decided(link) = &entry.body {
                let no_step = matches!(link.decision, Decision::End { .. } | Decision::Park { .. });
                prop_assert!(no_step || decided.insert((link.step.to_string(), link.branch)), "{} twice", link.step);
            }
        }
        let text = serde_json::to_string(&recording.live).expect("JSON");
        let read: Run = serde_json::from_str(&text).expect("a run");
        prop_assert_eq!(&read, &recording.live);
        prop_assert_eq!(serde_json::to_string(&read).expect("JSON"), text);
    }

    // Repairs, waits and several tools at once included.
    #[test]
    fn every_request_of_a_step_starts_with_the_bytes_of_the_one_before(recording in recording()) {
        for (at, (step, later)) in recording.asked.iter().enumerate() {
            let Some((_, earlier)) = recording.asked[..at].iter().rev().find(|(other, _)| other == step) else {
                continue;
            };
            // Whoever is asked again in the same words, after a wait or a cut reply, may only get more room.
            let same = Request { max_tokens: earlier.max_tokens, ..later.clone() };
            if same != *earlier {
                super::wire::assert_grown(earlier, &same);
            }
        }
    }

    #[test]
    fn any_prefix_of_a_journal_rebuilds_and_can_go_on(recording in recording()) {
        for length in 0..=recording.journal.len() {
            let run = recording.rebuild(recording.journal[..length].iter().cloned());
            prop_assert!(run.is_ok(), "{length}: {run:?}");
        }
    }

    #[test]
    fn any_shuffle_with_any_duplicates_rebuilds_to_the_live_state(
        recording in recording(),
        order in vec(any::<prop::sample::Index>(), 0..120),
    ) {
        let extra = order.iter().map(|index| index.get(&recording.journal).clone());
        let mut shuffled: Vec<_> = extra.chain(recording.journal.iter().rev().cloned()).collect();
        for (at, index) in order.iter().enumerate() {
            let other = index.index(shuffled.len());
            shuffled.swap(at % recording.journal.len(), other);
        }
        let rebuilt = recording.rebuild(shuffled);
        prop_assert_eq!(rebuilt.as_ref(), Ok(&recording.live));
        for (folded, state) in &recording.snapshots {
            let known = recording.journal.iter().rev().filter(|entry| folded.contains(&entry.seq));
            let rebuilt = recording.rebuild(known.cloned());
            prop_assert_eq!(rebuilt.as_ref(), Ok(state));
        }
    }

    #[test]
    fn a_run_ended_stays_ended_whatever_comes(recording in recording(), seq in any::<u64>()) {
        let mut run = recording.live.clone();
        for entry in &recording.journal {
            let moved = Entry { seq, ..entry.clone() };
            prop_assert_eq!(run.fold(&moved), Ok(Folded::Old));
        }
        prop_assert_eq!(run, recording.live);
    }

    #[test]
    fn any_changed_byte_of_what_the_chain_covers_is_seen(
        recording in recording(),
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        let covered = recording.covered();
        prop_assume!(!covered.is_empty());
        let place = *which.get(&covered);
        let mut payload = recording.payloads[place].clone();
        let at = at.index(payload.len());
        payload[at] ^= flip;
        let mut journal = recording.journal.clone();
        let old = &journal[place];
        // What cannot be read any more is seen even earlier.
        if let Ok(changed) = Entry::decode(old.seq, old.address.clone(), &payload) {
            journal[place] = changed;
            let rebuilt = recording.rebuild(journal);
            prop_assert!(matches!(rebuilt, Err(FoldError::Broken { .. })), "entry {place}: {rebuilt:?}");
        }
    }

    #[test]
    fn any_missing_entry_that_the_chain_covers_is_seen(recording in recording(), which in any::<prop::sample::Index>()) {
        let covered = recording.covered();
        prop_assume!(!covered.is_empty());
        let mut journal = recording.journal.clone();
        journal.remove(*which.get(&covered));
        let rebuilt = recording.rebuild(journal);
        prop_assert!(matches!(rebuilt, Err(FoldError::Broken { .. })), "{rebuilt:?}");
    }
}
