//! The gate: callers wait here until the fleet's limits have room for them.

use std::{
    collections::HashMap,
    fmt::Display,
    mem,
    sync::{Arc, Mutex},
    time::Duration,
};

use metrics::histogram;
use tokio::{
    runtime::Handle,
    select,
    sync::oneshot,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Answered, LimiterConfig, Outcome, Refused, Shared, Snapshot, Ticket,
    alone::{Health, lock},
    scope::ScopeState,
};
use crate::{
    io::{store::Store, telemetry::metric},
    limit::{Answer, Flow, Limits, Observed, Reason, Report, Scope, Settings, Want},
};

/// Longest that Redis may take for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Shortest and longest pause before a refused caller asks again.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Refusals after which a caller's pauses get no longer.
const REFUSALS_MAX: u32 = 16;

/// The gate of this process. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Limiter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Shared,
    config: LimiterConfig,
    /// One per model family or tool.
    scopes: Mutex<HashMap<Scope, Arc<ScopeState>>>,
    health: Health,
    /// What still goes on for callers that went away.
    behind: TaskTracker,
}

/// What Redis granted and nobody took over yet: dropped, it goes back.
struct Unclaimed {
    inner: Arc<Inner>,
    ticket: Option<Ticket>,
}

impl Unclaimed {
    fn claim(mut self) -> Option<Ticket> {
        self.ticket.take()
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        // Without a runtime the process is about to end, and the levels fill again by themselves.
        if let (Some(ticket), Ok(runtime)) = (self.ticket.take(), Handle::try_current()) {
            let inner = Arc::clone(&self.inner);
            self.inner.behind.spawn_on(
                async move { inner.over(ticket, None, None).await },
                &runtime,
            );
        }
    }
}

impl Limiter {
    /// A gate on the store's Redis.
    #[must_use]
    pub fn new(store: &Store, config: LimiterConfig) -> Self {
        Self(Arc::new(Inner {
            shared: Shared::new(store),
            config,
            scopes: Mutex::default(),
            health: Health::default(),
            behind: TaskTracker::new(),
        }))
    }

    /// Says what is configured of a scope, in place of what was at the start. Where it says the same, nothing changes; else callers
    /// that wait there wait by what held before.
    pub fn configure(&self, scope: &Scope, limits: Limits) {
        let settings = Settings {
            configured: limits,
            ..self.0.config.settings(scope)
        };
        let mut scopes = lock(&self.0.scopes);
        if scopes
            .get(scope)
            .is_none_or(|state| state.settings != settings)
        {
            let state = ScopeState::new(scope.clone(), settings);
            scopes.insert(scope.clone(), Arc::new(state));
        }
    }

    /// Waits until a call fits. Those of one flow go in the order they came. Dropped, it leaves nothing reserved.
    ///
    /// # Errors
    /// [`Refused`]: stopped, or the deadline passed first.
    pub async fn enter(
        &self,
        scope: &Scope,
        flow: &Flow,
        want: Want,
        stop: &CancellationToken,
        deadline: Instant,
    ) -> Result<Ticket, Refused> {
        let began = Instant::now();
        let state = self.0.state(scope);
        let mut why = None;
        // In this order: when a deadline passes for thousands at once, none of them asks a last time.
        let entered = select! {
            biased;
            () = stop.cancelled() => Err(Refused::Stopping),
            () = sleep_until(deadline) => Err(Refused::Deadline { why: None }),
            ticket = self.0.wait(&state, flow, want, &mut why) => Ok(ticket),
        };
        let entered = entered.map_err(|refused| match refused {
            Refused::Stopping => refused,
            Refused::Deadline { .. } => Refused::Deadline { why },
        });
        let outcome = entered
            .as_ref()
            .map_or_else(|refused| refused.label(), |_| "granted");
        histogram!(metric::LIMIT_WAIT, "model" => scope.label().to_owned(), "outcome" => outcome)
            .record(began.elapsed());
        entered
    }

    /// A call is over: what it did not take of what was reserved goes back, what it took more is charged.
    pub async fn settle(&self, ticket: Ticket, outcome: Outcome) {
        let used = (outcome.input, outcome.output);
        self.0.over(ticket, Some(used), outcome.headers).await;
    }

    /// A call was never sent, or was refused before any work.
    pub async fn give_back(&self, ticket: Ticket) {
        self.0.over(ticket, None, None).await;
    }

    /// The provider said that it is overloaded (529): the fleet halves its rate, and goes up again from there.
    pub async fn overloaded(&self, scope: &Scope) {
        let report = Report {
            overloaded: true,
            ..Report::default()
        };
        self.0.warn_all(scope, report).await;
    }

    /// The provider said that a limit is reached (429): the fleet waits as long as it said, or a second.
    pub async fn limited(&self, scope: &Scope, after: Option<Duration>, observed: Observed) {
        let millis = |after: Duration| u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let told = observed != Observed::default();
        let report = Report {
            limited: Some(after.map(millis)),
            // A 429 without headers may come from anything in between: it does not say that there are no limits.
            observed: told.then_some(observed),
            ..Report::default()
        };
        self.0.warn_all(scope, report).await;
    }

    /// Whether the fleet's limits cannot be reached, and this process goes by its part of them alone.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.0.health.is_down()
    }

    /// Where a scope stands.
    pub async fn snapshot(&self, scope: &Scope) -> Snapshot {
        let state = self.0.state(scope);
        let nothing = Report::default();
        let look = self.0.shared.report(None, scope, &state.settings, &nothing);
        let (degraded, standing) = match timeout(ANSWER_MAX, look).await {
            Ok(Ok(standing)) => (false, standing),
            Ok(Err(_)) | Err(_) => (true, state.standing_alone()),
        };
        Snapshot {
            scope: scope.to_string(),
            degraded,
            standing,
        }
    }

    /// Waits until what was reserved for callers that went away is given back; a few seconds at most. Nobody should enter then.
    pub async fn finish(&self) {
        self.0.behind.close();
        // Each of them waits for one answer to the question and one to the giving back.
        let _ = timeout(ANSWER_MAX * 3, self.0.behind.wait()).await;
        self.0.behind.reopen();
    }
}

impl Inner {
    fn state(&self, scope: &Scope) -> Arc<ScopeState> {
        let mut scopes = lock(&self.scopes);
        let state = scopes.entry(scope.clone()).or_insert_with(|| {
            Arc::new(ScopeState::new(scope.clone(), self.config.settings(scope)))
        });
        Arc::clone(state)
    }

    async fn wait(
        self: &Arc<Self>,
        state: &Arc<ScopeState>,
        flow: &Flow,
        want: Want,
        why: &mut Option<Reason>,
    ) -> Ticket {
        let mut must_ask = match unasked(state, flow, want) {
            Ok(ticket) => return ticket,
            Err(must_ask) => must_ask,
        };
        let _place = state.stand_in_line(flow).await;
        let mut refusals = 0;
        loop {
            // Somebody else's answer may have come meanwhile.
            if !mem::take(&mut must_ask)
                && let Ok(ticket) = unasked(state, flow, want)
            {
                return ticket;
            }
            let blocked = state.blocked().map(|left| (left, Reason::Blocked));
            let answer = match blocked {
                Some(later) => Err(later),
                None => self.ask(state, flow, want).await,
            };
            let pause = match answer {
                Ok(unclaimed) => {
                    let spare = unclaimed
                        .ticket
                        .as_ref()
                        .is_some_and(|ticket| !ticket.grant.in_share);
                    if spare {
                        state.smooth().await;
                    }
                    match unclaimed.claim() {
                        Some(ticket) => return ticket,
                        None => PAUSE_MIN,
                    }
                }
                Err((after, reason)) => {
                    *why = Some(reason);
                    refusals = (refusals + 1).min(REFUSALS_MAX);
                    pause(after, refusals)
                }
            };
            sleep(pause).await;
        }
    }

    /// Asks once, in a task of its own: a caller that goes away must not leave its answer with nobody.
    async fn ask(
        self: &Arc<Self>,
        state: &Arc<ScopeState>,
        flow: &Flow,
        want: Want,
    ) -> Result<Unclaimed, (Duration, Reason)> {
        let (tell, told) = oneshot::channel();
        let (inner, state, flow) = (Arc::clone(self), Arc::clone(state), flow.clone());
        self.behind.spawn(async move {
            let Answered { answer, alone } = inner.answer(&state, &flow, want).await;
            let answer = match answer {
                Answer::Later { after_ms, why } => Err((Duration::from_millis(after_ms), why)),
                Answer::Granted(grant) => Ok(Unclaimed {
                    inner,
                    ticket: Some(Ticket {
                        scope: state.scope.clone(),
                        flow,
                        want,
                        grant,
                        alone,
                    }),
                }),
            };
            // If nobody is there to take it, it goes back as it is dropped.
            drop(tell.send(answer));
        });
        // The task cannot end without telling, unless the runtime ends.
        told.await.unwrap_or(Err((PAUSE_MAX, Reason::Rate)))
    }

    /// The fleet's answer, or our own while Redis is away.
    async fn answer(&self, state: &ScopeState, flow: &Flow, want: Want) -> Answered {
        if self.health.may_try() {
            let unasked = state.take_unasked();
            let call =
                self.shared
                    .reserve(None, &state.scope, &state.settings, flow, want, unasked);
            if let Some((answer, known)) = self.heard(timeout(ANSWER_MAX, call).await) {
                state.learn(&answer, known);
                state.count(&answer);
                return Answered {
                    answer,
                    alone: false,
                };
            }
        }
        let answer = state.reserve_alone(flow, want);
        state.count(&answer);
        Answered {
            answer,
            alone: true,
        }
    }

    async fn over(&self, ticket: Ticket, used: Option<(u64, u64)>, observed: Option<Observed>) {
        let state = self.state(&ticket.scope);
        let told = observed.is_some_and(|observed| observed != Observed::default());
        if ticket.is_unlimited() && !told {
            return;
        }
        if told && ticket.is_unlimited() {
            state.ask_again();
        }
        let alone = ticket.alone;
        let report = Report {
            settled: Some(ticket.settled(used)),
            observed,
            ..Report::default()
        };
        if alone {
            state.report_alone(&report);
            // The reservation is none of the fleet's, but what the provider said is.
            let report = Report {
                settled: None,
                ..report
            };
            if told && !self.health.is_down() {
                self.report(&state, &report).await;
            }
        } else if !self.report(&state, &report).await {
            let report = Report {
                settled: None,
                ..report
            };
            state.report_alone(&report);
        }
    }

    async fn warn_all(&self, scope: &Scope, report: Report) {
        let state = self.state(scope);
        let report = Report {
            unasked: state.take_unasked(),
            ..report
        };
        state.ask_again();
        if !self.report(&state, &report).await {
            state.report_alone(&report);
        }
    }

    /// Tells the fleet. `false`: Redis is away.
    async fn report(&self, state: &ScopeState, report: &Report) -> bool {
        if !self.health.may_try() {
            return false;
        }
        let call = self
            .shared
            .report(None, &state.scope, &state.settings, report);
        self.heard(timeout(ANSWER_MAX, call).await).is_some()
    }

    fn heard<T, E: Display, L: Display>(&self, answer: Result<Result<T, E>, L>) -> Option<T> {
        match answer {
            Ok(Ok(value)) => {
                self.health.answered();
                return Some(value);
            }
            Ok(Err(problem)) => self.health.failed(&problem.to_string()),
            Err(late) => self.health.failed(&late.to_string()),
        }
        None
    }
}

fn unasked(state: &ScopeState, flow: &Flow, want: Want) -> Result<Ticket, bool> {
    let grant = state.unlimited()?;
    Ok(Ticket {
        scope: state.scope.clone(),
        flow: flow.clone(),
        want,
        grant,
        alone: false,
    })
}

/// As told, and longer with every refusal: those who wait together must not ask together, and the more there are, the less each
/// question is worth. What comes in meanwhile is not lost, the levels hold seconds of it.
fn pause(after: Duration, refusals: u32) -> Duration {
    let after = after.max(PAUSE_MIN);
    let spread = after * refusals / 2;
    (after + spread.mul_f64(fastrand::f64())).min(PAUSE_MAX)
}
