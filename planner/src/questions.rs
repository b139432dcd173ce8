//! The questions to Claude that one handling of a run asks side by side, each in a task of its own, so that its lease and its money
//! are kept alive whatever else the handling waits for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use flotilla_common::{
    entry::Call,
    ids::StepKey,
    io::telemetry::span,
    run::{Ask, Concluded, Draft, Left, Run, Told},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use crate::{
    ask::{Asked, Stops},
    handle::Planner,
    stop::{Stop, retry},
};

/// What came of a question.
pub(crate) type Answer = (StepKey, Result<Asked, Stop>);

/// The questions of one handling.
pub(crate) struct Questions {
    planner: Arc<Planner>,
    /// Each with what stops it.
    busy: BTreeMap<StepKey, CancellationToken>,
    answers: JoinSet<Answer>,
    /// What came while another answer was waited for.
    kept: Vec<Answer>,
    /// Hands all of them back.
    hand_back: CancellationToken,
    /// Calls that nobody wants any more: the next decision tells them.
    abandoned: Vec<Call>,
    /// What they leave in batches.
    left: Vec<Left>,
    /// What the last of them was asked for.
    dropped: Option<StepKey>,
    /// Answers whose decisions did not come onto the journal.
    undecided: Vec<Concluded>,
    /// What the journal told when it was read last: other planners may have taken replies from their claims.
    told: Told,
}

impl Questions {
    pub(crate) fn new(planner: &Arc<Planner>) -> Self {
        Self {
            planner: Arc::clone(planner),
            busy: BTreeMap::new(),
            answers: JoinSet::new(),
            kept: Vec::new(),
            hand_back: planner.abandon.child_token(),
            abandoned: Vec::new(),
            left: Vec::new(),
            dropped: None,
            undecided: Vec::new(),
            told: Told::default(),
        }
    }

    /// The journal was read; where `landed`, the last decisions stand there, though that was not known.
    pub(crate) fn journal_tells(&mut self, told: Told, landed: bool) {
        if landed {
            self.was_told();
        }
        self.told = told;
    }

    /// What is asked now, and what was answered and is not decided.
    pub(crate) fn open(&self) -> BTreeSet<StepKey> {
        let undecided = self.undecided.iter().map(|answer| answer.step.clone());
        self.busy.keys().cloned().chain(undecided).collect()
    }

    /// What is asked now.
    pub(crate) fn keys(&self) -> BTreeSet<StepKey> {
        self.busy.keys().cloned().collect()
    }

    /// Asks each of these; `fresh`: nobody can have begun with them before.
    pub(crate) fn begin(&mut self, asks: Vec<Ask>, fresh: bool) {
        for ask in asks {
            let stops = Stops {
                unwanted: CancellationToken::new(),
                hand_back: self.hand_back.clone(),
            };
            self.busy.insert(ask.step.clone(), stops.unwanted.clone());
            let planner = Arc::clone(&self.planner);
            let logged = info_span!("ask", step = %ask.step);
            let asking = async move {
                let asked = planner.ask(&ask, fresh, &stops).await;
                (ask.step, asked)
            };
            self.answers.spawn(span::carried(asking.instrument(logged)));
        }
    }

    /// The next answer; never where nothing is asked. Dropped while it waits, it has lost nothing.
    ///
    /// # Errors
    /// A question that panicked: whoever comes next asks it again.
    pub(crate) async fn answer(&mut self) -> Result<Answer, Stop> {
        if let Some(answer) = self.kept.pop() {
            return Ok(answer);
        }
        match self.answers.join_next().await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(retry(&format!("a question ended badly: {error}"))),
            None => std::future::pending().await,
        }
    }

    /// What an answer decides; nothing where its question was given up.
    pub(crate) fn take(&mut self, (step, asked): Answer) -> Result<Option<Concluded>, Stop> {
        self.busy.remove(&step);
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
    pub(crate) fn give_up(&mut self, answer: Concluded) {
        self.dropped = Some(answer.step.clone());
        let (calls, left) = answer.unwanted();
        self.abandoned.extend(calls);
        self.left.extend(left);
    }

    /// Stops all questions but these, and waits until they have stopped, so that what they cost is known.
    pub(crate) async fn forget_all_but(&mut self, wanted: &BTreeSet<StepKey>) {
        let mut stopping: BTreeSet<StepKey> = BTreeSet::new();
        for (step, stop) in &self.busy {
            if !wanted.contains(step) {
                stop.cancel();
                stopping.insert(step.clone());
            }
        }
        let mut kept = Vec::new();
        while !stopping.is_empty() {
            let Ok((step, asked)) = self.answer().await else {
                break;
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

    /// Hands all of them back, with what they may have cost, for whoever comes next.
    pub(crate) async fn hand_back(&mut self) {
        self.hand_back.cancel();
        while self.answers.join_next().await.is_some() {}
        self.busy.clear();
    }

    /// The decision that tells what was given up, where no other does.
    pub(crate) fn told(&self, run: &Run) -> Option<Draft> {
        let step = self.dropped.as_ref()?;
        let untold = self.told.untold(run, &[], &self.abandoned);
        untold.map(|_| run.abandoning(step))
    }

    /// Has decisions tell what was given up.
    pub(crate) fn tell_with(&self, run: &Run, drafts: &mut [Draft]) {
        self.told.tell(run, drafts, &self.abandoned, &self.left);
    }

    /// It is on the journal.
    pub(crate) fn was_told(&mut self) {
        self.abandoned.clear();
        self.left.clear();
        self.undecided.clear();
        self.dropped = None;
    }

    /// An answer's decisions did not come onto the journal: others' did.
    pub(crate) fn is_undecided(&mut self, answer: Concluded) {
        self.undecided.push(answer);
    }

    /// What is wanted of the answers that were not decided is asked again, and finds its replies in their claims. The others are
    /// given up.
    pub(crate) fn ask_again(&mut self, wanted: &BTreeSet<StepKey>) {
        for answer in std::mem::take(&mut self.undecided) {
            if wanted.contains(&answer.step) {
                self.leave(answer);
            } else {
                self.give_up(answer);
            }
        }
    }

    /// Leaves an answer to whoever asks again.
    pub(crate) fn leave(&mut self, answer: Concluded) {
        let step = answer.step.clone();
        let calls = answer.unclaimed();
        if !calls.is_empty() {
            self.dropped = Some(step);
            self.abandoned.extend(calls);
        }
    }
}
