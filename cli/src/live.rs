//! A run's entries as they come, whatever happens to the gateway in between.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Context as _, bail};
use flotilla_common::{
    claude::{SseEvent, SseParser},
    ids::RunId,
};
use reqwest::Response;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    client::{Client, Line, Refused, Shown, Unreachable},
    exit::NotFound,
};

/// How long a run whose event was accepted may take to appear.
const APPEAR_WITHIN: Duration = Duration::from_secs(60);
const APPEAR_LOOK_EVERY: Duration = Duration::from_millis(150);
/// How long a gateway that was there may be away: longer than a restart takes.
const AWAY_MAX: Duration = Duration::from_secs(60);
const AWAY_LOOK_EVERY: Duration = Duration::from_millis(500);
/// The gateway says something every 15 seconds: who is silent for longer is gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// What is heard of a run.
#[derive(Debug)]
pub(crate) enum Heard {
    /// One more entry.
    Entry(Line),
    /// Nothing for a moment.
    Quiet,
    /// The run has ended, and all entries were told.
    Ended,
}

/// A run that is followed.
#[derive(Debug)]
pub(crate) struct Following<'a> {
    client: &'a Client,
    run: &'a RunId,
    /// The last entry's sequence.
    after: u64,
    stream: Option<Stream>,
    appear_until: Instant,
    /// Since when nobody answers, who did before.
    away: Option<Instant>,
    was_there: bool,
}

#[derive(Debug)]
struct Stream {
    response: Response,
    parser: SseParser,
    events: VecDeque<SseEvent>,
    heard_at: Instant,
}

impl<'a> Following<'a> {
    /// From its beginning.
    pub(crate) fn new(client: &'a Client, run: &'a RunId) -> Self {
        Self {
            client,
            run,
            after: 0,
            stream: None,
            appear_until: Instant::now() + APPEAR_WITHIN,
            away: None,
            was_there: false,
        }
    }

    /// The same of a run that must be there already.
    pub(crate) fn known(client: &'a Client, run: &'a RunId) -> Self {
        Self {
            appear_until: Instant::now(),
            ..Self::new(client, run)
        }
    }

    /// What is heard next; [`Heard::Quiet`] when that is nothing for so long.
    pub(crate) async fn next(&mut self, quiet: Duration) -> anyhow::Result<Heard> {
        loop {
            let Some(stream) = &mut self.stream else {
                self.stream = self.open().await?;
                continue;
            };
            if let Some(event) = stream.events.pop_front() {
                match event.name.as_str() {
                    "end" => return Ok(Heard::Ended),
                    // It was too slow, or the gateway stops: from the last entry on again.
                    "resync" | "bye" => self.stream = None,
                    _ => {
                        let line: Line = serde_json::from_str(&event.data)?;
                        self.after = line.seq;
                        return Ok(Heard::Entry(line));
                    }
                }
                continue;
            }
            match timeout(quiet, stream.response.chunk()).await {
                Ok(Ok(Some(bytes))) => {
                    stream.heard_at = Instant::now();
                    stream.events.extend(stream.parser.push(&bytes)?);
                }
                Ok(Ok(None) | Err(_)) => self.stream = None,
                Err(_) => {
                    if stream.heard_at.elapsed() > SILENCE_MAX {
                        self.stream = None;
                    }
                    return Ok(Heard::Quiet);
                }
            }
        }
    }

    /// How the run stands, with what is on its journal after the last entry that was heard.
    pub(crate) async fn state(&mut self) -> anyhow::Result<Option<Shown>> {
        loop {
            match self.client.run(self.run, self.after).await {
                Ok(shown) => {
                    self.away = None;
                    return Ok(shown);
                }
                Err(problem) => self.patiently(problem).await?,
            }
        }
    }

    /// How the run stands whose end was told.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<Shown> {
        let shown = self.state().await?;
        shown.context("the run is not there any more")
    }

    async fn open(&mut self) -> anyhow::Result<Option<Stream>> {
        match self.client.live(self.run, self.after).await {
            Ok(Some(response)) => {
                (self.away, self.was_there) = (None, true);
                Ok(Some(Stream {
                    response,
                    parser: SseParser::new(),
                    events: VecDeque::new(),
                    heard_at: Instant::now(),
                }))
            }
            Ok(None) if Instant::now() > self.appear_until => bail!(NotFound(format!(
                "there is no run {}; if its event was accepted, it has not begun: is an intake (gateway) running?",
                self.run
            ))),
            Ok(None) => {
                self.was_there = true;
                sleep(APPEAR_LOOK_EVERY).await;
                Ok(None)
            }
            Err(problem) => {
                self.patiently(problem).await?;
                Ok(None)
            }
        }
    }

    /// Waits a moment where it may be better then.
    async fn patiently(&mut self, problem: anyhow::Error) -> anyhow::Result<()> {
        let refused = problem.downcast_ref::<Refused>();
        let may_mend = refused.is_none_or(Refused::is_for_now);
        let unreachable = problem.downcast_ref::<Unreachable>();
        self.was_there |= unreachable.is_some_and(|gateway| gateway.was_there);
        let since = *self.away.get_or_insert_with(Instant::now);
        if !may_mend || !self.was_there || since.elapsed() > AWAY_MAX {
            return Err(problem);
        }
        sleep(AWAY_LOOK_EVERY).await;
        Ok(())
    }
}
