//! The work that one entry leads to. As the planner's own, without its metrics and its outages.

use std::collections::BTreeSet;

use super::{
    super::*,
    checks,
    family::{cancel_children, end_family, start_children},
    lanes::{Done, Handed, News},
    process::Process,
    questions::Questions,
    queue::Message,
    redis::LEASE,
    session::{Retry, Session},
    world::Broken,
};
use crate::ids::Aside;

/// Rounds that no handling should need.
const ROUNDS_MAX: u32 = 400;
/// Times a state may be folded anew in one handling because somebody else wrote.
const CONFLICTS_MAX: u32 = 20;

pub(super) struct Work<'p> {
    process: &'p Process,
    message: &'p Message,
    redelivered: bool,
    /// When nats-server stored the entry.
    now: Timestamp,
    questions: Questions,
    /// Entries that were taken in on the way, and are not answered for yet.
    pub(super) handed: Vec<Handed>,
    /// Runs within this one may be decided and not started: only who reads all of the journal sees them.
    families: bool,
    /// Redis was emptied under it.
    emptied: bool,
    /// Another planner has decided something meanwhile.
    shared: bool,
    /// It has ended the run.
    ended: bool,
    conflicts: u32,
}

/// How the work goes on.
enum Turned {
    /// It looks again.
    Again,
    /// These are to be appended.
    Decide(Vec<Draft>),
    /// What this answer decides is.
    Answer(Box<Concluded>),
    /// Others have written: the journal must be read.
    Lost,
    /// Others must act.
    Done,
}

impl<'p> Work<'p> {
    pub(super) fn new(process: &'p Process, message: &'p Message) -> Self {
        let stored = process.at_once(|world| {
            i64::try_from(message.stored).unwrap_or(0) - i64::try_from(world.clock).unwrap_or(0)
        });
        let mut work = Self {
            process,
            message,
            redelivered: message.delivered > 1,
            now: process.at_once(|world| world.at_clock(stored)),
            questions: Questions::new(process, &message.entry.address.run),
            handed: Vec::new(),
            families: false,
            emptied: false,
            shared: false,
            ended: false,
            conflicts: 0,
        };
        work.families = work.redelivered && !work.is_broken(Broken::ChildAfterCrash);
        work
    }

    fn is_broken(&self, rule: Broken) -> bool {
        self.process.at_once(|world| world.broken == rule)
    }

    pub(super) async fn plan(&mut self) -> Result<(), Retry> {
        let done = self.go_on().await;
        if done.is_ok() {
            for handed in self.handed.drain(..) {
                handed.done.set(Done::Settled);
            }
        }
        // Who ends a run tells all that it knows of.
        if !self.ended {
            self.questions.hand_back().await;
        }
        done
    }

    async fn go_on(&mut self) -> Result<(), Retry> {
        let process = self.process;
        let (mut session, workflow) = self.open().await?;
        for _ in 0..ROUNDS_MAX {
            let turned = self.turn(&mut session, &workflow).await?;
            let went_on = match turned {
                Turned::Done => {
                    process.at_once(|world| checks::known_rebuilds(world, &session.run));
                    return Ok(());
                }
                Turned::Again => continue,
                Turned::Decide(drafts) => self.append(&mut session, drafts).await?,
                Turned::Answer(answer) => self.decide(&mut session, &workflow, *answer).await?,
                Turned::Lost => false,
            };
            if !went_on {
                self.conflicts += 1;
                if self.conflicts > CONFLICTS_MAX {
                    return Err(Retry(2_000));
                }
                session = self.rebuild(&session).await?;
            }
            self.drop_unwanted(&session.run, &workflow).await;
        }
        let told = format!("one handling took more than {ROUNDS_MAX} rounds");
        process.at_once(|world| world.violated(told));
        Err(Retry(1_000))
    }

    /// The state, with its entry, and its definition.
    async fn open(&mut self) -> Result<(Session, Arc<Workflow>), Retry> {
        let (process, id) = (self.process, self.message.entry.address.run.clone());
        let acked = process.at_once(|world| world.planners.acked(&id));
        let mut session = Session::open(process, self.message).await?;
        let workflow = process.at_once(|world| Arc::clone(&world.tracks[&id].workflow));
        if self.message.entry.address.kind == Kind::Started {
            self.begin(&session.run, &workflow).await;
        } else if session.run.awaits_others() {
            process.notes("fan-in");
            if session.is_doubtful(process).await {
                process.notes("doubted");
                session = self.rebuild(&session).await?;
            }
        }
        process.at_once(|world| checks::knows(world, &session.run, &acked));
        Ok((session, workflow))
    }

    /// One look at what must happen now.
    async fn turn(&mut self, session: &mut Session, workflow: &Workflow) -> Result<Turned, Retry> {
        let process = self.process;
        let busy = self.questions.keys();
        let next = session.run.next_beside(workflow, self.now, &busy);
        if self.families && !matches!(next, Next::Decide(_)) {
            self.families = false;
            start_children(process, &session.run).await;
            return Ok(Turned::Again);
        }
        match next {
            Next::Ended(_) => {
                self.questions.forget_all_but(&BTreeSet::new()).await;
                end_family(process, &session.run, workflow).await;
                self.rest(session).await
            }
            Next::Wait(alarm) => {
                if busy.is_empty()
                    && let Some(draft) = self.questions.told(&session.run)
                {
                    return Ok(Turned::Decide(vec![draft]));
                }
                self.set_alarm(&session.run.id, alarm).await;
                cancel_children(process, &session.run).await;
                let rested = self.rest(session).await?;
                if matches!(rested, Turned::Done) && !busy.is_empty() {
                    return self.wait(session, workflow).await;
                }
                Ok(rested)
            }
            Next::Decide(_) | Next::Ask(..) if self.emptied && busy.is_empty() => {
                Err(Retry(LEASE / 2))
            }
            Next::Decide(drafts) => Ok(Turned::Decide(drafts)),
            Next::Ask(asks, alarm) => {
                self.set_alarm(&session.run.id, alarm).await;
                if !session.save(process).await {
                    return Ok(Turned::Lost);
                }
                self.questions.begin(asks, session.run.chain);
                Ok(Turned::Again)
            }
        }
    }

    /// Saves the state; what was taken in is answered for then.
    async fn rest(&mut self, session: &mut Session) -> Result<Turned, Retry> {
        if session.save(self.process).await {
            self.settle_handed();
            return Ok(Turned::Done);
        }
        self.emptied = session.was_emptied(self.process).await;
        Ok(Turned::Lost)
    }

    /// Waits for an answer, or for news of the run.
    async fn wait(&mut self, session: &mut Session, workflow: &Workflow) -> Result<Turned, Retry> {
        let (process, id) = (self.process, session.run.id.clone());
        let news = loop {
            if let Some(answer) = self.questions.answer().await {
                return self.answered(answer, session, workflow);
            }
            if let Some(news) = process.at_once(|world| world.news(process.id, &id)) {
                break news;
            }
            process.waits(1).await;
        };
        match news {
            News::Entry(handed) => {
                let (entry, redelivered) = (handed.entry.clone(), handed.redelivered);
                self.families |= redelivered && !self.is_broken(Broken::ChildAfterCrash);
                let fits = !redelivered && session.run.fold(&entry).is_ok();
                self.handed.push(*handed);
                if !fits {
                    *session = self.rebuild(session).await?;
                }
                if entry.address.kind == Kind::Started {
                    self.begin(&session.run, workflow).await;
                }
            }
            News::Nudge => *session = self.rebuild(session).await?,
        }
        self.drop_unwanted(&session.run, workflow).await;
        Ok(Turned::Again)
    }

    /// What an answer decides, where it is still wanted.
    fn answered(
        &mut self,
        answer: super::questions::Answer,
        session: &Session,
        workflow: &Workflow,
    ) -> Result<Turned, Retry> {
        let key = answer.0.clone();
        let Some(answer) = self.questions.take(answer)? else {
            return Ok(Turned::Again);
        };
        if session.run.is_held() || session.run.is_past(&answer) {
            self.questions.leave(answer);
            return Ok(Turned::Again);
        }
        let wanted = session.run.wanted(workflow, &BTreeSet::from([key]));
        if wanted.is_empty() {
            self.questions.give_up(answer);
            return Ok(Turned::Again);
        }
        Ok(Turned::Answer(Box::new(answer)))
    }

    /// Stops asking what nobody wants to know any more.
    async fn drop_unwanted(&mut self, run: &Run, workflow: &Workflow) {
        let open = self.questions.open();
        if !open.is_empty() {
            let wanted = run.wanted(workflow, &open);
            self.questions.ask_again(&wanted);
            self.questions.forget_all_but(&wanted).await;
        }
    }

    /// Appends what an answer decides.
    async fn decide(
        &mut self,
        session: &mut Session,
        workflow: &Workflow,
        answer: Concluded,
    ) -> Result<bool, Retry> {
        let drafts = session.run.answered(workflow, answer.clone());
        let appended = self.append(session, drafts).await?;
        if !appended {
            self.questions.is_undecided(answer);
        }
        Ok(appended)
    }

    /// Appends decisions, with what was given up before them.
    async fn append(
        &mut self,
        session: &mut Session,
        mut drafts: Vec<Draft>,
    ) -> Result<bool, Retry> {
        self.families |= drafts
            .iter()
            .any(|draft| matches!(draft.decision, Decision::Run { .. }));
        let undoes = |draft: &Draft| draft.step.aside == Some(Aside::Undo);
        if drafts.iter().all(undoes) && self.redelivered && self.is_broken(Broken::UndoAfterCrash) {
            let step = StepKey::step(&"end".parse().expect("a name"));
            drafts = vec![session.run.ending(step, Outcome::Failed, None)];
        }
        let ends = drafts.iter().any(Draft::is_end);
        // The other one may have acknowledged this handling's entry, too: should this one be lost, time wakes the run.
        if self.shared {
            let at = self.process.now() + SignedDuration::from_millis(2 * LEASE as i64);
            self.set_alarm(&session.run.id, Some(at)).await;
        }
        // Nothing after it could tell what they cost.
        if ends {
            self.questions.forget_all_but(&BTreeSet::new()).await;
        }
        self.questions.tell_with(&session.run, &mut drafts);
        let appended = session.append(self.process, drafts).await?;
        if appended {
            self.ended |= ends;
            self.conflicts = 0;
            self.questions.was_told();
        }
        Ok(appended)
    }

    async fn rebuild(&mut self, before: &Session) -> Result<Session, Retry> {
        let mut session = Session::rebuild(self.process, &before.run.id).await?;
        let told = std::mem::take(&mut session.told);
        let landed = before.tried.as_ref().is_some_and(|link| told.has(link));
        self.shared |= session.run.chain != before.run.chain && !landed;
        self.questions.journal_tells(told, landed);
        Ok(session)
    }

    /// The first thing of a run: its clock.
    async fn begin(&self, run: &Run, workflow: &Workflow) {
        if let Some(deadline) = run.deadline(workflow) {
            self.process
                .retries(|world| world.set_timer(&run.id, TIMER_DEADLINE, deadline))
                .await;
        }
    }

    /// The timer of what the run waits for next: set by whoever sees it, because who decided to wait may have died before.
    async fn set_alarm(&self, run: &RunId, alarm: Option<Timestamp>) {
        let skipped = self.redelivered && self.is_broken(Broken::WakeAfterCrash);
        if let Some(alarm) = alarm.filter(|_| !skipped) {
            self.process
                .retries(|world| world.set_timer(run, TIMER_WAKE, alarm))
                .await;
        }
    }

    /// All that follows from what was taken in is on the journal, or in the hands of this handling. The last one waits until that is
    /// done: this handling's own entry may have been delivered to another planner too, which acknowledges it. A second delivery
    /// of either waits with it, for they are one message.
    fn settle_handed(&mut self) {
        let own = self.message.entry.seq;
        let last = self.handed.last().map(|one| one.entry.seq);
        let all = self.is_broken(Broken::HoldHanded);
        let waits = |handed: &Handed| handed.entry.seq == own || Some(handed.entry.seq) == last;
        let settled = |handed: &mut Handed| all || !waits(handed);
        for handed in self.handed.extract_if(.., settled) {
            handed.done.set(Done::Settled);
        }
    }
}
