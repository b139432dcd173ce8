//! Who in this planner's hands waits for the rate limits.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use flotilla_common::limit::Flow;

/// Counts those that wait, by flow.
pub(crate) struct Waiting {
    flows: Mutex<HashMap<Flow, usize>>,
    slots: usize,
}

/// One that waits, for as long as this lives.
pub(crate) struct Here<'a> {
    waiting: &'a Waiting,
    flow: Flow,
}

impl Waiting {
    /// Of a planner with so many slots.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            flows: Mutex::default(),
            slots,
        }
    }

    pub(crate) fn count(&self, flow: &Flow) -> Here<'_> {
        *self.lock().entry(flow.clone()).or_default() += 1;
        Here {
            waiting: self,
            flow: flow.clone(),
        }
    }

    /// Whether more than half of the slots wait, and of no flow more than of this.
    pub(crate) fn must_make_room(&self, flow: &Flow) -> bool {
        let flows = self.lock();
        let most = flows.values().max().copied().unwrap_or(0);
        flows.values().sum::<usize>() * 2 > self.slots && flows.get(flow) == Some(&most)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Flow, usize>> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        let mut flows = self.waiting.lock();
        if let Some(count) = flows.get_mut(&self.flow) {
            *count -= 1;
            if *count == 0 {
                flows.remove(&self.flow);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(tenant: &str) -> Flow {
        Flow {
            tenant: tenant.parse().unwrap(),
            workflow: "w".parse().unwrap(),
        }
    }

    #[test]
    fn the_flow_with_the_most_makes_room_when_more_than_half_of_the_slots_wait() {
        let waiting = Waiting::new(6);
        let (heavy, light) = (flow("heavy"), flow("light"));
        let _one = waiting.count(&light);
        let two = [waiting.count(&heavy), waiting.count(&heavy)];
        assert!(!waiting.must_make_room(&heavy), "half is not too many");
        let third = waiting.count(&heavy);
        assert!(waiting.must_make_room(&heavy));
        assert!(!waiting.must_make_room(&light));
        drop((third, two));
        assert!(!waiting.must_make_room(&heavy));
        assert_eq!(waiting.lock().len(), 1, "who is gone leaves nothing");
    }
}
