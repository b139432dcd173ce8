//! Work on a run: fold an entry, do what must happen next, until somebody else must act. Questions to Claude are asked side by
//! side, and what comes for the run meanwhile is taken in.

mod clock;

use std::{collections::BTreeSet, sync::Arc};

use flotilla_common::{
    definition::Workflow,
    entry::{Decision, Entry, Kind},
    run::{Concluded, Draft, Next, Run, TIMER_WAKE},
};
use jiff::Timestamp;

use crate::{
    caller::soon,
    dead::is_redrive,
    handle::{CONFLICTS_MAX, Planner},
    lanes::{Handed, News, Turn},
    questions::{Answer, Questions},
    session::Session,
    spans,
    stop::{Stop, retry},
};

/// Rounds of one handling: decisions of its own, and conflicts with other planners. More is a fault somewhere.
const ROUNDS_MAX: u32 = 100_000;

/// The work that one entry leads to.
pub(crate) struct Work<'p> {
    planner: &'p Arc<Planner>,
    turn: &'p Turn,
    entry: &'p Entry,
    redelivered: bool,
    /// When nats-server stored the entry that was taken in last.
    now: Timestamp,
    questions: Questions,
    /// Entries that were taken in on the way, and are not answered for yet.
    handed: Vec<Handed>,
    /// What is due now, nobody can have begun before.
    fresh: bool,
    /// Runs within this one may be decided and not started: only who reads all of the journal sees them.
    families: bool,
    /// The run had ended before its entry came.
    late: bool,
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
    pub(crate) fn new(
        planner: &'p Arc<Planner>,
        turn: &'p Turn,
        entry: &'p Entry,
        redelivered: bool,
        now: Timestamp,
    ) -> Self {
        Self {
            planner,
            turn,
            entry,
            redelivered,
            now,
            questions: Questions::new(planner),
            handed: Vec::new(),
            fresh: false,
            families: redelivered,
            late: false,
            emptied: false,
            shared: false,
            ended: false,
            conflicts: 0,
        }
    }

    pub(crate) async fn plan(mut self) -> Result<(), Stop> {
        let done = self.go_on().await;
        match done {
            Ok(()) => self.handed.into_iter().for_each(settle),
            Err(_) => self.questions.hand_back().await,
        }
        done
    }

    async fn go_on(&mut self) -> Result<(), Stop> {
        let (mut session, mut workflow) = self.open().await?;
        self.late = session.run.end.is_some();
        for _ in 0..ROUNDS_MAX {
            // A step may have been switched off since.
            if let Some(now) = self.planner.definitions.current().pinned(&workflow.pin) {
                workflow = Arc::clone(now);
            }
            let turned = self.turn(&mut session, &workflow).await?;
            let went_on = match turned {
                Turned::Done => return Ok(()),
                Turned::Again => continue,
                Turned::Decide(drafts) => self.append(&mut session, drafts).await?,
                Turned::Answer(answer) => self.decide(&mut session, &workflow, *answer).await?,
                Turned::Lost => false,
            };
            self.fresh = went_on;
            if !went_on {
                self.conflicts += 1;
                if self.conflicts > CONFLICTS_MAX {
                    return Err(retry("other planners keep writing to this run"));
                }
                session = self.rebuild(&session, "conflict").await?;
            }
            self.drop_unwanted(&session.run, &workflow).await;
        }
        Err(Stop::Dead(format!(
            "it took more than {ROUNDS_MAX} rounds to plan"
        )))
    }

    /// The state, with its entry, and its definition.
    async fn open(&mut self) -> Result<(Session, Arc<Workflow>), Stop> {
        let (planner, entry, redelivered, now) =
            (self.planner, self.entry, self.redelivered, self.now);
        let (journal, store) = (&planner.journal, &planner.store);
        let open = || Session::open(journal, store, entry, redelivered, now);
        let mut session = planner.patient(open).await??;
        spans::opened(&session.run, entry, session.rested);
        let Some(begun) = session.run.begun.clone() else {
            return Err(Stop::Dead("nothing started this run".into()));
        };
        // Whoever waits for it again and again waits with its message handed back.
        let workflow = if redelivered {
            planner
                .definitions
                .current()
                .pinned(&begun.pin)
                .map(Arc::clone)
        } else {
            planner.definitions.pinned(&begun.pin).await
        };
        let workflow = workflow.ok_or_else(|| Stop::Retry {
            after: planner.lease,
            why: format!(
                "workflow {} version {} (digest {:.12}) is not known here: it was never applied, or this planner is too old for it",
                begun.pin.name, begun.pin.version, begun.pin.digest
            ),
        })?;
        if entry.address.kind == Kind::Started || is_redrive(entry) {
            self.begin(&session.run, &workflow, !redelivered).await?;
        } else if session.run.awaits_others()
            && planner.patient(|| session.is_doubtful(store)).await??
        {
            // One of several that are waited for: an old copy, which a restarted Redis fell back to, would lack another one.
            session = self.rebuild(&session, "fan_in").await?;
        }
        // What such an entry leads to, nobody has begun before.
        let leads = matches!(entry.address.kind, Kind::Started | Kind::Resulted);
        self.fresh = leads && session.fresh;
        Ok((session, workflow))
    }

    /// One look at what must happen now.
    async fn turn(&mut self, session: &mut Session, workflow: &Workflow) -> Result<Turned, Stop> {
        let planner = self.planner;
        let busy = self.questions.keys();
        let next = session.run.next_beside(workflow, self.now, &busy);
        if self.families && !matches!(next, Next::Decide(_)) {
            self.families = false;
            planner.start_children(&session.run).await?;
            return Ok(Turned::Again);
        }
        match next {
            Next::Ended(_) => {
                // Whoever ended it may have died before the run's span went out, or it was this one, and its append was not acknowledged.
                if (self.redelivered || self.conflicts > 0) && !self.ended {
                    planner.trace_end(&session.run).await;
                }
                self.questions.forget_all_but(&BTreeSet::new()).await;
                planner
                    .end_family(&session.run, Some(workflow), self.late)
                    .await?;
                self.rest(session).await
            }
            Next::Wait(alarm) => {
                if busy.is_empty()
                    && let Some(draft) = self.questions.told(&session.run)
                {
                    return Ok(Turned::Decide(vec![draft]));
                }
                self.set_alarm(&session.run, alarm).await?;
                planner.cancel_children(&session.run).await?;
                let rested = self.rest(session).await?;
                if matches!(rested, Turned::Done) && !busy.is_empty() {
                    return self.wait(session, workflow).await;
                }
                Ok(rested)
            }
            // This entry had led to no more than waiting. What follows now follows from later ones, whose planners are at work,
            // but Redis was emptied and forgot their claims. They make them anew; until then, hands off.
            Next::Decide(_) | Next::Ask(..) if self.emptied && busy.is_empty() => {
                Err(Stop::Retry {
                    after: planner.lease / 2,
                    why: "Redis was emptied while others went on with this run".to_owned(),
                })
            }
            Next::Decide(drafts) => Ok(Turned::Decide(drafts)),
            Next::Ask(asks, alarm) => {
                self.set_alarm(&session.run, alarm).await?;
                if !planner.save(session).await? {
                    return Ok(Turned::Lost);
                }
                self.questions.begin(asks, self.fresh);
                Ok(Turned::Again)
            }
        }
    }

    /// Saves the state; what was taken in is answered for then.
    async fn rest(&mut self, session: &mut Session) -> Result<Turned, Stop> {
        if self.planner.save(session).await? {
            self.settle_handed();
            return Ok(Turned::Done);
        }
        self.emptied = self.was_emptied(session).await?;
        Ok(Turned::Lost)
    }

    /// Waits for an answer, or for news of the run.
    async fn wait(&mut self, session: &mut Session, workflow: &Workflow) -> Result<Turned, Stop> {
        let news = tokio::select! {
            biased;
            answer = self.questions.answer() => return self.answered(answer?, session, workflow),
            news = self.turn.news() => news,
        };
        match news {
            News::Entry(handed) => {
                let (entry, redelivered) = (handed.entry.clone(), handed.redelivered);
                self.families |= redelivered;
                let fits = !redelivered && session.run.fold(&entry).is_ok();
                self.handed.push(*handed);
                if !fits {
                    *session = self.rebuild(session, "handed").await?;
                }
                if entry.address.kind == Kind::Started {
                    self.begin(&session.run, workflow, false).await?;
                }
            }
            News::Nudge => *session = self.rebuild(session, "nudged").await?,
        }
        self.fresh = false;
        self.drop_unwanted(&session.run, workflow).await;
        Ok(Turned::Again)
    }

    /// What an answer decides, where it is still wanted.
    fn answered(
        &mut self,
        answer: Answer,
        session: &Session,
        workflow: &Workflow,
    ) -> Result<Turned, Stop> {
        let key = answer.0.clone();
        let Some(answer) = self.questions.take(answer)? else {
            return Ok(Turned::Again);
        };
        // Its reply is in its claim, and is found there when the run is resumed, or when it is asked by what the run knows now.
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
    ) -> Result<bool, Stop> {
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
    ) -> Result<bool, Stop> {
        self.families |= drafts
            .iter()
            .any(|draft| matches!(draft.decision, Decision::Run { .. }));
        // The other one may have acknowledged this handling's entry, too: should this one be lost, time wakes the run.
        if self.shared {
            let at = soon(self.planner.lease * 2);
            self.set_timer(&session.run, TIMER_WAKE, at).await?;
        }
        // Nothing after it could tell what they cost.
        let ends = drafts.iter().any(Draft::is_end);
        if ends {
            self.questions.forget_all_but(&BTreeSet::new()).await;
        }
        self.questions.tell_with(&session.run, &mut drafts);
        let appended = self.planner.append(session, drafts).await?;
        if appended {
            self.conflicts = 0;
            self.ended |= ends;
            self.questions.was_told();
        }
        Ok(appended)
    }

    async fn rebuild(&mut self, before: &Session, reason: &'static str) -> Result<Session, Stop> {
        let (planner, run) = (self.planner, &before.run.id);
        let rebuild = || Session::rebuild(&planner.journal, &planner.store, run, reason);
        let mut session = planner.patient(rebuild).await??;
        let told = std::mem::take(&mut session.told);
        let landed = before.tried.as_ref().is_some_and(|link| told.has(link));
        self.shared |= session.run.chain != before.run.chain && !landed;
        self.questions.journal_tells(told, landed);
        Ok(session)
    }

    async fn was_emptied(&mut self, session: &Session) -> Result<bool, Stop> {
        let planner = self.planner;
        Ok(planner
            .patient(|| session.was_emptied(&planner.store))
            .await??)
    }

    /// All that follows from what was taken in is on the journal, or in the hands of this handling. The last one waits until that is
    /// done: this handling's own entry may have been delivered to another planner too, which acknowledges it. A second delivery
    /// of either waits with it, for they are one message.
    fn settle_handed(&mut self) {
        let (own, last) = (self.entry.seq, self.handed.last().map(|one| one.entry.seq));
        let waits = |handed: &Handed| handed.entry.seq == own || Some(handed.entry.seq) == last;
        let settled = self.handed.extract_if(.., |handed| !waits(handed));
        settled.for_each(settle);
    }
}

fn settle(handed: Handed) {
    // Who waited may be gone: its message comes again then.
    let _ = handed.done.send(Ok(()));
}
