//! Who is within their fair share: a virtual time per tenant and per flow (GCRA), which runs ahead of the clock as they use the
//! scope faster than an equal share of it.

use std::collections::HashMap;

use super::{Flow, Moved};
use crate::ids::Name;

/// Who asked within this many ms shares.
const ACTIVE_MS: f64 = 10_000.0;
/// How far ahead a virtual time may be and still count as within the share, in ms.
const TOLERANCE_MS: f64 = 1_000.0;
/// How far ahead a virtual time gets by calls that fit, in ms: who used what was spare is not made to pay for it for long.
const AHEAD_MAX_MS: f64 = 5_000.0;
/// Weight of the newest call in what is learned of a flow.
const LEARN: f64 = 0.2;
/// Smallest learned ratio: nothing is expected to be free.
const RATIO_MIN: f64 = 0.01;
/// Largest ratio of counted to estimated input that one call teaches.
const INPUT_RATIO_MAX: f64 = 4.0;
/// Tenants or flows kept before those not seen for long are dropped.
const KEPT_MAX: usize = 10_000;
/// How long those are kept then, in ms.
const KEPT_MS: f64 = 60_000.0;

/// Within the share, or which share is used up: how much headroom a call must leave, in parts of the headroom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    /// 0 where the flow is within its share (whatever its siblings use: all flows' shares together are the whole rate), 1 where
    /// it is not but its tenant is, 2 where neither is.
    pub(super) headroom: f64,
    /// How long until it is within the share, in ms.
    pub(super) wait_ms: f64,
    pub(super) tenants: f64,
    pub(super) flows: f64,
}

#[derive(Debug, Clone)]
struct TenantState {
    time: Option<f64>,
    asked: f64,
}

#[derive(Debug, Clone)]
struct FlowState {
    time: Option<f64>,
    asked: f64,
    input: f64,
    output: f64,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Shares {
    tenants: HashMap<Name, TenantState>,
    flows: HashMap<Flow, FlowState>,
}

impl Shares {
    /// Notes that a flow asks, and says where it stands.
    pub(super) fn ask(&mut self, now: f64, flow: &Flow) -> Place {
        self.drop_old(now);
        let tenant = self
            .tenants
            .entry(flow.tenant.clone())
            .or_insert(TenantState {
                time: None,
                asked: now,
            });
        tenant.asked = now;
        let tenant_ahead = tenant.time.unwrap_or(now) - now;
        let state = self.flows.entry(flow.clone()).or_insert(FlowState {
            time: None,
            asked: now,
            input: 1.0,
            output: 1.0,
        });
        state.asked = now;
        let flow_ahead = state.time.unwrap_or(now) - now;
        let siblings = |(other, state): &(&Flow, &FlowState)| {
            other.tenant == flow.tenant && is_active(state.asked, now)
        };
        let tenants = self.active_tenants(now) as f64;
        let flows = tenants * self.flows.iter().filter(siblings).count() as f64;
        Place {
            headroom: if flow_ahead <= TOLERANCE_MS {
                0.0
            } else if tenant_ahead <= TOLERANCE_MS {
                1.0
            } else {
                2.0
            },
            wait_ms: (flow_ahead - TOLERANCE_MS).max(0.0),
            tenants,
            flows,
        }
    }

    pub(super) fn active_tenants(&self, now: f64) -> usize {
        let active = |state: &&TenantState| is_active(state.asked, now);
        self.tenants.values().filter(active).count()
    }

    pub(super) fn active_flows(&self, now: f64) -> usize {
        let active = |state: &&FlowState| is_active(state.asked, now);
        self.flows.values().filter(active).count()
    }

    /// What a flow's calls take, as parts of their estimate and of their `max_tokens`.
    pub(super) fn ratios(&self, flow: &Flow) -> (f64, f64) {
        self.flows
            .get(flow)
            .map_or((1.0, 1.0), |state| (state.input, state.output))
    }

    /// Moves the virtual times on by a call that the scope needs `cost` ms for at its full rate.
    pub(super) fn charge(
        &mut self,
        now: f64,
        flow: &Flow,
        place: Place,
        request: f64,
        cost: f64,
    ) -> Moved {
        let mut moved = Moved {
            request,
            cost,
            tenants: place.tenants,
            flows: place.flows,
            tenant: 0.0,
            flow: 0.0,
        };
        if let Some(state) = self.tenants.get_mut(&flow.tenant) {
            (state.time, moved.tenant) = ahead(state.time, now, cost * place.tenants);
        }
        if let Some(state) = self.flows.get_mut(flow) {
            (state.time, moved.flow) = ahead(state.time, now, cost * place.flows);
        }
        moved
    }

    /// Corrects the virtual times by what a call really cost.
    pub(super) fn settle(&mut self, now: f64, flow: &Flow, moved: &Moved, cost: f64) {
        let saved = moved.cost - cost;
        if let Some(state) = self.tenants.get_mut(&flow.tenant) {
            state.time = back(state.time, now, saved * moved.tenants, moved.tenant);
        }
        if let Some(state) = self.flows.get_mut(flow) {
            state.time = back(state.time, now, saved * moved.flows, moved.flow);
        }
    }

    /// Learns from what a call took, as parts of its estimate and of its `max_tokens`.
    pub(super) fn learn(&mut self, flow: &Flow, input: Option<f64>, output: Option<f64>) {
        let Some(state) = self.flows.get_mut(flow) else {
            return;
        };
        if let Some(input) = input {
            state.input = closer(state.input, input.min(INPUT_RATIO_MAX));
        }
        if let Some(output) = output {
            state.output = closer(state.output, output.min(1.0));
        }
    }

    fn drop_old(&mut self, now: f64) {
        if self.flows.len() > KEPT_MAX {
            self.flows.retain(|_, state| now - state.asked < KEPT_MS);
        }
        if self.tenants.len() > KEPT_MAX {
            self.tenants.retain(|_, state| now - state.asked < KEPT_MS);
        }
    }
}

fn is_active(asked: f64, now: f64) -> bool {
    asked > now - ACTIVE_MS
}

fn closer(ratio: f64, seen: f64) -> f64 {
    (ratio + LEARN * (seen - ratio)).max(RATIO_MIN)
}

/// The virtual time after a call, and how far it moved.
fn ahead(time: Option<f64>, now: f64, by: f64) -> (Option<f64>, f64) {
    let from = time.unwrap_or(now).max(now);
    // One call may take it beyond the bound: else a flow of large calls would pay for only a part of each.
    let to = (from + by).min(now + by.max(AHEAD_MAX_MS));
    (Some(to.max(from)), to.max(from) - from)
}

fn back(time: Option<f64>, now: f64, by: f64, moved: f64) -> Option<f64> {
    time.map(|time| {
        if by > 0.0 {
            time - by.min(moved)
        } else {
            time.max((time - by).min(now + AHEAD_MAX_MS))
        }
    })
}
