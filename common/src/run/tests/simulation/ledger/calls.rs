//! What was paid: every call by itself, so that it can be told once, and ceilings can be kept.

use std::collections::BTreeMap;

use super::super::{super::*, asking::WORST};
use crate::entry::Call;

/// A call to Claude.
#[derive(Debug, Clone)]
struct Paid {
    run: RunId,
    step: Name,
    /// By which process.
    by: usize,
    what: String,
    cost: u64,
    /// What was written last when it was begun.
    begun: u64,
    /// When Redis had taken its reply first.
    safe_at: Option<u64>,
    /// The decision that tells it.
    told: Option<u64>,
    /// No decision need tell it.
    excused: bool,
    /// Its reply is in its claim alone.
    left: bool,
    /// Redis forgot it before a decision told it.
    forgotten: bool,
}

/// What a call rests on.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Since {
    /// The last decision that its ceilings know of.
    pub(in super::super) chain: u64,
    /// When its claim was given.
    pub(in super::super) granted: u64,
    /// When Redis lost something last, and what was written last then.
    pub(in super::super) lost: Option<(u64, u64)>,
    /// What was written last.
    pub(in super::super) seq: u64,
}

/// What a run may cost.
#[derive(Debug, Clone, Default)]
struct Bound {
    usd: Option<u64>,
    /// Of single steps.
    steps: BTreeMap<Name, u64>,
    parent: Option<RunId>,
    /// What its parent was told that it cost.
    told: Option<u64>,
}

/// What a run tells beside its replies.
#[derive(Debug, Clone, Copy, Default)]
struct Lost {
    /// Calls that the claims that were given can tell.
    granted: u64,
    /// Calls that it tells as wasted.
    wasted: u64,
    /// Calls that were to be told as wasted, by a handling that ended before.
    dropped: u64,
}

#[derive(Debug, Default)]
pub(in super::super) struct Calls {
    all: Vec<Paid>,
    bounds: BTreeMap<RunId, Bound>,
    lost: BTreeMap<RunId, Lost>,
}

impl Calls {
    /// A run begins.
    pub(super) fn bound(&mut self, run: &RunId, workflow: &Workflow, started: &Started) {
        let parent = started.parent.as_ref();
        let allotted = parent.and_then(|parent| parent.usd_nano);
        let usd = workflow.limits.usd.into_iter().chain(allotted).min();
        let steps = workflow.all_steps().into_iter().filter_map(|step| {
            let usd = step.inference()?.usd?;
            Some((step.id.clone(), usd.nano()))
        });
        let bound = Bound {
            usd: usd.map(Usd::nano),
            steps: steps.collect(),
            parent: parent.map(|parent| parent.run.clone()),
            told: None,
        };
        self.bounds.entry(run.clone()).or_insert(bound);
    }

    /// A person lets a run, or a step of it, cost so much; what is around a run then costs more, too.
    pub(super) fn raised(&mut self, run: &RunId, step: Option<&Name>, usd: u64) {
        let bound = self.bounds.entry(run.clone()).or_default();
        if let Some(step) = step {
            let before = bound.steps.entry(step.clone()).or_insert(usd);
            *before = usd.max(*before);
            return;
        }
        bound.usd = bound.usd.map(|before| before.max(usd));
        let mut above = bound.parent.clone();
        while let Some(bound) = above.and_then(|run| self.bounds.get_mut(&run)) {
            bound.usd = bound.usd.map(|before| before.saturating_add(usd));
            above = bound.parent.clone();
        }
    }

    /// A call begins, under a claim that was given at that time. It must not be one whose reply was saved before, unless Redis
    /// lost something since: then nobody can know.
    pub(super) fn begin(
        &mut self,
        (run, step, by): (&RunId, &Name, usize),
        what: &str,
        since: Since,
        cost: u64,
    ) -> (usize, Option<String>) {
        let forgotten = |at: u64| since.lost.is_some_and(|(lost, _)| lost >= at);
        let known = self
            .all
            .iter()
            .filter(|call| call.run == *run && call.what == what);
        let mut saved = known.filter_map(|call| call.safe_at);
        let saved = saved.find(|at| *at < since.granted && !forgotten(*at));
        self.all.push(Paid {
            run: run.clone(),
            step: step.clone(),
            by,
            what: what.to_owned(),
            cost,
            begun: since.seq,
            safe_at: None,
            told: None,
            excused: false,
            left: false,
            forgotten: false,
        });
        let again =
            saved.map(|at| format!("{what} is paid again after its reply was saved at {at}"));
        let dear = || {
            let step = self.step_over(run, step, since);
            step.or_else(|| self.run_over(run, since))
        };
        (self.all.len() - 1, again.or_else(dear))
    }

    fn step_over(&self, run: &RunId, step: &Name, since: Since) -> Option<String> {
        let usd = *self.bounds.get(run)?.steps.get(step)?;
        let cost = self.known(since, |call| call.run == *run && call.step == *step);
        (cost > usd).then(|| format!("step {step} costs {cost} and may cost {usd}"))
    }

    /// A run, it or one above it, that costs more than it may.
    fn run_over(&self, run: &RunId, since: Since) -> Option<String> {
        let bound = self.bounds.get(run)?;
        let cost = self.cost(run, since);
        if let Some(usd) = bound.usd.filter(|usd| cost > *usd) {
            return Some(format!("run {run:.6} costs {cost} and may cost {usd}"));
        }
        self.run_over(bound.parent.as_ref()?, since)
    }

    fn sum(&self, of: impl Fn(&Paid) -> bool) -> u64 {
        let calls = self.all.iter().filter(|call| of(call));
        calls.map(|call| call.cost).sum()
    }

    /// What calls cost as far as it can be known: since Redis lost something, that is what it counted, or what the journal tells.
    fn known(&self, since: Since, of: impl Fn(&Paid) -> bool) -> u64 {
        let Some((_, lost)) = since.lost else {
            return self.sum(of);
        };
        let counted = self.sum(|call| of(call) && call.begun > lost);
        let is_told = |call: &Paid| call.told.is_some_and(|told| told <= since.chain);
        let told = self.sum(|call| of(call) && is_told(call));
        counted.max(told)
    }

    /// What a run costs, those within it included.
    fn cost(&self, run: &RunId, since: Since) -> u64 {
        let own = self.known(since, |call| call.run == *run);
        let is_within = |bound: &Bound| bound.parent.as_ref() == Some(run);
        let within = self.bounds.iter().filter(|(_, bound)| is_within(bound));
        // It tells calls that may have been made by whoever was lost, too, and those that were made are what costs.
        let within =
            within.map(|(id, bound)| self.cost(id, since).min(bound.told.unwrap_or(u64::MAX)));
        own + within.sum::<u64>()
    }

    /// What a reply is known by.
    pub(super) fn id(&self, call: usize) -> String {
        format!("c{call}")
    }

    fn of_id(&mut self, id: Option<&str>) -> Option<&mut Paid> {
        let number: usize = id?.strip_prefix('c')?.parse().ok()?;
        self.all.get_mut(number)
    }

    pub(super) fn is_safe(&mut self, call: usize, now: u64) {
        self.all[call].safe_at.get_or_insert(now);
    }

    /// Nobody will tell this call: its reply came to nobody.
    pub(super) fn is_lost(&mut self, call: usize) {
        self.all[call].excused = true;
    }

    pub(super) fn excuses(&mut self, ids: &[String]) {
        for id in ids {
            if let Some(call) = self.of_id(Some(id)) {
                call.excused = true;
            }
        }
    }

    /// These replies are in claims alone: need not be told where Redis forgets them.
    pub(super) fn left(&mut self, ids: &[String]) {
        for id in ids {
            if let Some(call) = self.of_id(Some(id)) {
                call.left = true;
            }
        }
    }

    /// Calls that were to be told as wasted, and are not.
    pub(super) fn dropped(&mut self, run: &RunId, calls: u64) {
        self.lost.entry(run.clone()).or_default().dropped += calls;
    }

    pub(super) fn granted(&mut self, run: &RunId, calls: u64) {
        self.lost.entry(run.clone()).or_default().granted += calls;
    }

    /// Redis lost something.
    pub(super) fn redis_forgets(&mut self) {
        for call in self.all.iter_mut().filter(|call| call.told.is_none()) {
            call.forgotten = true;
        }
    }

    /// A decision tells calls: each reply once, and with what it cost.
    pub(super) fn tell(&mut self, run: &RunId, call: &Call, seq: u64) -> Result<(), String> {
        let mut cost = 0;
        for attempt in &call.attempts {
            let id = attempt.request_id.as_deref();
            let Some(paid) = self.of_id(id).filter(|paid| paid.run == *run) else {
                return Err(format!(
                    "run {run:.6} tells a reply {id:?} that is not its own"
                ));
            };
            if attempt.told != paid.told.is_some() {
                let wrong = if attempt.told {
                    "before, and did not"
                } else {
                    "twice"
                };
                return Err(format!("run {run:.6} tells {} {wrong}", paid.what));
            }
            if attempt.told {
                continue;
            }
            paid.told = Some(seq);
            cost += paid.cost;
        }
        self.lost.entry(run.clone()).or_default().wasted += call.wasted;
        let (told, lost) = (call.usd_nano.nano(), call.wasted_usd_nano.nano());
        if told != cost || lost != call.wasted * WORST {
            let wasted = call.wasted;
            return Err(format!(
                "run {run:.6} tells {told} for replies of {cost}, and {lost} for {wasted} wasted calls"
            ));
        }
        Ok(())
    }

    /// A run's parent is told what it cost.
    pub(super) fn told_above(&mut self, run: &RunId, usd: u64) -> Result<(), String> {
        let own = self.sum(|call| call.run == *run && call.told.is_some());
        let wasted = self.lost.get(run).map_or(0, |lost| lost.wasted) * WORST;
        let bound = self.bounds.entry(run.clone()).or_default();
        bound.told.get_or_insert(usd);
        (usd == own + wasted).then_some(()).ok_or_else(|| {
            format!("run {run:.6} cost {own} and {wasted} wasted, and its parent is told {usd}")
        })
    }

    /// Every call is told once, as a reply that was used or as wasted, and no call that was not made.
    pub(super) fn all_told(&self, run: &RunId, crashed: &BTreeSet<usize>) -> Option<String> {
        let calls = self.all.iter().filter(|call| call.run == *run);
        let (told, open): (Vec<&Paid>, Vec<&Paid>) = calls.partition(|call| call.told.is_some());
        let lost = self.lost.get(run).copied().unwrap_or_default();
        let is_silent = |call: &&&Paid| {
            let is_gone = call.left && call.forgotten;
            !call.excused && !is_gone && !crashed.contains(&call.by)
        };
        let silent = open.iter().filter(is_silent);
        let missing = u64::try_from(silent.count()).unwrap_or(u64::MAX);
        if missing > lost.wasted + lost.dropped {
            let told = lost.wasted;
            return Some(format!(
                "run {run:.6} says nothing of {missing} calls, and {told} were wasted"
            ));
        }
        let told = told.len() as u64 + lost.wasted;
        let granted = lost.granted;
        (told > granted).then(|| {
            format!("run {run:.6} tells {told} calls, and no more than {granted} were begun")
        })
    }
}
