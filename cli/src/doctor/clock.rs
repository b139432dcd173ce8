//! Whether clocks agree. Leases are by Redis's clock, timers by nats-server's, limits of time by that of the role that writes: what
//! is off by more than a moment makes waits longer or shorter than somebody meant.

use jiff::{SignedDuration, Timestamp};

use super::finding::Finding;

/// How far clocks may be apart before people are told.
const APART_MAX: SignedDuration = SignedDuration::from_secs(1);

/// A time that somebody told, between two looks at this machine's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    /// When it was asked for.
    pub(super) before: Timestamp,
    /// What was told.
    pub(super) theirs: Timestamp,
    /// When it was there.
    pub(super) after: Timestamp,
    /// How much later it may have been than was told: a `Date` in HTTP is cut to the second.
    pub(super) coarse: SignedDuration,
}

/// What is surely between the two clocks, whatever the answer's way took: positive where this machine's is ahead.
fn apart(told: Told) -> SignedDuration {
    let latest = told
        .theirs
        .checked_add(told.coarse)
        .unwrap_or(Timestamp::MAX);
    if latest < told.before {
        told.before.duration_since(latest)
    } else if told.theirs > told.after {
        told.after.duration_since(told.theirs)
    } else {
        SignedDuration::ZERO
    }
}

/// What there is to say of somebody's clock.
pub(super) fn judge(whose: &str, told: Told) -> Finding {
    let apart = apart(told);
    let seconds = apart.unsigned_abs().as_secs_f64();
    if apart.abs() <= APART_MAX {
        return Finding::ok("clock", format!("as {whose}'s, to the second"));
    }
    let way = if apart.is_positive() {
        "ahead of"
    } else {
        "behind"
    };
    Finding::warn(
        "clock",
        format!("this machine's clock is {seconds:.1} s {way} {whose}'s"),
    )
    .todo(
        "let both be set by NTP (systemd-timesyncd, chrony): timers, leases and time limits are by different clocks of the fleet",
    )
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    fn at(second: f64) -> Timestamp {
        let base = Timestamp::from_second(1_800_000_000).unwrap();
        base.checked_add(SignedDuration::from_secs_f64(second))
            .unwrap()
    }

    fn of(before: f64, theirs: f64, after: f64, coarse: i64) -> Finding {
        let told = Told {
            before: at(before),
            theirs: at(theirs),
            after: at(after),
            coarse: SignedDuration::from_secs(coarse),
        };
        judge("Redis", told)
    }

    #[test]
    fn clocks_agree_within_what_the_way_took_and_a_second() {
        for (before, theirs, after, coarse) in [
            (0.0, 0.1, 0.2, 0),
            (0.0, 0.9, 0.0, 0),
            (0.0, -0.9, 0.0, 0),
            (0.0, -1.5, 0.1, 1),
            (0.0, 3.0, 4.0, 0),
        ] {
            let found = of(before, theirs, after, coarse);
            assert_eq!(found.verdict, Verdict::Ok, "{found:?}");
        }
    }

    #[test]
    fn a_clock_that_is_off_is_told_with_how_much_and_which_way() {
        let ahead = of(0.0, -90.0, 0.2, 1);
        assert_eq!(ahead.verdict, Verdict::Warn);
        assert_eq!(
            ahead.says,
            "this machine's clock is 89.0 s ahead of Redis's"
        );
        let behind = of(0.0, 3_600.2, 0.2, 0);
        assert_eq!(
            behind.says,
            "this machine's clock is 3600.0 s behind Redis's"
        );
        assert!(behind.todo.unwrap().contains("NTP"));
    }
}
