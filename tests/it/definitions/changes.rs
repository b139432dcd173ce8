//! What people change: which versions new runs get, and what is switched off.

use flotilla_common::{
    definition::{Switch, Switched},
    ids::Name,
    io::definitions::{Activate, Apply, ChangeError},
};
use flotilla_tests::{PATIENCE, within};
use jiff::Timestamp;

use super::bucket::{World, active, name, said, stable, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_grows_ends_and_is_rolled_back() {
    let world = World::new().await;
    let definitions = &world.definitions;
    let ten = "10".parse().unwrap();
    let none = definitions.rollout(&name(), 1, ten, &said("ann")).await;
    assert!(
        matches!(none, Err(ChangeError::NoVersion { version: 1, .. })),
        "{none:?}"
    );
    world.applies(1).await;
    let same = definitions.rollout(&name(), 1, ten, &said("ann")).await;
    assert!(
        matches!(same, Err(ChangeError::ActiveAlready { .. })),
        "{same:?}"
    );
    let never = Apply {
        activate: Activate::Never,
        ..Apply::default()
    };
    world.apply(2, "/", &never).await;
    definitions
        .rollout(&name(), 2, ten, &said("ann"))
        .await
        .unwrap();
    let half = "50".parse().unwrap();
    let grown = definitions
        .rollout(&name(), 2, half, &said("ann"))
        .await
        .unwrap();
    let candidate = grown.candidate.unwrap();
    assert_eq!((grown.stable.version, candidate.version.version), (1, 2));
    assert_eq!(candidate.percent, half);
    let mut live = world.live().await;
    assert_eq!(live.current().candidate(&name()).unwrap().pin.version, 2);

    let back = definitions.rollback(&name(), &said("bob")).await.unwrap();
    assert_eq!((back.stable.version, back.candidate), (1, None));
    definitions
        .rollout(&name(), 2, half, &said("ann"))
        .await
        .unwrap();
    definitions
        .activate(&name(), 2, &said("ann"))
        .await
        .unwrap();
    until(&mut live, "version 2", |seen| stable(seen) == Some(2)).await;
    let back = definitions.rollback(&name(), &said("bob")).await.unwrap();
    assert_eq!(back.stable.version, 1, "parts on the way do not count");

    definitions.deactivate(&name(), &said("bob")).await.unwrap();
    until(&mut live, "nothing", |seen| stable(seen).is_none()).await;
    let gone = definitions.rollout(&name(), 2, ten, &said("ann")).await;
    assert!(matches!(gone, Err(ChangeError::NotActive(_))), "{gone:?}");
    assert_eq!(active(&world.applies(1).await), None, "a person said so");
    let back = definitions.rollback(&name(), &said("bob")).await.unwrap();
    assert_eq!(back.stable.version, 1);
    let unknown: Name = "v".parse().unwrap();
    let none = definitions.rollback(&unknown, &said("bob")).await;
    assert!(matches!(none, Err(ChangeError::NotActive(_))), "{none:?}");
    let missing = definitions
        .activate(&name(), 9, &said("ann"))
        .await
        .unwrap_err();
    assert!(missing.to_string().contains("it has: 1, 2"), "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switches_are_seen_by_who_watches_and_outlive_a_restart() {
    let mut world = World::new().await;
    world.applies(1).await;
    let mut live = world.live().await;
    let tool = Switched::Tool {
        name: "list".parse().unwrap(),
        version: None,
    };
    let step = Switched::Step {
        workflow: name(),
        step: "look".parse().unwrap(),
    };
    let off = Switch::off(Timestamp::now(), Some("ann".to_owned()), None, true);
    let known = live.current();
    let definitions = world.definitions.clone();
    for what in [&tool, &step] {
        definitions.switch_off(&known, what, &off).await.unwrap();
    }
    let seen = until(&mut live, "both are off", |seen| {
        seen.switches().iter().count() == 2
    })
    .await;
    assert!(seen.switches().holds(&"list".parse().unwrap()));
    let look = seen.stable(&name()).unwrap().steps[0].off.clone();
    assert_eq!(look.as_deref(), Some(&off));
    let wrong = Switched::Tool {
        name: "lst".parse().unwrap(),
        version: None,
    };
    let refused = definitions.switch_off(&known, &wrong, &off).await;
    assert!(
        matches!(refused, Err(ChangeError::Switch(_))),
        "{refused:?}"
    );

    world.nats.restart().await;
    let on = async {
        while definitions.switch_on(&tool).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within("it is switched on", PATIENCE, on).await;
    until(&mut live, "the tool is on", |seen| {
        seen.switches().iter().count() == 1
    })
    .await;
    assert_eq!(definitions.switched_off().await.unwrap(), [(step, off)]);
    let twice = definitions.switch_on(&tool).await.unwrap_err();
    assert!(twice.to_string().contains("not switched off"), "{twice}");
}
