//! A crash of everything at once, and what the fleet's processes use.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{super::usage::Usage, BenchFleet};
use crate::{
    child::Child,
    up::{CLAUDE, NATS, REDIS},
};

/// Until every process answers again: Redis reads its log, and nats-server its stream.
const BACK_WITHIN: Duration = Duration::from_secs(300);

impl BenchFleet {
    /// Kills (-9) every process of the fleet, nats-server and redis-server among them, then starts them again, as they were, on
    /// the same data, and waits until every role says that it is ready. Gives when the first one was started. A role is known by
    /// its name: there is one of each.
    pub(in crate::bench) async fn crash(&mut self) -> anyhow::Result<Instant> {
        for child in self.fleet() {
            child.kill().await;
        }
        let begun = Instant::now();
        let roles = self.roles.clone();
        let redis = redis::Client::open(self.redis_url.as_str())?;
        let nats = self.nats_url.clone();
        for child in self.fleet() {
            child.again()?;
            // Roles end at once where these do not answer, and who runs them starts them again: the same without the pause.
            match child.name {
                NATS => child.until(BACK_WITHIN, || serves(&nats)).await?,
                REDIS => child.until(BACK_WITHIN, || answers(&redis)).await?,
                _ => {}
            }
            if let Some((_, http)) = roles.iter().find(|(name, _)| *name == child.name) {
                child.until(BACK_WITHIN, || is_ready(*http)).await?;
            }
        }
        Ok(begun)
    }

    /// Ends one process, at once (-9) or as a deploy does, and starts it again; waits until it is ready.
    pub(in crate::bench) async fn replace(&mut self, name: &str, kill: bool) -> anyhow::Result<()> {
        let role = self.roles.iter().find(|(own, _)| *own == name);
        let http = role.context("there is no such role")?.1;
        let child = self.fleet().find(|child| child.name == name);
        let child = child.context("there is no such process")?;
        if kill {
            child.kill().await;
        } else {
            child.end().await;
        }
        child.again()?;
        child.until(BACK_WITHIN, || is_ready(http)).await
    }

    /// What each process of the fleet uses now, by its name.
    pub(in crate::bench) fn usages(&mut self) -> anyhow::Result<Vec<(&'static str, Usage)>> {
        let used = self.fleet().map(|child| {
            let pid = child
                .pid()
                .with_context(|| format!("{} is gone", child.name))?;
            Ok((child.name, Usage::of(pid)?))
        });
        used.collect()
    }

    /// One number of a role's `/metrics`, summed over its labels; 0 where it is not there.
    pub(in crate::bench) async fn metric(&self, role: &str, name: &str) -> anyhow::Result<f64> {
        let role = self.roles.iter().find(|(own, _)| *own == role);
        let (_, http) = role.context("there is no such role")?;
        let text = reqwest::get(format!("http://{http}/metrics")).await?;
        let text = text.error_for_status()?.text().await?;
        let lines = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let numbers = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(numbers.sum())
    }

    /// All but the simulated Claude, which is no part of it.
    fn fleet(&mut self) -> impl Iterator<Item = &mut Child> {
        let children = self.children.iter_mut();
        children.filter(|child| child.name != CLAUDE)
    }
}

async fn is_ready(http: SocketAddr) -> bool {
    let answer = reqwest::get(format!("http://{http}/readyz")).await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

/// Whether it has read its streams: it listens after that.
async fn serves(nats_url: &str) -> bool {
    async_nats::connect(nats_url).await.is_ok()
}

/// Whether it has read its log: until then it refuses everything.
async fn answers(redis: &redis::Client) -> bool {
    let asked = async {
        let mut connection = redis.get_multiplexed_async_connection().await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await
    };
    asked.await.is_ok()
}
