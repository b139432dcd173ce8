//! The questions to Claude that one handling asks side by side. As the planner's own.

use std::{
    cell::Cell,
    collections::BTreeSet,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::{
    super::*,
    asking::{Asked, Asking, Halt},
    process::Process,
    session::Retry,
    world::{Broken, World},
};
use crate::{entry::Call, run::tests::script::Choices};

/// What came of a question.
pub(super) type Answer = (StepKey, Result<Asked, Retry>);

/// A question that is asked now.
struct Question {
    step: StepKey,
    halt: Rc<Cell<Halt>>,
    answer: Pin<Box<dyn Future<Output = Result<Asked, Retry>>>>,
}

/// The questions of one handling.
pub(super) struct Questions {
    process: Process,
    run: RunId,
    asked: Vec<Question>,
    /// What came while another answer was waited for.
    kept: Vec<Answer>,
    /// Calls that nobody wants any more: the next decision tells them.
    abandoned: Vec<Call>,
    /// What the last of them was asked for.
    dropped: Option<StepKey>,
    /// Answers whose decisions did not come onto the journal.
    undecided: Vec<Concluded>,
    /// What the journal told when it was read last.
    told: Told,
}

impl Questions {
    pub(super) fn new(process: &Process, run: &RunId) -> Self {
        Self {
            process: process.clone(),
            run: run.clone(),
            asked: Vec::new(),
            kept: Vec::new(),
            abandoned: Vec::new(),
            dropped: None,
            undecided: Vec::new(),
            told: Told::default(),
        }
    }

    /// The journal was read; where `landed`, the last decisions stand there, though that was not known.
    pub(super) fn journal_tells(&mut self, told: Told, landed: bool) {
        if landed {
            self.process.notes("landed unknown");
            self.was_told();
        }
        self.told = told;
    }

    /// What is asked now, and what was answered and is not decided.
    pub(super) fn open(&self) -> BTreeSet<StepKey> {
        let undecided = self.undecided.iter().map(|answer| answer.step.clone());
        self.keys().into_iter().chain(undecided).collect()
    }

    /// What is asked now.
    pub(super) fn keys(&self) -> BTreeSet<StepKey> {
        let kept = self.kept.iter().map(|(step, _)| step.clone());
        let asked = self.asked.iter().map(|one| one.step.clone());
        asked.chain(kept).collect()
    }

    pub(super) fn begin(&mut self, asks: Vec<Ask>, chain: u64) {
        if asks.len() > 1 {
            self.process.notes("side by side");
        }
        for ask in asks {
            let (step, halt) = (ask.step.clone(), Rc::new(Cell::new(Halt::No)));
            let asking = Asking::new(&self.process, ask, chain, &halt);
            self.asked.push(Question {
                step,
                halt,
                answer: Box::pin(asking.answer()),
            });
        }
    }

    /// Lets each question go on by one turn; gives an answer, if one is there.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        if let Some(answer) = self.kept.pop() {
            return Some(answer);
        }
        let count = self.asked.len();
        let first = self
            .process
            .at_once(|world| world.random.below(count.max(1)));
        let asked = &mut self.asked;
        let answered = poll_fn(|context: &mut Context<'_>| {
            for n in (0..count).map(|n| (first + n) % count) {
                if let Poll::Ready(answer) = asked[n].answer.as_mut().poll(context) {
                    return Poll::Ready(Some((n, answer)));
                }
            }
            Poll::Ready(None)
        });
        let (n, answer) = answered.await?;
        Some((self.asked.remove(n).step, answer))
    }

    /// What an answer decides; nothing where its question was given up.
    pub(super) fn take(&mut self, (step, asked): Answer) -> Result<Option<Concluded>, Retry> {
        match asked? {
            Asked::Decided(answer) => Ok(Some(*answer)),
            Asked::Abandoned(calls) => {
                self.abandoned.extend(calls);
                self.dropped = Some(step);
                Ok(None)
            }
        }
    }

    /// What nobody wants any more, though it was answered: the next decision tells what it cost.
    pub(super) fn give_up(&mut self, answer: Concluded) {
        self.process.notes("given up");
        self.dropped = Some(answer.step.clone());
        self.abandoned.extend(answer.unwanted().0);
    }

    /// Stops all questions but these, and waits until they have stopped, so that what they cost is known.
    pub(super) async fn forget_all_but(&mut self, wanted: &BTreeSet<StepKey>) {
        let mut stopping: BTreeSet<StepKey> = BTreeSet::new();
        for one in self.asked.iter().filter(|one| !wanted.contains(&one.step)) {
            one.halt.set(Halt::Unwanted);
            self.process.notes("unwanted");
            stopping.insert(one.step.clone());
        }
        let kept = self.kept.iter().map(|(step, _)| step.clone());
        stopping.extend(kept.filter(|step| !wanted.contains(step)));
        let mut kept = Vec::new();
        while !stopping.is_empty() {
            let Some((step, asked)) = self.answer().await else {
                self.process.waits(1).await;
                continue;
            };
            if !stopping.remove(&step) {
                kept.push((step, asked));
                continue;
            }
            // A stop of its own is no concern of the run's any more.
            if let Ok(Some(answer)) = self.take((step, asked)) {
                self.give_up(answer);
            }
        }
        self.kept.append(&mut kept);
    }

    /// Hands all of them back, with what they may have cost, for whoever comes next; what nobody told yet is not told any more.
    pub(super) async fn hand_back(&mut self) {
        for one in &self.asked {
            one.halt.set(Halt::HandBack);
        }
        while !(self.asked.is_empty() && self.kept.is_empty()) {
            match self.answer().await {
                Some((_, Ok(asked))) => self.is_dropped(asked),
                Some((_, Err(_))) => {}
                None => self.process.waits(1).await,
            }
        }
        let abandoned = std::mem::take(&mut self.abandoned);
        abandoned.iter().for_each(|call| self.excuses(call));
    }

    /// The handling is over, and says nothing of this: what was saved is in its claim, and what was not is lost with it.
    fn is_dropped(&self, asked: Asked) {
        let calls = match asked {
            Asked::Decided(answer) => answer.unwanted().0,
            Asked::Abandoned(calls) => calls,
        };
        calls.iter().for_each(|call| self.excuses(call));
    }

    /// The decision that tells what was given up, where no other does.
    pub(super) fn told(&self, run: &Run) -> Option<Draft> {
        self.untold(run, &[])?;
        let step = self.dropped.as_ref()?;
        Some(run.abandoning(step))
    }

    fn untold(&self, run: &Run, drafts: &[Draft]) -> Option<Call> {
        let broken = |world: &mut World| world.broken == Broken::TellOnce;
        if self.process.at_once(broken) {
            return self.abandoned.iter().cloned().reduce(Call::and);
        }
        self.told.untold(run, drafts, &self.abandoned)
    }

    /// Has decisions tell what was given up: the first that tells no call of its own, or else the first.
    pub(super) fn tell_with(&self, run: &Run, drafts: &mut [Draft]) {
        let untold = self.untold(run, drafts);
        let free = drafts.iter().position(|draft| draft.call.is_none());
        let draft = &mut drafts[free.unwrap_or(0)];
        draft.tell(untold);
    }

    /// It is on the journal.
    pub(super) fn was_told(&mut self) {
        self.abandoned.clear();
        self.undecided.clear();
        self.dropped = None;
    }

    /// An answer's decisions did not come onto the journal: others' did.
    pub(super) fn is_undecided(&mut self, answer: Concluded) {
        self.undecided.push(answer);
    }

    /// What is wanted of the answers that were not decided is asked again, and finds its replies in their claims. The others are
    /// given up.
    pub(super) fn ask_again(&mut self, wanted: &BTreeSet<StepKey>) {
        for answer in std::mem::take(&mut self.undecided) {
            if wanted.contains(&answer.step) {
                self.leave(answer);
            } else {
                self.give_up(answer);
            }
        }
    }

    /// Leaves an answer to whoever asks again. Nobody tells what was paid where nobody does, because the run was cancelled then.
    pub(super) fn leave(&mut self, answer: Concluded) {
        let paid = answer.clone().unwanted().0;
        paid.iter().for_each(|call| self.excuses(call));
        let step = answer.step.clone();
        let calls = answer.unclaimed();
        if !calls.is_empty() {
            self.dropped = Some(step);
            self.abandoned.extend(calls);
        }
    }

    /// What a call tells need not be told: who else has its replies cannot be known.
    fn excuses(&self, call: &Call) {
        let attempts = call.attempts.iter();
        let ids: Vec<String> = attempts.filter_map(|it| it.request_id.clone()).collect();
        self.process.at_once(|world| {
            world.ledger.excuses(&ids);
            world.ledger.dropped(&self.run, call.wasted);
        });
    }
}
