//! Redis: whether it is there, and keeps what it is given.

use std::time::{Duration, Instant};

use flotilla_common::io::{bus::without_credentials, store::StoreError};
use jiff::{SignedDuration, Timestamp};
use redis::{AsyncConnectionConfig, Client, InfoDict, RedisError, aio::MultiplexedConnection, cmd};

use super::{
    LIMIT,
    clock::{Told, judge},
    finding::Finding,
    machine::size,
    within,
};
use crate::settings::Settings;

const CHECK: &str = "redis";
/// The oldest one that all of this is tested with.
const VERSION_MIN: (u32, u32) = (7, 0);
/// A claim is a round trip, and a step makes several.
const LATENCY_MAX: Duration = Duration::from_millis(10);
const PINGS: usize = 5;
/// Of the memory that it may use, in hundredths.
const FULL: u64 = 90;

/// Everything there is to say of it.
pub(super) async fn check(settings: &Settings) -> Vec<Finding> {
    let url = settings.redis_url();
    let shown = without_credentials(url);
    let mut connection = match within(connect(url)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(problem)) => return vec![Finding::fail(CHECK, problem.to_string())],
        Err(silent) => {
            let todo = "start one with `redis-server`, or set FLOTILLA_REDIS_URL";
            return vec![Finding::fail(CHECK, format!("{shown}: {silent}")).todo(todo)];
        }
    };
    let mut other = connection.clone();
    let (said, clock) = tokio::join!(within(asked(&mut connection)), within(time(&mut other)));
    let mut findings = match said {
        Ok(Ok((info, latency))) => judged(&shown, &info, latency),
        Ok(Err(error)) => vec![
            Finding::warn(CHECK, format!("{shown} answers, and does not say how it is: {error}"))
                .todo("its user needs the commands INFO, PING and TIME (`flotilla credentials` writes the rules)"),
        ],
        Err(silent) => vec![Finding::fail(CHECK, format!("{shown}: {silent}"))],
    };
    if let Ok(Ok(told)) = clock {
        findings.push(judge("Redis", told));
    }
    findings
}

async fn connect(url: &str) -> Result<MultiplexedConnection, StoreError> {
    let shown = without_credentials(url);
    let client = Client::open(url).map_err(|source| StoreError::Address {
        url: shown.clone(),
        source,
    })?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(LIMIT))
        .set_response_timeout(Some(LIMIT));
    let connected = client.get_multiplexed_async_connection_with_config(&config);
    let connected = connected.await;
    connected.map_err(|source| StoreError::Connect { url: shown, source })
}

/// What it says of itself, and the median of a few round trips.
async fn asked(connection: &mut MultiplexedConnection) -> Result<(InfoDict, Duration), RedisError> {
    let info: InfoDict = cmd("INFO").query_async(connection).await?;
    let mut trips = Vec::new();
    for _ in 0..PINGS {
        let began = Instant::now();
        cmd("PING").exec_async(connection).await?;
        trips.push(began.elapsed());
    }
    trips.sort();
    Ok((info, trips.get(PINGS / 2).copied().unwrap_or_default()))
}

async fn time(connection: &mut MultiplexedConnection) -> Result<Told, RedisError> {
    let before = Timestamp::now();
    let (seconds, micros): (i64, i32) = cmd("TIME").query_async(connection).await?;
    let after = Timestamp::now();
    let theirs = Timestamp::new(seconds, micros.saturating_mul(1_000)).unwrap_or(before);
    Ok(Told {
        before,
        theirs,
        after,
        coarse: SignedDuration::ZERO,
    })
}

fn judged(url: &str, info: &InfoDict, latency: Duration) -> Vec<Finding> {
    let text = |key: &str| info.get::<String>(key).unwrap_or_default();
    let number = |key: &str| info.get::<u64>(key).unwrap_or(0);
    let version = text("redis_version");
    let millis = latency.as_secs_f64() * 1e3;
    let says = format!("Redis {version} at {url}, a round trip takes {millis:.2} ms");
    let mut findings = vec![if text("role") == "slave" {
        Finding::fail(
            CHECK,
            format!("{says}; it is a replica, and takes no writes"),
        )
        .todo("set FLOTILLA_REDIS_URL to the one that it follows")
    } else if older(&version) {
        let (major, minor) = VERSION_MIN;
        Finding::warn(CHECK, says).todo(format!(
            "take {major}.{minor} or later: older ones are not tested"
        ))
    } else if latency > LATENCY_MAX {
        Finding::warn(CHECK, says).todo("bring it nearer, or look what holds it up (SLOWLOG GET): every step asks it several times")
    } else {
        Finding::ok(CHECK, says)
    }];
    findings.push(memory(
        &text("maxmemory_policy"),
        number("used_memory"),
        number("maxmemory"),
    ));
    findings.push(persistence(
        number("aof_enabled") == 1,
        &text("aof_last_write_status"),
        &text("rdb_last_bgsave_status"),
    ));
    findings
}

fn memory(policy: &str, used: u64, most: u64) -> Finding {
    let todo = "CONFIG SET maxmemory-policy noeviction, and in its configuration file: what it throws out is claims of effects";
    if policy != "noeviction" {
        let says = format!("maxmemory-policy is {policy}, must be noeviction");
        return if most > 0 {
            Finding::fail(CHECK, says).todo(todo)
        } else {
            Finding::warn(
                CHECK,
                format!("{says}; there is no maxmemory, so nothing is thrown out yet"),
            )
            .todo(todo)
        };
    }
    if most == 0 {
        return Finding::ok(
            CHECK,
            format!("{} used, of as much as there is; noeviction", size(used)),
        );
    }
    let says = format!("{} of {} used; noeviction", size(used), size(most));
    if used.saturating_mul(100) / most >= FULL {
        Finding::warn(CHECK, says).todo("give it more: when it is full, runs wait until it is not")
    } else {
        Finding::ok(CHECK, says)
    }
}

fn persistence(aof: bool, aof_written: &str, saved: &str) -> Finding {
    let todo = "look into its log: the disk may be full, or not be its own";
    if aof && aof_written == "err" {
        return Finding::fail(CHECK, "it cannot write its append-only file").todo(todo);
    }
    if saved == "err" {
        return Finding::warn(CHECK, "its last snapshot failed").todo(todo);
    }
    if aof {
        return Finding::ok(CHECK, "what it holds is kept in its append-only file");
    }
    Finding::warn(CHECK, "appendonly is off: a restart forgets what was claimed since the last snapshot").todo(
        "CONFIG SET appendonly yes, and in its configuration file. No run is lost without it; an effect that was in work becomes `unknown`",
    )
}

fn older(version: &str) -> bool {
    let mut numbers = version
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    found < VERSION_MIN
}

#[cfg(test)]
mod tests {
    use super::{
        super::finding::Verdict::{Fail, Ok, Warn},
        *,
    };

    #[test]
    fn a_redis_that_throws_out_or_forgets_is_told() {
        let mib = 1 << 20;
        assert_eq!(memory("noeviction", 5 * mib, 0).verdict, Ok);
        assert_eq!(memory("noeviction", 5 * mib, 10 * mib).verdict, Ok);
        assert_eq!(memory("noeviction", 9 * mib, 10 * mib).verdict, Warn);
        assert_eq!(memory("allkeys-lru", mib, 0).verdict, Warn);
        assert_eq!(memory("allkeys-lru", mib, 10 * mib).verdict, Fail);
        assert_eq!(persistence(true, "ok", "ok").verdict, Ok);
        assert_eq!(persistence(false, "ok", "ok").verdict, Warn);
        assert_eq!(persistence(true, "err", "ok").verdict, Fail);
        assert_eq!(persistence(true, "ok", "err").verdict, Warn);
        assert!(older("6.2.14") && !older("7.0.15") && !older("8.2.1"));
    }
}
