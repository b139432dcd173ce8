//! How many calls came in when.

use super::Entry;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Default)]
struct Bucket {
    calls: u64,
    errors: u64,
    undelivered: u64,
    by_status: BTreeMap<u16, u64>,
}

/// A list in the order of time: every span of `bucket_ms` in which a call came in. `at_ms` is its beginning, in Unix
/// milliseconds and a multiple of `bucket_ms`.
pub(super) fn by_time(entries: &[Arc<Entry>], bucket_ms: u64) -> Value {
    let span = i64::try_from(bucket_ms.max(1)).unwrap_or(i64::MAX);
    let mut buckets: BTreeMap<i64, Bucket> = BTreeMap::new();
    for entry in entries {
        let at = entry.started_ms.div_euclid(span).saturating_mul(span);
        let bucket = buckets.entry(at).or_default();
        bucket.calls += 1;
        bucket.errors += u64::from(entry.status >= 400);
        bucket.undelivered += u64::from(!entry.delivered);
        *bucket.by_status.entry(entry.status).or_default() += 1;
    }
    let rows = buckets.iter().map(|(at_ms, bucket)| {
        let by_status: BTreeMap<String, u64> = bucket
            .by_status
            .iter()
            .map(|(status, calls)| (status.to_string(), *calls))
            .collect();
        json!({
            "at_ms": at_ms,
            "calls": bucket.calls,
            "errors": bucket.errors,
            "undelivered": bucket.undelivered,
            "by_status": by_status,
        })
    });
    Value::Array(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_in_the_span_they_came_in() {
        let entry = |started_ms, status| {
            Arc::new(Entry {
                started_ms,
                status,
                delivered: true,
                ..Entry::default()
            })
        };
        let entries = [entry(5999, 200), entry(7100, 200), entry(5000, 529)];
        let rate = by_time(&entries, 1000);
        let row = |index: usize| {
            let row = &rate[index];
            [&row["at_ms"], &row["calls"], &row["errors"]].map(|value| value.as_i64().unwrap())
        };
        assert_eq!([row(0), row(1)], [[5000, 2, 1], [7000, 1, 0]]);
        assert_eq!(rate[0]["by_status"], json!({"200": 1, "529": 1}));
        assert_eq!(rate.as_array().unwrap().len(), 2);
    }
}
