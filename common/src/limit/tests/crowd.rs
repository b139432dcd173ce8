//! A crowd of callers on one bucket, in simulated time: each flow has some who wait, and asks again as it was told.

use super::*;

/// One flow's callers.
pub(super) struct Caller {
    pub(super) flow: Flow,
    pub(super) want: Want,
    /// A new call every so many ms; 0: always eight that wait.
    pub(super) every_ms: u64,
    pub(super) granted: u64,
    /// Longest wait of a call, in ms.
    pub(super) waited_ms: u64,
    waiting: Vec<(u64, u64)>,
    next: u64,
}

impl Caller {
    pub(super) fn new(flow: Flow, want: Want, every_ms: u64) -> Self {
        Self {
            flow,
            want,
            every_ms,
            granted: 0,
            waited_ms: 0,
            waiting: Vec::new(),
            next: START,
        }
    }

    /// Lets new calls come, and gives the first that may ask now.
    fn ready(&mut self, now: u64) -> Option<usize> {
        if self.every_ms == 0 {
            self.waiting.resize(8, (now, now));
        } else if now >= self.next {
            self.next += self.every_ms;
            self.waiting.push((now, now));
        }
        self.waiting.iter().position(|(_, ask)| *ask <= now)
    }
}

const STEP_MS: u64 = 5;
const CALL_MS: u64 = 1_000;

/// Runs `callers` for so many ms. Every call takes exactly what was reserved for it, and a second.
pub(super) fn run(bucket: &mut Bucket, settings: &Settings, callers: &mut [Caller], for_ms: u64) {
    let mut out: Vec<(u64, Report)> = Vec::new();
    for now in (START..START + for_ms).step_by(usize::try_from(STEP_MS).unwrap()) {
        let due = |(at, _): &(u64, Report)| *at <= now;
        for (_, report) in out.extract_if(.., |item| due(item)) {
            bucket.report(now, settings, &report);
        }
        // Who comes first changes, as it does between processes.
        let first = usize::try_from(now / STEP_MS).unwrap() % callers.len();
        let (later, sooner) = callers.split_at_mut(first);
        for caller in sooner.iter_mut().chain(later) {
            while let Some(place) = caller.ready(now) {
                match bucket.reserve(now, settings, &caller.flow, caller.want, 0) {
                    Answer::Granted(grant) => {
                        let (since, _) = caller.waiting.swap_remove(place);
                        caller.waited_ms = caller.waited_ms.max(now - since);
                        caller.granted += 1;
                        let used = (grant.input as u64, grant.output as u64);
                        let report = settled(&caller.flow, caller.want, grant, Some(used));
                        out.push((now + CALL_MS, report));
                    }
                    Answer::Later { after_ms, .. } => {
                        let jitter = (now + place as u64 * 7) % (after_ms / 4 + 1);
                        caller.waiting[place].1 = now + after_ms.min(2_000) + jitter;
                    }
                }
            }
        }
    }
}
