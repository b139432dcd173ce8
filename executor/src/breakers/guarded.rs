//! The breakers of one tool: of its versions, and of the hosts that its parameters choose.

use std::{collections::BTreeMap, time::Duration};

use flotilla_common::{
    breaker::{Forced, Outcome, Pass, Settings, State},
    ids::Name,
    io::{
        clock,
        telemetry::metric,
        tools::{Force, HostState, ToolState, VersionState},
        worker::{Keeper, Leave},
    },
};
use jiff::SignedDuration;
use metrics::{counter, gauge};
use tracing::{info, warn};

use super::{Open, Target, one::One};

/// A version that is well and that nobody asked for in this time does not keep the tool pulling for another that is not.
const IN_USE: Duration = Duration::from_secs(300);
/// Hosts of one version that have a breaker of their own; more share the version's.
const HOSTS_MAX: usize = 64;
/// When an action comes again whose tool a person has stopped, if it was pulled before.
const FORCED_LOOK: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Version {
    /// `None`: it has none, and only a person stops it.
    declared: Option<Settings>,
    own: One,
    hosts: BTreeMap<String, One>,
    /// When it was asked for last.
    used: Option<Duration>,
}

impl Version {
    fn new(declared: Option<&Settings>) -> Self {
        Self {
            declared: declared.cloned(),
            own: One::new(settings(declared)),
            hosts: BTreeMap::new(),
            used: None,
        }
    }

    /// The breaker of this host, or the version's own.
    fn of(&mut self, host: Option<&String>) -> &mut One {
        let Some(host) = host else {
            return &mut self.own;
        };
        if !self.hosts.contains_key(host) && self.hosts.len() >= HOSTS_MAX {
            let closed = self.hosts.iter();
            let mut closed = closed.filter(|(_, one)| one.state == State::Closed);
            match closed.next().map(|(host, _)| host.clone()) {
                Some(closed) => drop(self.hosts.remove(&closed)),
                None => return &mut self.own,
            }
        }
        let settings = settings(self.declared.as_ref());
        let one = self.hosts.entry(host.clone());
        one.or_insert_with(|| One::new(settings))
    }

    fn all(&mut self) -> impl Iterator<Item = &mut One> {
        self.hosts.values_mut().chain([&mut self.own])
    }

    fn is_in_use(&self, now: Duration) -> bool {
        let recently = |used| now.saturating_sub(used) < IN_USE;
        self.own.state != State::Closed || self.used.is_some_and(recently)
    }
}

/// A breaker that nothing opens but a person, where none is declared.
fn settings(declared: Option<&Settings>) -> Settings {
    declared.cloned().unwrap_or_else(|| Settings {
        consecutive: 0,
        calls_min: u32::MAX,
        ..Settings::default()
    })
}

/// The breakers of one tool.
#[derive(Debug)]
pub(super) struct Guarded {
    pub(super) keeper: Keeper,
    /// Messages in work.
    pub(super) in_work: u32,
    /// Whether any state is another than when they were told last.
    pub(super) has_changed: bool,
    versions: BTreeMap<u32, Version>,
    forced: Option<Force>,
    /// What the metric says.
    shown: Option<State>,
}

impl Guarded {
    pub(super) fn new(keeper: Keeper) -> Self {
        Self {
            keeper,
            in_work: 0,
            has_changed: true,
            versions: BTreeMap::new(),
            forced: None,
            shown: None,
        }
    }

    /// Takes in what a version says of its breaker.
    pub(super) fn declare(&mut self, now: Duration, version: u32, declared: Option<&Settings>) {
        let known = self.versions.get(&version);
        if known.is_some_and(|known| known.declared.as_ref() == declared) {
            return;
        }
        let mut made = Version::new(declared);
        made.own.breaker.force(self.forced_to());
        made.own.look(now);
        self.versions.insert(version, made);
    }

    /// Takes in what a person said.
    pub(super) fn force(&mut self, now: Duration, tool: &Name, said: Option<Force>) {
        if self.forced == said {
            return;
        }
        match &said {
            Some(said) => {
                warn!(%tool, state = ?said.state, by = said.by, reason = said.reason, "a person has decided about its breakers");
            }
            None => info!(%tool, "its breakers decide for themselves again"),
        }
        self.forced = said;
        self.has_changed = true;
        let forced = self.forced_to();
        for one in self.versions.values_mut().flat_map(Version::all) {
            one.breaker.force(forced);
            one.probing = false;
            one.look(now);
        }
    }

    fn forced_to(&self) -> Option<Forced> {
        self.forced.as_ref().map(|said| said.state)
    }

    fn version(&mut self, version: u32) -> &mut Version {
        let made = || Version::new(Some(&Settings::default()));
        self.versions.entry(version).or_insert_with(made)
    }

    fn stopped(&self) -> Option<Open> {
        let said = self.forced.as_ref();
        let said = said.filter(|said| said.state == Forced::Open)?;
        let by = said.by.as_deref().map(|by| format!(" by {by}"));
        let reason = said.reason.as_deref().map(|why| format!(": {why}"));
        Some(Open {
            left: FORCED_LOOK,
            why: format!(
                "it was stopped{}{}",
                by.unwrap_or_default(),
                reason.unwrap_or_default()
            ),
        })
    }

    pub(super) fn admit(&mut self, now: Duration, target: &Target) -> Result<Pass, Open> {
        if let Some(open) = self.stopped() {
            return Err(open);
        }
        let forced = self.forced_to();
        let version = self.version(target.version);
        version.used = Some(now);
        let one = version.of(target.host.as_ref());
        one.breaker.force(forced);
        one.admit(now)
    }

    pub(super) fn open(&mut self, now: Duration, target: &Target) -> Option<Open> {
        self.stopped().or_else(|| {
            self.version(target.version)
                .of(target.host.as_ref())
                .open(now)
        })
    }

    pub(super) fn record(
        &mut self,
        now: Duration,
        target: &Target,
        pass: Pass,
        outcome: Outcome,
        why: &str,
    ) {
        let version = self.version(target.version);
        let one = version.of(target.host.as_ref());
        one.record(now, pass, outcome, why);
    }

    /// When the next of them has cooled down.
    pub(super) fn next(&mut self, now: Duration) -> Option<Duration> {
        let all = self.versions.values_mut().flat_map(Version::all);
        all.filter_map(|one| one.breaker.status(now).until).min()
    }

    /// How many messages may be pulled.
    pub(super) fn leave(&self, now: Duration) -> Leave {
        if self.forced_to() == Some(Forced::Open) {
            return Leave::None;
        }
        let mut leave = None;
        for version in self.versions.values().filter(|one| one.is_in_use(now)) {
            match version.own.state {
                State::Closed => return Leave::All,
                State::HalfOpen if !version.own.probing => leave = Some(Leave::Few(1)),
                State::HalfOpen | State::Open => leave = leave.or(Some(Leave::None)),
            }
        }
        leave.unwrap_or(Leave::All)
    }

    /// Lets follow what follows from where they stand; gives whether any stands otherwise than before.
    pub(super) fn settle(&mut self, now: Duration, tool: &Name) -> bool {
        let mut has_changed = false;
        for (number, version) in &mut self.versions {
            let hosts = version.hosts.iter_mut();
            let hosts = hosts.map(|(host, one)| (Some(host.as_str()), one));
            for (host, one) in hosts.chain([(None, &mut version.own)]) {
                let (_, is_new) = one.look(now);
                if is_new {
                    has_changed = true;
                    told(tool, *number, host, one);
                }
            }
        }
        self.has_changed |= has_changed;
        self.show(tool);
        self.keeper.allow(self.leave(now));
        has_changed
    }

    fn show(&mut self, tool: &Name) {
        let all = self.versions.values_mut().flat_map(Version::all);
        let worst = all.map(|one| one.state).max().unwrap_or(State::Closed);
        if self.shown.replace(worst) != Some(worst) {
            let level = match worst {
                State::Closed => 0.0,
                State::HalfOpen => 0.5,
                State::Open => 1.0,
            };
            gauge!(metric::TOOL_BREAKER, "tool" => tool.to_string()).set(level);
        }
    }

    /// How they stand, for people.
    pub(super) fn told(&mut self, now: Duration, tool: &Name, worker: &str) -> ToolState {
        let versions = self.versions.iter_mut().map(|(number, version)| {
            let (status, _) = version.own.look(now);
            let left = status.until.map(|until| until.saturating_sub(now));
            let left = left.and_then(|left| SignedDuration::try_from(left).ok());
            let is_well = status.state == State::Closed;
            let ill = version.hosts.iter();
            let ill = ill.filter(|(_, one)| one.state != State::Closed);
            VersionState {
                version: *number,
                state: status.state,
                since: version.own.since,
                until: left.and_then(|left| clock::now().checked_add(left).ok()),
                calls: status.calls,
                failures: status.failures,
                why: (!is_well).then(|| version.own.why.clone()),
                hosts: ill
                    .map(|(host, one)| HostState {
                        host: host.clone(),
                        state: one.state,
                        since: one.since,
                        why: one.why.clone(),
                    })
                    .collect(),
            }
        });
        let versions = versions.collect();
        ToolState::now(tool.clone(), worker.to_owned(), self.in_work, versions)
    }
}

fn told(tool: &Name, version: u32, host: Option<&str>, one: &One) {
    let (state, why) = (one.state.label(), &one.why);
    counter!(metric::TOOL_BREAKER_CHANGES, "tool" => tool.to_string(), "outcome" => state)
        .increment(1);
    match one.state {
        State::Open => {
            warn!(%tool, version, host, why, "breaker open: what is decided for it waits")
        }
        State::HalfOpen => info!(%tool, version, host, "breaker half-open: probing"),
        State::Closed => info!(%tool, version, host, "breaker closed"),
    }
}
