//! What goes wrong when: a pure function of a seed, so that a run can be had again.

use std::time::Duration;

use serde::Serialize;

use super::links;

/// What can go wrong at any moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// A role is killed (-9), and started again by whoever watches over it.
    Kill,
    /// A role is stopped for longer than its leases last, then goes on as if nothing had been.
    Stop,
    /// nats-server is killed, and comes back on the same data.
    NatsKill,
    /// nats-server's disk is full; who looks after it frees it, and starts nats-server again.
    DiskFull,
    /// One of three nats-servers is cut off; it does not lead.
    NodeCut,
    /// One of three nats-servers is cut off: the one that leads.
    LeaderCut,
    /// redis-server is killed, and comes back on the same data.
    RedisKill,
    /// redis-server is killed, and comes back with nothing.
    RedisEmpty,
    /// Redis forgets everything at once.
    Flush,
    /// A link is slow.
    Delay,
    /// A link's connections are closed.
    Cut,
    /// A link's host is gone, and nobody says so.
    HalfOpen,
    /// A link lets little through.
    Throttle,
    /// A link lets through what comes back, and nothing of what goes there.
    OneWay,
    /// A link takes no new connections, and has lost the old ones.
    Refuse,
    /// Messages that nobody can read, straight on the streams.
    Poison,
    /// Claude answers 429.
    #[serde(rename = "claude-429")]
    Claude429,
    /// Claude answers 529.
    #[serde(rename = "claude-529")]
    Claude529,
    /// Claude does not answer.
    ClaudeHang,
    /// Claude's answers break off.
    ClaudeCut,
    /// Claude's answers are no answers.
    ClaudeGarbage,
    /// A role's clock shows an hour too much.
    ClockAhead,
    /// A role's clock shows an hour too little.
    ClockBehind,
    /// A role's clock shows three minutes too much: what a day's or an hour's checks do not see.
    ClockStep,
    /// A role's clock goes 80 times too fast.
    ClockDrift,
    /// Tools do what they should, and do not answer.
    ToolHang,
    /// Tools answer 500.
    #[serde(rename = "tool-500")]
    Tool500,
    /// Tools do what they should, and crash in the middle of their answer.
    ToolCut,
    /// Tools do what they should, and answer nonsense.
    ToolGarbage,
}

/// What a fault befalls. Two of one part never last at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Role,
    Clock,
    Nats,
    Redis,
    Link,
    Input,
    Claude,
    Tool,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Fault {
    /// From the beginning of the load.
    pub(super) at_ms: u64,
    /// How long; 0 for what has no end.
    pub(super) span_ms: u64,
    pub(super) kind: Kind,
    /// A role, a link, or nothing where there is only one.
    pub(super) target: &'static str,
}

/// The roles that faults befall.
pub(super) const ROLES: [&str; 5] = [
    "gateway",
    "planner-1",
    "planner-2",
    "executor-1",
    "executor-2",
];
/// A fault lasts so long, in milliseconds.
const SPAN_MS: std::ops::Range<u64> = 1_500..4_000;
/// A stopped role sleeps for so long: more than an ack-wait and a lease.
const STOP_MS: std::ops::Range<u64> = 3_500..5_000;
/// A server is cut off for so long: enough for the others to notice and to choose another leader.
const PARTITION_MS: std::ops::Range<u64> = 10_000..15_000;
/// Between the end of one fault and the next one that does not hit beside it.
const GAP_MS: std::ops::Range<u64> = 300..1_500;
/// How often a second one hits while the first lasts.
const BESIDE: f64 = 0.5;

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 29] = [
        Self::Kill,
        Self::Stop,
        Self::NatsKill,
        Self::DiskFull,
        Self::NodeCut,
        Self::LeaderCut,
        Self::RedisKill,
        Self::RedisEmpty,
        Self::Flush,
        Self::Delay,
        Self::Cut,
        Self::HalfOpen,
        Self::Throttle,
        Self::OneWay,
        Self::Refuse,
        Self::Poison,
        Self::Claude429,
        Self::Claude529,
        Self::ClaudeHang,
        Self::ClaudeCut,
        Self::ClaudeGarbage,
        Self::ToolHang,
        Self::Tool500,
        Self::ToolCut,
        Self::ToolGarbage,
        Self::ClockAhead,
        Self::ClockBehind,
        Self::ClockStep,
        Self::ClockDrift,
    ];

    /// As `--faults` names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::NatsKill => "nats-kill",
            Self::DiskFull => "disk-full",
            Self::NodeCut => "node-cut",
            Self::LeaderCut => "leader-cut",
            Self::RedisKill => "redis-kill",
            Self::RedisEmpty => "redis-empty",
            Self::Flush => "flush",
            Self::Delay => "delay",
            Self::Cut => "cut",
            Self::HalfOpen => "half-open",
            Self::Throttle => "throttle",
            Self::OneWay => "one-way",
            Self::Refuse => "refuse",
            Self::Poison => "poison",
            Self::Claude429 => "claude-429",
            Self::Claude529 => "claude-529",
            Self::ClaudeHang => "claude-hang",
            Self::ClaudeCut => "claude-cut",
            Self::ClaudeGarbage => "claude-garbage",
            Self::ClockAhead => "clock-ahead",
            Self::ClockBehind => "clock-behind",
            Self::ClockStep => "clock-step",
            Self::ClockDrift => "clock-drift",
            Self::ToolHang => "tool-hang",
            Self::Tool500 => "tool-500",
            Self::ToolCut => "tool-cut",
            Self::ToolGarbage => "tool-garbage",
        }
    }

    /// What it befalls.
    pub(super) fn part(self) -> Part {
        match self {
            Self::Kill | Self::Stop => Part::Role,
            Self::ClockAhead | Self::ClockBehind | Self::ClockStep | Self::ClockDrift => {
                Part::Clock
            }
            Self::NatsKill | Self::DiskFull | Self::NodeCut | Self::LeaderCut => Part::Nats,
            Self::RedisKill | Self::RedisEmpty | Self::Flush => Part::Redis,
            Self::Delay
            | Self::Cut
            | Self::HalfOpen
            | Self::Throttle
            | Self::OneWay
            | Self::Refuse => Part::Link,
            Self::Poison => Part::Input,
            Self::Claude429
            | Self::Claude529
            | Self::ClaudeHang
            | Self::ClaudeCut
            | Self::ClaudeGarbage => Part::Claude,
            Self::ToolHang | Self::Tool500 | Self::ToolCut | Self::ToolGarbage => Part::Tool,
        }
    }

    /// Whether Redis may know less after it than before: nothing, or all but the last second.
    pub(super) fn loses_data(self) -> bool {
        matches!(self, Self::RedisKill | Self::RedisEmpty | Self::Flush)
    }

    fn target(self, dice: &mut fastrand::Rng) -> &'static str {
        let among: &[&'static str] = match self.part() {
            Part::Role | Part::Clock => &ROLES,
            Part::Link => links::NAMES,
            Part::Nats | Part::Redis | Part::Input | Part::Claude | Part::Tool => &[],
        };
        dice.choice(among).copied().unwrap_or("")
    }

    fn span(self, dice: &mut fastrand::Rng) -> u64 {
        match self {
            Self::Stop => dice.u64(STOP_MS),
            Self::NodeCut | Self::LeaderCut => dice.u64(PARTITION_MS),
            Self::Kill | Self::Flush | Self::Cut | Self::Poison => 0,
            Self::ClockAhead
            | Self::ClockBehind
            | Self::ClockStep
            | Self::ClockDrift
            | Self::NatsKill
            | Self::DiskFull
            | Self::RedisKill
            | Self::RedisEmpty
            | Self::Delay
            | Self::HalfOpen
            | Self::Throttle
            | Self::OneWay
            | Self::Refuse
            | Self::Claude429
            | Self::Claude529
            | Self::ClaudeHang
            | Self::ClaudeCut
            | Self::ClaudeGarbage
            | Self::ToolHang
            | Self::Tool500
            | Self::ToolCut
            | Self::ToolGarbage => dice.u64(SPAN_MS),
        }
    }

    fn at(self, at_ms: u64, dice: &mut fastrand::Rng) -> Fault {
        Fault {
            at_ms,
            span_ms: self.span(dice),
            kind: self,
            target: self.target(dice),
        }
    }
}

/// A schedule of these kinds over a span, the earliest first. Each kind comes once before one comes twice.
pub(super) fn of(seed: u64, kinds: &[Kind], span: Duration) -> Vec<Fault> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let end = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let mut deck = Vec::new();
    let mut faults = Vec::new();
    let mut at_ms = 1_000;
    while !kinds.is_empty() {
        let first = draw(&mut deck, kinds, &mut dice).at(at_ms, &mut dice);
        let first_end = first.at_ms + first.span_ms;
        if first_end >= end {
            break;
        }
        let mut last_end = first_end;
        if dice.f64() < BESIDE {
            let second = draw(&mut deck, kinds, &mut dice);
            if second.part() == first.kind.part() {
                deck.push(second);
            } else {
                let second = second.at(at_ms + first.span_ms / 2, &mut dice);
                last_end = last_end.max(second.at_ms + second.span_ms);
                faults.push(second);
            }
        }
        faults.push(first);
        at_ms = last_end + dice.u64(GAP_MS);
    }
    faults.retain(|fault| fault.at_ms + fault.span_ms < end);
    faults.sort_by_key(|fault| (fault.at_ms, fault.kind));
    faults
}

fn draw(deck: &mut Vec<Kind>, kinds: &[Kind], dice: &mut fastrand::Rng) -> Kind {
    if deck.is_empty() {
        deck.extend_from_slice(kinds);
        dice.shuffle(deck);
    }
    deck.pop().unwrap_or(Kind::Kill)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const HALF_AN_HOUR: Duration = Duration::from_secs(1_800);

    #[test]
    fn a_schedule_is_the_same_by_seed_and_another_by_another() {
        let of = |seed| of(seed, &Kind::ALL, HALF_AN_HOUR);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn every_kind_comes_and_some_hit_beside_another() {
        let faults = of(1, &Kind::ALL, HALF_AN_HOUR);
        let kinds: BTreeSet<Kind> = faults.iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds.len(), Kind::ALL.len());
        let overlap = faults
            .windows(2)
            .any(|two| two[1].at_ms < two[0].at_ms + two[0].span_ms);
        assert!(overlap);
    }

    #[test]
    fn two_of_one_part_never_last_at_the_same_time() {
        for seed in 0..50 {
            let faults = of(seed, &Kind::ALL, HALF_AN_HOUR);
            for (index, fault) in faults.iter().enumerate() {
                let beside = faults.iter().skip(index + 1).find(|other| {
                    other.kind.part() == fault.kind.part()
                        && other.at_ms < fault.at_ms + fault.span_ms
                });
                assert_eq!(beside, None, "seed {seed}, beside {fault:?}");
            }
        }
    }

    #[test]
    fn only_what_is_asked_for_comes_and_all_of_it_ends_in_time() {
        let faults = of(3, &[Kind::Kill, Kind::NatsKill], Duration::from_secs(60));
        assert!(faults.len() > 10, "{faults:?}");
        let fits = |fault: &Fault| {
            matches!(fault.kind, Kind::Kill | Kind::NatsKill)
                && fault.at_ms + fault.span_ms < 60_000
        };
        assert!(faults.iter().all(fits), "{faults:?}");
        assert!(of(3, &[], HALF_AN_HOUR).is_empty());
    }
}
