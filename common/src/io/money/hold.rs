//! What is held for a call: how much, for how long, and under which ceilings.

use std::time::Duration;

use super::day;
use crate::{
    entry::{Account, Held},
    ids::{Name, RunId},
    io::clock,
    money::Usd,
    names::key,
    run::{Ceiling, Scope},
};

/// How long an item of a batch is held without anybody looking at it: its batch ends within a day, and the look after that may
/// be late.
const ITEM_LAPSE: Duration = Duration::from_secs(2 * 86_400);

/// What is to be held, and who pays.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The try's own name: the same one again is the same hold.
    pub id: &'a str,
    /// The run.
    pub run: &'a RunId,
    /// Its step.
    pub step: &'a Name,
    /// Who is charged.
    pub account: &'a Account,
    /// The most that the call can cost.
    pub amount: Usd,
    /// Whether a batch answers it: then nobody sits beside it and holds it again.
    pub item: bool,
}

/// A ceiling of a call, and the counter it is kept by.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    pub(super) key: String,
    pub(super) ceiling: Ceiling,
}

/// What a call may cost, held under all its ceilings until it is settled, and the counters of the day that it is charged to besides.
#[derive(Debug, Clone)]
pub struct Hold {
    pub(super) key: String,
    pub(super) amount: Usd,
    pub(super) day: String,
    pub(super) counters: Vec<Counter>,
    pub(super) charged: Vec<String>,
    pub(super) item: bool,
}

impl Hold {
    /// What [`super::Money::reserve`] would hold now, under these ceilings.
    #[must_use]
    pub fn planned(wanted: &Wanted<'_>, ceilings: &[Ceiling]) -> Self {
        Self::new(wanted, ceilings, day(clock::now()))
    }

    /// Under these ceilings, on this day (UTC).
    fn new(wanted: &Wanted<'_>, ceilings: &[Ceiling], day: String) -> Self {
        let Wanted {
            run, step, account, ..
        } = wanted;
        let of_day = [
            (
                Scope::WorkflowDay,
                key::spent_by_workflow(&account.workflow, &day),
            ),
            (
                Scope::TenantDay,
                key::spent_by_tenant(&account.tenant, &day),
            ),
        ];
        let counters = ceilings.iter().map(|ceiling| Counter {
            key: match ceiling.scope {
                Scope::Step => key::spent_by_step(run, step),
                Scope::Run => key::spent_by_run(run),
                Scope::WorkflowDay => of_day[0].1.clone(),
                Scope::TenantDay => of_day[1].1.clone(),
            },
            ceiling: *ceiling,
        });
        let counters = counters.collect();
        let bound = |scope: &Scope| ceilings.iter().any(|ceiling| ceiling.scope == *scope);
        let charged = of_day.into_iter().filter(|(scope, _)| !bound(scope));
        Self {
            key: key::hold(wanted.id),
            amount: wanted.amount,
            charged: charged.map(|(_, key)| key).collect(),
            day,
            counters,
            item: wanted.item,
        }
    }

    /// What anybody must know to settle it; `id` is the name that it was made under.
    #[must_use]
    pub fn held(&self, id: &str) -> Held {
        Held {
            id: id.to_owned(),
            usd_nano: self.amount,
            day: self.day.clone(),
            scopes: self.counters.iter().map(|c| c.ceiling.scope).collect(),
        }
    }

    /// The hold that another planner made for an item of a batch.
    #[must_use]
    pub fn of_item(held: &Held, run: &RunId, step: &Name, account: &Account) -> Self {
        let ceilings = held.scopes.iter().map(|scope| Ceiling {
            scope: *scope,
            limit: Usd::default(),
            spent: Usd::default(),
        });
        let wanted = Wanted {
            id: &held.id,
            run,
            step,
            account,
            amount: held.usd_nano,
            item: true,
        };
        Self::new(&wanted, &ceilings.collect::<Vec<_>>(), held.day.clone())
    }

    /// How long it lasts unless it is held again, where a call's is held for `lapse`.
    pub(super) fn lasts(&self, lapse: Duration) -> Duration {
        if self.item { ITEM_LAPSE } else { lapse }
    }

    /// Whether its key says that it was settled. A call that no ceiling bounds costs no key; an item does, because whoever looks
    /// next may be another planner.
    pub(super) fn is_kept(&self) -> bool {
        self.item || !self.counters.is_empty()
    }
}
