//! Scenes: the few moments that matter most, set up one by one, so that what a rule of the protocol is for surely happens. Each
//! would turn the scorecard red if its rule did not hold.

mod clocks;
mod stage;
mod two_planners;
mod workers;

pub(super) use stage::{SAVED_WITHIN, Stage};

/// A scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scene {
    /// A planner dies while Claude is answering it: what it was given must be given to another one.
    EarlyDeath,
    /// A planner dies between a reply, which is saved, and the append, which NATS is too far away for: the reply must be taken.
    SavedReply,
    /// A planner is cut off from NATS with a decision on its way; another one decides; then the first one's append arrives.
    LateAppend,
    /// An executor is cut off from NATS in the middle of an effect that may be done once; another one is given it.
    SlowWorker,
    /// Two results of one fan-in come to two planners, of which one saves late what it knew early.
    FanIn,
    /// The planners' clocks are an hour ahead when a run has to wait for a second.
    WrongClock,
}

impl Scene {
    /// All of them.
    pub(super) const ALL: [Self; 6] = [
        Self::EarlyDeath,
        Self::SavedReply,
        Self::LateAppend,
        Self::SlowWorker,
        Self::FanIn,
        Self::WrongClock,
    ];

    /// As `--faults` names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::EarlyDeath => "early-death",
            Self::SavedReply => "saved-reply",
            Self::LateAppend => "late-append",
            Self::SlowWorker => "slow-worker",
            Self::FanIn => "fan-in",
            Self::WrongClock => "wrong-clock",
        }
    }

    /// Plays it.
    ///
    /// # Errors
    /// It could not be set up: then it has proved nothing.
    pub(super) async fn play(self, stage: &Stage) -> anyhow::Result<()> {
        match self {
            Self::EarlyDeath => workers::early_death(stage).await,
            Self::SavedReply => workers::saved_reply(stage).await,
            Self::LateAppend => two_planners::late_append(stage).await,
            Self::SlowWorker => workers::slow_worker(stage).await,
            Self::FanIn => two_planners::fan_in(stage).await,
            Self::WrongClock => clocks::wrong_clock(stage).await,
        }
    }
}
