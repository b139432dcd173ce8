//! Durable consumers.

use std::time::Duration;

use async_nats::jetstream::{
    self,
    consumer::{
        AckPolicy, DeliverPolicy, IntoConsumerConfig as _, PullConsumer, ReplayPolicy, pull,
    },
};

use super::{
    StreamError,
    compare::{Settings, same, unlimited_if},
};
use crate::io::bus::Bus;

/// A durable pull consumer: created when missing, checked when there. All processes that share it must agree on `ack_wait`.
///
/// # Errors
/// [`StreamError`].
pub async fn ensure_consumer(
    bus: &Bus,
    stream_name: &str,
    name: &str,
    filters: Vec<String>,
    ack_wait: Duration,
) -> Result<PullConsumer, StreamError> {
    let what = format!("consumer {name} of {stream_name}");
    let refused = |problem: String| StreamError::Refused {
        what: what.clone(),
        problem,
    };
    let stream = bus
        .jetstream
        .get_stream(stream_name)
        .await
        .map_err(|e| refused(e.to_string()))?;
    let wanted = pull::Config {
        durable_name: Some(name.into()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        replay_policy: ReplayPolicy::Instant,
        ack_wait,
        // The worker decides when enough is enough, and puts the message into DEAD with its reason.
        max_deliver: -1,
        // Slots bound what a process holds; this bound is for the fleet.
        max_ack_pending: 1_000_000,
        max_waiting: 4_096,
        filter_subjects: filters,
        ..pull::Config::default()
    };
    let consumer: PullConsumer = match stream.get_consumer(name).await {
        Ok(consumer) => consumer,
        Err(_) => {
            let made = stream.create_consumer_strict(wanted.clone()).await;
            match made {
                Ok(consumer) => consumer,
                // Made by another process in between, perhaps with other settings: look, do not change.
                Err(error) => stream
                    .get_consumer(name)
                    .await
                    .map_err(|_| refused(error.to_string()))?,
            }
        }
    };
    let wanted = wanted.into_consumer_config();
    let found = &consumer.cached_info().config;
    same(
        &what,
        &consumer_settings(&wanted),
        &consumer_settings(found),
    )?;
    Ok(consumer)
}

fn consumer_settings(config: &jetstream::consumer::Config) -> Settings {
    let mut filters = config.filter_subjects.clone();
    if !config.filter_subject.is_empty() {
        filters.push(config.filter_subject.clone());
    }
    filters.sort();
    vec![
        ("filters", filters.join(", ")),
        ("ack_wait", format!("{:?}", config.ack_wait)),
        ("max_deliver", unlimited_if(config.max_deliver)),
        ("max_ack_pending", unlimited_if(config.max_ack_pending)),
        ("deliver_policy", format!("{:?}", config.deliver_policy)),
        ("ack_policy", format!("{:?}", config.ack_policy)),
        ("headers_only", config.headers_only.to_string()),
    ]
}
