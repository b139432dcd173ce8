//! What nobody can read, straight on the streams: on its way into runs, and among the entries of a run that is none.

use std::time::Duration;

use flotilla_common::io::bus::Bus;
use tokio::time::{Instant, sleep};

/// The run that poison names: nobody's.
pub(super) const POISONED_RUN: &str = "run_00000000000000000000000000000bad";
/// How long it is tried, and how often: NATS may be away at this moment too, and comes back.
const POISONED_WITHIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

/// Publishes it, under the names of this kit's definitions.
///
/// # Errors
/// NATS took none of it: nobody was poisoned.
pub(super) async fn poison(bus: &Bus, kit: &str) -> anyhow::Result<()> {
    let end = Instant::now() + POISONED_WITHIN;
    loop {
        match publish(bus, kit).await {
            Err(_) if Instant::now() < end => sleep(PAUSE).await,
            published => return published,
        }
    }
}

/// Publishes each of them once; well if NATS has taken any.
async fn publish(bus: &Bus, kit: &str) -> anyhow::Result<()> {
    let (mut is_any_taken, mut refused) = (false, None);
    for (subject, payload) in messages(kit) {
        match publish_one(bus, subject, payload).await {
            Ok(()) => is_any_taken = true,
            Err(problem) => refused = Some(problem),
        }
    }
    match refused {
        Some(problem) if !is_any_taken => Err(problem.context("NATS took no poison")),
        Some(_) | None => Ok(()),
    }
}

async fn publish_one(bus: &Bus, subject: String, payload: Vec<u8>) -> anyhow::Result<()> {
    bus.jetstream
        .publish(subject, payload.into())
        .await?
        .await?;
    Ok(())
}

fn messages(kit: &str) -> [(String, Vec<u8>); 5] {
    let run = POISONED_RUN;
    let event = format!("events.{kit}.main");
    [
        (event.clone(), b"\xff\x00 no JSON".to_vec()),
        (event, b"{\"data\": ".to_vec()),
        (format!("runs.{run}.resulted.{kit}_note"), b"\xfe".to_vec()),
        (
            format!("runs.{run}.started.{kit}-main"),
            b"{\"v\": 99, \"at\": \"2026-01-01T00:00:00Z\"}".to_vec(),
        ),
        (
            format!("runs.{run}.decided.{kit}_note"),
            vec![b'x'; 200_000],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::{
        super::definitions::{Attached, KIT},
        *,
    };

    #[test]
    fn it_is_named_as_the_definitions_of_its_kit_are() {
        let attached = Attached::new("http://10.0.0.7:8099");
        let files: String = attached.files.values().cloned().collect();
        for (kit, files) in [
            (&*attached.kit, &*files),
            (
                KIT,
                concat!(
                    include_str!("definitions/tools.yaml"),
                    include_str!("definitions/main.yaml")
                ),
            ),
        ] {
            assert!(files.contains(&format!("tool: {kit}_note")), "{kit}");
            assert!(files.contains(&format!("workflow: {kit}-main")), "{kit}");
            assert!(files.contains(&format!("event: {kit}.main")), "{kit}");
            let subjects = messages(kit).map(|(subject, _)| subject);
            assert!(subjects.contains(&format!("runs.{POISONED_RUN}.decided.{kit}_note")));
        }
    }
}
