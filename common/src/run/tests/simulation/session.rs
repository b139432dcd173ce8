//! A run's state while it is worked on: loaded from Redis, or folded from the journal. As the planner's own.

use std::rc::Rc;

use super::{super::*, process::Process, queue::Message, redis::Token, world::Broken};
use crate::run::tests::script::Choices;

/// The message goes back, to be handed out again after so many milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retry(pub(super) u64);

/// A run in work.
pub(super) struct Session {
    pub(super) run: Run,
    /// What a save must bring.
    token: Token,
    /// Whether the state is from Redis.
    loaded: bool,
    /// The digest of the state that Redis has, as far as this session knows.
    saved: Option<String>,
    /// What the journal tells.
    pub(super) told: Told,
    /// The first decision of an append that met others'.
    pub(super) tried: Option<Link>,
}

impl Session {
    /// The state with an entry folded in.
    pub(super) async fn open(process: &Process, message: &Message) -> Result<Self, Retry> {
        let entry = &message.entry;
        let id = &entry.address.run;
        if message.delivered > 1 {
            return Self::rebuild(process, id).await;
        }
        let loaded = process
            .does(|world| world.redis.load(id, process.redis.get()))
            .await;
        let saved = loaded.run.as_ref().map(|run| run.digest.clone());
        let mut run = match loaded.run {
            Some(run) => Run::clone(&run),
            None if matches!(entry.body, Body::Started(_)) => Run::new(id.clone()),
            None => return Self::rebuild(process, id).await,
        };
        let entry = process.at_once(|world| misfold(world.broken, &mut run, entry));
        match run.fold(&entry) {
            Ok(_) => Ok(Self {
                run,
                token: loaded.token,
                loaded: true,
                saved,
                told: Told::default(),
                tried: None,
            }),
            Err(_) => Self::rebuild(process, id).await,
        }
    }

    /// The state from the journal alone.
    pub(super) async fn rebuild(process: &Process, id: &RunId) -> Result<Self, Retry> {
        // The token first: whoever saves after this look makes our save fail, not the other way round.
        let last_seen = process.redis.get();
        let loaded = process.does(|world| world.redis.load(id, last_seen)).await;
        let journal = process.does(|world| world.tracks[id].journal.clone()).await;
        process.notes("rebuilt");
        let told = Told::by(&journal);
        match Run::rebuild(id, journal) {
            Ok(run) => Ok(Self {
                run,
                token: loaded.token.of_journal(last_seen),
                loaded: false,
                saved: loaded.run.map(|run| run.digest.clone()),
                told,
                tried: None,
            }),
            Err(error) => {
                process.at_once(|world| world.violated(error.to_string()));
                Err(Retry(1_000))
            }
        }
    }

    /// Whether the state may be an old copy, which lacks what was acknowledged since.
    pub(super) async fn is_doubtful(&self, process: &Process) -> bool {
        if !self.loaded {
            return false;
        }
        let since = self.token.process();
        process
            .does(|world| {
                process.redis.set(world.redis.process);
                world.redis.process != since && world.broken != Broken::DoubtFanIn
            })
            .await
    }

    /// Saves the state. `false`: another planner saved in between, or Redis lost it.
    pub(super) async fn save(&mut self, process: &Process) -> bool {
        // What is there already is current only if nobody has saved since.
        if self.saved.as_ref() == Some(&self.run.digest) {
            return process
                .does(|world| world.redis.is_current(&self.run.id, self.token))
                .await;
        }
        let run = Rc::new(self.run.clone());
        let mut token = self.token;
        if process.at_once(|world| world.broken == Broken::DoubtHandedOn) {
            token = token.of_journal(process.redis.get());
        }
        let fresh = process.at_once(|world| world.redis.fresh());
        let saved = process
            .retries(|world| world.redis.save(&run, token, fresh, world.broken))
            .await;
        let Some(token) = saved else {
            process.notes("save refused");
            return false;
        };
        self.token = token;
        self.saved = Some(run.digest.clone());
        process.at_once(|world| {
            if world.random.once_in(24) {
                let text = serde_json::to_string(&*run).expect("JSON");
                let read: Run = serde_json::from_str(&text).expect("what was saved is readable");
                assert_eq!(read, *run, "what is saved is what is read");
            }
        });
        true
    }

    /// Whether a save failed because Redis was emptied, and not because another planner saved.
    pub(super) async fn was_emptied(&self, process: &Process) -> bool {
        process
            .does(|world| world.redis.was_emptied(&self.run.id, self.token))
            .await
    }

    /// `false`: the chain has grown, perhaps by this very append whose answer was lost.
    pub(super) async fn append(
        &mut self,
        process: &Process,
        drafts: Vec<Draft>,
    ) -> Result<bool, Retry> {
        let links = self.run.link(drafts, process.now()).expect("a link");
        // What could not be folded must not be written.
        let mut after = self.run.clone();
        for (seq, link) in (self.run.chain + 1..).zip(&links) {
            let entry = Entry::decode(seq, link.address.clone(), &link.payload);
            if after.fold(&entry.expect("an entry")).is_err() {
                process.notes("does not fit");
                return Ok(false);
            }
        }
        let (id, expected) = (self.run.id.clone(), self.run.chain);
        let appended = process
            .retries(|world| world.append_links(&id, &links, expected))
            .await;
        let Some(entries) = appended else {
            process.notes("append refused");
            self.tried = links.into_iter().next();
            return Ok(false);
        };
        if links.len() > 1 {
            process.notes("batch");
        }
        for entry in entries {
            if let Err(error) = self.run.fold(&entry) {
                process.at_once(|world| {
                    world.violated(format!("its own decision does not fold: {error}"))
                });
                return Err(Retry(1_000));
            }
        }
        Ok(true)
    }
}

/// What breaks rules of the fold: an entry is folded as if what the rule looks at were not so.
fn misfold(broken: Broken, run: &mut Run, entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    match (broken, &mut entry.body) {
        (Broken::FoldOnce, Body::Resulted(resulted)) => {
            let acts = run.steps.values_mut().flat_map(StepState::acts_mut);
            for act in acts.filter(|act| act.decided == resulted.decided) {
                act.outcome = None;
            }
        }
        (Broken::FireOnce, Body::Fired(_)) => run.clock = Timestamp::UNIX_EPOCH,
        (
            Broken::ApprovalHash,
            Body::Signalled(Signalled {
                approval: Some(judged),
                ..
            }),
        ) => {
            let open = run
                .approvals()
                .find(|(slot, _, _)| slot.step == judged.step && slot.branch == judged.branch);
            if let Some((_, approval, _)) = open {
                judged.hash.clone_from(&approval.hash);
            }
        }
        _ => {}
    }
    entry
}
