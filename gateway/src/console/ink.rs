//! What templates call for figures and times: they hand over references.

use flotilla_common::{ids::RunId, money::Usd};
use jiff::Timestamp;

use super::words::{self, When};

pub(crate) fn when(at: &Timestamp, now: &Timestamp) -> When {
    When::new(*at, *now)
}

pub(crate) fn count(number: &u64) -> String {
    words::count(*number)
}

pub(crate) fn short(number: &u64) -> String {
    words::short(*number)
}

pub(crate) fn usd(amount: &Usd) -> String {
    words::usd(*amount)
}

pub(crate) fn short_id(run: &RunId) -> String {
    words::short_id(run)
}
