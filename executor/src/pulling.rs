//! The loops of all tools: a tool that comes to the fleet gets one, one that becomes wider another beside it, and those of a tool
//! that waits rest.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use flotilla_common::{
    definition::Catalogue,
    ids::Name,
    io::{
        definitions::Live,
        journal::Journal,
        streams::{StreamError, ensure_consumer},
        worker::{self, Loop},
    },
    names::{consumer, stream, subject},
};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    ABANDON_GRACE, Config,
    handle::{Executor, ROLE},
};

/// Pause before a consumer that could not be made is tried again.
const FAILED_PAUSE: Duration = Duration::from_secs(2);

/// The loops.
pub(crate) struct Pulling {
    executor: Arc<Executor>,
    journal: Journal,
    ack_wait: Duration,
    drain: Duration,
    stop: CancellationToken,
    loops: JoinSet<usize>,
    /// By tool: the slots of its loops.
    known: BTreeMap<Name, usize>,
}

impl Pulling {
    pub(crate) fn new(executor: Arc<Executor>, config: &Config, stop: CancellationToken) -> Self {
        Self {
            executor,
            journal: config.journal.clone(),
            ack_wait: config.ack_wait,
            drain: config.drain + ABANDON_GRACE,
            stop,
            loops: JoinSet::new(),
            known: BTreeMap::new(),
        }
    }

    /// Does as these definitions say; gives the number of tools.
    pub(crate) async fn follow(&mut self, definitions: &Catalogue) -> Result<usize, StreamError> {
        self.executor.tools.update(definitions);
        self.executor.rates.update(definitions);
        self.executor.breakers.update(definitions);
        for (tool, slots) in self.executor.tools.consumers() {
            let holds = definitions.switches().holds(&tool);
            if self.executor.breakers.hold(&tool, holds) {
                info!(%tool, holds, "whether its actions wait has changed");
            }
            let has = self.known.entry(tool.clone()).or_default();
            let more = slots.saturating_sub(*has);
            if more > 0 {
                self.begin(&tool, more).await?;
                self.known.insert(tool, slots);
            }
        }
        Ok(self.known.len())
    }

    /// Follows the definitions until the stop, then waits for all loops to end.
    pub(crate) async fn go_on(mut self, mut live: Live) {
        let stop = self.stop.clone();
        let mut failed = false;
        loop {
            let definitions = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                definitions = live.changed() => definitions,
                () = sleep(FAILED_PAUSE), if failed => live.current(),
            };
            let followed = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                followed = self.follow(&definitions) => followed,
            };
            if let Err(problem) = &followed
                && !failed
            {
                warn!(%problem, "a tool cannot be pulled for yet; trying on");
            }
            failed = followed.is_err();
        }
        while self.loops.join_next().await.is_some() {}
    }

    /// One more loop of a tool.
    async fn begin(&mut self, tool: &Name, slots: usize) -> Result<(), StreamError> {
        let name = consumer::tool(tool);
        let filters = vec![subject::decided(tool)];
        let bus = self.journal.bus();
        let consumer = ensure_consumer(bus, stream::RUNS, &name, filters, self.ack_wait).await?;
        let pulling = Loop {
            consumer,
            role: ROLE,
            name,
            slots,
            ack_wait: self.ack_wait,
            drain: self.drain,
            gate: self.executor.breakers.gate(tool),
            // Those that were planned do not count, and only the handler knows of them.
            deliveries_max: i64::MAX,
        };
        let executor = Arc::clone(&self.executor);
        let handler = move |incoming| {
            let (executor, working) = (Arc::clone(&executor), executor.work.begin());
            async move {
                let handled = Box::pin(executor.handle(incoming)).await;
                drop(working);
                handled
            }
        };
        let journal = self.journal.clone();
        self.loops
            .spawn(worker::run(pulling, journal, handler, self.stop.clone()));
        Ok(())
    }
}
