//! Evidence that should be there and is not: what nobody has seen proves nothing.

use std::collections::BTreeMap;

use super::super::evidence::Evidence;

/// What is missing of the evidence of a fleet that is not the kit's own: it may have been looked for in the wrong places. In a fleet of
/// the kit's own the places are right, and what is missing is lost.
pub(in crate::chaos) fn missing(evidence: &Evidence) -> Vec<String> {
    if !evidence.attached {
        return Vec::new();
    }
    let missing = [unread(evidence), unbooked(evidence)];
    missing.into_iter().flatten().collect()
}

/// Runs that the gateway accepted and that this journal does not know.
fn unread(evidence: &Evidence) -> Option<String> {
    let has_none = |run| evidence.journal.get(run).is_none_or(Vec::is_empty);
    let accepted = evidence.accepted.iter().map(|event| &event.run);
    let unread: Vec<_> = accepted.filter(|run| has_none(run)).collect();
    let first = unread.first()?;
    Some(format!(
        "the journal has no entry of {} runs that were accepted, {first} among them: is FLOTILLA_NATS_URL that fleet's?",
        unread.len()
    ))
}

/// Runs whose journal names more replies than the ledger has calls of them that cost something. One that broke off for the server may
/// have come whole to its planner, so these count too.
fn unbooked(evidence: &Evidence) -> Option<String> {
    let mut booked: BTreeMap<&str, u64> = BTreeMap::new();
    for call in &evidence.calls {
        let cost = call.is_paid_reply() || call.usd_nano > 0;
        if let Some(run) = call.user_id.as_deref().filter(|_| cost) {
            *booked.entry(run).or_default() += 1;
        }
    }
    let told = evidence.told_as_answered().into_iter();
    let gaps = told.filter_map(|(run, told)| {
        let booked = booked.get(run).copied().unwrap_or(0);
        (told > booked).then_some((run, told, booked))
    });
    let gaps: Vec<_> = gaps.collect();
    let (run, told, booked) = gaps.first()?;
    Some(format!(
        "Claude's ledger is not whole: it has fewer calls than the journal has replies, of {} runs; of {run} {booked}, and {told} replies. \
Is FLOTILLA_SIM_URL that fleet's, and was it started anew, or emptied?",
        gaps.len()
    ))
}
