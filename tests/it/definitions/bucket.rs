//! The bucket itself, with a real nats-server and no fleet.

use std::sync::Arc;

use flotilla_common::{
    claude::Models,
    definition::{Bundle, Catalogue, Sources},
    ids::Name,
    io::{
        bus::Bus,
        definitions::{Activate, Applied, Apply, ApplyError, Definitions, Live, Outcome, Said},
    },
};
use flotilla_tests::{Nats, PATIENCE, within};
use tokio_util::sync::CancellationToken;

/// A workflow `w` of this version, whose tool lists `path`.
fn files(version: u32, path: &str) -> Sources {
    let workflow = format!(
        "workflow: w\nversion: {version}\non: {{event: test.w}}\nsteps:\n  - {{id: look, tool: list@{version}}}\n"
    );
    let tool = format!(
        "tools:\n  - {{tool: list, version: {version}, description: d, effect: read, input: {{type: object}}, command: [ls, {path}]}}\n"
    );
    Sources([("w.yaml".to_owned(), workflow), ("t.yaml".to_owned(), tool)].into())
}

fn models() -> Models {
    Models::built_in().unwrap()
}

fn bundles(sources: &Sources) -> Vec<Bundle> {
    let catalogue = Catalogue::parse(sources, &models()).unwrap();
    catalogue.bundles(sources, &models()).unwrap()
}

pub(super) fn name() -> Name {
    "w".parse().unwrap()
}

pub(super) fn said(by: &str) -> Said {
    Said {
        by: Some(by.to_owned()),
        reason: None,
    }
}

pub(super) struct World {
    pub(super) nats: Nats,
    pub(super) definitions: Definitions,
    stop: CancellationToken,
}

impl World {
    pub(super) async fn new() -> Self {
        let nats = Nats::start().await;
        let bus = Bus::connect(&nats.url(), "test").await.unwrap();
        Self {
            definitions: Definitions::open(&bus).await.unwrap(),
            nats,
            stop: CancellationToken::new(),
        }
    }

    pub(super) async fn live(&self) -> Live {
        let live = self
            .definitions
            .follow(Arc::new(models()), self.stop.clone());
        Box::pin(live).await.unwrap()
    }

    async fn apply_all(
        &self,
        bundles: &[Bundle],
        apply: &Apply,
    ) -> Result<Vec<Applied>, ApplyError> {
        Box::pin(self.definitions.apply(bundles, apply)).await
    }

    pub(super) async fn apply(&self, version: u32, path: &str, apply: &Apply) -> Applied {
        let applied = self.apply_all(&bundles(&files(version, path)), apply).await;
        let mut applied = applied.unwrap();
        assert_eq!(applied.len(), 1);
        applied.remove(0)
    }

    pub(super) async fn applies(&self, version: u32) -> Applied {
        self.apply(version, "/", &Apply::default()).await
    }
}

/// Waits until the view says this of the stable version.
pub(super) async fn until(
    live: &mut Live,
    what: &str,
    is: impl Fn(&Catalogue) -> bool,
) -> Arc<Catalogue> {
    let seen = async {
        loop {
            let current = live.current();
            if is(&current) {
                return current;
            }
            live.changed().await;
        }
    };
    within(what, PATIENCE, seen).await
}

pub(super) fn stable(catalogue: &Catalogue) -> Option<u32> {
    catalogue.stable(&name()).map(|one| one.pin.version)
}

pub(super) fn active(applied: &Applied) -> Option<u32> {
    let active = applied.active.as_ref().filter(|active| !active.retired);
    active.map(|active| active.stable.version)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_come_go_back_and_are_seen_by_who_watches() {
    let world = World::new().await;
    let mut live = world.live().await;
    assert_eq!(live.current().versions().count(), 0, "an empty bucket");

    let first = world.applies(1).await;
    assert_eq!(
        (&first.outcome, active(&first)),
        (&Outcome::Created, Some(1))
    );
    until(&mut live, "version 1", |seen| stable(seen) == Some(1)).await;
    let again = world.applies(1).await;
    assert_eq!(
        (&again.outcome, active(&again)),
        (&Outcome::Unchanged, Some(1))
    );

    let second = world.applies(2).await;
    assert_eq!(active(&second), Some(2));
    let seen = until(&mut live, "version 2", |seen| stable(seen) == Some(2)).await;
    assert_eq!(seen.versions().count(), 2);
    assert_eq!(seen.tools.iter().count(), 2, "tools of all versions");

    let back = world.definitions.rollback(&name(), &said("ann")).await;
    let back = back.unwrap();
    assert_eq!((back.stable.version, back.by.as_deref()), (1, Some("ann")));
    until(&mut live, "version 1 again", |seen| stable(seen) == Some(1)).await;
    // A gateway that applies its folder at its start changes nothing of that.
    assert_eq!(active(&world.applies(2).await), Some(1));
    assert_eq!(active(&world.applies(3).await), Some(3), "what is new does");

    let history = world.definitions.history(&name()).await.unwrap();
    let versions: Vec<_> = history.iter().map(|one| one.stable.version).collect();
    assert_eq!(versions, [3, 1, 2, 1]);
    let listed = world.definitions.list().await.unwrap();
    let versions: Vec<_> = listed[&name()]
        .versions
        .iter()
        .map(|one| one.0.version)
        .collect();
    assert_eq!(versions, [1, 2, 3]);
    let text = world.definitions.get(&name(), 2).await.unwrap().unwrap();
    assert_eq!(text, bundles(&files(2, "/"))[0]);

    // One that begins to watch now knows the same.
    let late = world.live().await.current();
    assert_eq!((stable(&late), late.versions().count()), (Some(3), 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_version_with_other_texts_is_refused_and_nothing_is_written() {
    let world = World::new().await;
    world.applies(1).await;
    let mut both = bundles(&files(1, "/tmp"));
    both.extend(bundles(&files(2, "/")));
    let applied = world.apply_all(&both, &Apply::default()).await.unwrap();
    let Outcome::Refused(why) = &applied[0].outcome else {
        panic!("{applied:?}");
    };
    assert!(
        why.contains("tool `list` version 1") && why.contains("`version: 2`"),
        "{why}"
    );
    assert_eq!(applied[1].outcome, Outcome::Withheld);
    assert_eq!(world.definitions.get(&name(), 2).await.unwrap(), None);

    // The same tools, and another workflow.
    let mut other = files(1, "/");
    let text = other.0.get_mut("w.yaml").unwrap();
    text.push_str("  - {id: more, sleep: 1s}\n");
    let applied = world.apply_all(&bundles(&other), &Apply::default()).await;
    let applied = applied.unwrap();
    let Outcome::Refused(why) = &applied[0].outcome else {
        panic!("{applied:?}");
    };
    assert!(
        why.contains("`w` version 1 is there with other texts") && why.contains("`version: 2`"),
        "{why}"
    );

    // Who edits and starts again has both; the runs of the first go on with it.
    let live = world.live().await;
    let before = live.current();
    let apply = Apply {
        replace: true,
        ..Apply::default()
    };
    let replaced = world.apply(1, "/tmp", &apply).await;
    assert_eq!(replaced.outcome, Outcome::Created);
    let mut live = live;
    let now = until(&mut live, "the other texts", |seen| {
        seen.stable(&name()).map(|one| &one.pin) != before.stable(&name()).map(|one| &one.pin)
    })
    .await;
    assert_eq!(now.versions().count(), 2);
    let tool = now.tools.get(&"list".parse().unwrap(), 1).unwrap();
    assert!(format!("{:?}", tool.adapter).contains("/tmp"), "{tool:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_apply_at_once_agree_on_one_text_of_a_version() {
    let world = World::new().await;
    // The tool is there, so it is the version itself that they race for.
    let mut other = files(1, "/");
    let text = other.0.get_mut("w.yaml").unwrap();
    *text = text.replace("workflow: w", "workflow: v");
    world
        .apply_all(&bundles(&other), &Apply::default())
        .await
        .unwrap();
    let texts = ["1s", "2s"].map(|pause| {
        let mut files = files(1, "/");
        let text = files.0.get_mut("w.yaml").unwrap();
        *text += &format!("  - {{id: rest, sleep: {pause}}}\n");
        (pause, bundles(&files))
    });
    let all_at_once = Arc::new(tokio::sync::Barrier::new(8));
    let appliers = texts.iter().cycle().take(8).map(|(pause, bundles)| {
        let (pause, bundles) = (*pause, bundles.clone());
        let (definitions, start) = (world.definitions.clone(), Arc::clone(&all_at_once));
        tokio::spawn(async move {
            start.wait().await;
            let applied = Box::pin(definitions.apply(&bundles, &Apply::default())).await;
            (pause, applied.unwrap().remove(0))
        })
    });
    let mut taken = std::collections::BTreeSet::new();
    for applier in appliers.collect::<Vec<_>>() {
        let (pause, applied) = applier.await.unwrap();
        match applied.outcome {
            Outcome::Created | Outcome::Unchanged => {
                assert_eq!(active(&applied), Some(1));
                taken.insert(pause);
            }
            Outcome::Refused(_) => {}
            Outcome::Withheld => panic!("nothing else was applied"),
        }
    }
    assert_eq!(taken.len(), 1, "one text has won: {taken:?}");
    let listed = world.definitions.list().await.unwrap();
    assert_eq!(listed[&name()].versions.len(), 1);
    let bundle = world.definitions.get(&name(), 1).await.unwrap().unwrap();
    let text = &bundle.files["workflow.yaml"];
    assert!(taken.iter().all(|pause| text.contains(pause)), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_left_inactive_is_activated_by_the_next_apply() {
    let world = World::new().await;
    world.applies(1).await;
    // As far as an applier came that died before it said what is active.
    let never = Apply {
        activate: Activate::Never,
        ..Apply::default()
    };
    let jetstream = world.nats.jetstream().await;
    let kv = jetstream.get_key_value("DEFINITIONS").await.unwrap();
    let bundle = bundles(&files(2, "/")).remove(0);
    for tool in bundle.tools().unwrap() {
        let value = tool.encode().unwrap();
        kv.create("tool.list.2", value.into()).await.unwrap();
    }
    let key = format!("workflow.w.2.{}", &bundle.digest[..16]);
    kv.create(key, bundle.encode().unwrap().into())
        .await
        .unwrap();
    let applied = world.applies(2).await;
    assert_eq!(
        (&applied.outcome, active(&applied)),
        (&Outcome::Unchanged, Some(2))
    );

    // What was left alone on purpose is left alone by every later apply.
    assert_eq!(active(&world.apply(3, "/", &never).await), Some(2));
    assert_eq!(active(&world.applies(3).await), Some(2));
    let always = Apply {
        activate: Activate::Always,
        ..Apply::default()
    };
    assert_eq!(active(&world.apply(3, "/", &always).await), Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused_before_anything_is_written() {
    let world = World::new().await;
    let mut sources = files(1, "/");
    let text = sources.0.get_mut("w.yaml").unwrap();
    text.push_str("  - {id: ask, claude: {model: haiku, prompt: long.md}}\n");
    sources
        .0
        .insert("long.md".to_owned(), "x".repeat(1_000_000));
    let applied = world.apply_all(&bundles(&sources), &Apply::default()).await;
    let problem = applied.unwrap_err();
    assert!(matches!(problem, ApplyError::Bundle(_)), "{problem:?}");
    assert!(
        problem.to_string().contains("long.md (1000000 bytes)"),
        "{problem}"
    );
    assert!(world.definitions.list().await.unwrap().is_empty());
}
