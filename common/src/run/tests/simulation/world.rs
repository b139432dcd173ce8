//! The world of the simulation: the journal, Redis, two queues and nats-server's timers, on a clock of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{
    super::*,
    lanes::{Lane, News},
    ledger::Ledger,
    queue::Queue,
    redis::Redis,
    schedule::{Definition, Schedule},
};
use crate::run::tests::script::Choices;

/// `SplitMix64`: small, and the same everywhere.
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Choices for Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % count as u64).expect("below a usize")
    }
}

/// A rule of the protocol that is broken on purpose, to see that the checks notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Nothing,
    /// Appends to the chain are taken whatever they expect.
    ExpectedSequence,
    /// A second result of an action is folded like a first.
    FoldOnce,
    /// A second firing of a timer is folded like a first.
    FireOnce,
    /// A timer that is set again is lost, the old one and the new one.
    ReplacedTimer,
    /// A verdict counts for whatever is asked in its place.
    ApprovalHash,
    /// A planner that comes after another one ends a failing run without undoing more.
    UndoAfterCrash,
    /// A run within a run is started whatever is there.
    ChildOnce,
    /// Runs within a run that were decided by a planner that died are not started.
    ChildAfterCrash,
    /// A reply is not saved before its decision is appended.
    SaveBeforeAppend,
    /// A state is saved whatever is there.
    CompareAndSet,
    /// A state is saved wherever there is none, also by those who loaded theirs before Redis was emptied.
    KeepPlace,
    /// An effect runs without a claim.
    ClaimEffect,
    /// Claude is asked without a claim.
    ClaimCall,
    /// The outcome of a lost executor counts as not done.
    UnknownStaysUnknown,
    /// A run that was made to wait by a planner that died gets no timer.
    WakeAfterCrash,
    /// Of several links, only the first ones are appended.
    AtomicBatch,
    /// A state from Redis is believed about which of several results is the last.
    DoubtFanIn,
    /// A state that is saved counts as whole, whatever it rests on.
    DoubtHandedOn,
    /// Replies are told whoever has told them.
    TellOnce,
    /// All that a handling has taken in is acknowledged while it goes on.
    HoldHanded,
    /// Money is not held while a call is made.
    HoldMoney,
}

/// A run, as nats-server has it.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) workflow: Arc<Workflow>,
    pub(super) journal: Vec<Entry>,
    /// The last link of its chain.
    pub(super) chain: u64,
    pub(super) ended: bool,
    /// When it ended.
    pub(super) ended_at: Option<u64>,
}

/// A timer that nats-server has.
#[derive(Debug, Clone, Copy)]
struct Timer {
    at: Timestamp,
    /// When it fires: never early, mostly a bit late.
    due: u64,
}

/// Everything there is.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) clock: u64,
    pub(super) broken: Broken,
    pub(super) definition: Rc<Definition>,
    pub(super) tracks: BTreeMap<RunId, Track>,
    /// What was written last.
    pub(super) seq: u64,
    /// What was written last when Redis lost something last.
    pub(super) lost_seq: u64,
    pub(super) redis: Redis,
    pub(super) planners: Queue,
    pub(super) executors: Queue,
    timers: BTreeMap<(RunId, &'static str), Timer>,
    /// Message ids of signals that nats-server has seen.
    signals: BTreeSet<String>,
    /// What planners have in memory, by process and run.
    pub(super) lanes: BTreeMap<(usize, RunId), Lane>,
    /// Tasks in the middle of a message.
    pub(super) busy: BTreeSet<usize>,
    /// Nothing breaks any more, and Claude answers.
    pub(super) kind: bool,
    pub(super) ledger: Ledger,
    pub(super) trace: Option<Vec<String>>,
    pub(super) wrong: Option<String>,
    /// Which process is in each place.
    pub(super) places: [usize; super::fleet::PLACES],
    /// When signs of life were given last.
    pub(super) beaten_at: u64,
    unique: u64,
}

fn beginning() -> Timestamp {
    Timestamp::from_second(1_795_255_200).expect("a time")
}

impl World {
    /// The world in which the event of a schedule has just come in.
    pub(super) fn new(schedule: &Schedule, broken: Broken, traced: bool) -> Self {
        let mut world = Self {
            random: Random(schedule.seed ^ 0x5851_F42D_4C95_7F2D),
            clock: 0,
            broken,
            definition: Rc::clone(&schedule.definition),
            tracks: BTreeMap::new(),
            seq: 0,
            lost_seq: 0,
            redis: Redis::default(),
            planners: Queue::default(),
            executors: Queue::default(),
            timers: BTreeMap::new(),
            signals: BTreeSet::new(),
            lanes: BTreeMap::new(),
            busy: BTreeSet::new(),
            kind: false,
            ledger: Ledger::default(),
            trace: traced.then(Vec::new),
            wrong: None,
            places: [0; super::fleet::PLACES],
            beaten_at: 0,
            unique: 0,
        };
        let name: Name = "w".parse().expect("a name");
        let workflow = Arc::clone(&schedule.definition.workflows[&name]);
        let kind = workflow.on.event.clone();
        let started = Started {
            workflow: workflow.pin.clone(),
            event: Event::new(kind, "test".into(), "1".into(), schedule.data.clone()),
            parent: None,
            lessons: Vec::new(),
            forked: None,
            received: None,
        };
        let id = RunId::derive(&name, "test", "1");
        world.start(&id, &workflow, started, 0);
        world
    }

    pub(super) fn unique(&mut self) -> u64 {
        self.unique += 1;
        self.unique
    }

    /// The time by a clock that is so many milliseconds off.
    pub(super) fn at_clock(&self, skew: i64) -> Timestamp {
        let clock = i64::try_from(self.clock).expect("not that long");
        beginning() + SignedDuration::from_millis(clock + skew)
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>7} {}", self.clock, text()));
        }
    }

    /// A promise was broken; the first one counts.
    pub(super) fn violated(&mut self, text: String) {
        self.note(|| format!("VIOLATED: {text}"));
        self.wrong.get_or_insert(text);
    }

    /// Starts a run if there is nothing of it.
    pub(super) fn start(
        &mut self,
        id: &RunId,
        workflow: &Arc<Workflow>,
        started: Started,
        skew: i64,
    ) {
        if self.tracks.contains_key(id) && self.broken != Broken::ChildOnce {
            return;
        }
        self.tracks.entry(id.clone()).or_insert_with(|| Track {
            workflow: Arc::clone(workflow),
            journal: Vec::new(),
            chain: 0,
            ended: false,
            ended_at: None,
        });
        self.ledger.bound(id, workflow, &started);
        let name = workflow.pin.name.to_string();
        self.write(id, Kind::Started, &name, &Body::Started(started), skew);
    }

    /// What came for a run that a process has in work.
    pub(super) fn news(&mut self, process: usize, run: &RunId) -> Option<News> {
        self.lanes.get_mut(&(process, run.clone()))?.news()
    }

    /// Appends to the chain if it still ends where the planner thinks.
    pub(super) fn append_links(
        &mut self,
        run: &RunId,
        links: &[Link],
        expected: u64,
    ) -> Option<Vec<Entry>> {
        if self.tracks[run].chain != expected && self.broken != Broken::ExpectedSequence {
            return None;
        }
        let taken = match self.broken {
            Broken::AtomicBatch => links.len().div_ceil(2),
            _ => links.len(),
        };
        let links = links.iter().take(taken);
        Some(
            links
                .map(|link| self.append(link.address.clone(), &link.payload))
                .collect(),
        )
    }

    pub(super) fn append(&mut self, address: Address, payload: &[u8]) -> Entry {
        self.seq += 1 + self.random.below(2) as u64;
        let seq = self.seq;
        self.note(|| {
            let name = &address.name;
            let text = String::from_utf8_lossy(payload).into_owned();
            let mut shown: String = text.chars().take(420).collect();
            shown.retain(|c| c != '\\');
            format!("#{seq} {:.6} {} {name} {shown}", address.run, address.kind)
        });
        let entry = Entry::decode(seq, address, payload).expect("an entry");
        let run = &entry.address.run;
        let track = self.tracks.get_mut(run).expect("a run that was started");
        track.journal.push(entry.clone());
        match &entry.body {
            Body::Decided(decided) => {
                track.chain = seq;
                if matches!(decided.decision, Decision::End { .. }) {
                    track.ended = true;
                    track.ended_at.get_or_insert(self.clock);
                }
                let wrong = self.ledger.decided(run, decided, seq);
                if matches!(decided.decision, Decision::Act { .. }) {
                    self.executors.take(entry.clone(), self.clock);
                }
                if let Err(problem) = wrong {
                    self.violated(problem);
                }
                return entry;
            }
            Body::Signalled(_) => {
                let lanes = self.lanes.iter_mut().filter(|((_, of), _)| of == run);
                for (_, lane) in lanes {
                    lane.nudged |= !self.random.once_in(8);
                }
            }
            Body::Started(_) | Body::Resulted(_) | Body::Fired(_) => {}
        }
        self.planners.take(entry.clone(), self.clock);
        entry
    }

    pub(super) fn write(&mut self, run: &RunId, kind: Kind, name: &str, body: &Body, skew: i64) {
        let payload = body.encode(self.at_clock(skew)).expect("JSON");
        self.append(address(run, kind, name), &payload);
    }

    /// Writes a signal, unless nats-server knows its id.
    pub(super) fn signal(&mut self, run: &RunId, name: &str, signalled: Signalled) {
        if self.tracks.contains_key(run)
            && self
                .signals
                .insert(format!("{run}.{name}.{}", signalled.id))
        {
            self.write(run, Kind::Signalled, name, &Body::Signalled(signalled), 0);
        }
    }

    pub(super) fn set_timer(&mut self, run: &RunId, name: &'static str, at: Timestamp) {
        let key = (run.clone(), name);
        let millis = at.duration_since(beginning()).as_millis();
        let late = self.random.below(60) as u64;
        let due = u64::try_from(millis).unwrap_or(0) + late;
        if self.broken == Broken::ReplacedTimer && self.timers.remove(&key).is_some() {
            return;
        }
        self.timers.insert(key, Timer { at, due });
    }

    /// Fires what is due.
    pub(super) fn fire(&mut self) {
        let clock = self.clock;
        let due = |timer: &Timer| timer.due <= clock;
        while let Some((key, timer)) = self
            .timers
            .iter()
            .find(|(_, t)| due(t))
            .map(|(k, t)| (k.clone(), *t))
        {
            self.timers.remove(&key);
            let payload = Body::Fired(Fired {}).encode(timer.at).expect("JSON");
            self.append(address(&key.0, Kind::Fired, key.1), &payload);
        }
    }

    pub(super) fn next_timer(&self) -> Option<u64> {
        self.timers.values().map(|timer| timer.due).min()
    }

    /// Whether a run that goes on has a timer.
    pub(super) fn is_timed(&self, run: &RunId) -> bool {
        self.timers.contains_key(&(run.clone(), TIMER_WAKE))
    }

    /// An entry that was written is written again.
    pub(super) fn repeat(&mut self, kind: Kind) {
        let all = self.tracks.values().flat_map(|track| &track.journal);
        let all: Vec<Entry> = all
            .filter(|entry| entry.address.kind == kind)
            .cloned()
            .collect();
        if !all.is_empty() {
            let again = self.random.pick(&all).clone();
            let payload = again.body.encode(again.at).expect("JSON");
            self.append(again.address, &payload);
        }
    }

    /// What a tool of a run is.
    pub(super) fn tool(
        &self,
        run: &RunId,
        name: &Name,
        version: u32,
    ) -> Arc<crate::definition::Tool> {
        let tools = self.tracks[run].workflow.tools();
        let found = tools
            .into_iter()
            .find(|tool| tool.name == *name && tool.version == version);
        Arc::clone(found.expect("a tool of this workflow"))
    }
}

fn address(run: &RunId, kind: Kind, name: &str) -> Address {
    Address {
        run: run.clone(),
        kind,
        name: name.parse().expect("a name"),
    }
}
