//! Actions that this executor does not run: it does not have the tool, or somebody has switched it off.

use std::{sync::Arc, time::Duration};

use flotilla_common::{
    definition::Switch,
    entry::ToolOutcome,
    io::worker::{DELIVERIES_MAX, HAND_BACK_PAUSE, Incoming},
};
use tracing::info;

use crate::{
    action::Action,
    adapter::failure::{Class, Failure},
    claim::Claim,
    handle::{Executor, Stop, attempts, retry},
    tools::Ready,
};

/// The first pause of an action whose tool waits in one version only; later ones are longer, up to the longest.
const HOLD_PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(900));

impl Executor {
    /// The tool, for which an action that comes for the first time waits a moment where it is not here yet.
    pub(crate) async fn ready(&self, action: &Action, incoming: &Incoming) -> Option<Arc<Ready>> {
        let (name, version) = (&action.tool, action.version);
        match self.tools.get(name, version) {
            None if !incoming.is_redelivery() => self.tools.get_soon(name, version).await,
            found => found,
        }
    }

    /// A version that this executor does not have is handed back: another executor, or a newer one, has it. Only the last delivery
    /// says that none does.
    pub(crate) async fn pass_on(&self, action: &Action, incoming: &Incoming) -> Result<(), Stop> {
        let (name, version) = (&action.tool, action.version);
        if incoming.delivered < DELIVERIES_MAX {
            info!("this executor has no tool `{name}` version {version}; another one may have it");
            let why = format!("this executor has no tool `{name}` version {version}");
            return self.hand_back(action, incoming, self.lease, why).await;
        }
        let message = format!(
            "no executor that was asked has the tool `{name}` version {version}; `flotilla apply` brings definitions"
        );
        let failure = Failure::new(Class::UnknownTool, message);
        self.decline(action, incoming, failure).await
    }

    /// What is switched off is refused, or waits. Where all versions wait nobody pulls, and this is what had come in before. Where
    /// one does, its messages are handed back with pauses: about three hours long, for deliveries are counted.
    pub(crate) async fn switched_off(
        &self,
        action: &Action,
        switch: &Switch,
        incoming: &Incoming,
    ) -> Result<(), Stop> {
        let tool = format!("`{}@{}`", action.tool, action.version);
        if switch.hold && incoming.delivered < DELIVERIES_MAX {
            let definitions = self.definitions.current();
            let pause = if definitions.switches().holds(&action.tool) {
                HAND_BACK_PAUSE
            } else {
                hold_pause(incoming.delivered)
            };
            let why = format!("{tool} is {switch}, and what is decided for it waits");
            return self.hand_back(action, incoming, pause, why).await;
        }
        let message = format!("{tool} is {switch}; it was not run");
        info!("{message}");
        let failure = Failure::new(Class::SwitchedOff, message);
        self.decline(action, incoming, failure).await
    }

    /// Gives the message back; what is known of the action is kept for whoever comes next.
    async fn hand_back(
        &self,
        action: &Action,
        incoming: &Incoming,
        after: Duration,
        why: String,
    ) -> Result<(), Stop> {
        let held = match self.claim(action, incoming).await? {
            Claim::Done(resulted) => return self.append_again(action, *resulted).await,
            Claim::Ours(held) => held,
        };
        // What is given back says to whoever comes next that nothing was done, unless we cannot know that.
        if held.forgotten {
            self.abandon(&held.lease).await;
        } else {
            self.release(&held.lease).await;
        }
        Err(retry(after, why))
    }

    /// Ends the action with a failure; where it may have been begun before, nobody knows.
    async fn decline(
        &self,
        action: &Action,
        incoming: &Incoming,
        failure: Failure,
    ) -> Result<(), Stop> {
        let held = match self.claim(action, incoming).await? {
            Claim::Done(resulted) => return self.append_again(action, *resulted).await,
            Claim::Ours(held) => held,
        };
        let outcome = failure.into_outcome(&action.tool);
        let outcome = match outcome {
            ToolOutcome::Failed { message, .. } if held.is_in_doubt() => {
                let message = format!(
                    "an executor that had `{}` before was lost, so nobody knows whether it was done; {message}",
                    action.tool
                );
                ToolOutcome::Unknown { message }
            }
            ToolOutcome::Ok { .. } | ToolOutcome::Failed { .. } | ToolOutcome::Unknown { .. } => {
                outcome
            }
        };
        let resulted = self.resulted(action, outcome, Duration::ZERO, attempts(&held.lease) - 1);
        self.finish(action, resulted, held.lease).await
    }
}

fn hold_pause(delivered: i64) -> Duration {
    let (first, longest) = HOLD_PAUSES;
    let doubled = u32::try_from(delivered - 1).unwrap_or_default().min(16);
    first.saturating_mul(1 << doubled).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_of_a_version_that_waits_is_looked_at_often_and_for_hours() {
        assert_eq!(hold_pause(1), Duration::from_secs(5));
        assert_eq!(hold_pause(2), Duration::from_secs(10));
        let all: Duration = (1..DELIVERIES_MAX).map(hold_pause).sum();
        assert!(all > Duration::from_secs(3 * 3600), "{all:?}");
    }
}
