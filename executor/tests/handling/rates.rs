//! Rates that all executors share.

use std::collections::BTreeSet;

use flotilla_common::{
    io::limiter::{Limiter, LimiterConfig},
    limit::{Limits, Scope},
};
use serde_json::json;

use crate::{
    moody::Moody,
    stage::{Result, Stage, kind},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_executors_draw_on_one_rate_and_a_server_that_has_enough_stops_them_all() -> Result<()>
{
    const ACTIONS: usize = 24;
    let (mut stage, moody) = (Stage::new().await?, Moody::start().await?);
    let shared = json!({"rate": {"limit": "600/m", "per": "fleet"}, "concurrency": 2, "retry": {"times": 2, "pause": "20ms"}});
    stage.add(vec![moody.tool("shared", "read", shared)])?;
    let executors = [stage.executor().await?, stage.executor().await?];
    let mut decisions = Vec::new();
    for id in 0..ACTIONS {
        decisions.push(stage.decide(&id.to_string(), "shared", json!({})).await?);
    }
    let mut workers = BTreeSet::new();
    for decision in &decisions {
        let resulted = stage.result(decision).await;
        assert_eq!(kind(&resulted), "ok");
        workers.insert(resulted.worker);
    }
    let limiter = Limiter::new(&stage.other, LimiterConfig::default());
    let scope = Scope::tool(&"shared".parse()?);
    let limits = Limits {
        requests: Some(600),
        ..Limits::default()
    };
    limiter.configure(&scope, limits);
    let seen = limiter.snapshot(&scope).await;
    assert!(!seen.degraded);
    assert_eq!(seen.standing.fleet, workers.len() as u64);
    assert_eq!((workers.len(), seen.standing.limits), (2, limits));
    assert_eq!(seen.standing.blocked_until_ms, None);

    moody.retry_after(1);
    moody.next("shared", [429]);
    let decision = stage.decide("busy", "shared", json!({})).await?;
    assert_eq!(stage.result(&decision).await.attempts, 2);
    assert_eq!(moody.asked("shared").len(), ACTIONS + 2);
    let [first, second] = executors;
    first.stop().await?;
    second.stop().await
}
