//! What a gateway has of NATS before it serves: its streams and buckets, its consumers, and the schedules of workflows.

use std::sync::Arc;

use flotilla_common::{
    io::{
        audit::Audit,
        blobs::Blobs,
        ceilings::Ceilings,
        definitions::Definitions,
        journal::Journal,
        leases::Leases,
        lessons::Lessons,
        schedules::Schedules,
        streams::{StreamError, ensure_consumer, ensure_streams},
        tokens::Tokens,
        tools::ToolStates,
        worker::{Gate, HANDLED_MAX, Loop},
    },
    names::{consumer, stream, subject},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, GatewayError,
    access::{Keys, audit::Book},
    cron::{self, Crons},
    current::Current,
    dead::{self, Post},
    intake::{self, Intake},
};

/// All of it.
pub(crate) struct Opened {
    pub(crate) journal: Journal,
    pub(crate) ceilings: Ceilings,
    pub(crate) tools: ToolStates,
    pub(crate) definitions: Definitions,
    pub(crate) blobs: Blobs,
    pub(crate) leases: Leases,
    pub(crate) book: Arc<Book>,
    pub(crate) keys: Keys,
    pub(crate) intake: Intake,
    pub(crate) crons: Crons,
    pub(crate) post: Post,
    /// Events that came in.
    pub(crate) events: Loop,
    /// What falls due by the clock.
    pub(crate) due: Loop,
    pub(crate) letters: Loop,
    pub(crate) advisories: Loop,
}

impl Opened {
    /// Opens everything; what follows changes, does so until `end`.
    pub(crate) async fn open(
        config: &Config,
        end: &CancellationToken,
    ) -> Result<Self, GatewayError> {
        let bus = &config.bus;
        ensure_streams(bus).await?;
        let journal = Journal::new(bus.clone());
        let intake = Intake {
            journal: journal.clone(),
            store: config.store.clone(),
            current: Current::new(config.definitions.clone()),
            lessons: Box::pin(Lessons::open(bus)).await?,
            stop: end.clone(),
        };
        let crons = Crons::new(Schedules::new(journal.clone()), intake.clone());
        crons.ensure().await?;
        let (events, due) = loops(config).await?;
        let (letters, advisories) = Box::pin(dead::loops(config, &events)).await?;
        let post = Post::open(journal.clone(), intake.current.clone());
        let tokens = Box::pin(Tokens::open(bus)).await?;
        let known = Box::pin(tokens.watch(end.clone())).await?;
        Ok(Self {
            ceilings: Box::pin(Ceilings::open(bus)).await?,
            tools: Box::pin(ToolStates::open(bus)).await?,
            definitions: Box::pin(Definitions::open(bus)).await?,
            blobs: Box::pin(Blobs::open(bus)).await?,
            leases: Box::pin(Leases::open(bus)).await?,
            book: Arc::new(Book::new(Box::pin(Audit::open(bus)).await?)),
            keys: Keys::new(known, tokens),
            post: Box::pin(post).await?,
            journal,
            intake,
            crons,
            events,
            due,
            letters,
            advisories,
        })
    }
}

/// How events that came in, and what falls due by the clock, are pulled.
async fn loops(config: &Config) -> Result<(Loop, Loop), StreamError> {
    let consume = async |stream, name, subjects: &str| {
        let filters = vec![subjects.to_owned()];
        ensure_consumer(&config.bus, stream, name, filters, config.ack_wait).await
    };
    let events = Loop {
        consumer: consume(stream::EVENTS, consumer::INTAKE, subject::ALL_EVENTS).await?,
        role: intake::ROLE,
        name: consumer::INTAKE.to_owned(),
        slots: config.slots,
        ack_wait: config.ack_wait,
        drain: config.drain,
        gate: Gate::default(),
        deliveries_max: HANDLED_MAX,
    };
    let due = Loop {
        consumer: consume(stream::CRON, consumer::CRON, subject::ALL_CRON_DUE).await?,
        name: consumer::CRON.to_owned(),
        slots: cron::SLOTS,
        ..events.clone()
    };
    Ok((events, due))
}
