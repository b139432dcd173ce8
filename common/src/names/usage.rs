//! Redis keys of the ledger of what is used. All of them are in one slot of a cluster: one script changes them together.

/// Hash {seq, at_ms, end_ms, started, ended}: how far the ledger has read the journal, when the last entry that it read was written,
/// when it was at the journal's end last (by Redis's clock), and the runs that began and ended until there. No TTL.
pub const AT: &str = "flotilla:{usage}:at";
/// The process that reads the journal for the ledger. Lives ten seconds, unless it says so again.
pub const LEAD: &str = "flotilla:{usage}:lead";
/// Hash run id -> JSON: runs that the ledger has seen begin, and not end. No TTL.
pub const RUNS: &str = "flotilla:{usage}:runs";

/// Hash of what was used in one day (UTC). Lives until 400 days after it.
#[must_use]
pub fn day(day: &str) -> String {
    format!("flotilla:{{usage}}:day:{day}")
}

/// Sorted set of `<tenant> <run>` by what the run had cost (nano-dollars) when it was charged last in that day: the dearest. Lives as
/// [`day`].
#[must_use]
pub fn dearest(day: &str) -> String {
    format!("flotilla:{{usage}}:dearest:{day}")
}

/// Hash of what happened in one minute (minutes since 1970). Lives 26 hours.
#[must_use]
pub fn minute(minute: i64) -> String {
    format!("flotilla:{{usage}}:minute:{minute}")
}
