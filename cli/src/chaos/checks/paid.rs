//! What Claude was paid for, by its own ledger.

use std::{collections::BTreeMap, time::Duration};

use flotilla_common::money::Usd;

use super::{
    super::{
        claude::Call,
        evidence::Evidence,
        fleet::{ACK_WAIT, key},
        inject::Happened,
        load::Workload,
        people::RAISED_USD,
        scenes::SAVED_WITHIN,
        schedule::Part,
    },
    Found, runs_of,
};

/// The ceiling of the definition, in nano-dollars: `limits.usd` in `ceiling.yaml`.
const CEILING_NANO: u64 = 2_000_000;
/// The same of `limits.usd_per_day`.
const DAY_NANO: u64 = 15_000_000;
const DAY_MS: i64 = 86_400_000;
/// What goes wrong with an answer that comes whole in the end.
const ANSWERED_ALL_THE_SAME: [&str; 3] = ["hang", "slow_first_byte", "trickle"];

/// Calls that were paid twice, and what was wasted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::chaos) struct Paid {
    /// Of the same request, two replies that both came to a planner.
    pub(in crate::chaos) twice: Found,
    /// Others of these, which nothing explains but the word of the fleet.
    pub(in crate::chaos) owned_up: usize,
    /// Tokens that were paid for nothing: of replies that came to nobody, and of those that were paid again.
    pub(in crate::chaos) wasted_tokens: u64,
    /// The same, in nano-dollars.
    pub(in crate::chaos) wasted_nano: u64,
    /// All that was paid, in nano-dollars.
    pub(in crate::chaos) nano: u64,
}

/// Calls that were paid twice. A request whose reply was delivered must not be sent again, unless a fault explains that its planner
/// could not save it: see [`explains`].
pub(in crate::chaos) fn paid(evidence: &Evidence) -> Paid {
    let mut paid = Paid::default();
    let lease = evidence.lease.unwrap_or(ACK_WAIT);
    let mut by_body: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for call in &evidence.calls {
        paid.nano += call.usd_nano;
        if call.is_paid_reply() {
            by_body.entry(&call.body_sha256).or_default().push(call);
        } else {
            paid.wasted_tokens += call.tokens();
            paid.wasted_nano += call.usd_nano;
        }
    }
    let mut told = lost_replies(evidence);
    for calls in by_body.values_mut() {
        calls.sort_by_key(|call| call.started_ms);
        for two in calls.windows(2) {
            let [first, second] = two else { continue };
            paid.wasted_tokens += first.tokens();
            paid.wasted_nano += first.usd_nano;
            if is_no_reply(first)
                || evidence
                    .happened
                    .iter()
                    .any(|fault| explains(fault, first, second, lease))
            {
                paid.twice.explained += 1;
            } else if owns_up(&mut told, first) {
                paid.owned_up += 1;
            } else {
                let run = first.user_id.as_deref().unwrap_or("nobody");
                let twice = format!(
                    "a call of {run} was delivered at {} and paid again at {}",
                    first.finished_ms, second.started_ms
                );
                paid.twice.wrong.push(twice);
            }
        }
    }
    paid
}

/// How many replies each run's own journal tells as lost, of a fleet that is not the kit's own: of its calls that came to nothing, those
/// that the ledger has not seen fail. What failed and cost something is told there too, and was no reply.
fn lost_replies(evidence: &Evidence) -> BTreeMap<&str, u64> {
    if !evidence.attached {
        return BTreeMap::new();
    }
    let mut told = evidence.told_as_wasted();
    let failed = evidence.calls.iter();
    for call in failed.filter(|call| !call.is_paid_reply() && call.usd_nano > 0) {
        let run = call.user_id.as_deref().unwrap_or_default();
        if let Some(left) = told.get_mut(run) {
            *left = left.saturating_sub(1);
        }
    }
    told
}

/// Whether a run's own journal tells of a call that was lost, which is no other one. Where people may have killed a planner at any
/// moment, and nobody has written it down, that must do.
fn owns_up(told: &mut BTreeMap<&str, u64>, call: &Call) -> bool {
    let run = call.user_id.as_deref().unwrap_or_default();
    let Some(left) = told.get_mut(run).filter(|left| **left > 0) else {
        return false;
    };
    *left -= 1;
    true
}

/// Whether what was delivered was nothing that a planner could keep.
fn is_no_reply(call: &Call) -> bool {
    let fault = call.fault.as_deref();
    fault.is_some_and(|fault| !ANSWERED_ALL_THE_SAME.contains(&fault))
}

/// Whether a fault explains that a reply was not there when it was asked for again. Either its planner, that planner's way to Claude
/// or to Redis, or Redis itself was broken at a moment between the call's beginning and when its reply must have been saved. What was
/// over by then explains nothing: a planner that slept under its claim sees that right before it calls. Or Redis forgot what it had
/// been told before the second call began: of the claim, at most a lease before the call, or of the reply.
fn explains(fault: &Happened, first: &Call, second: &Call, lease: Duration) -> bool {
    let saved_ms = first.finished_ms.saturating_add(millis(SAVED_WITHIN));
    let claimed_ms = first.started_ms.saturating_sub(millis(lease));
    let own = |planner: &str| flotilla_sim::key_digest(&key(planner)) == first.key;
    let touches = match fault.kind.part() {
        Part::Role => own(fault.target),
        Part::Redis => true,
        Part::Link => fault
            .target
            .split_once('/')
            .is_some_and(|(planner, to)| to != "nats" && own(planner)),
        // Leases and claims go by no role's clock.
        Part::Clock | Part::Nats | Part::Input | Part::Claude | Part::Tool => false,
    };
    (touches && fault.overlaps(first.started_ms, saved_ms))
        || (fault.kind.loses_data() && fault.overlaps(claimed_ms, second.started_ms))
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Runs that cost more than their ceilings, and days. Explained: what exceeds one by no more than one call for each time that Redis
/// forgot.
pub(in crate::chaos) fn over_ceilings(evidence: &Evidence) -> Found {
    let mut found = Found::default();
    let mut of_all = Vec::new();
    for run in runs_of(evidence, Workload::Ceiling) {
        let own = |call: &&Call| call.user_id.as_deref() == Some(run.as_str());
        let calls: Vec<&Call> = evidence.calls.iter().filter(own).collect();
        let raised_ms = evidence.said.raised.get(run).copied();
        let ceilings = [(raised_ms, CEILING_NANO), (None, nano(RAISED_USD))];
        for (until_ms, ceiling) in ceilings {
            found.hold(evidence, &calls, until_ms, (run.as_str(), ceiling));
        }
        of_all.extend(calls);
    }
    let day = |call: &&Call| call.started_ms.div_euclid(DAY_MS);
    let days = (of_all.iter().map(day).min(), of_all.iter().map(day).max());
    // Around midnight (UTC) it is two days, each with its own allowance.
    if days.0 == days.1 {
        let raised_ms = evidence.said.day_raised_ms;
        found.hold(evidence, &of_all, raised_ms, ("the day", DAY_NANO));
    }
    found
}

impl Found {
    /// Whether calls that began before then have cost no more than a ceiling.
    fn hold(
        &mut self,
        evidence: &Evidence,
        calls: &[&Call],
        until_ms: Option<i64>,
        (who, ceiling): (&str, u64),
    ) {
        let before = |call: &&&Call| until_ms.is_none_or(|until| call.started_ms < until);
        let spent: u64 = calls.iter().filter(before).map(|call| call.usd_nano).sum();
        let over = spent.saturating_sub(ceiling);
        let dearest = calls.iter().map(|call| call.usd_nano).max().unwrap_or(0);
        let happened = evidence.happened.iter();
        let forgot = happened.filter(|fault| fault.kind.loses_data()).count() as u64;
        // Whether others had Redis forget cannot be seen from outside.
        let forgot = forgot + u64::from(evidence.attached);
        if over > dearest.saturating_mul(forgot) {
            let cost = format!("{who} cost {spent} billionths of a dollar, and may cost {ceiling}");
            self.wrong.push(cost);
        } else if over > 0 {
            self.explained += 1;
        }
    }
}

fn nano(usd: f64) -> u64 {
    Usd::from_dollars(usd).map_or(0, Usd::nano)
}
