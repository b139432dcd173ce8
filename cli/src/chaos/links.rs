//! Every connection between two parts of the fleet goes through a proxy of its own.

use std::collections::BTreeMap;

use anyhow::Context as _;
use flotilla_sim::proxy::Proxy;

/// All links, as `from/to`.
pub(super) const NAMES: &[&str] = &[
    "gateway/nats",
    "gateway/redis",
    "planner-1/nats",
    "planner-1/redis",
    "planner-1/claude",
    "planner-2/nats",
    "planner-2/redis",
    "planner-2/claude",
    "executor-1/nats",
    "executor-1/redis",
    "executor-1/sink",
    "executor-2/nats",
    "executor-2/redis",
    "executor-2/sink",
    "people/gateway",
];

/// The proxies, by their links' names.
#[derive(Debug)]
pub(super) struct Links(BTreeMap<&'static str, Proxy>);

impl Links {
    /// Starts all of them; `port` says where the second part of a name listens.
    pub(super) async fn start(port: impl Fn(&str) -> Option<u16>) -> anyhow::Result<Self> {
        let mut links = BTreeMap::new();
        for name in NAMES {
            let to = name.split_once('/').map_or("", |(_, to)| to);
            let target = port(to).with_context(|| format!("{name}: there is no {to}"))?;
            let proxy = Proxy::start(target).await;
            links.insert(*name, proxy.with_context(|| format!("link {name}"))?);
        }
        Ok(Self(links))
    }

    /// One of them.
    pub(super) fn get(&self, name: &str) -> anyhow::Result<&Proxy> {
        self.0
            .get(name)
            .with_context(|| format!("there is no link {name}"))
    }

    /// All links are as they should be.
    pub(super) async fn heal(&self) {
        for proxy in self.0.values() {
            proxy.heal().await;
        }
    }
}
