//! A scope's limits in Redis, as two scripts: the algorithm of [`crate::limit::Bucket`] for the whole fleet.

use std::{slice, sync::Arc};

use redis::{ErrorKind, RedisError, Script, ScriptInvocation, aio::ConnectionManager};

use crate::{
    io::store::{Store, StoreError},
    limit::{
        Answer, BLOCK_DEFAULT_MS, BLOCK_MAX_MS, Flow, Grant, Kinds, Limits, Moved, Observed,
        Reason, Report, Scope, Settings, Settled, Source, Standing, Want,
    },
    names::key,
};

/// What an answer tells about its scope besides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Known {
    /// Limits as the provider's headers told them.
    pub learned: Limits,
    /// Whether any reply came yet.
    pub replied: bool,
    /// The cap on calls a second, if any.
    pub cap_per_s: Option<f64>,
    /// Processes that asked in the last 15 s, this one included.
    pub fleet: u64,
}

/// The scripts, on the store's connection. `at_ms` is for tests: time is Redis's own where it is `None`.
#[derive(Clone)]
pub struct Shared {
    connection: ConnectionManager,
    worker: Arc<str>,
    scripts: Arc<(Script, Script)>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// On the same connection.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        let (connection, worker) = store.shared();
        let reserve = concat!(
            include_str!("../lua/limit.lua"),
            include_str!("../lua/limit_reserve.lua")
        );
        let report = concat!(
            include_str!("../lua/limit.lua"),
            include_str!("../lua/limit_report.lua")
        );
        Self {
            connection,
            worker,
            scripts: Arc::new((Script::new(reserve), Script::new(report))),
        }
    }

    /// [`crate::limit::Bucket::reserve`], for the fleet. `settings.fraction` does not count: the fleet has all.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn reserve(
        &self,
        at_ms: Option<u64>,
        scope: &Scope,
        settings: &Settings,
        flow: &Flow,
        want: Want,
        unasked: u32,
    ) -> Result<(Answer, Known), StoreError> {
        let mut script = begin(&self.scripts.0, scope, Some(flow));
        add_common(&mut script, at_ms, settings, unasked);
        script
            .arg(&*self.worker)
            .arg(flow.tenant.as_str())
            .arg(flow.workflow.as_str())
            .arg(want.input_estimate)
            .arg(want.output_max);
        let (answer, known): (Vec<String>, Vec<String>) =
            script.invoke_async(&mut self.connection.clone()).await?;
        let read = || Some((read_answer(&answer)?, read_known(&known)?));
        read().ok_or_else(unreadable)
    }

    /// [`crate::limit::Bucket::report`], for the fleet; an empty report tells where the scope stands.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn report(
        &self,
        at_ms: Option<u64>,
        scope: &Scope,
        settings: &Settings,
        report: &Report,
    ) -> Result<Standing, StoreError> {
        let flow = report.settled.as_ref().map(|settled| &settled.flow);
        let mut script = begin(&self.scripts.1, scope, flow);
        add_common(&mut script, at_ms, settings, report.unasked);
        add_observed(&mut script, report.observed.as_ref());
        script.arg(u8::from(report.overloaded));
        let limited = report
            .limited
            .map(|after| after.unwrap_or(BLOCK_DEFAULT_MS).min(BLOCK_MAX_MS));
        script.arg(text(limited));
        if let Some(settled) = &report.settled {
            add_settled(&mut script, settled);
        }
        let standing: Vec<String> = script.invoke_async(&mut self.connection.clone()).await?;
        read_standing(&standing, settings).ok_or_else(unreadable)
    }
}

fn unreadable() -> StoreError {
    let why = "the script of a limit gave something else than it should";
    RedisError::from((ErrorKind::UnexpectedReturnType, why)).into()
}

fn begin<'a>(script: &'a Script, scope: &Scope, flow: Option<&Flow>) -> ScriptInvocation<'a> {
    let mut script = script.key(key::limit(scope));
    script
        .key(key::limit_fleet(scope))
        .key(key::limit_tenants(scope))
        .key(key::limit_flows(scope));
    if let Some(flow) = flow {
        script
            .key(key::limit_tenant(scope, &flow.tenant))
            .key(key::limit_tenant_flows(scope, &flow.tenant))
            .key(key::limit_flow(scope, flow));
    }
    script
}

fn add_common(
    script: &mut ScriptInvocation<'_>,
    at_ms: Option<u64>,
    settings: &Settings,
    unasked: u32,
) {
    script.arg(text(at_ms));
    add_kinds(script, settings.configured);
    script
        .arg(settings.burst_ms)
        .arg(u8::from(settings.output_reserved))
        .arg(unasked);
}

fn text(number: Option<u64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

fn add_kinds(script: &mut ScriptInvocation<'_>, kinds: Limits) {
    script
        .arg(text(kinds.requests))
        .arg(text(kinds.input))
        .arg(text(kinds.output));
}

fn add_observed(script: &mut ScriptInvocation<'_>, observed: Option<&Observed>) {
    script.arg(u8::from(observed.is_some()));
    let seen = observed.copied().unwrap_or_default();
    add_kinds(script, seen.map(|seen| seen.limit));
    add_kinds(script, seen.map(|seen| seen.remaining));
}

fn add_settled(script: &mut ScriptInvocation<'_>, settled: &Settled) {
    let Grant {
        from,
        input,
        output,
        moved,
        ..
    } = &settled.grant;
    let (used_input, used_output) = settled.used.unwrap_or_default();
    script
        .arg(if settled.used.is_some() {
            "used"
        } else {
            "back"
        })
        .arg(match from {
            Source::Levels => "levels",
            Source::Unknown => "unknown",
            Source::Unlimited => "unlimited",
        });
    for number in [
        *input,
        *output,
        moved.request,
        moved.cost,
        moved.tenants,
        moved.flows,
        moved.tenant,
        moved.flow,
    ] {
        // The shortest text that is exactly this number.
        script.arg(number.to_string());
    }
    script
        .arg(settled.want.input_estimate)
        .arg(settled.want.output_max)
        .arg(used_input)
        .arg(used_output);
}

/// The numbers of an answer, one by one.
struct Numbers<'a>(slice::Iter<'a, String>);

impl Numbers<'_> {
    /// `None`: there is none where one must be.
    fn next(&mut self) -> Option<f64> {
        self.0.next()?.parse().ok()
    }

    /// `Some(None)`: an empty text, which stands for none.
    fn maybe(&mut self) -> Option<Option<f64>> {
        let text = self.0.next()?;
        if text.is_empty() {
            return Some(None);
        }
        text.parse().ok().map(Some)
    }

    fn kinds(&mut self) -> Option<Kinds<Option<f64>>> {
        Some(Kinds {
            requests: self.maybe()?,
            input: self.maybe()?,
            output: self.maybe()?,
        })
    }
}

fn whole(number: f64) -> u64 {
    number as u64
}

fn read_answer(answer: &[String]) -> Option<Answer> {
    let (what, rest) = answer.split_first()?;
    let (which, rest) = rest.split_first()?;
    let mut numbers = Numbers(rest.iter());
    if what != "granted" {
        let why = rest.first()?;
        return Some(Answer::Later {
            after_ms: whole(which.parse().ok()?),
            why: Reason::ALL
                .into_iter()
                .find(|reason| reason.label() == why)?,
        });
    }
    Some(Answer::Granted(Grant {
        from: match which.as_str() {
            "levels" => Source::Levels,
            "unknown" => Source::Unknown,
            "unlimited" => Source::Unlimited,
            _ => return None,
        },
        in_share: numbers.next()? == 1.0,
        input: numbers.next()?,
        output: numbers.next()?,
        moved: Moved {
            request: numbers.next()?,
            cost: numbers.next()?,
            tenants: numbers.next()?,
            flows: numbers.next()?,
            tenant: numbers.next()?,
            flow: numbers.next()?,
        },
    }))
}

fn read_known(known: &[String]) -> Option<Known> {
    let mut numbers = Numbers(known.iter());
    Some(Known {
        learned: numbers.kinds()?.map(|limit| limit.map(whole)),
        replied: numbers.next()? == 1.0,
        cap_per_s: numbers.maybe()?.map(|cap| cap * 1_000.0),
        fleet: whole(numbers.next()?),
    })
}

fn read_standing(standing: &[String], settings: &Settings) -> Option<Standing> {
    let mut numbers = Numbers(standing.iter());
    let learned = numbers.kinds()?.map(|limit| limit.map(whole));
    let levels = numbers.kinds()?;
    let cap_per_s = numbers.maybe()?.map(|cap| cap * 1_000.0);
    let blocked_until_ms = numbers.maybe()?.map(whole);
    Some(Standing {
        limits: settings.limits(learned),
        learned,
        levels,
        cap_per_s,
        blocked_until_ms,
        unlimited: numbers.next()? == 1.0,
        tenants: whole(numbers.next()?),
        flows: whole(numbers.next()?),
        fleet: whole(numbers.next()?),
    })
}
