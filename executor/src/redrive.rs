//! Actions that became dead letters without a result, and are to be done after all: a signal on the run's journal says which. What
//! may be done again is for the action's claim and its effect to say, as with any other redelivery.

use std::{future::Future, sync::Arc};

use flotilla_common::{
    entry::{Address, Body, Kind, Letter},
    io::{
        journal::{Raw, decode},
        letters::Letters,
        streams::{StreamError, ensure_consumer},
        worker::{self, DELIVERIES_MAX, Disposition, Gate, Incoming, Loop},
    },
    names::{consumer, stream, subject},
    run::SIGNAL_REDRIVE,
};
use tokio_util::sync::CancellationToken;

use crate::{
    ABANDON_GRACE, Config,
    handle::{Executor, ROLE},
};

/// Redriven actions in work at once in this process; each waits for its tool as any other.
const SLOTS: usize = 8;

/// The loop over what is redriven; it ends with `stop`.
pub(crate) async fn prepare(
    executor: Arc<Executor>,
    config: &Config,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + use<>, StreamError> {
    let journal = config.journal.clone();
    let letters = Letters::new(journal.bus().clone());
    let name = consumer::REDRIVE;
    let filters = vec![subject::signals(SIGNAL_REDRIVE)];
    let ack_wait = config.ack_wait;
    let consumer = ensure_consumer(journal.bus(), stream::RUNS, name, filters, ack_wait).await?;
    let pulling = Loop {
        consumer,
        role: ROLE,
        name: name.to_owned(),
        slots: SLOTS,
        ack_wait,
        drain: config.drain + ABANDON_GRACE,
        gate: Gate::default(),
        // The action's own handler counts, and knows what was planned.
        deliveries_max: i64::MAX,
    };
    let handler = move |incoming| {
        let (executor, letters) = (Arc::clone(&executor), letters.clone());
        async move { Box::pin(handle(&executor, &letters, incoming)).await }
    };
    Ok(Box::pin(async move {
        worker::run(pulling, journal, handler, stop).await;
    }))
}

async fn handle(executor: &Executor, letters: &Letters, signal: Incoming) -> Disposition {
    let letter = match letter(&signal) {
        Ok(Some(letter)) => letter,
        // It is the planners'.
        Ok(None) => return Disposition::Ack,
        Err(reason) => return Disposition::Dead { reason },
    };
    let retry = |why: String| {
        if signal.delivered >= DELIVERIES_MAX {
            return Disposition::Dead { reason: why };
        }
        Disposition::Retry {
            after: executor.lease,
            why,
        }
    };
    let Ok(Some(Address { name: tool, .. })) = Address::parse(&letter.subject) else {
        return Disposition::Ack;
    };
    if !executor.tools.consumers().contains_key(&tool) {
        return retry(format!("there is no tool `{tool}` here"));
    }
    let decision = match letters.message(stream::RUNS, letter.seq).await {
        Ok(Some(message)) if message.raw.subject == letter.subject => message.raw,
        Ok(_) => return Disposition::Ack,
        Err(problem) => return retry(problem.to_string()),
    };
    let decision = Incoming {
        subject: decision.subject,
        seq: decision.seq,
        payload: decision.payload,
        published: signal.published,
        // It was handed out before, whoever had it.
        delivered: signal.delivered.saturating_add(1),
        ..Incoming::default()
    };
    Box::pin(executor.handle(decision)).await
}

/// The letter that a signal is about, if it is a decision's.
fn letter(signal: &Incoming) -> Result<Option<Letter>, String> {
    let raw = Raw {
        seq: signal.seq,
        subject: signal.subject.clone(),
        payload: signal.payload.clone(),
    };
    let entry = decode(&raw).map_err(|problem| problem.to_string())?;
    let Some(Body::Signalled(signalled)) = entry.map(|entry| entry.body) else {
        return Ok(None);
    };
    let is_decision = |letter: &Letter| {
        let address = Address::parse(&letter.subject).ok().flatten();
        address.is_some_and(|address| address.kind == Kind::Decided)
    };
    Ok(signalled.letter.filter(is_decision))
}
