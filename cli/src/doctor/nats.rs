//! NATS: whether it is there, can do what is needed, has room, and has the streams as they must be.

use anyhow::anyhow;
use async_nats::jetstream::account::Account;
use flotilla_common::{
    io::{
        bus::{Bus, without_credentials},
        room::{FULL, Limited, Room, Used},
        streams::{Looked, Standing, look, time_of},
    },
    names::{bucket, consumer, stream},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    LIMIT,
    clock::{Told, judge},
    finding::Finding,
    machine::size,
    token, within, work,
};
use crate::settings::Settings;

const CHECK: &str = "nats";
const STREAMS: &str = "streams";
/// As this client is called on the server.
const NAME: &str = "doctor";
/// A workflow is one message of up to 900 KiB, and its headers.
const PAYLOAD_MIN: usize = 1 << 20;

/// Everything there is to say of it, and of what is in it.
pub(super) async fn check(settings: &Settings) -> Vec<Finding> {
    let url = settings.nats_url();
    let shown = without_credentials(url);
    let bus = match within(Box::pin(Bus::connect(url, NAME))).await {
        Ok(Ok(bus)) => bus,
        Ok(Err(problem)) => return vec![Finding::fail(CHECK, problem.to_string())],
        Err(silent) => {
            let todo = "start one with `nats-server -js`, or set FLOTILLA_NATS_URL";
            return vec![Finding::fail(CHECK, format!("{shown}: {silent}")).todo(todo)];
        }
    };
    let (looked, account, clock) = tokio::join!(
        look(&bus, LIMIT),
        within(bus.jetstream.query_account()),
        within(clock(&bus))
    );
    let mut findings = vec![server(&bus, &shown)];
    findings.push(match account {
        Ok(Ok(account)) => storage(&account),
        Ok(Err(error)) => Finding::warn(CHECK, format!("how full it is, is not known: {error}")),
        Err(silent) => Finding::warn(CHECK, format!("how full it is, is not known: {silent}")),
    });
    findings.extend(streams(&looked));
    if let Ok(Some(told)) = clock {
        findings.push(judge("nats-server", told));
    }
    let is = |name: &str| {
        let found = looked.iter().find(|one| one.name == name);
        found.is_some_and(|one| matches!(one.standing, Standing::AsNeeded { .. }))
    };
    // Opening one that is not there would make it.
    let definitions = is(&bucket::stream(bucket::DEFINITIONS));
    let tokens = is(&bucket::stream(bucket::TOKENS));
    let queues = [
        stream::RUNS,
        stream::EVENTS,
        stream::CRON,
        stream::DEAD,
        stream::ADVISORIES,
    ]
    .into_iter()
    .all(is);
    let (room, work, token) = tokio::join!(
        Box::pin(room(settings, &bus, queues)),
        Box::pin(work::check(settings, &bus, definitions, queues)),
        Box::pin(token::check(settings, &bus, tokens))
    );
    findings.extend(room);
    findings.extend(work);
    findings.extend(token);
    findings
}

fn server(bus: &Bus, url: &str) -> Finding {
    let info = bus.client.server_info();
    let payload = info.max_payload;
    let says = format!(
        "nats-server {} at {url}, with JetStream; messages up to {}",
        info.version,
        size(payload as u64)
    );
    if payload < PAYLOAD_MIN {
        return Finding::fail(CHECK, says).todo(
            "set max_payload to 1MB or more: large workflows and batches of decisions do not fit",
        );
    }
    Finding::ok(CHECK, says)
}

fn storage(account: &Account) -> Finding {
    let used = account.storage;
    let most = account.limits.max_storage.unwrap_or(-1);
    match Used::of(Limited::Storage, used, most) {
        None => {
            let says = format!("{} stored; the account has no limit of its own", size(used));
            Finding::ok(CHECK, says)
        }
        Some(one) if one.share > FULL => full(&one),
        Some(_) => {
            let most = u64::try_from(most).unwrap_or_default();
            Finding::ok(CHECK, format!("{} of {} stored", size(used), size(most)))
        }
    }
}

/// Whether gateways have room for events, as far as the streams are there.
async fn room(settings: &Settings, bus: &Bus, there: bool) -> Vec<Finding> {
    if !there {
        return Vec::new();
    }
    let asked = async {
        let events = bus.jetstream.get_stream_no_info(stream::EVENTS).await?;
        let intake = events.get_consumer(consumer::INTAKE).await;
        let intake = intake.map_err(|error| anyhow!(error))?;
        let mut room = Room::new(bus.clone(), intake, settings.pending_max());
        anyhow::Ok(room.filled().await?)
    };
    match within(Box::pin(asked)).await {
        Ok(Ok(filled)) => all_full(&filled.used),
        Ok(Err(error)) => vec![no_room_known(&crate::in_full(&error))],
        Err(silent) => vec![no_room_known(&silent)],
    }
}

fn no_room_known(why: &str) -> Finding {
    let says = format!("whether there is room for events is not known: {why}");
    Finding::warn(CHECK, says)
}

/// A limit at which gateways take in nothing new.
fn full(one: &Used) -> Finding {
    let (share, what) = (one.share * 100.0, one.what);
    let says = format!("{share:.0} % of {what} are used: gateways take in nothing new (503)");
    let todo = match what {
        Limited::EventsBytes | Limited::EventsMessages | Limited::RunsBytes => {
            "give the stream a larger limit, or purge old runs"
        }
        Limited::Storage => "give the account more, or purge old runs",
        Limited::Pending => {
            "add gateways and planners, or see what holds them up: flotilla fleet; the limit is FLOTILLA_PENDING_MAX"
        }
    };
    Finding::fail(CHECK, says).todo(todo)
}

/// All of them; that of the account is told with what is stored.
fn all_full(used: &[Used]) -> Vec<Finding> {
    let own = used.iter().filter(|one| one.what != Limited::Storage);
    own.filter(|one| one.share > FULL).map(full).collect()
}

async fn clock(bus: &Bus) -> Option<Told> {
    let before = Timestamp::now();
    let theirs = time_of(bus).await?;
    Some(Told {
        before,
        theirs,
        after: Timestamp::now(),
        coarse: SignedDuration::ZERO,
    })
}

fn streams(looked: &[Looked]) -> Vec<Finding> {
    let names = |standing: fn(&Standing) -> bool| {
        let found = looked.iter().filter(|one| standing(&one.standing));
        found.map(|one| one.name.as_str()).collect::<Vec<_>>()
    };
    let mut findings = Vec::new();
    let (mut there, mut bytes, mut replicas) = (0, 0_u64, Vec::new());
    for one in looked {
        match &one.standing {
            Standing::AsNeeded {
                bytes: own,
                replicas: servers,
            } => {
                there += 1;
                bytes = bytes.saturating_add(*own);
                replicas.push(*servers);
            }
            Standing::Differs(problem) => findings.push(Finding::fail(STREAMS, problem.clone())),
            Standing::Missing | Standing::Unknown(_) => {}
        }
    }
    let missing = names(|standing| matches!(standing, Standing::Missing));
    if missing.len() == looked.len() {
        let says = "there are none yet: no fleet has run on this NATS";
        return vec![Finding::warn(STREAMS, says).todo("start a gateway: it makes them")];
    }
    if !missing.is_empty() {
        let says = format!("missing: {}", missing.join(", "));
        findings
            .push(Finding::warn(STREAMS, says).todo("start a gateway: it makes what is missing"));
    }
    let unknown = looked.iter().filter_map(|one| match &one.standing {
        Standing::Unknown(why) => Some((one.name.as_str(), why)),
        Standing::AsNeeded { .. } | Standing::Missing | Standing::Differs(_) => None,
    });
    let unknown: Vec<(&str, &String)> = unknown.collect();
    if let Some((_, why)) = unknown.first() {
        let names: Vec<&str> = unknown.iter().map(|(name, _)| *name).collect();
        let says = format!("not known: {} ({why})", names.join(", "));
        findings.push(
            Finding::warn(STREAMS, says)
                .todo("ask as the user `operator`, if this one may not look at all of them"),
        );
    }
    if there > 0 {
        let (least, most) = (replicas.iter().min(), replicas.iter().max());
        let kept = match (least, most) {
            (Some(least), Some(most)) if least != most => format!("{least} to {most} servers"),
            (Some(1), _) | (None, _) => "1 server".to_owned(),
            (Some(least), _) => format!("{least} servers"),
        };
        let says = format!(
            "{there} are as they must be: {}, kept by {kept}",
            size(bytes)
        );
        findings.push(Finding::ok(STREAMS, says));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    fn one(name: &str, standing: Standing) -> Looked {
        let name = name.to_owned();
        Looked { name, standing }
    }

    fn right() -> Standing {
        let (bytes, replicas) = (1 << 20, 3);
        Standing::AsNeeded { bytes, replicas }
    }

    #[test]
    fn a_limit_at_which_gateways_answer_503_is_told() {
        let used = [
            Used::of(Limited::EventsBytes, 90, 100).unwrap(),
            Used::of(Limited::Pending, 96, 100).unwrap(),
        ];
        let found = all_full(&used);
        let says = "96 % of the events that wait for their runs are used";
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].says.starts_with(says), "{found:?}");
        assert_eq!(found[0].verdict, Verdict::Fail);
    }

    #[test]
    fn streams_are_told_together_where_they_are_right_and_by_name_where_they_are_not() {
        let all = streams(&[one("RUNS", right()), one("EVENTS", right())]);
        assert_eq!(
            all,
            [Finding::ok(
                STREAMS,
                "2 are as they must be: 2.0 MiB, kept by 3 servers"
            )]
        );
        let none = streams(&[one("RUNS", Standing::Missing)]);
        assert_eq!(none[0].verdict, Verdict::Warn);
        let mixed = streams(&[
            one("RUNS", Standing::Differs("storage is Memory".to_owned())),
            one("EVENTS", Standing::Missing),
            one("DEAD", Standing::Unknown("no answer".to_owned())),
            one("CRON", right()),
        ]);
        let told: Vec<(Verdict, &str)> = mixed
            .iter()
            .map(|one| (one.verdict, one.says.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (Verdict::Fail, "storage is Memory"),
                (Verdict::Warn, "missing: EVENTS"),
                (Verdict::Warn, "not known: DEAD (no answer)"),
                (
                    Verdict::Ok,
                    "1 are as they must be: 1.0 MiB, kept by 3 servers"
                ),
            ]
        );
    }
}
