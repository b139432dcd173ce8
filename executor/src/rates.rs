//! Rates that all executors of the fleet share.

use std::time::Duration;

use flotilla_common::{
    definition::{Catalogue, Fault, TOO_MANY, Tool},
    ids::Name,
    io::{
        limiter::{Limiter, LimiterConfig, Refused, Ticket},
        store::Store,
    },
    limit::{Flow, Limits, Observed, Scope, Want},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::adapter::told::Told;

/// How long the fleet's limiter is waited for before it is asked again from the start.
const LOOK: Duration = Duration::from_secs(60);
/// A call is one of something; what it is made of does not count.
const ONE: Want = Want {
    input_estimate: 0,
    output_max: 0,
};

/// The rates of tools that have one for the fleet.
#[derive(Debug)]
pub(crate) struct Rates {
    limiter: Limiter,
}

/// Leave to make one call; `None` where nothing limits it. Dropped, it counts as used.
#[derive(Debug)]
pub(crate) struct Turn(Option<Ticket>);

impl Rates {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            limiter: Limiter::new(store, LimiterConfig::default()),
        }
    }

    /// Takes in what the tools say, the newest version last.
    pub(crate) fn update(&self, catalogue: &Catalogue) {
        for tool in catalogue.tools.iter() {
            if let Some(requests) = tool.fleet_rate {
                let limits = Limits {
                    requests: Some(requests),
                    ..Limits::default()
                };
                self.limiter.configure(&Scope::tool(&tool.name), limits);
            }
        }
    }

    /// Waits until the fleet may make one more call of the tool; `None` when `stop` came first.
    pub(crate) async fn enter(&self, tool: &Tool, stop: &CancellationToken) -> Option<Turn> {
        if tool.fleet_rate.is_none() {
            return Some(Turn(None));
        }
        let (scope, flow) = (Scope::tool(&tool.name), flow(&tool.name));
        loop {
            let deadline = Instant::now() + LOOK;
            match self.limiter.enter(&scope, &flow, ONE, stop, deadline).await {
                Ok(ticket) => return Some(Turn(Some(ticket))),
                Err(Refused::Stopping) => return None,
                Err(Refused::Deadline { .. }) => {}
            }
        }
    }

    /// The call was not made.
    pub(crate) async fn give_back(&self, turn: Turn) {
        if let Some(ticket) = turn.0 {
            self.limiter.give_back(ticket).await;
        }
    }

    /// What came of a call: who says that there were too many is believed, for the whole fleet.
    pub(crate) async fn heard(&self, tool: &Tool, told: Option<Told>) {
        let Some(told) = told.filter(|_| tool.fleet_rate.is_some()) else {
            return;
        };
        if told.fault == Some(Fault::Status(Some(TOO_MANY))) {
            let scope = Scope::tool(&tool.name);
            let nothing = Observed::default();
            self.limiter
                .limited(&scope, told.retry_after, nothing)
                .await;
        }
    }
}

/// All of a tool's calls are one flow: who gets a slot of the tool is not decided here.
fn flow(tool: &Name) -> Flow {
    Flow {
        tenant: tool.clone(),
        workflow: tool.clone(),
    }
}
