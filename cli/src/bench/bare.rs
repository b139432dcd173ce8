//! The bare loop: what a step costs at least on this machine, with nothing of ours in it. Two publishes with their acks, two
//! message acks, and two round trips to Redis, many at once.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_nats::jetstream::{
    consumer::{AckPolicy, PullConsumer, pull},
    stream::{Config, StorageType},
};
use flotilla_common::io::journal::Journal;
use futures_util::{StreamExt as _, TryStreamExt as _};

/// Steps in flight.
const IN_FLIGHT: usize = 256;
const STREAM: &str = "BENCH_BARE";

/// Steps per second of the bare loop.
pub(super) async fn steps_per_second(
    journal: &Journal,
    redis_url: &str,
    steps: usize,
) -> anyhow::Result<f64> {
    let jetstream = &journal.bus().jetstream;
    let config = Config {
        name: STREAM.into(),
        subjects: vec!["bench_bare.>".into()],
        storage: StorageType::File,
        ..Config::default()
    };
    let stream = jetstream
        .create_stream(config)
        .await
        .context("cannot make the bare loop's stream")?;
    let config = pull::Config {
        durable_name: Some("bare".into()),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: 100_000,
        ..pull::Config::default()
    };
    let consumer: PullConsumer = stream.create_consumer(config).await?;
    let redis = redis::Client::open(redis_url)?
        .get_connection_manager()
        .await?;
    let payload = "x".repeat(512);
    let begun = Instant::now();
    let publishing = futures_util::stream::iter(0..steps)
        .map(Ok)
        .try_for_each_concurrent(IN_FLIGHT, |step| {
            let (mut redis, payload) = (redis.clone(), payload.clone());
            async move {
                for half in ["decided", "resulted"] {
                    let subject = format!("bench_bare.{step}.{half}");
                    jetstream
                        .publish(subject, payload.clone().into())
                        .await?
                        .await?;
                    redis::cmd("SET")
                        .arg(step)
                        .arg(&payload)
                        .query_async::<()>(&mut redis)
                        .await?;
                }
                anyhow::Ok(())
            }
        });
    let acking = async {
        let mut left = steps * 2;
        while left > 0 {
            let mut batch = consumer
                .batch()
                .max_messages(IN_FLIGHT)
                .expires(Duration::from_secs(5))
                .messages()
                .await?;
            while let Some(message) = batch.next().await {
                let message = message.map_err(|e| anyhow::anyhow!(e))?;
                message.ack().await.map_err(|e| anyhow::anyhow!(e))?;
                left -= 1;
                // The rest of a request that nothing will fill would be waited for.
                if left == 0 {
                    break;
                }
            }
        }
        anyhow::Ok(())
    };
    let (published, acked) = tokio::join!(publishing, acking);
    published.and(acked)?;
    let took = begun.elapsed();
    jetstream.delete_stream(STREAM).await?;
    #[expect(clippy::cast_precision_loss, reason = "a count of steps")]
    Ok(steps as f64 / took.as_secs_f64())
}
