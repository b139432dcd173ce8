//! A schedule: a definition, what breaks, what people do, and a number from which the rest follows. Each part can be left out.

use std::{collections::BTreeMap, fmt, rc::Rc, sync::LazyLock};

use super::{
    super::*,
    flow::{Flow, TOOLS, flow},
    world::Random,
};
use crate::run::tests::script::Choices;

/// Faults of one schedule, at most.
const FAULTS_MAX: usize = 7;
/// What people do in one, at most.
const DEEDS_MAX: usize = 6;
/// Turns within which faults and deeds fall.
const TURNS: usize = 500;
/// Seeds that share a definition: to compile one costs as much as to run it.
const SHARED: u64 = 8;

static MODELS: LazyLock<Models> = LazyLock::new(|| Models::built_in().expect("the table is right"));

/// What breaks. Processes are named by their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A process dies and is started again.
    Crash(usize),
    /// It does nothing for so many milliseconds.
    Stall(usize, u64),
    /// Its clock is so many milliseconds off.
    Skew(usize, i64),
    /// Redis loses all.
    Empty,
    /// Redis comes up again with old states, and without its last claims.
    Restart,
    /// A message that is in work is handed out again.
    Redeliver,
    /// A result is written again.
    Repeat,
    /// A timer that has fired fires again.
    FireAgain,
}

/// What people do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Approve,
    Modify,
    Reject,
    /// A verdict on what was asked at any time, perhaps long ago.
    Old,
    /// A verdict that names something else than what is asked.
    Wrong,
    Cancel {
        compensate: bool,
    },
    Pause,
    Resume,
    Retry(usize),
    Message,
    Raise,
}

/// A compiled definition, with what it runs.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) flow: Flow,
    pub(super) workflows: BTreeMap<Name, Arc<Workflow>>,
}

#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    pub(super) definition: Rc<Definition>,
    /// The data of the event.
    pub(super) data: Value,
    /// By the turn before which they happen.
    pub(super) faults: Vec<(usize, Fault)>,
    pub(super) deeds: Vec<(usize, Deed)>,
}

impl Definition {
    /// `None`: it is not right.
    pub(super) fn compile(flow: Flow) -> Result<Self, String> {
        let mut files = vec![
            ("tools.yaml".to_owned(), TOOLS.to_owned()),
            ("w.yaml".to_owned(), flow.yaml("w")),
        ];
        if let Some(child) = &flow.child {
            files.push(("w2.yaml".to_owned(), child.yaml("w2")));
        }
        let catalogue = Catalogue::parse(&Sources(files.into_iter().collect()), &MODELS);
        let catalogue = catalogue.map_err(|problems| problems.to_string())?;
        let newest = catalogue.newest();
        let workflows = newest.map(|one| (one.pin.name.clone(), Arc::clone(one)));
        Ok(Self {
            workflows: workflows.collect(),
            flow,
        })
    }

    /// The one that a seed has.
    pub(super) fn of(seed: u64) -> Rc<Self> {
        thread_local! {
            static LAST: std::cell::RefCell<Option<(u64, Rc<Definition>)>> = const { std::cell::RefCell::new(None) };
        }
        let number = seed / SHARED;
        LAST.with_borrow_mut(|last| {
            if let Some((of, definition)) = last
                && *of == number
            {
                return Rc::clone(definition);
            }
            let flow = flow(&mut Random(number.wrapping_mul(0x2545_F491_4F6C_DD1D)));
            let text = flow.yaml("w");
            let compiled = Self::compile(flow);
            let definition = compiled.unwrap_or_else(|problems| panic!("{text}\n{problems}"));
            let definition = Rc::new(definition);
            *last = Some((number, Rc::clone(&definition)));
            definition
        })
    }
}

impl Schedule {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = Random(seed);
        let items = random.below(4);
        let mut schedule = Self {
            seed,
            definition: Definition::of(seed),
            data: json!({"n": random.below(3), "items": vec!["x"; items]}),
            faults: Vec::new(),
            deeds: Vec::new(),
        };
        for _ in 0..random.below(FAULTS_MAX + 1) {
            let turn = random.below(TURNS);
            schedule.faults.push((turn, fault(&mut random)));
        }
        for _ in 0..random.below(DEEDS_MAX + 1) {
            let turn = random.below(TURNS);
            schedule.deeds.push((turn, deed(&mut random)));
        }
        schedule.faults.sort_by_key(|(turn, _)| *turn);
        schedule.deeds.sort_by_key(|(turn, _)| *turn);
        schedule
    }
}

fn fault(random: &mut Random) -> Fault {
    let place = random.below(super::fleet::PLACES);
    match random.below(17) {
        0..5 => Fault::Crash(place),
        5..8 => Fault::Stall(place, 500 + random.below(3_000) as u64),
        8 => Fault::Skew(place, random.below(8_000) as i64 - 4_000),
        9..11 => Fault::Empty,
        11 | 12 => Fault::Restart,
        13 | 14 => Fault::Redeliver,
        15 => Fault::Repeat,
        _ => Fault::FireAgain,
    }
}

fn deed(random: &mut Random) -> Deed {
    match random.below(20) {
        0..4 => Deed::Approve,
        4 => Deed::Modify,
        5 | 6 => Deed::Reject,
        7 => Deed::Old,
        8 => Deed::Wrong,
        9..11 => Deed::Cancel { compensate: true },
        11 => Deed::Cancel { compensate: false },
        12 | 13 => Deed::Pause,
        14 | 15 => Deed::Resume,
        16 | 17 => Deed::Retry(random.below(8)),
        18 => Deed::Message,
        _ => Deed::Raise,
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.definition.flow.yaml("w"))?;
        if let Some(child) = &self.definition.flow.child {
            writeln!(f, "{}", child.yaml("w2"))?;
        }
        writeln!(f, "data: {}", self.data)?;
        for (turn, fault) in &self.faults {
            writeln!(f, "turn {turn}: {fault:?}")?;
        }
        for (turn, deed) in &self.deeds {
            writeln!(f, "turn {turn}: {deed:?}")?;
        }
        Ok(())
    }
}
