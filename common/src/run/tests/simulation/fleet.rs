//! The fleet in small: planners and executors, each with its tasks, interleaved at every point where they wait for somebody else.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Waker},
};

use super::{
    super::*,
    checks,
    executor::executor,
    ledger::Seen,
    people,
    planner::planner,
    process::Process,
    schedule::{Deed, Fault, Schedule},
    world::{Broken, World},
};
use crate::run::tests::script::Choices;

const PLANNERS: usize = 2;
const EXECUTORS: usize = 2;
pub(super) const PLACES: usize = PLANNERS + EXECUTORS;
/// Messages that a planner handles at once.
const SLOTS: usize = 3;
/// Turns that no schedule should need.
const TURNS_MAX: usize = 60_000;
/// How often a sign of life is given for all that is in work, in milliseconds.
const BEAT: u64 = 300;

/// How a schedule went.
pub(super) struct Report {
    pub(super) wrong: Option<String>,
    pub(super) trace: Vec<String>,
    pub(super) seen: Seen,
}

struct Task {
    id: usize,
    place: usize,
    running: Pin<Box<dyn Future<Output = ()>>>,
}

struct Fleet {
    world: Rc<RefCell<World>>,
    tasks: Vec<Task>,
    /// Until when each process does nothing.
    stalled: [u64; PLACES],
    skews: [i64; PLACES],
    faults: std::iter::Peekable<std::vec::IntoIter<(usize, Fault)>>,
    deeds: std::iter::Peekable<std::vec::IntoIter<(usize, Deed)>>,
}

pub(super) fn simulate(schedule: &Schedule, broken: Broken, traced: bool) -> Report {
    let mut fleet = Fleet::new(schedule, broken, traced);
    let mut turn = 0;
    loop {
        turn += 1;
        let over = fleet.turn(&mut turn);
        let world = &mut *fleet.world.borrow_mut();
        if over && world.wrong.is_none() {
            checks::at_the_end(world);
        }
        if turn > TURNS_MAX {
            world.violated(format!("no end after {TURNS_MAX} turns"));
        }
        if over || world.wrong.is_some() {
            return Report {
                wrong: world.wrong.take(),
                trace: world.trace.take().unwrap_or_default(),
                seen: world.ledger.seen.clone(),
            };
        }
    }
}

impl Fleet {
    fn new(schedule: &Schedule, broken: Broken, traced: bool) -> Self {
        let world = World::new(schedule, broken, traced);
        let mut fleet = Self {
            world: Rc::new(RefCell::new(world)),
            tasks: Vec::new(),
            stalled: [0; PLACES],
            skews: [0; PLACES],
            faults: schedule.faults.clone().into_iter().peekable(),
            deeds: schedule.deeds.clone().into_iter().peekable(),
        };
        for place in 0..PLACES {
            fleet.start(place);
        }
        fleet
    }

    /// A process from its beginning; what the one in this place had in memory before is gone.
    fn start(&mut self, place: usize) {
        self.tasks.retain(|task| task.place != place);
        self.stalled[place] = 0;
        let world = &mut *self.world.borrow_mut();
        let id = usize::try_from(world.unique()).expect("not that many");
        let redis = Rc::new(Cell::new(world.redis.process));
        let slots = if place < PLANNERS { SLOTS } else { 1 };
        for _ in 0..slots {
            let task = usize::try_from(world.unique()).expect("not that many");
            let process = Process {
                world: Rc::clone(&self.world),
                id,
                task,
                skew: self.skews[place],
                redis: Rc::clone(&redis),
            };
            let running: Pin<Box<dyn Future<Output = ()>>> = if place < PLANNERS {
                Box::pin(planner(process))
            } else {
                Box::pin(executor(process))
            };
            self.tasks.push(Task {
                id: task,
                place,
                running,
            });
        }
        let alive: BTreeSet<usize> = self.tasks.iter().map(|task| task.id).collect();
        world.busy.retain(|task| alive.contains(task));
        let gone = std::mem::replace(&mut world.places[place], id);
        world.lanes.retain(|(process, _), _| *process != gone);
        world.ledger.crashed.insert(gone);
    }

    /// Time passes, something may break, and one task goes on to where it waits next. Says whether all is over.
    fn turn(&mut self, turn: &mut usize) -> bool {
        while let Some((_, fault)) = self.faults.next_if(|(at, _)| at <= turn) {
            self.breaks(fault);
        }
        while let Some((_, deed)) = self.deeds.next_if(|(at, _)| at <= turn) {
            people::does(&mut self.world.borrow_mut(), deed);
        }
        let ready = {
            let world = &mut *self.world.borrow_mut();
            world.kind = self.faults.peek().is_none() && self.deeds.peek().is_none();
            world.clock += world.random.below(30) as u64;
            world.fire();
            let (planners, executors) = (
                world.planners.is_available(world.clock),
                world.executors.is_available(world.clock),
            );
            let is_ready = |task: &&mut Task| {
                let idle_ready = if task.place < PLANNERS {
                    planners
                } else {
                    executors
                };
                self.stalled[task.place] <= world.clock
                    && (idle_ready || world.busy.contains(&task.id))
            };
            let mut ready: Vec<&mut Task> = self.tasks.iter_mut().filter(is_ready).collect();
            if ready.is_empty() {
                None
            } else {
                let chosen = world.random.below(ready.len());
                Some(ready.swap_remove(chosen).id)
            }
        };
        self.beats();
        let Some(id) = ready else {
            return self.rests(turn);
        };
        let task = self.tasks.iter_mut().find(|task| task.id == id);
        let running = task.expect("it is there").running.as_mut();
        let polled = running.poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "processes never end by themselves");
        false
    }

    /// A sign of life for all that processes hold that are not stalled.
    fn beats(&mut self) {
        let world = &mut *self.world.borrow_mut();
        let clock = world.clock;
        if world.beaten_at + BEAT > clock {
            return;
        }
        world.beaten_at = clock;
        for task in self
            .tasks
            .iter()
            .filter(|task| self.stalled[task.place] <= clock)
        {
            if world.busy.contains(&task.id) {
                world.planners.in_progress(task.id, clock);
                world.executors.in_progress(task.id, clock);
                world.redis.extend(task.id, clock);
            }
        }
    }

    /// Nobody can do anything now: time goes on until somebody can, or people do something. Says whether all is over.
    fn rests(&mut self, turn: &mut usize) -> bool {
        let next = [
            self.faults.peek().map(|(at, _)| *at),
            self.deeds.peek().map(|(at, _)| *at),
        ];
        let next = next.into_iter().flatten().min();
        let world = &mut *self.world.borrow_mut();
        let stalled = self
            .stalled
            .iter()
            .copied()
            .filter(|until| *until > world.clock);
        let messages = world
            .planners
            .next()
            .into_iter()
            .chain(world.executors.next());
        let moves = stalled.chain(messages).min();
        let alarm = world.next_timer();
        if let Some(next) = next
            && (moves.is_none() || world.random.once_in(2))
            && (alarm.is_none() || world.random.once_in(2))
        {
            *turn = (*turn).max(next);
            return false;
        }
        if let Some(at) = moves {
            let at = alarm.map_or(at, |alarm| alarm.min(at));
            world.clock = world.clock.max(at);
            return false;
        }
        let open: Vec<RunId> = world
            .tracks
            .iter()
            .filter(|(_, track)| !track.ended)
            .map(|(id, _)| id.clone())
            .collect();
        if open.is_empty() && next.is_none() {
            return true;
        }
        if next.is_none() {
            checks::none_is_lost(world, &open);
            if (alarm.is_none() || world.random.once_in(2))
                && open.iter().any(|run| people::help(world, run))
            {
                return false;
            }
        }
        if let Some(alarm) = alarm {
            world.clock = world.clock.max(alarm);
        }
        false
    }

    fn breaks(&mut self, fault: Fault) {
        self.world.borrow_mut().note(|| format!("FAULT {fault:?}"));
        match fault {
            Fault::Crash(place) => self.start(place),
            Fault::Stall(place, span) => self.stalled[place] = self.world.borrow().clock + span,
            Fault::Skew(place, skew) => {
                self.skews[place] = skew;
                self.start(place);
            }
            Fault::Empty | Fault::Restart | Fault::Redeliver | Fault::Repeat | Fault::FireAgain => {
                let world = &mut *self.world.borrow_mut();
                if matches!(fault, Fault::Empty | Fault::Restart) {
                    world.ledger.redis_forgets();
                    world.lost_seq = world.seq;
                }
                match fault {
                    Fault::Empty => world.redis.empty(world.clock),
                    Fault::Restart => world.redis.restart(world.clock, &mut world.random),
                    Fault::Repeat => world.repeat(Kind::Resulted),
                    Fault::FireAgain => world.repeat(Kind::Fired),
                    _ => {
                        world.planners.redeliver(&mut world.random);
                        world.executors.redeliver(&mut world.random);
                    }
                }
            }
        }
    }
}
