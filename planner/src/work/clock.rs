//! The timers of a run: when its time is up, and when what it waits for comes by itself.

use flotilla_common::{
    definition::Workflow,
    ids::Name,
    io::telemetry::metric,
    run::{Run, TIMER_DEADLINE, TIMER_WAKE},
};
use jiff::Timestamp;
use metrics::counter;

use super::Work;
use crate::stop::Stop;

impl Work<'_> {
    /// The first thing of a run: its clock.
    pub(super) async fn begin(
        &mut self,
        run: &Run,
        workflow: &Workflow,
        first: bool,
    ) -> Result<(), Stop> {
        if first {
            counter!(metric::RUNS_STARTED, "workflow" => workflow.pin.name.to_string())
                .increment(1);
        }
        if let Some(deadline) = run.deadline(workflow) {
            self.set_timer(run, TIMER_DEADLINE, deadline).await?;
        }
        Ok(())
    }

    /// The timer of what the run waits for next: set by whoever sees it, because who decided to wait may have died before.
    pub(super) async fn set_alarm(
        &mut self,
        run: &Run,
        alarm: Option<Timestamp>,
    ) -> Result<(), Stop> {
        match alarm {
            Some(alarm) => self.set_timer(run, TIMER_WAKE, alarm).await,
            None => Ok(()),
        }
    }

    pub(super) async fn set_timer(
        &mut self,
        run: &Run,
        name: &str,
        at: Timestamp,
    ) -> Result<(), Stop> {
        let timer: Name = name.parse()?;
        let planner = self.planner;
        planner
            .patient(|| planner.journal.schedule(&run.id, &timer, at))
            .await?
            .map_err(Into::into)
    }
}
