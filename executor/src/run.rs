//! One action under its claim: its tool run, as often as its policy says, and put off where that is the way.

use std::time::Duration;

use flotilla_common::{
    definition::Effect,
    entry::{Reconciled, Resulted, ToolOutcome},
    io::{
        store::{Lease, Planned},
        telemetry::metric,
        worker::{HAND_BACK_PAUSE, Incoming},
    },
    money::Usd,
    names::key,
};
use metrics::counter;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use crate::{
    action::Action,
    adapter::{Call, Output},
    breakers::{Open, Target},
    guard::Permit,
    handle::{Executor, Stop, observe, retry},
    health::health,
    rates,
    reconcile::Doubt,
    retry::pause,
    spans,
    tools::{Ready, Room},
};

/// A message that comes so little before it is due has come in time.
const EARLY: Duration = Duration::from_millis(100);

/// How an action is begun.
#[derive(Debug)]
pub(crate) struct Begin {
    redelivered: bool,
    /// What was found out before: that it was not done.
    reconciled: Option<Reconciled>,
}

impl Begin {
    /// By this message.
    pub(crate) fn of(incoming: &Incoming) -> Self {
        Self {
            redelivered: incoming.is_redelivery(),
            reconciled: None,
        }
    }

    /// The same, after it was found out that it was not done.
    pub(crate) fn after(self, reconciled: Reconciled) -> Self {
        Self {
            reconciled: Some(reconciled),
            ..self
        }
    }
}

/// How far an action has come.
#[derive(Debug)]
pub(crate) struct Course {
    /// Tries that were told, this executor's among them.
    tries: u32,
    /// Tries whose executor was lost.
    lost: u32,
    /// When it was tried first, as of when this executor took it up.
    before: Option<Duration>,
    begun: Instant,
    /// When it was tried first here.
    first: Option<Instant>,
    begin: Begin,
}

impl Course {
    fn new(planned: &Planned, lease: &Lease, begin: Begin) -> Self {
        Self {
            tries: planned.tries,
            lost: u32::try_from(lease.lost).unwrap_or(u32::MAX),
            before: planned.since_first,
            begun: Instant::now(),
            first: None,
            begin,
        }
    }

    /// How often it was tried.
    fn attempts(&self) -> u32 {
        self.tries.saturating_add(self.lost)
    }

    fn since_first(&self) -> Option<Duration> {
        let before = self.before.map(|before| before + self.begun.elapsed());
        before.or_else(|| Some(self.first?.elapsed()))
    }

    /// One more try, which began then.
    fn tried(&mut self, begun: Instant) {
        self.first.get_or_insert(begun);
        self.tries = self.tries.saturating_add(1);
    }
}

/// A tool's slot, its turn by the fleet's rate, and room in the process.
#[derive(Debug)]
pub(crate) struct Turn {
    _tool: Permit,
    rate: rates::Turn,
    _process: Room,
}

/// What became of one try.
pub(crate) enum Tried {
    Ended(Output),
    /// It was not made: a breaker is open.
    Refused(Open),
    /// It was not made: this executor stops.
    Stopping,
}

impl Executor {
    /// The message without the deliveries that were planned: they say nothing about what the action does to executors.
    pub(crate) async fn unplanned(
        &self,
        action: &Action,
        incoming: &Incoming,
    ) -> Result<Incoming, Stop> {
        if !incoming.is_redelivery() {
            return Ok(incoming.clone());
        }
        let planned = self.planned(action).await?;
        let put_off = i64::try_from(planned.put_off).unwrap_or(i64::MAX);
        // It stays a redelivery.
        let delivered = incoming.delivered.saturating_sub(put_off).max(2);
        Ok(Incoming {
            delivered,
            ..incoming.clone()
        })
    }

    async fn planned(&self, action: &Action) -> Result<Planned, Stop> {
        let key = key::effect(&action.run, &action.slot);
        self.patient(|| self.store.planned(&key)).await
    }

    /// Runs the tool under its claim.
    pub(crate) async fn run(
        &self,
        action: &Action,
        ready: &Ready,
        mut lease: Lease,
        begin: Begin,
    ) -> Result<(), Stop> {
        let planned = if begin.redelivered {
            self.planned(action).await?
        } else {
            Planned::default()
        };
        spans::claimed(lease.fence);
        let mut course = Course::new(&planned, &lease, begin);
        if planned.left > EARLY && course.begin.reconciled.is_none() {
            let why = "it is not due yet";
            return self
                .put_off(action, &lease, &course, planned.left, why)
                .await;
        }
        let call = Call::new(&ready.tool, &action.with, &action.run, &action.slot);
        let claimed = lease.clone();
        loop {
            let begun = Instant::now();
            let work = self.attempt(ready, &call, Some(&claimed));
            let Some(tried) = self.unless_abandoned(self.holding(&mut lease, work)).await else {
                warn!("it was stopped in the middle of its work: the time for draining is over");
                return self.interrupted(action, ready, lease).await;
            };
            let output = match tried? {
                Tried::Ended(output) => output,
                Tried::Refused(open) => {
                    counter!(metric::ACTIONS_PUT_OFF, "tool" => action.tool.to_string(), "reason" => "breaker").increment(1);
                    return self
                        .put_off(action, &lease, &course, open.left, &open.why)
                        .await;
                }
                Tried::Stopping => {
                    let why = "stopping before the tool was run";
                    return self
                        .put_off(action, &lease, &course, HAND_BACK_PAUSE, why)
                        .await;
                }
            };
            course.tried(begun);
            self.rates.heard(&ready.tool, output.told).await;
            let Some(after) = self.again(ready, &output, &course) else {
                return self.conclude(action, ready, course, output, lease).await;
            };
            self.until_next(action, ready, &call, &course, &mut lease, after)
                .await?;
        }
    }

    /// Waits for all that must be had before the tool may be called; `None` when the stop came first.
    pub(crate) async fn turn(&self, ready: &Ready) -> Option<Turn> {
        let tool = ready.enter(&self.stop).await?;
        let rate = self.rates.enter(&ready.tool, &self.stop).await?;
        let Some(process) = self.tools.enter(&self.stop).await else {
            self.rates.give_back(rate).await;
            return None;
        };
        Some(Turn {
            _tool: tool,
            rate,
            _process: process,
        })
    }

    /// One try: its turn and its breaker's leave, then the call. A claim says meanwhile that it waits.
    pub(crate) async fn attempt(
        &self,
        ready: &Ready,
        call: &Call<'_>,
        claim: Option<&Lease>,
    ) -> Result<Tried, Stop> {
        let queued = Instant::now();
        let target = self.target(ready, call);
        // Who would be refused takes no turn from those whose host is well.
        if let Some(open) = self.breakers.open(&target) {
            return Ok(Tried::Refused(open));
        }
        let turn = match claim {
            Some(lease) => self.enter(ready, lease).await?,
            None => self.turn(ready).await,
        };
        let Some(turn) = turn else {
            return Ok(Tried::Stopping);
        };
        let admitted = match self.breakers.admit(target) {
            Ok(admitted) => admitted,
            Err(open) => {
                self.rates.give_back(turn.rate).await;
                return Ok(Tried::Refused(open));
            }
        };
        observe(metric::ACTION_QUEUE_WAIT, ready, queued.elapsed());
        let traced = spans::call(call);
        let output = Box::pin(self.adapters.run(call)).await;
        spans::called(traced, &output);
        admitted.ended(health(ready, &output), message(&output.outcome));
        observe(metric::ACTION_DURATION, ready, output.took);
        debug!(took_ms = output.took.as_millis(), "the tool has run");
        Ok(Tried::Ended(output))
    }

    fn target(&self, ready: &Ready, call: &Call<'_>) -> Target {
        Target {
            tool: ready.tool.name.clone(),
            version: ready.tool.version,
            host: self.adapters.chosen_host(call),
        }
    }

    /// How long to wait before the next try; `None`: this is what came out.
    fn again(&self, ready: &Ready, output: &Output, course: &Course) -> Option<Duration> {
        let told = output.told?;
        let since = course.since_first().unwrap_or_default();
        let after = pause(&ready.tool, told, course.attempts(), since, fastrand::f64())?;
        let (tool, reason) = (ready.tool.name.to_string(), told.class.as_str());
        counter!(metric::ACTION_RETRIES, "tool" => tool, "reason" => reason).increment(1);
        info!(
            tries = course.attempts(),
            reason,
            ?after,
            "it is tried again"
        );
        Some(after)
    }

    /// Waits for the next try: here when it is soon, else the action is put off and the slot is free. What must not happen twice is
    /// always put off: an executor that is lost while it waits here would leave behind that nobody knows whether it was done.
    async fn until_next(
        &self,
        action: &Action,
        ready: &Ready,
        call: &Call<'_>,
        course: &Course,
        lease: &mut Lease,
        after: Duration,
    ) -> Result<(), Stop> {
        let begun = Instant::now();
        let open = self.breakers.open(&self.target(ready, call));
        let may_wait = open.is_none() && ready.tool.effect != Effect::Once;
        if may_wait && after < self.lease / 3 {
            let waited = self.holding(lease, sleep(after));
            tokio::select! {
                () = waited => return Ok(()),
                () = self.stop.cancelled() => {}
            }
        }
        let left = after.saturating_sub(begun.elapsed());
        let left = left.max(open.map_or(Duration::ZERO, |open| open.left));
        counter!(metric::ACTIONS_PUT_OFF, "tool" => ready.tool.name.to_string(), "reason" => "retry").increment(1);
        let why = "it is to be tried again";
        self.put_off(action, lease, course, left, why).await
    }

    /// Hands the message back until later, on purpose: its claim remembers how far the action has come, and that this delivery does
    /// not count.
    async fn put_off(
        &self,
        action: &Action,
        lease: &Lease,
        course: &Course,
        after: Duration,
        why: &str,
    ) -> Result<(), Stop> {
        let planned = || {
            self.store
                .put_off(lease, course.tries, course.since_first(), after)
        };
        if !self.patient(planned).await? {
            debug!(tool = %action.tool, "its claim was another's already");
        }
        Err(retry(after, why))
    }

    async fn conclude(
        &self,
        action: &Action,
        ready: &Ready,
        course: Course,
        output: Output,
        lease: Lease,
    ) -> Result<(), Stop> {
        let attempts = course.attempts();
        let Output { outcome, took, .. } = output;
        if let (ToolOutcome::Unknown { message }, Some(_)) = (&outcome, &ready.tool.reconcile) {
            let doubt = Doubt {
                why: message.clone(),
                may_run: course.begin.reconciled.is_none(),
                took,
                attempts,
                begin: course.begin,
            };
            return Box::pin(self.clear_up(action, ready, lease, doubt)).await;
        }
        let mut resulted = self.resulted(action, outcome, took, attempts);
        resulted.reconciled = course.begin.reconciled.map(Box::new);
        self.finish(action, charged(ready, resulted), lease).await
    }
}

/// The result with what its tries cost: also those before a time in the stream, and those that were lost.
pub(crate) fn charged(ready: &Ready, resulted: Resulted) -> Resulted {
    let cost = ready.tool.cost.nano();
    let cost = cost.saturating_mul(resulted.attempts.into());
    Resulted {
        usd_nano: (cost > 0).then(|| Usd::from_nano(cost)),
        ..resulted
    }
}

/// What a failure says.
fn message(outcome: &ToolOutcome) -> &str {
    match outcome {
        ToolOutcome::Ok { .. } => "",
        ToolOutcome::Failed { message, .. } | ToolOutcome::Unknown { message } => message,
    }
}
