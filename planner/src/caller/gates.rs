//! What a try passes before it is made: the model's breaker, the fleet's rate limits, the ceilings of its money.

use std::time::Duration;

use flotilla_common::{
    entry::ParkedBy,
    io::{
        limiter::{Refused, Ticket},
        money::Hold,
    },
};
use tokio::time::{Instant, sleep};

use super::{
    Caller, Course, Lane, Question, Tried,
    bill::NoRoom,
    breakers::{Admitted, Open},
};
use crate::stop::Stop;

/// Longest time that a question waits in a planner's hands for a breaker; after that its run is parked, and its slot is free.
const BREAKER_STAND_MAX: Duration = Duration::from_secs(15);
/// The same before a ceiling: long enough for a day's costs to be summed up.
const CEILING_STAND_MAX: Duration = Duration::from_secs(45);
/// First and longest pause before a ceiling.
const STAND_MIN: Duration = Duration::from_millis(250);
const STAND_PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often a run that waits for the rate limits looks whether too many do.
const CROWD_LOOK: Duration = Duration::from_secs(5);

/// Everything that let a try pass; each is told what became of it.
pub(super) struct Passage<'a> {
    pub(super) admitted: Admitted<'a>,
    pub(super) ticket: Ticket,
    pub(super) hold: Hold,
}

/// What came of trying to pass.
pub(super) enum Passed<'a> {
    /// The call may be made.
    Through(Box<Passage<'a>>),
    /// A pause is over: from the beginning.
    Later,
    /// Not with this model now.
    Over(Tried),
}

impl Caller {
    /// Passes everything in its order. `id` is the try's own.
    pub(super) async fn pass<'a>(
        &'a self,
        question: Question<'_>,
        lane: &Lane<'a>,
        course: &mut Course,
        id: &str,
    ) -> Result<Passed<'a>, Stop> {
        let _here = self.waiting.count(&lane.flow);
        // Looked at before a place within the limits is taken, and again when it is there.
        if let Some(open) = self.breakers.open(lane.model) {
            return self.stand_by(lane, course, open).await;
        }
        let ticket = match self.enter(question, lane).await? {
            Ok(ticket) => ticket,
            Err(tried) => return Ok(Passed::Over(tried)),
        };
        let admitted = match self.breakers.admit(lane.model) {
            Ok(admitted) => admitted,
            Err(open) => {
                self.limiter.give_back(ticket).await;
                return self.stand_by(lane, course, open).await;
            }
        };
        let none = match self.room(question, lane.worst, id).await {
            Ok(hold) => {
                return Ok(Passed::Through(Box::new(Passage {
                    admitted,
                    ticket,
                    hold,
                })));
            }
            Err(none) => none,
        };
        // Nobody stands before a ceiling with a place within the limits in hand.
        drop(admitted);
        self.limiter.give_back(ticket).await;
        match none {
            NoRoom::Parked(why, until) => {
                Ok(Passed::Over(Tried::Parked(ParkedBy::Ceiling, why, until)))
            }
            NoRoom::Later(why) => self.stand(question, lane, course, why).await,
            NoRoom::Unknown => {
                self.sum_up().await;
                let why = "the day's costs are being summed up from the journal";
                self.stand(question, lane, course, why.to_owned()).await
            }
        }
    }

    /// Waits before a ceiling that others' calls in flight are in the way of, or parks.
    async fn stand<'a>(
        &self,
        question: Question<'_>,
        lane: &Lane<'_>,
        course: &mut Course,
        why: String,
    ) -> Result<Passed<'a>, Stop> {
        let pause = course.stood.clamp(STAND_MIN, STAND_PAUSE_MAX);
        let pause = pause.mul_f64(0.5 + fastrand::f64());
        if course.stood + pause > CEILING_STAND_MAX || Instant::now() + pause >= lane.deadline {
            let until = Some(self.later_for_money(question.ask.parked_times));
            return Ok(Passed::Over(Tried::Parked(ParkedBy::Ceiling, why, until)));
        }
        course.stood += pause;
        self.wait(pause, &why).await.map(|()| Passed::Later)
    }

    /// Waits for an open breaker, or says why that would take too long.
    async fn stand_by<'a>(
        &self,
        lane: &Lane<'_>,
        course: &mut Course,
        open: Open,
    ) -> Result<Passed<'a>, Stop> {
        let pause = open.left + Duration::from_millis(fastrand::u64(20..=250));
        let late = Instant::now() + pause >= lane.deadline;
        if !lane.last || course.stood + pause > BREAKER_STAND_MAX || late {
            return Ok(Passed::Over(Tried::Spent(open.why)));
        }
        course.stood += pause;
        self.wait(pause, &open.why).await.map(|()| Passed::Later)
    }

    /// A place within the fleet's rate limits. Where many wait, those of the flow with the most of them make room: their runs are
    /// parked, or the others would never come out of the stream.
    async fn enter(
        &self,
        question: Question<'_>,
        lane: &Lane<'_>,
    ) -> Result<Result<Ticket, Tried>, Stop> {
        let entering = self.limiter.enter(
            &lane.scope,
            &lane.flow,
            lane.want,
            &self.stop,
            lane.deadline,
        );
        tokio::pin!(entering);
        loop {
            let entered = tokio::select! {
                biased;
                entered = &mut entering => entered,
                () = sleep(CROWD_LOOK) => {
                    if self.waiting.must_make_room(&lane.flow) {
                        let why = "too many runs of its workflow wait for the rate limits".to_owned();
                        let until = Some(self.later(question.ask.parked_times));
                        return Ok(Err(Tried::Parked(ParkedBy::Unavailable, why, until)));
                    }
                    continue;
                }
            };
            return match entered {
                Ok(ticket) => Ok(Ok(ticket)),
                Err(Refused::Stopping) => Err(Stop::handed_back(
                    "stopped while waiting for the rate limits",
                )),
                Err(Refused::Deadline { why }) => {
                    let why = why.map_or_else(String::new, |why| format!(": {why}"));
                    let told = format!("no room within the rate limits in its time{why}");
                    Ok(Err(Tried::Spent(told)))
                }
            };
        }
    }

    pub(crate) async fn wait(&self, pause: Duration, why: &str) -> Result<(), Stop> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Stop::handed_back(why)),
            () = sleep(pause) => Ok(()),
        }
    }
}
