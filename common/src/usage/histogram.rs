//! How long things took, as counts in fixed buckets.

/// Upper ends of the buckets, in seconds: those of every `_seconds` histogram. One more has what took longer.
pub const SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];
/// What the buckets are called among the measures of a row.
const NAMES: [&str; SECONDS.len() + 1] = [
    "h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8", "h9", "h10", "h11", "h12", "h13", "h14",
];

/// Counts by bucket.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Durations([u64; NAMES.len()]);

impl Durations {
    /// The measure that counts what took so many seconds.
    #[must_use]
    pub fn measure(seconds: f64) -> &'static str {
        let mut names = SECONDS.iter().zip(NAMES);
        let found = names.find(|(end, _)| seconds <= **end);
        found.map_or("h14", |(_, name)| name)
    }

    /// Adds to the bucket of this measure, if it is one.
    pub fn add(&mut self, measure: &str, count: u64) {
        let found = NAMES.iter().position(|name| *name == measure);
        if let Some(bucket) = found.and_then(|at| self.0.get_mut(at)) {
            *bucket = bucket.saturating_add(count);
        }
    }

    /// All together.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The seconds that this part of them (0 to 1) took at most, by a straight line within its bucket; of what took longer than the
    /// last one ends, that end. `None`: there are none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts, for people")]
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let wanted = part * count as f64;
        let (mut below, mut begin) = (0.0, 0.0);
        for (bucket, end) in self.0.iter().zip(SECONDS) {
            let inside = *bucket as f64;
            if inside > 0.0 && below + inside >= wanted {
                return Some(begin + (end - begin) * ((wanted - below) / inside).clamp(0.0, 1.0));
            }
            below += inside;
            begin = end;
        }
        Some(begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_in_the_bucket_of_what_they_speak_of() {
        let mut durations = Durations::default();
        assert_eq!(durations.quantile(0.5), None);
        for seconds in [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 40.0] {
            durations.add(Durations::measure(seconds), 1);
        }
        let median = durations.quantile(0.5).unwrap();
        assert!((0.1..=0.25).contains(&median), "{median}");
        let slow = durations.quantile(0.95).unwrap();
        assert!((30.0..=60.0).contains(&slow), "{slow}");
        durations.add(Durations::measure(1e9), 1_000);
        assert_eq!(durations.quantile(0.95), Some(300.0));
        durations.add("calls", 5);
        assert_eq!(durations.count(), 1_010);
    }

    #[test]
    fn every_bucket_has_a_name_of_its_own() {
        let ends = SECONDS.into_iter().chain([f64::INFINITY]);
        let names: Vec<&str> = ends.map(Durations::measure).collect();
        assert_eq!(names, NAMES);
    }
}
