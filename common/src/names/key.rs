//! Redis keys. The run's id (or the limit's scope) in braces keeps all keys of one run (or scope) in one slot of a cluster.

use crate::{
    ids::{Name, RunId, Slot, StepKey},
    limit::{Flow, Scope},
    run::Status,
};

/// Hash {token, state}: the folded run, and what a save must bring. Lives 7 days after its last change; rebuilt from the journal.
#[must_use]
pub fn state(run: &RunId) -> String {
    format!("flotilla:{{{run}}}:state")
}

/// Hash: who may call Claude for this attempt (0 the first, 1 the repair) of a step, or the saved reply. Where batches
/// answer: also what is held for an item to be sent (`held`), the item that was (`item`, `intent`), and the batch that has it.
#[must_use]
pub fn call(run: &RunId, step: &StepKey, attempt: usize) -> String {
    format!("flotilla:{{{run}}}:claim:call:{}:{attempt}", step.token())
}

/// Sorted set of ids of batches by when (ms) every one of their items had that id in its call's claim. Lives 8 days after its last
/// change, its members 7 days: as long as a claim.
pub const BATCHES_SAVED: &str = "flotilla:{batches}:saved";
/// The `run_id` of the Redis process and since when (ms) it remembers every item that was sent: neither a flush nor a restart
/// (which may lose the last second's writes) leaves it valid. No TTL.
pub const BATCHES_MEMORY: &str = "flotilla:{batches}:memory";

/// Hash: who may run this effect, or its result.
#[must_use]
pub fn effect(run: &RunId, slot: &Slot) -> String {
    format!(
        "flotilla:{{{run}}}:claim:effect:{}:{}",
        slot.step.token(),
        slot.branch
    )
}

/// Hash {process, token, since}: the memory that effects' claims are made under, and the journal's last sequence from before it.
/// Claims are made with it in one script, so all of them must be on one Redis. No TTL.
pub const EFFECTS_MEMORY: &str = "flotilla:{effects}:memory";

/// Sorted set of run ids by start (milliseconds since 1970): the index that lists are read from.
pub const RUNS: &str = "flotilla:{index}:runs";
/// Hash run id -> summary (JSON).
pub const SUMMARIES: &str = "flotilla:{index}:summaries";

/// Hash `<status> <tenant>` -> how many lines of the index. No TTL.
pub const COUNTS: &str = "flotilla:{index}:counts";

/// Sorted set of run ids by start (milliseconds since 1970): those that stand so, of the statuses in which runs rest. No TTL.
#[must_use]
pub fn resting(status: Status) -> String {
    format!("flotilla:{{index}}:{status}")
}

/// The `run_id` of the Redis process for which the index was built from the journal: neither a flush nor a restart (which may
/// lose the last second's writes) leaves it valid. No TTL.
pub const INDEX_READY: &str = "flotilla:{index}:built";

/// What one try of a call may cost (nano-dollars), held under its ceilings, or `settled`. `id` is the call's claim, its fence
/// and the try. Lives 7 days, and 2 once it is settled.
#[must_use]
pub fn hold(id: &str) -> String {
    format!("flotilla:{{money}}:hold:{id}")
}

/// Hash {spent, held}, in nano-dollars: of a run. Lives 7 days after its last change; the journal knows what is spent.
#[must_use]
pub fn spent_by_run(run: &RunId) -> String {
    format!("flotilla:{{money}}:run:{run}")
}

/// Hash {spent, held}, in nano-dollars: of a step of a run. Lives as [`spent_by_run`].
#[must_use]
pub fn spent_by_step(run: &RunId, step: &Name) -> String {
    format!("flotilla:{{money}}:step:{run}:{step}")
}

/// Hash {spent, held, base}, in nano-dollars: of a workflow in one day (UTC); `base` is what was spent when the day began to be
/// summed up from the journal. Lives 3 days.
#[must_use]
pub fn spent_by_workflow(workflow: &str, day: &str) -> String {
    format!("flotilla:{{money}}:workflow:{workflow}:{day}")
}

/// Hash {spent, held, base}, in nano-dollars: of a tenant in one day (UTC). Lives as [`spent_by_workflow`].
#[must_use]
pub fn spent_by_tenant(tenant: &str, day: &str) -> String {
    format!("flotilla:{{money}}:tenant:{tenant}:{day}")
}

/// Sorted set of hold keys by when they lapse (ms since 1970): what is held of a counter. Lives as the counter.
#[must_use]
pub fn holds(counter: &str) -> String {
    format!("{counter}:holds")
}

/// Set of the counters of one day (UTC). Lives 3 days.
#[must_use]
pub fn spent_counters(day: &str) -> String {
    format!("flotilla:{{money}}:day:{day}")
}

/// `<run_id of the Redis process> <day>`: the day that was summed up from the journal last, since this Redis started. No TTL.
pub const SPENT_READY: &str = "flotilla:{money}:ready";

/// The `run_id` of the Redis process for which somebody began to sum up the day's costs.
#[must_use]
pub fn spent_build(token: &str) -> String {
    format!("flotilla:{{money}}:build:{token}")
}

/// The `run_id` of the Redis process for which a gateway began to build the index. Lives a day.
#[must_use]
pub fn index_build(token: &str) -> String {
    format!("flotilla:{{index}}:build:{token}")
}

/// Hash: a scope's limits, levels and cap. Written and read by whoever calls under it. Lives a day after its last use: then the
/// limits may be others.
#[must_use]
pub fn limit(scope: &Scope) -> String {
    of_limit(scope, "bucket")
}

/// Sorted set of worker -> last asked (ms): the processes that share a scope. Lives an hour after its last change.
#[must_use]
pub fn limit_fleet(scope: &Scope) -> String {
    of_limit(scope, "fleet")
}

/// Sorted set of tenant -> last asked (ms). Lives an hour after its last change.
#[must_use]
pub fn limit_tenants(scope: &Scope) -> String {
    of_limit(scope, "tenants")
}

/// Sorted set of tenant/workflow -> last asked (ms). Lives an hour after its last change.
#[must_use]
pub fn limit_flows(scope: &Scope) -> String {
    of_limit(scope, "flows")
}

/// Hash {time}: how far ahead of its share a tenant is. Lives an hour after its last change: nobody is that far ahead.
#[must_use]
pub fn limit_tenant(scope: &Scope, tenant: &Name) -> String {
    of_limit(scope, &format!("tenant:{tenant}"))
}

/// Sorted set of workflow -> last asked (ms), of one tenant. Lives an hour after its last change.
#[must_use]
pub fn limit_tenant_flows(scope: &Scope, tenant: &Name) -> String {
    of_limit(scope, &format!("tenant:{tenant}:flows"))
}

/// Hash {time, input, output}: how far ahead of its share a flow is, and what was learned of its calls. Lives a day after its
/// last change, so that a daily workflow need not be learned anew.
#[must_use]
pub fn limit_flow(scope: &Scope, flow: &Flow) -> String {
    of_limit(scope, &format!("flow:{flow}"))
}

fn of_limit(scope: &Scope, part: &str) -> String {
    format!("flotilla:{{limit:{scope}}}:{part}")
}
